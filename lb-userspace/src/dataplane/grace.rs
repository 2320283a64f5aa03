//! The end of a grace period: from then on no packet in flight uses what was replaced before.

use std::io;

use super::sys::{self, GraceMap};

/// Waits for grace periods. First choice is a write to a map of maps, whose return the kernel defines as the end of a
/// grace period of all programs (`maybe_wait_bpf_programs`, kernel/bpf/syscall.c, since 4.20: commit 1ae80cf31938).
/// `membarrier(GLOBAL)` takes about as long, but is refused with nohz_full, so it is the second.
#[derive(Default)]
pub(crate) struct Grace {
    map: Option<GraceMap>,
}

impl Grace {
    /// Blocks for some milliseconds.
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        if self.map.is_none() {
            self.map = GraceMap::create().ok();
        }
        match self.map.as_ref().map(GraceMap::wait) {
            Some(Ok(())) => Ok(()),
            _ => sys::membarrier_global(),
        }
    }
}
