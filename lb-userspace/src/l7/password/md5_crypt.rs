//! MD5-crypt by Poul-Henning Kamp (FreeBSD 2.0, crypt(3)), which Apache uses with a magic of its own, `$apr1$`.

use md5::{Digest, Md5};

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The order in which the bytes of the digest are written, three at a time.
const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];

/// The hash as it stands behind magic and salt.
pub(super) fn hash(password: &[u8], magic: &str, salt: &str) -> String {
    let salt = &salt.as_bytes()[..salt.len().min(8)];
    let mut digest = first(password, magic.as_bytes(), salt);
    for round in 0..1000 {
        digest = again(round, &digest, password, salt);
    }
    encode(&digest)
}

fn first(password: &[u8], magic: &[u8], salt: &[u8]) -> [u8; 16] {
    let inner: [u8; 16] = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize().into();
    let mut outer = Md5::new().chain_update(password).chain_update(magic).chain_update(salt);
    for chunk in password.chunks(16) {
        outer.update(&inner[..chunk.len()]);
    }
    // The bits of the length, the lowest first: a zero byte for each that is set, else the first byte of the password.
    let mut length = password.len();
    while length > 0 {
        match (length & 1, password.first()) {
            (0, Some(&byte)) => outer.update([byte]),
            _ => outer.update([0]),
        }
        length >>= 1;
    }
    outer.finalize().into()
}

fn again(round: usize, digest: &[u8; 16], password: &[u8], salt: &[u8]) -> [u8; 16] {
    let odd = round % 2 == 1;
    let mut next = Md5::new();
    next.update(if odd { password } else { digest });
    if !round.is_multiple_of(3) {
        next.update(salt);
    }
    if !round.is_multiple_of(7) {
        next.update(password);
    }
    next.update(if odd { digest } else { password });
    next.finalize().into()
}

/// Six bits for each character, the lowest first.
fn encode(digest: &[u8; 16]) -> String {
    let groups = ORDER
        .iter()
        .map(|[a, b, c]| (u32::from(digest[*a]) << 16 | u32::from(digest[*b]) << 8 | u32::from(digest[*c]), 4));
    let mut text = String::with_capacity(22);
    for (bits, characters) in groups.chain([(u32::from(digest[11]), 2)]) {
        for place in 0..characters {
            text.push(char::from(ALPHABET[(bits >> (6 * place)) as usize & 63]));
        }
    }
    text
}
