//! When a process that ended is started again: pure.

use std::time::Duration;

/// A process that lived so long did not fail at its start.
const STABLE: Duration = Duration::from_secs(10);
/// So many failures in a row cost no time: a request that ends the process is no reason to keep others waiting.
const AT_ONCE: u32 = 3;
const FIRST: Duration = Duration::from_millis(50);
/// A start takes some ten milliseconds of a processor. Who comes meanwhile waits in the kernel, for less than a second.
const LONGEST: Duration = Duration::from_millis(500);

/// Waits longer each time a process fails soon after its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait after a process that lived so long.
    pub(super) fn after(&mut self, lived: Duration) -> Duration {
        if lived >= STABLE {
            self.failures = 0;
        }
        let wait = match self.failures.checked_sub(AT_ONCE) {
            None => Duration::ZERO,
            Some(more) => FIRST.saturating_mul(1 << more.min(16)).min(LONGEST),
        };
        self.failures = self.failures.saturating_add(1);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_forgotten() {
        let mut backoff = Backoff::default();
        let mut after = |seconds| backoff.after(Duration::from_secs(seconds)).as_millis();
        assert_eq!([after(0), after(0), after(0), after(0), after(0), after(0)], [0, 0, 0, 50, 100, 200]);
        for _ in 0..100 {
            assert!(after(1) <= 500);
        }
        assert_eq!([after(9), after(10), after(0)], [500, 0, 0]);
    }
}
