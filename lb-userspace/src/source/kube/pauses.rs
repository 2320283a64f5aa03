//! How long to wait before something is tried again: doubled with each failure, and a random part of the same length on top,
//! so that the agents of many nodes do not come all at once.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(500);
const LAST: Duration = Duration::from_secs(15);
/// Failures are forgotten when there was none for so long.
const FORGOTTEN: Duration = Duration::from_secs(120);

/// The pauses of one watch.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    failures: u32,
    last: Option<Instant>,
}

impl Pauses {
    /// After one more failure: from half a second to half a minute.
    pub(super) fn longer(&mut self) -> Duration {
        let now = Instant::now();
        if self.last.is_some_and(|last| now - last > FORGOTTEN) {
            self.failures = 0;
        }
        self.last = Some(now);
        let pause = FIRST.saturating_mul(1 << self.failures.min(16)).min(LAST);
        self.failures = self.failures.saturating_add(1);
        pause + pause.mul_f64(f64::from(random()) / f64::from(u32::MAX))
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.longer())
    }
}

impl Backoff for Pauses {
    /// Asked for with every success, and each attempt to list begins with the success of having begun: time decides.
    fn reset(&mut self) {}
}

/// Random enough to spread requests: the keys of a new hash map.
fn random() -> u32 {
    let [a, b, c, d, ..] = RandomState::new().build_hasher().finish().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_an_end_and_differ() {
        let mut pauses = Pauses::default();
        let waits: Vec<_> = (0..40).map(|_| pauses.longer()).collect();
        assert!((FIRST..=FIRST * 2).contains(&waits[0]) && (FIRST * 2..=FIRST * 4).contains(&waits[1]), "{waits:?}");
        assert!(waits[6..].iter().all(|wait| (LAST..=LAST * 2).contains(wait)), "{waits:?}");
        assert!(waits[6..].iter().any(|wait| *wait != waits[6]), "{waits:?}");
        pauses.reset();
        assert!(pauses.longer() >= LAST);
        tokio::time::advance(FORGOTTEN * 2).await;
        assert!(pauses.longer() <= FIRST * 2);
    }
}
