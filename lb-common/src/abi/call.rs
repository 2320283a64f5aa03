//! Programs that others go on in by a tail call, and where they stand.

use super::{map, program};

/// A program that others go on in by a tail call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Called {
    /// Its name.
    pub program: &'static str,
    /// The array that it stands in.
    pub map: &'static str,
    /// Its index there.
    pub slot: u32,
}

/// All programs that are called, in the order in which they are put in place: what replies need first, what takes packets in
/// last, and what is called before what calls it.
pub const CALLED: [Called; 44] = [
    Called { program: program::INSIDE6, map: map::TC_PROGRAMS, slot: tc_slot::INSIDE6 },
    Called { program: program::INSIDE4, map: map::TC_PROGRAMS, slot: tc_slot::INSIDE4 },
    Called { program: program::TC_REFUSE, map: map::TC_PROGRAMS, slot: tc_slot::REFUSE },
    Called { program: program::XDP_REFUSE, map: map::XDP_PROGRAMS, slot: xdp_slot::REFUSE },
    Called { program: program::TC_RESET, map: map::TC_PROGRAMS, slot: tc_slot::RESET },
    Called { program: program::XDP_RESET, map: map::XDP_PROGRAMS, slot: xdp_slot::RESET },
    Called { program: program::TC_NEIGHBOUR, map: map::TC_PROGRAMS, slot: tc_slot::NEIGHBOUR },
    Called { program: program::XDP_NEIGHBOUR, map: map::XDP_PROGRAMS, slot: xdp_slot::NEIGHBOUR },
    Called { program: program::TC_COOKIE, map: map::TC_PROGRAMS, slot: tc_slot::COOKIE },
    Called { program: program::TC_COOKIE6, map: map::TC_PROGRAMS, slot: tc_slot::COOKIE6 },
    Called { program: program::XDP_COOKIE, map: map::XDP_PROGRAMS, slot: xdp_slot::COOKIE },
    Called { program: program::XDP_COOKIE6, map: map::XDP_PROGRAMS, slot: xdp_slot::COOKIE6 },
    Called { program: program::SAMPLE_TC, map: map::TC_PROGRAMS, slot: tc_slot::SAMPLE },
    Called { program: program::SAMPLE, map: map::XDP_PROGRAMS, slot: xdp_slot::SAMPLE },
    Called { program: program::TC_EGRESS6, map: map::TC_PROGRAMS, slot: tc_slot::EGRESS6 },
    Called { program: program::TUNNEL6, map: map::TC_PROGRAMS, slot: tc_slot::TUNNEL6 },
    Called { program: program::TC_ICMP, map: map::TC_PROGRAMS, slot: tc_slot::ICMP },
    Called { program: program::TC_ICMP6, map: map::TC_PROGRAMS, slot: tc_slot::ICMP6 },
    Called { program: program::TC_INGRESS6, map: map::TC_PROGRAMS, slot: tc_slot::INGRESS6 },
    Called { program: program::TC_INGRESS, map: map::TC_PROGRAMS, slot: tc_slot::INGRESS },
    Called { program: program::TC_FIRST, map: map::TC_PROGRAMS, slot: tc_slot::FIRST },
    Called { program: program::TC_FIRST6, map: map::TC_PROGRAMS, slot: tc_slot::FIRST6 },
    Called { program: program::TC_BEGIN, map: map::TC_PROGRAMS, slot: tc_slot::BEGIN },
    Called { program: program::TC_BEGIN6, map: map::TC_PROGRAMS, slot: tc_slot::BEGIN6 },
    Called { program: program::TC_DSR, map: map::TC_PROGRAMS, slot: tc_slot::DSR },
    Called { program: program::TC_DSR6, map: map::TC_PROGRAMS, slot: tc_slot::DSR6 },
    Called { program: program::TC_CHOOSE, map: map::TC_PROGRAMS, slot: tc_slot::CHOOSE },
    Called { program: program::TC_CHOOSE6, map: map::TC_PROGRAMS, slot: tc_slot::CHOOSE6 },
    Called { program: program::TC_OPEN, map: map::TC_PROGRAMS, slot: tc_slot::OPEN },
    Called { program: program::TC_OPEN6, map: map::TC_PROGRAMS, slot: tc_slot::OPEN6 },
    Called { program: program::XDP_ICMP, map: map::XDP_PROGRAMS, slot: xdp_slot::ICMP },
    Called { program: program::XDP_ICMP6, map: map::XDP_PROGRAMS, slot: xdp_slot::ICMP6 },
    Called { program: program::XDP_FIRST, map: map::XDP_PROGRAMS, slot: xdp_slot::FIRST },
    Called { program: program::XDP_FIRST6, map: map::XDP_PROGRAMS, slot: xdp_slot::FIRST6 },
    Called { program: program::XDP_BEGIN, map: map::XDP_PROGRAMS, slot: xdp_slot::BEGIN },
    Called { program: program::XDP_BEGIN6, map: map::XDP_PROGRAMS, slot: xdp_slot::BEGIN6 },
    Called { program: program::XDP_DSR, map: map::XDP_PROGRAMS, slot: xdp_slot::DSR },
    Called { program: program::XDP_DSR6, map: map::XDP_PROGRAMS, slot: xdp_slot::DSR6 },
    Called { program: program::XDP_CHOOSE, map: map::XDP_PROGRAMS, slot: xdp_slot::CHOOSE },
    Called { program: program::XDP_CHOOSE6, map: map::XDP_PROGRAMS, slot: xdp_slot::CHOOSE6 },
    Called { program: program::XDP_OPEN, map: map::XDP_PROGRAMS, slot: xdp_slot::OPEN },
    Called { program: program::XDP_OPEN6, map: map::XDP_PROGRAMS, slot: xdp_slot::OPEN6 },
    Called { program: program::XDP6, map: map::XDP_PROGRAMS, slot: xdp_slot::IPV6 },
    Called { program: program::XDP, map: map::XDP_PROGRAMS, slot: xdp_slot::IPV4 },
];

