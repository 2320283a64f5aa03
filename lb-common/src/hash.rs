//! The flow hash: the same on every node and on the host, so that all pick the same slot of a ring.

use crate::abi::FlowKey;
use crate::addr::Address;

/// Odd constants with well mixed bits: the fractional parts of the golden ratio and of the square root of 2, as the
/// first is used in multiplicative hashing (Knuth, TAOCP 3, 6.4).
const K1: u64 = 0x9e37_79b9_7f4a_7c15;
const K2: u64 = 0x6a09_e667_f3bc_c909;

/// Hashes the 5-tuple.
#[inline(always)]
pub fn flow_hash<A: Address>(key: &FlowKey<A>) -> u32 {
    let source = key.source.words();
    let destination = key.destination.words();
    let mut state = K2;
    state = mix(state, source[0], destination[0]);
    if A::WORDS == 4 {
        state = mix(state, source[1], destination[1]);
        state = mix(state, source[2], destination[2]);
        state = mix(state, source[3], destination[3]);
    }
    let ports = (u32::from(key.source_port.raw()) << 16) | u32::from(key.destination_port.raw());
    state = mix(state, ports, key.protocol);
    // one more turn: the port stands in the topmost bits, which a multiplication alone does not bring down
    ((state ^ (state >> 32)).wrapping_mul(K1) >> 32) as u32
}

/// Hashes a pair of addresses, for a place in a small table.
#[inline(always)]
pub fn pair_hash<A: Address>(source: A, destination: A) -> u32 {
    let (source, destination) = (source.words(), destination.words());
    let mut state = mix(K2, source[0], destination[0]);
    if A::WORDS == 4 {
        state = mix(state, source[1], destination[1]);
        state = mix(state, source[2], destination[2]);
        state = mix(state, source[3], destination[3]);
    }
    (state >> 32) as u32
}

/// One of `1 << bits` places in a table of one CPU, for an address and 32 bits more. One multiplication, of which the topmost bits
/// are mixed best (Knuth, TAOCP 3, 6.4): who makes packets meet in one place has them looked up, as all would be without the table.
#[inline(always)]
pub(crate) fn place<A: Address>(address: A, more: u32, bits: u32) -> u32 {
    let [first, second] = address.longs();
    let word = first ^ second.rotate_left(32) ^ (u64::from(more) << 32);
    (word.wrapping_mul(K1) >> (64 - bits)) as u32
}

/// One round: xor in 64 bits, multiply, bring the high half down.
#[inline(always)]
const fn mix(state: u64, a: u32, b: u32) -> u64 {
    let word = ((a as u64) << 32) | b as u64;
    let product = (state ^ word).wrapping_mul(K1);
    (product ^ (product >> 32)).wrapping_mul(K2)
}

/// A second hash of the same flow, for choices that must not follow the first (where to begin looking for a SNAT port).
#[inline(always)]
pub const fn rehash(hash: u32) -> u32 {
    let product = (hash as u64 ^ K2).wrapping_mul(K1);
    (product >> 32) as u32
}

