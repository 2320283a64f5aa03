//! Endpoints that fail are left out for a while: passive, from what requests meet.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// So many requests in a row have to fail for an endpoint to be left out that does take connections.
const IN_A_ROW: u32 = 3;
/// The time doubles with each failure in a row, so often.
const DOUBLINGS: u32 = 5;

/// Whether an endpoint fails.
#[derive(Debug, Default)]
pub struct Health {
    until: Cell<Option<Instant>>,
    /// Requests in a row that failed.
    failed: Cell<u32>,
    /// Times in a row that it was left out.
    times: Cell<u32>,
}

impl Health {
    /// It is left out now: tried only if there is no other.
    pub fn is_ejected(&self, now: Instant) -> bool {
        self.until.get().is_some_and(|until| until > now)
    }

    /// It took no connection: left out at once.
    pub fn unreachable(&self, base: Duration, now: Instant) {
        let times = self.times.get();
        self.until.set(Some(now + base * (1 << times.min(DOUBLINGS))));
        self.times.set(times.saturating_add(1));
    }

    /// It took a request and gave no answer that can be used.
    pub fn failed(&self, base: Duration, now: Instant) {
        let failed = self.failed.get() + 1;
        self.failed.set(failed % IN_A_ROW);
        if failed == IN_A_ROW {
            self.unreachable(base, now);
        }
    }

    /// It answered.
    pub fn succeeded(&self) {
        self.until.set(None);
        self.failed.set(0);
        self.times.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_secs(2);

    /// How long it is left out, in seconds.
    fn out(health: &Health, now: Instant) -> u64 {
        (0..1000).find(|&seconds| !health.is_ejected(now + Duration::from_secs(seconds))).expect("an end")
    }

    #[test]
    fn the_time_doubles_until_it_answers() {
        let (health, now) = (Health::default(), Instant::now());
        let times: Vec<_> = (0..7)
            .map(|_| {
                health.unreachable(BASE, now);
                out(&health, now)
            })
            .collect();
        assert_eq!(times, [2, 4, 8, 16, 32, 64, 64]);
        health.succeeded();
        assert_eq!(out(&health, now), 0);
        health.unreachable(BASE, now);
        assert_eq!(out(&health, now), 2);
    }

    #[test]
    fn requests_have_to_fail_in_a_row() {
        let (health, now) = (Health::default(), Instant::now());
        for _ in 0..10 {
            health.failed(BASE, now);
            health.failed(BASE, now);
            assert_eq!(out(&health, now), 0);
            health.succeeded();
        }
        for _ in 0..3 {
            health.failed(BASE, now);
        }
        assert_eq!(out(&health, now), 2);
    }
}
