//! What is said of an outage of the API server: at once, then rarely, and when it is over. The time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use super::reach::Failing;
use crate::model::problem::code;
use crate::model::{ObjectRef, Problem};

/// A log is reminded this long after the beginning ...
const FIRST_REMINDER: Duration = Duration::from_secs(600);
/// ... and then this often.
const REMINDERS: Duration = Duration::from_secs(3600);

/// An outage, if there is one.
#[derive(Debug, Default)]
pub(super) struct Outage {
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    since: Instant,
    remind: Instant,
    why: String,
}

impl Outage {
    /// Takes what cannot be read now.
    pub(super) fn observe(&mut self, failing: Failing, now: Instant) {
        match (&self.current, failing.into_values().next().map(|failure| failure.why)) {
            (None, Some(why)) => self.current = Some(Current { since: now, remind: now + FIRST_REMINDER, why }),
            (Some(current), None) => {
                tracing::info!(away = ?now - current.since, "the API server answers again");
                self.current = None;
            }
            _ => {}
        }
    }

    /// When the log is to be reminded.
    pub(super) fn next_reminder(&self) -> Option<Instant> {
        self.current.as_ref().map(|current| current.remind)
    }

    /// Reminds the log, if it is time.
    pub(super) fn remind(&mut self, now: Instant) {
        if let Some(current) = self.current.as_mut().filter(|current| current.remind <= now) {
            tracing::warn!(away = ?now - current.since, why = current.why, "the API server still does not answer");
            current.remind = now + REMINDERS;
        }
    }

    /// The Problem that stands meanwhile. It stays the same, whatever fails next: so it is logged once.
    pub(super) fn problem(&self) -> Option<Problem> {
        let current = self.current.as_ref()?;
        let what = format!(
            "the API server does not answer ({}); everything goes on as it last said, and changes are not seen",
            current.why
        );
        Some(Problem::error(code::API_UNREACHABLE, &ObjectRef::default(), what).at("--source", "kube"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kube::reach::Failure;

    fn failing(why: &[&str]) -> Failing {
        let failure = |why: &str| Failure { why: why.to_owned(), tried: Instant::now() };
        why.iter().map(|why| (format!("/{why}"), failure(why))).collect()
    }

    #[test]
    fn an_hour_is_one_problem_and_two_reminders() {
        let start = Instant::now();
        let mut outage = Outage::default();
        assert!(outage.problem().is_none() && outage.next_reminder().is_none());
        outage.observe(failing(&["refused"]), start);
        let problem = outage.problem().unwrap();
        assert!(problem.message.contains("refused"), "{}", problem.message);
        let mut reminded = Vec::new();
        for second in 1..=3600 {
            let now = start + Duration::from_secs(second);
            outage.observe(failing(&["refused", "timed out"]), now);
            if outage.next_reminder().unwrap() <= now {
                outage.remind(now);
                reminded.push(second);
            }
            assert_eq!(outage.problem().as_ref(), Some(&problem));
        }
        assert_eq!(reminded, [600]);
        outage.observe(failing(&[]), start + Duration::from_secs(3601));
        assert!(outage.problem().is_none() && outage.next_reminder().is_none());
    }
}