/// Maps a hash to `0..length` without a division: the high bits of the product (Lemire, "Fast random integer
/// generation in an interval", 2019).
#[inline(always)]
pub const fn scale(hash: u32, length: u32) -> u32 {
    ((hash as u64 * length as u64) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Addr6;
    use crate::be::{Be16, Be32};

    #[test]
    fn spreads_consecutive_ports_evenly() {
        const BUCKETS: usize = 101;
        let mut counts = [0u32; BUCKETS];
        for port in 0..60_000u16 {
            let key = FlowKey {
                source: Be32::new(0x0a00_0001),
                destination: Be32::new(0x0a64_6464),
                source_port: Be16::new(port),
                destination_port: Be16::new(80),
                protocol: 6,
            };
            counts[scale(flow_hash(&key), BUCKETS as u32) as usize] += 1;
        }
        let expected = 60_000.0 / BUCKETS as f64;
        let chi: f64 = counts.iter().map(|&c| (f64::from(c) - expected).powi(2) / expected).sum();
        // 100 degrees of freedom: 170 would be beyond one in 10,000
        assert!(chi < 170.0, "chi square {chi}");
    }

    /// Each bit of the ports and of the source turns over about half of the bits of the hash. A client's next connections
    /// have the next ports: were the hash merely linear in them, its steps could fall in with the steps in which Maglev
    /// fills a ring, and all go to one backend.
    #[test]
    fn every_bit_turns_over_half_of_the_hash() {
        const KEYS: u32 = 2_000;
        type Flip = fn(&mut FlowKey<Be32>, u32);
        let flips: [(Flip, u32); 3] = [
            (|key, bit| key.source_port = Be16::new(key.source_port.host() ^ 1 << bit), 16),
            (|key, bit| key.destination_port = Be16::new(key.destination_port.host() ^ 1 << bit), 16),
            (|key, bit| key.source = Be32::new(key.source.host() ^ 1 << bit), 32),
        ];
        for (flip, bits) in flips {
            for bit in 0..bits {
                let mut turned = [0u32; 32];
                for n in 0..KEYS {
                    let mut key = FlowKey {
                        source: Be32::new(0x0a00_0000 + n * 7),
                        destination: Be32::new(0x0a64_6464),
                        source_port: Be16::new(32_768 + (n * 2) as u16),
                        destination_port: Be16::new(80),
                        protocol: 6,
                    };
                    let before = flow_hash(&key);
                    flip(&mut key, bit);
                    let changed = before ^ flow_hash(&key);
                    for (at, count) in turned.iter_mut().enumerate() {
                        *count += changed >> at & 1;
                    }
                }
                for (at, count) in turned.iter().enumerate() {
                    let share = f64::from(*count) / f64::from(KEYS);
                    assert!(
                        (0.4..0.6).contains(&share),
                        "input bit {bit} turns over hash bit {at} in {share} of all keys"
                    );
                }
            }
        }
    }

    /// Sixteen connections in a row from one client to two backends: all to one is a chance of 1 in 32,768.
    #[test]
    fn connections_in_a_row_reach_both_backends() {
        use crate::maglev::{Member, Seed, length_for, populate};
        const ROWS: u32 = 20_000;
        let mut one_sided = 0;
        for row in 0..ROWS {
            let [a, b, c, d] = row.to_be_bytes();
            let seed = |last| Seed::new([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, a ^ c, b ^ d, last], 8080, 6);
            let mut members = [Member::new(seed(10), 1, 1), Member::new(seed(11), 1, 2)];
            let mut ring = std::vec![0; length_for([1, 1]) as usize];
            populate(&mut members, &mut ring);
            let backend_of = |step: u32| {
                let key = FlowKey {
                    source: Be32::new(0xc0a8_4d64),
                    destination: Be32::new(0xc0a8_4d0b),
                    source_port: Be16::new((32_768 + (row * 37 + step * 2) % 28_000) as u16),
                    destination_port: Be16::new(32_097),
                    protocol: 6,
                };
                ring[scale(flow_hash(&key), ring.len() as u32) as usize]
            };
            let first = backend_of(0);
            one_sided += u32::from((1..16).all(|step| backend_of(step) == first));
        }
        assert!(one_sided <= 5, "{one_sided} of {ROWS} rows went to one backend, where chance is below one");
    }

    #[test]
    fn every_field_counts() {
        let key = FlowKey { source: Addr6::from_bytes([1; 16]), ..FlowKey::default() };
        let base = flow_hash(&key);
        for byte in 0..16 {
            let mut bytes = [0; 16];
            bytes[byte] = 7;
            let other = FlowKey { destination: Addr6::from_bytes(bytes), ..key };
            assert_ne!(flow_hash(&other), base, "destination byte {byte}");
            let other = FlowKey { source: Addr6::from_bytes(bytes), ..key };
            assert_ne!(flow_hash(&other), base, "source byte {byte}");
        }
        assert_ne!(flow_hash(&FlowKey { protocol: 17, ..key }), base);
        assert_ne!(flow_hash(&FlowKey { source_port: Be16::new(1), ..key }), base);
    }
}
