//! The Internet checksum, changed incrementally (RFC 1624) instead of computed again.
//!
//! One's complement sums do not mind the byte order as long as all words are read the same way (RFC 1071, section 2 (B)),
//! so everything here works on raw words as they stand in memory.

/// The change of a one's complement sum when words of the covered data are replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta(u64);

impl Delta {
    /// No change.
    pub const NONE: Delta = Delta(0);

    /// Also: a 32-bit word was replaced (RFC 1624, equation 3: add the complement of the old and the new).
    #[inline(always)]
    pub const fn word(self, from: u32, to: u32) -> Self {
        Delta(self.0 + !from as u64 + to as u64)
    }

    /// Also: a 16-bit word was replaced.
    #[inline(always)]
    pub const fn half(self, from: u16, to: u16) -> Self {
        Delta(self.0 + !from as u64 + to as u64)
    }

    /// Also: a 64-bit word was replaced. The halves are added apart, as a sum of whole words would overflow.
    #[inline(always)]
    pub const fn long(self, from: u64, to: u64) -> Self {
        const LOW: u64 = 0xffff_ffff;
        Delta(self.0 + (!from >> 32) + (!from & LOW) + (to >> 32) + (to & LOW))
    }

    /// Both changes.
    #[inline(always)]
    pub const fn plus(self, other: Delta) -> Self {
        Delta(self.0 + other.0)
    }

    /// Nothing was replaced.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The change as the 32-bit partial sum that the kernel's checksum helpers take.
    #[inline(always)]
    pub const fn to_partial(self) -> u32 {
        let once = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        ((once & 0xffff_ffff) + (once >> 32)) as u32
    }

    /// The checksum field after the change.
    #[inline(always)]
    pub const fn apply(self, field: u16) -> u16 {
        !fold(self.0 + !field as u64)
    }
}

/// Folds a sum to 16 bits with end-around carry. Sums of up to 2^16 words of 32 bits fit.
#[inline(always)]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16); // at most 33 bits went in, 18 remain
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The checksum computed anew, the way RFC 1071 section 4.1 writes it.
    fn naive(words: &[u16]) -> u16 {
        let mut sum: u32 = words.iter().map(|&w| u32::from(w)).sum();
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    /// 0x0000 and 0xffff are the same number in one's complement.
    fn same(a: u16, b: u16) -> bool {
        a == b || (a == 0 && b == 0xffff) || (a == 0xffff && b == 0)
    }

    proptest! {
        #[test]
        fn incremental_equals_recomputed(mut words in prop::collection::vec(any::<u16>(), 2..40), at in 0usize..40, to: u16) {
            let at = at % words.len();
            let old = naive(&words);
            let delta = Delta::NONE.half(words[at], to);
            words[at] = to;
            prop_assert!(same(delta.apply(old), naive(&words)));
        }

        #[test]
        fn words_equal_two_halves(from: u32, to: u32, field: u16) {
            let halves = |w: u32| ((w & 0xffff) as u16, (w >> 16) as u16);
            let ((fl, fh), (tl, th)) = (halves(from), halves(to));
            let by_half = Delta::NONE.half(fl, tl).half(fh, th).apply(field);
            prop_assert!(same(Delta::NONE.word(from, to).apply(field), by_half));
        }

        #[test]
        fn longs_equal_two_words(from: u64, to: u64, field: u16) {
            let words = |long: u64| (long as u32, (long >> 32) as u32);
            let ((fl, fh), (tl, th)) = (words(from), words(to));
            let by_word = Delta::NONE.word(fl, tl).word(fh, th).apply(field);
            prop_assert!(same(Delta::NONE.long(from, to).apply(field), by_word));
        }

        #[test]
        fn partial_is_the_same_change(from: u32, to: u32, field: u16) {
            let delta = Delta::NONE.word(from, to);
            let by_partial = !fold(u64::from(delta.to_partial()) + u64::from(!field));
            prop_assert!(same(delta.apply(field), by_partial));
        }
    }

    #[test]
    fn example_of_rfc_1624() {
        // Section 4: 0x5555 becomes 0x3285 under a header checksum of 0xDD2F; equation 3 gives 0x0000.
        assert_eq!(Delta::NONE.half(0x5555, 0x3285).apply(0xdd2f), 0x0000);
    }
}
