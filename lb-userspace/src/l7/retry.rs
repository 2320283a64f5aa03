//! How often requests may be repeated.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::filters::Retry;

/// Each request lets this part of a further one be sent.
const PART: f64 = 0.2;
/// And each second so many, for when there are few requests.
const PER_SECOND: f64 = 10.0;
/// What is saved up at most.
const MOST: f64 = 100.0;

/// Keeps repeated requests from making an overload worse: a share of what is asked anyway.
#[derive(Debug)]
pub struct Budget {
    left: Cell<f64>,
    at: Cell<Instant>,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { left: Cell::new(MOST), at: Cell::new(Instant::now()) }
    }
}

impl Budget {
    /// A request came.
    pub fn deposit(&self) {
        self.left.set((self.left.get() + PART).min(MOST));
    }

    /// Whether a request may be sent once more; it counts then.
    pub fn withdraw(&self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at.replace(now)).as_secs_f64();
        let left = (self.left.get() + passed * PER_SECOND).min(MOST);
        let granted = left >= 1.0;
        self.left.set(if granted { left - 1.0 } else { left });
        granted
    }
}

/// Why an attempt gave no answer to pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no connection, or it broke.
    Error,
    /// Something took too long.
    Timeout,
    /// The answer cannot be passed on.
    Invalid,
    /// The answer's status.
    Status(u16),
}

/// What one request may do.
#[derive(Debug)]
pub struct Attempts<'a> {
    asked: Option<&'a Retry>,
    started: Instant,
    made: u32,
}

impl<'a> Attempts<'a> {
    /// Before the first; `None` asks for what is usual.
    pub fn new(asked: Option<&'a Retry>) -> Self {
        Attempts { asked, started: Instant::now(), made: 0 }
    }

    /// One more endpoint is tried.
    pub fn begin(&mut self) {
        self.made += 1;
    }

    /// It is one that another endpoint may make good.
    pub fn is_failure(&self, failure: Failure) -> bool {
        match (self.asked, failure) {
            (Some(retry), Failure::Error) => retry.on_error,
            (Some(retry), Failure::Timeout) => retry.on_timeout,
            (Some(retry), Failure::Invalid) => retry.on_invalid,
            (Some(retry), Failure::Status(status)) => retry.on_status.contains(&status),
            (None, Failure::Error | Failure::Timeout) => true,
            (None, Failure::Invalid | Failure::Status(_)) => false,
        }
    }

    /// Another endpoint may be tried, as far as what is asked for goes.
    pub fn go_on(&self, failure: Failure, now: Instant) -> bool {
        let usual = Retry::default();
        let retry = self.asked.unwrap_or(&usual);
        let in_time = retry.timeout == 0 || now - self.started < Duration::from_millis(retry.timeout);
        self.is_failure(failure) && in_time && (retry.tries == 0 || self.made < retry.tries)
    }

    /// Requests that may have been acted upon are repeated even if that does harm.
    pub fn repeats_all(&self) -> bool {
        self.asked.is_some_and(|retry| retry.repeats_all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_may_be_repeated() {
        let (budget, start) = (Budget::default(), Instant::now());
        let repeated = |requests: usize| {
            (0..requests)
                .filter(|_| {
                    budget.deposit();
                    budget.withdraw(start)
                })
                .count()
        };
        // What was saved up, and then every fifth.
        assert!((124..=125).contains(&repeated(125)));
        assert!((199..=201).contains(&repeated(1000)));
        assert_eq!((0..20).filter(|_| budget.withdraw(start + Duration::from_secs(1))).count(), 10);
    }

    #[test]
    fn conditions_times_and_tries() {
        let now = Instant::now();
        let retry = Retry { on_error: false, on_status: vec![503], tries: 2, timeout: 1000, ..Retry::default() };
        let mut attempts = Attempts { asked: Some(&retry), started: now, made: 0 };
        attempts.begin();
        assert!(attempts.go_on(Failure::Timeout, now) && attempts.go_on(Failure::Status(503), now));
        assert!(!attempts.go_on(Failure::Error, now) && !attempts.go_on(Failure::Status(500), now));
        assert!(!attempts.go_on(Failure::Timeout, now + Duration::from_secs(1)));
        attempts.begin();
        assert!(!attempts.go_on(Failure::Timeout, now));
        let mut usual = Attempts { asked: None, started: now, made: 0 };
        (0..2).for_each(|_| usual.begin());
        assert!(usual.go_on(Failure::Error, now) && !usual.go_on(Failure::Invalid, now));
        usual.begin();
        assert!(!usual.go_on(Failure::Error, now));
    }
}
