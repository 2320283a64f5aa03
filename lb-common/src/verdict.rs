//! What becomes of a packet.

use crate::abi::Task;
use crate::drop_reason::DropReason;

/// What the pipeline decided. The entry points turn it into an XDP or tc action in one match each.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not ours: to the stack, untouched.
    Pass,
    /// Ours and rewritten for a backend or client that the stack reaches.
    Deliver,
    /// Ours and rewritten: out of the device with this index.
    Transmit(u32),
    /// Ours and turned into its own answer: back out of the device that it came in by.
    Answer,
    /// Ours: to the node's own front.
    Front,
    /// Ours, untouched: the tc companion finishes it.
    HandOver(Task),
    /// Ours, untouched: the flow is not known here, and the service forwards by DSR. The pipeline ends so
    /// ([`crate::dsr::forward`] goes on), and that ends so where a flow begins here ([`crate::pipeline::begin`]). Always with 0:
    /// where verdicts are joined, LLVM may copy the argument of one that has none, or a variable of another, from a register
    /// that nothing has written, which the verifier refuses.
    Dsr(u32),
    /// Ours, untouched: the flow is not known here, and may begin; [`crate::policy::choose`] goes on. The argument is 0, for
    /// the same reason.
    Choose(u32),
    /// Ours, untouched: to the node's own front, which [`crate::cookie::guard`] guards. The argument is 0, for the same reason.
    Cookie(u32),
    /// In a tunnel of the family, untouched: perhaps ours ([`crate::dsr::open`]).
    Tunnel,
    /// Dropped.
    Drop(DropReason),
    /// Dropped, and [`crate::pipeline::refuse`] is to tell its sender why: [`TTL_EXCEEDED`], [`NO_BACKEND`],
    /// [`NO_PORT`] or [`too_big`].
    Refuse(u32),
}

/// Why a packet is refused: its time to live has run out.
pub const TTL_EXCEEDED: u32 = 0;

/// Why a packet is refused: its service has no backend.
pub const NO_BACKEND: u32 = 1;

/// Why a packet is refused: nobody has this port of a VIP.
pub const NO_PORT: u32 = 2;

/// Beside [`NO_BACKEND`]: the packet was about to leave, so who tells its sender is on this side of the device.
pub const INSIDE: u32 = 1 << 30;

/// Why a packet is refused: it is larger than `mtu` bytes, 0 if it is not known how much goes. A number and no type of its
/// own, since a verdict has one word of argument.
#[inline(always)]
pub const fn too_big(mtu: u32) -> u32 {
    mtu | 1 << 31
}

/// The drop that a refusal is, and the largest packet that would go.
#[inline(always)]
pub const fn refused(why: u32) -> (DropReason, u32) {
    match why & !INSIDE {
        TTL_EXCEEDED => (DropReason::TtlExceeded, 0),
        NO_BACKEND => (DropReason::NoBackend, 0),
        NO_PORT => (DropReason::NoPort, 0),
        too_big => (DropReason::TooBig, too_big & 0xffff),
    }
}

/// A client that finds nobody is told so by a reset, or by "port unreachable".
#[inline(always)]
pub const fn is_unserved(why: u32) -> bool {
    let why = why & !INSIDE;
    why == NO_BACKEND || why == NO_PORT
}
