//! Checking a password against its hash. Comparisons take the same time wherever the first difference is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha_crypt::{PasswordVerifier, ShaCrypt};
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use crate::model::PasswordHash;
use crate::model::users::Scheme;

mod md5_crypt;

/// Longest password: the work of sha-crypt grows with it.
const MAX_PASSWORD: usize = 512;

/// The password is the one that was hashed.
pub fn is_right(password: &[u8], hash: &PasswordHash) -> bool {
    if password.len() > MAX_PASSWORD {
        return false;
    }
    match hash.scheme() {
        Some(Scheme::Bcrypt) => bcrypt::verify(password, hash.text()).unwrap_or(false),
        Some(Scheme::Md5(magic)) => is_md5_crypt(password, magic, hash.rest()),
        Some(Scheme::ShaCrypt) => ShaCrypt::default().verify_password(password, hash.text()).is_ok(),
        Some(Scheme::Sha1) => is_sha1(password, hash.rest()),
        Some(Scheme::SaltedSha1) => is_salted_sha1(password, hash.rest()),
        None => false,
    }
}

/// Checking it takes microseconds.
pub fn is_quick(hash: &PasswordHash) -> bool {
    matches!(hash.scheme(), Some(Scheme::Sha1 | Scheme::SaltedSha1) | None)
}

/// `salt$hash`.
fn is_md5_crypt(password: &[u8], magic: &str, rest: &str) -> bool {
    let Some((salt, expected)) = rest.split_once('$') else { return false };
    same(md5_crypt::hash(password, magic, salt).as_bytes(), expected.as_bytes())
}

fn is_sha1(password: &[u8], expected: &str) -> bool {
    STANDARD.decode(expected).is_ok_and(|expected| same(&Sha1::digest(password), &expected))
}

/// 20 bytes of SHA-1, and the salt.
fn is_salted_sha1(password: &[u8], encoded: &str) -> bool {
    let decoded = STANDARD.decode(encoded).unwrap_or_default();
    let Some((expected, salt)) = decoded.split_at_checked(20) else { return false };
    same(&Sha1::new().chain_update(password).chain_update(salt).finalize(), expected)
}

fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first three from Apache's documentation of password formats, the others by `openssl passwd` and by hand.
    const HASHES: &[(&str, &str)] = &[
        ("myPassword", "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC"),
        ("myPassword", "$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/"),
        ("myPassword", "{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE="),
        ("pass", "$apr1$xxxxxxxx$ckCtyLj3v7WoKYQQ7.R6U1"),
        ("pass", "$1$ab$U8jv6p.D2WDJLEY1puNWT1"),
        ("pass", "{SSHA}EfVjnyJSUVXLC0NXPuQhKDjHjYdzYWx0"),
        (
            "Hello world!",
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
        ),
        ("Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
        ("Hello world!", "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA"),
    ];

    #[test]
    fn right_and_wrong_passwords() {
        for (password, hash) in HASHES {
            let parsed = PasswordHash::parse(hash).expect(hash);
            assert!(is_right(password.as_bytes(), &parsed), "{hash}");
            for wrong in ["", "x", &password[1..], &format!("{password} "), &password.to_uppercase()] {
                assert_eq!(is_right(wrong.as_bytes(), &parsed), wrong == *password, "{hash} {wrong}");
            }
        }
    }

    #[test]
    fn what_is_cut_short_fits_nothing() {
        for (password, hash) in HASHES {
            for end in 5..hash.len() {
                let Ok(parsed) = PasswordHash::parse(&hash[..end]) else { continue };
                assert!(!is_right(password.as_bytes(), &parsed), "{}", &hash[..end]);
            }
        }
    }

    #[test]
    fn endless_passwords_are_not_tried() {
        let hash = PasswordHash::parse(&format!("{{SHA}}{}", STANDARD.encode(Sha1::digest(vec![b'x'; 513]))));
        assert!(!is_right(&[b'x'; 513], &hash.expect("a hash")));
    }
}
