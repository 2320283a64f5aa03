//! SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012): a keyed hash whose values stay the same
//! from one version and node to the next, as what is chosen by hash must.

/// Hashes under a key.
#[derive(Clone, Copy, Debug)]
pub struct SipHash {
    key: [u64; 2],
}

/// Where nobody must be unable to tell what was hashed.
pub const UNKEYED: SipHash = SipHash { key: [0, 0] };

impl SipHash {
    /// With this key.
    pub const fn new(key: [u64; 2]) -> Self {
        SipHash { key }
    }

    /// The hash of some bytes.
    pub fn hash(self, bytes: &[u8]) -> u64 {
        let [k0, k1] = self.key;
        // The constants are "somepseudorandomlygeneratedbytes".
        let mut state = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            absorb(&mut state, u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        // The length modulo 256 is the topmost byte.
        absorb(&mut state, u64::from_le_bytes(last) | ((bytes.len() as u64) << 56));
        state[2] ^= 0xff;
        (0..4).for_each(|_| round(&mut state));
        state.into_iter().fold(0, |hash, word| hash ^ word)
    }
}

fn absorb(state: &mut [u64; 4], word: u64) {
    state[3] ^= word;
    round(state);
    round(state);
    state[0] ^= word;
}

fn round([v0, v1, v2, v3]: &mut [u64; 4]) {
    *v0 = v0.wrapping_add(*v1);
    *v1 = v1.rotate_left(13) ^ *v0;
    *v0 = v0.rotate_left(32);
    *v2 = v2.wrapping_add(*v3);
    *v3 = v3.rotate_left(16) ^ *v2;
    *v0 = v0.wrapping_add(*v3);
    *v3 = v3.rotate_left(21) ^ *v0;
    *v2 = v2.wrapping_add(*v1);
    *v1 = v1.rotate_left(17) ^ *v2;
    *v2 = v2.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the reference implementation: key 00..0f, inputs that are the beginnings of 00 01 02 ...
    #[test]
    fn the_published_values() {
        let hash = SipHash::new([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
        let input: Vec<u8> = (0..64).collect();
        for (length, expected) in [
            (0, 0x726f_db47_dd0e_0e31),
            (1, 0x74f8_39c5_93dc_67fd),
            (7, 0xab02_00f5_8b01_d137),
            (8, 0x93f5_f579_9a93_2462),
            (15, 0xa129_ca61_49be_45e5),
        ] {
            assert_eq!(hash.hash(&input[..length]), expected, "{length}");
        }
    }
}
