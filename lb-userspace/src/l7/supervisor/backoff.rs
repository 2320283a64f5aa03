//! When a process that ended is started again: pure.

use std::time::Duration;

/// A process that lived so long did not fail at its start.
const STABLE: Duration = Duration::from_secs(10);
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Waits longer each time a process fails soon after its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait after a process that lived so long. Nothing at the first failure.
    pub(super) fn after(&mut self, lived: Duration) -> Duration {
        if lived >= STABLE {
            self.failures = 0;
        }
        let wait = match self.failures {
            0 => Duration::ZERO,
            failures => FIRST.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST),
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
        assert_eq!([after(0), after(0), after(0), after(0)], [0, 100, 200, 400]);
        for _ in 0..100 {
            assert!(after(1) <= 5000);
        }
        assert_eq!([after(9), after(10), after(0)], [5000, 0, 100]);
    }
}
