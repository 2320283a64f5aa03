//! The extension headers of IPv6 (RFC 8200, section 4): walked with a bound to find what they carry, and left as they are.

use crate::drop_reason::DropReason;
use crate::packet::Packet;

/// Next header numbers of the headers that are walked.
mod number {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION: u8 = 60;
}

/// How many headers are walked. RFC 8200 (section 4.1) recommends no more than seven, of which one, ESP, hides the rest.
const MOST: u32 = 6;
/// How many bytes of them, IPv6 header included; RFC 8504 (section 5.3) lets a host set such limits.
const LONGEST: usize = 552;
/// Bytes of the IPv6 header.
const HEADER: usize = 40;

/// What has been found so far, in one word: its parts are bits, so that it can pass through [`Packet::forget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain(u64);

/// Bits of a [`Chain`] beside the number of the next header (0–7), the length (8–23) and the identification (32–63).
const FRAGMENT: u64 = 1 << 24;
const LATER: u64 = 1 << 25;
const REFUSED: u64 = 1 << 26;
const REFUSED_ROUTE: u64 = 1 << 27;

impl Chain {
    /// Walks from the IPv6 header at `network`, whose next header is `next`, to what is no extension header, or cannot be
    /// looked behind: a later fragment, ESP, nothing.
    #[inline(always)]
    pub(crate) fn walk<P: Packet>(packet: &P, network: usize, next: u8) -> Self {
        let mut chain = Self::at(next, HEADER, 0);
        let mut step = 0;
        while step < MOST {
            chain = Self(packet.forget(chain.0));
            if !chain.goes_on() {
                break;
            }
            chain = chain.step(packet, network);
            step += 1;
        }
        Self(packet.forget(chain.0))
    }

    /// The number of what follows the last header walked.
    #[inline(always)]
    pub(crate) const fn protocol(self) -> u8 {
        self.0 as u8
    }

    /// Bytes of the IPv6 header and all that were walked.
    #[inline(always)]
    pub(crate) const fn length(self) -> usize {
        (self.0 >> 8) as u16 as usize
    }

    /// Part of a fragmented packet. One that is its only part (RFC 6946) is none.
    #[inline(always)]
    pub(crate) const fn is_fragment(self) -> bool {
        self.0 & FRAGMENT != 0
    }

    /// A part that is not the first.
    #[inline(always)]
    pub(crate) const fn is_later(self) -> bool {
        self.0 & LATER != 0
    }

    /// What the parts of a packet have in common.
    #[inline(always)]
    pub(crate) const fn id(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Why a packet with these headers is not forwarded; `total` is what the IPv6 header states as length.
    #[inline(always)]
    pub(crate) const fn refusal(self, total: usize) -> Option<DropReason> {
        if self.0 & REFUSED_ROUTE != 0 {
            Some(DropReason::RoutingHeader)
        } else if self.goes_on() || self.0 & REFUSED != 0 || self.length() > total || self.length() > LONGEST {
            Some(DropReason::ExtensionHeaders)
        } else {
            None
        }
    }

    #[inline(always)]
    const fn at(next: u8, length: usize, rest: u64) -> Self {
        Self(next as u64 | (length as u64) << 8 | rest)
    }

    /// What stands here is a header to walk.
    #[inline(always)]
    const fn goes_on(self) -> bool {
        use number::{AUTHENTICATION, DESTINATION, FRAGMENT as PART, HOP_BY_HOP, ROUTING};
        let is_known = matches!(self.protocol(), HOP_BY_HOP | ROUTING | PART | AUTHENTICATION | DESTINATION);
        is_known && self.0 & (LATER | REFUSED | REFUSED_ROUTE) == 0
    }

    /// Behind the header that stands here.
    #[inline(always)]
    fn step<P: Packet>(self, packet: &P, network: usize) -> Self {
        let length = self.length();
        let rest = self.0 & !0xff_ffff;
        if length > LONGEST {
            return Self(self.0 | REFUSED);
        }
        let Some([first, second]) = packet.words::<2>(network + length) else { return Self(self.0 | REFUSED) };
        let [next, units, kind, left] = first.to_ne_bytes();
        let units = units as usize;
        match self.protocol() {
            number::FRAGMENT => Self::part(self, next, u16::from_be_bytes([kind, left]), second),
            number::AUTHENTICATION => Self::at(next, length + (units + 2) * 4, rest), // RFC 4302, section 2.2
            // RFC 5095 forbids type 0; and a packet that has segments left is not for whom it is addressed to
            number::ROUTING if kind == 0 || left != 0 => Self(self.0 | REFUSED_ROUTE),
            // RFC 8200, section 4.1: first or not at all
            number::HOP_BY_HOP if length != HEADER => Self(self.0 | REFUSED),
            _ => Self::at(next, length + (units + 1) * 8, rest),
        }
    }

    /// Behind a fragment header (RFC 8200, section 4.5); `field`: offset in units of eight bytes, two bits, "more".
    #[inline(always)]
    const fn part(self, next: u8, field: u16, id: u32) -> Self {
        let mut rest = self.0 & !0xff_ffff;
        if rest & FRAGMENT != 0 {
            return Self(self.0 | REFUSED); // a part of a part
        }
        if field & !0b110 != 0 {
            rest |= FRAGMENT | (id as u64) << 32;
        }
        if field >> 3 != 0 {
            rest |= LATER;
        }
        Self::at(next, self.length() + 8, rest)
    }
}
