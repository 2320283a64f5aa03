//! The least speed of clients: a byte now and then would hold a request for ever.
//!
//! Counted is only the time in which nobody but the client is waited for. It is owed, bytes pay for it, and more of them than
//! that are no credit: who was fast at first and is slow now is slow.

use std::time::Duration;

use tokio::time::Instant;

/// Least speed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    /// Bytes per second; 0: any speed will do.
    pub rate: u64,
    /// So much may be owed.
    pub grace: Duration,
}

/// What one client owes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Debt {
    since: Option<Instant>,
    owed: Duration,
}

impl Debt {
    /// The client is waited for from now on, if it was not before.
    pub fn wait(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Since when it has been waited for.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// So many bytes have moved, and the client is not waited for now; true if they were too few.
    pub fn pay(&mut self, bytes: u64, now: Instant, floor: Floor) -> bool {
        let waited = self.since.take().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if floor.rate == 0 {
            return false;
        }
        let paid = Duration::from_micros(bytes.saturating_mul(1_000_000) / floor.rate);
        self.owed = (self.owed + waited).saturating_sub(paid);
        self.owed > floor.grace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: Floor = Floor { rate: 100, grace: Duration::from_secs(10) };

    /// After how many waits of a second each it is too slow.
    fn lasts(debt: &mut Debt, bytes: u64, floor: Floor) -> Option<u64> {
        let start = Instant::now();
        (0..1000).find(|&second| {
            let now = start + Duration::from_secs(second);
            debt.wait(now);
            debt.pay(bytes, now + Duration::from_secs(1), floor)
        })
    }

    #[test]
    fn slow_clients_run_out_of_grace() {
        assert_eq!(lasts(&mut Debt::default(), 1, FLOOR), Some(10));
        assert_eq!(lasts(&mut Debt::default(), 50, FLOOR), Some(20));
        assert_eq!(lasts(&mut Debt::default(), 100, FLOOR), None);
        assert_eq!(lasts(&mut Debt::default(), 1, Floor { rate: 0, ..FLOOR }), None);
    }

    #[test]
    fn speed_is_no_credit_and_waits_for_others_cost_nothing() {
        let mut debt = Debt::default();
        let now = Instant::now();
        assert!(!debt.pay(1 << 30, now, FLOOR));
        assert!(!debt.pay(1, now + Duration::from_secs(3600), FLOOR), "nobody waited for it");
        assert_eq!(lasts(&mut debt, 1, FLOOR), Some(10));
    }
}
