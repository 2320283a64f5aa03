//! Maglev hashing: a ring of slots over which the backends of a service share the hash space evenly, and of which most
//! stays as it is when a backend comes or goes.
//!
//! The algorithm is that of Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016,
//! section 3.4. Each backend has a permutation of the slots, made from its address; the backends take turns, and at its
//! turn each claims the first slot of its permutation that is still free.
//!
//! # Weights
//!
//! The paper lets the relative frequency of the turns follow the weights. Here a backend earns its weight as credit in
//! each round and has a turn when the credit reaches the largest weight. It starts with a credit that depends on its
//! seed alone, so that light backends do not all come in the same round. Shares are exact: a backend gets
//! `length × weight ÷ sum of weights` slots, rounded down, and what rounding leaves over goes, one each, to those whose
//! turns come first. With equal weights this is the algorithm of the paper to the letter.
//!
//! # Length and memory
//!
//! Lengths are primes ([`LENGTHS`]): every step is then coprime to the length, so every permutation visits every slot. A
//! ring has at least 100 slots per backend, or per backend of the smallest weight where weights differ ([`length_for`]),
//! until the limit of 65,537. A slot takes 4 bytes: 404 bytes for one backend, 4,036 for up to ten, and at most 800 per
//! backend beyond, until 262,148 bytes for 321 backends and more. There are few lengths because a change of length
//! moves most slots.

use crate::hash::scale;
use crate::limits::RING_MAX;

/// The lengths that rings have, shortest first. All are prime.
pub const LENGTHS: [u32; 8] = [101, 1_009, 2_003, 4_001, 8_009, 16_001, 32_003, RING_MAX];

/// Least number of slots per backend while [`LENGTHS`] last.
pub const SLOTS_PER_BACKEND: u64 = 100;

/// The length of a ring whose backends have these weights. No backend: 0.
pub fn length_for(weights: impl IntoIterator<Item = u16>) -> u32 {
    let (total, least) = weights.into_iter().fold((0, u64::MAX), |(total, least), weight| {
        let weight = u64::from(weight.max(1));
        (total + weight, weight.min(least))
    });
    if total == 0 {
        return 0;
    }
    let wanted = (SLOTS_PER_BACKEND * total).div_ceil(least);
    LENGTHS.into_iter().find(|&length| u64::from(length) >= wanted).unwrap_or(RING_MAX)
}

/// Fills `ring` with the ids of `members`. No member: all zero.
///
/// The result depends on the set of members only: they are brought into the order of their seeds first. `ring` must have
/// a length of [`LENGTHS`] (any other prime up to [`RING_MAX`] does as well). Which slot a flow's hash stands for is
/// [`scale`]'s to say.
pub fn populate(members: &mut [Member], ring: &mut [u32]) {
    assert!(ring.len() <= RING_MAX as usize, "a ring of {} slots; at most {RING_MAX}", ring.len());
    let length = ring.len() as u32;
    ring.fill(0);
    if members.is_empty() || length == 0 {
        return;
    }
    members.sort_unstable();
    let mut turns = Turns::new(members, length);
    let mut taken = SlotSet::EMPTY;
    let mut free = length;
    loop {
        for member in members.iter_mut() {
            if turns.next(member) {
                ring[member.claim(&mut taken, length)] = member.id;
                free -= 1;
                if free == 0 {
                    return;
                }
            }
        }
    }
}

/// What the permutation of a backend comes from: its address, port and protocol, and nothing that differs from node to
/// node or from start to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seed {
    hash: u64,
    address: u128,
    port: u16,
    protocol: u8,
}

impl Seed {
    /// The seed of a backend. An IPv4 address stands in its IPv4-mapped IPv6 form (RFC 4291, section 2.5.5.2).
    pub const fn new(address: [u8; 16], port: u16, protocol: u8) -> Self {
        let address = u128::from_be_bytes(address);
        let high = mix(0x7765_6972_5f72_696e ^ (address >> 64) as u64);
        let low = mix(high ^ address as u64);
        let hash = mix(low ^ ((port as u64) << 8 | protocol as u64));
        Self { hash, address, port, protocol }
    }

    /// First slot of the permutation.
    const fn offset(&self, length: u32) -> u32 {
        scale((self.hash >> 32) as u32, length)
    }