/// Indices into XDP_PROGRAMS.
pub mod xdp_slot {
    /// [`crate::abi::program::XDP6`].
    pub const IPV6: u32 = 0;
    /// [`crate::abi::program::XDP_ICMP`].
    pub const ICMP: u32 = 1;
    /// [`crate::abi::program::XDP_ICMP6`].
    pub const ICMP6: u32 = 2;
    /// [`crate::abi::program::XDP_REFUSE`].
    pub const REFUSE: u32 = 5;
    /// [`crate::abi::program::SAMPLE`].
    pub const SAMPLE: u32 = 7;
    /// [`crate::abi::program::XDP`] itself, for what came out of a tunnel.
    pub const IPV4: u32 = 8;
    /// [`crate::abi::program::XDP_DSR`].
    pub const DSR: u32 = 9;
    /// [`crate::abi::program::XDP_DSR6`].
    pub const DSR6: u32 = 10;
    /// [`crate::abi::program::XDP_OPEN`].
    pub const OPEN: u32 = 11;
    /// [`crate::abi::program::XDP_OPEN6`].
    pub const OPEN6: u32 = 12;
    /// [`crate::abi::program::XDP_BEGIN`].
    pub const BEGIN: u32 = 13;
    /// [`crate::abi::program::XDP_BEGIN6`].
    pub const BEGIN6: u32 = 14;
    /// [`crate::abi::program::XDP_CHOOSE`].
    pub const CHOOSE: u32 = 15;
    /// [`crate::abi::program::XDP_CHOOSE6`].
    pub const CHOOSE6: u32 = 16;
    /// [`crate::abi::program::XDP_RESET`].
    pub const RESET: u32 = 17;
    /// [`crate::abi::program::XDP_FIRST`].
    pub const FIRST: u32 = 18;
    /// [`crate::abi::program::XDP_FIRST6`].
    pub const FIRST6: u32 = 19;
    /// [`crate::abi::program::XDP_NEIGHBOUR`].
    pub const NEIGHBOUR: u32 = 20;
    /// [`crate::abi::program::XDP_COOKIE`].
    pub const COOKIE: u32 = 21;
    /// [`crate::abi::program::XDP_COOKIE6`].
    pub const COOKIE6: u32 = 22;
    /// How many there are.
    pub const COUNT: u32 = 24;
}

/// Indices into TC_PROGRAMS.
pub mod tc_slot {
    /// [`crate::abi::program::TC_INGRESS6`].
    pub const INGRESS6: u32 = 0;
    /// [`crate::abi::program::TC_EGRESS6`].
    pub const EGRESS6: u32 = 1;
    /// [`crate::abi::program::INSIDE4`].
    pub const INSIDE4: u32 = 2;
    /// [`crate::abi::program::INSIDE6`].
    pub const INSIDE6: u32 = 3;
    /// [`crate::abi::program::TUNNEL6`].
    pub const TUNNEL6: u32 = 4;
    /// [`crate::abi::program::TC_REFUSE`].
    pub const REFUSE: u32 = 5;
    /// [`crate::abi::program::SAMPLE_TC`].
    pub const SAMPLE: u32 = 7;
    /// [`crate::abi::program::TC_ICMP`].
    pub const ICMP: u32 = 8;
    /// [`crate::abi::program::TC_ICMP6`].
    pub const ICMP6: u32 = 9;
    /// [`crate::abi::program::TC_INGRESS`] itself, for what came out of a tunnel.
    pub const INGRESS: u32 = 10;
    /// [`crate::abi::program::TC_DSR`].
    pub const DSR: u32 = 11;
    /// [`crate::abi::program::TC_DSR6`].
    pub const DSR6: u32 = 12;
    /// [`crate::abi::program::TC_OPEN`].
    pub const OPEN: u32 = 13;
    /// [`crate::abi::program::TC_OPEN6`].
    pub const OPEN6: u32 = 14;
    /// [`crate::abi::program::TC_BEGIN`].
    pub const BEGIN: u32 = 15;
    /// [`crate::abi::program::TC_BEGIN6`].
    pub const BEGIN6: u32 = 16;
    /// [`crate::abi::program::TC_CHOOSE`].
    pub const CHOOSE: u32 = 17;
    /// [`crate::abi::program::TC_CHOOSE6`].
    pub const CHOOSE6: u32 = 18;
    /// [`crate::abi::program::TC_RESET`].
    pub const RESET: u32 = 19;
    /// [`crate::abi::program::TC_FIRST`].
    pub const FIRST: u32 = 20;
    /// [`crate::abi::program::TC_FIRST6`].
    pub const FIRST6: u32 = 21;
    /// [`crate::abi::program::TC_NEIGHBOUR`].
    pub const NEIGHBOUR: u32 = 22;
    /// [`crate::abi::program::TC_COOKIE`].
    pub const COOKIE: u32 = 23;
    /// [`crate::abi::program::TC_COOKIE6`].
    pub const COOKIE6: u32 = 24;
    /// How many there are.
    pub const COUNT: u32 = 28;
}
