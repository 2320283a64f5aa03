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
    /// Dropped.
    Drop(DropReason),
}