    /// Distance between two slots of the permutation: 1 to `length` - 1.
    const fn step(&self, length: u32) -> u32 {
        1 + scale(self.hash as u32, length - 1)
    }

    /// Credit at the start: 0 to `heaviest` - 1.
    const fn credit(&self, heaviest: u32) -> u32 {
        scale((mix(self.hash) >> 32) as u32, heaviest)
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014; constants of variant 13): each bit of the input changes
/// half of the output's.
const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A backend in a ring, and the state of its turns while the ring is filled.
///
/// Ordered by seed first. Members with equal seeds are allowed (the second has the slots that the first leaves); their
/// order is that of weight and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    seed: Seed,
    weight: u16,
    id: u32,
    /// Next slot to try.
    slot: u32,
    step: u32,
    credit: u32,
    /// Slots still due to it, without the one that rounding may add.
    due: u32,
    rounded_up: bool,
}

impl Member {
    /// A backend with its seed, its weight (0 counts as 1), and the id that its slots get.
    pub const fn new(seed: Seed, weight: u16, id: u32) -> Self {
        let weight = if weight == 0 { 1 } else { weight };
        Self { seed, weight, id, slot: 0, step: 0, credit: 0, due: 0, rounded_up: false }
    }

    /// Takes the first free slot of the permutation. Nine of ten looks at a slot find it taken, so two are looked at
    /// together: their sums do not wait for each other.
    #[inline]
    fn claim(&mut self, taken: &mut SlotSet, length: u32) -> usize {
        let double = advance(self.step, self.step, length);
        let mut slot = self.slot;
        let mut following = advance(slot, self.step, length);
        while taken.contains(slot) & taken.contains(following) {
            slot = advance(slot, double, length);
            following = advance(following, double, length);
        }
        if taken.contains(slot) {
            slot = following;
        }
        taken.insert(slot);
        self.slot = slot;
        slot as usize
    }
}

/// `(slot + step) % length` for two numbers below `length`. Of the two candidates the wrong one is too large by `length`
/// or wraps around below zero, so the smaller one is right: no division, no branch.
#[inline]
const fn advance(slot: u32, step: u32, length: u32) -> u32 {
    let ahead = slot + step;
    let wrapped = slot.wrapping_add(step.wrapping_sub(length));
    if wrapped < ahead { wrapped } else { ahead }
}

/// Who has a turn: credits and exact shares.
struct Turns {
    heaviest: u32,
    /// Slots that rounding leaves over.
    spare: u32,
}

impl Turns {
    fn new(members: &mut [Member], length: u32) -> Self {
        let total: u64 = members.iter().map(|member| u64::from(member.weight)).sum();
        let heaviest = members.iter().map(|member| u32::from(member.weight)).max().unwrap_or(1);
        let mut spare = length;
        for member in members {
            member.slot = member.seed.offset(length);
            member.step = member.seed.step(length);
            member.credit = member.seed.credit(heaviest);
            member.due = (u64::from(length) * u64::from(member.weight) / total) as u32;
            member.rounded_up = false;
            spare -= member.due;
        }
        Self { heaviest, spare }
    }

    #[inline]
    fn next(&mut self, member: &mut Member) -> bool {
        member.credit += u32::from(member.weight);
        if member.credit < self.heaviest {
            return false;
        }
        member.credit -= self.heaviest;
        if member.due > 0 {
            member.due -= 1;
            return true;
        }
        if self.spare == 0 || member.rounded_up {
            return false;
        }
        self.spare -= 1;
        member.rounded_up = true;
        true
    }
}

/// One bit per slot: 8 KiB, so that the many looks at taken slots stay in the first-level cache.
struct SlotSet([u64; SlotSet::WORDS]);

impl SlotSet {
    const WORDS: usize = (RING_MAX as usize).div_ceil(64);
    const EMPTY: Self = Self([0; Self::WORDS]);

    #[inline]
    fn contains(&self, slot: u32) -> bool {
        self.0[slot as usize / 64] >> (slot % 64) & 1 == 1
    }

    #[inline]
    fn insert(&mut self, slot: u32) {
        self.0[slot as usize / 64] |= 1 << (slot % 64);
    }
}

#[cfg(test)]
mod tests;
