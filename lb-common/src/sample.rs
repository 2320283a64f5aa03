//! What is sampled of the packets: the settings word that asks for more than a few drops.

use crate::drop_reason::DROP_REASONS;

/// The budget of ICMP errors for other nodes, behind those of drops.
pub const SHARED: u32 = DROP_REASONS;
/// How many budgets there are.
pub const BUDGETS: u32 = DROP_REASONS + 1;

/// A capture in force. It packs into one word of the settings, so that it changes by one store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capture {
    /// Packets from clients to this service; 0: of none.
    pub service: u32,
    /// Bytes of each packet, 1 to [`crate::limits::SNAP_MAX`].
    pub snap: u32,
    /// Packets a tick on each CPU, at most [`LARGEST_RATE`].
    pub rate: u32,
    /// Dropped packets.
    pub drops: bool,
}

/// What fits into its bits.
pub const LARGEST_RATE: u32 = 0x7fff;

impl Capture {
    /// From the word: service in bits 0–31, bytes in 32–47, rate in 48–62, drops in 63. Zero captures nothing.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self {
            service: word as u32,
            snap: (word >> 32) as u32 & 0xffff,
            rate: (word >> 48) as u32 & LARGEST_RATE,
            drops: word >> 63 != 0,
        }
    }

    /// As the word.
    pub const fn word(self) -> u64 {
        let (snap, rate) = ((self.snap & 0xffff) as u64, (self.rate & LARGEST_RATE) as u64);
        self.service as u64 | (snap << 32) | (rate << 48) | ((self.drops as u64) << 63)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_survives_its_word() {
        for capture in [
            Capture { service: u32::MAX, snap: 1, rate: LARGEST_RATE, drops: false },
            Capture { service: 0, snap: crate::limits::SNAP_MAX, rate: 1, drops: true },
        ] {
            assert_eq!(Capture::from_word(capture.word()), capture);
        }
        assert_eq!(Capture::default().word(), 0);
    }
}
