//! How long answers take: a moving average that follows what is slow at once and forgets it slowly ("peak EWMA", as in
//! Finagle's load balancer).

use std::cell::Cell;

use tokio::time::Instant;

/// After so many seconds an observation counts 1/e of what it did.
const DECAY: f64 = 10.0;

/// The moving average of one endpoint.
#[derive(Debug)]
pub struct Latency {
    /// Seconds.
    average: Cell<f64>,
    at: Cell<Instant>,
}

impl Latency {
    pub(super) fn new(now: Instant) -> Self {
        Latency { average: Cell::new(0.0), at: Cell::new(now) }
    }

    /// An answer took so many seconds.
    pub fn observe(&self, seconds: f64, now: Instant) {
        let average = self.average.get();
        let weight = self.weight(now);
        // A peak counts in full.
        let next = if seconds > average { seconds } else { average * weight + seconds * (1.0 - weight) };
        self.average.set(next);
        self.at.set(now);
    }

    /// What one more request costs there, with so many in flight. One that is not known costs nothing until it has
    /// something to do.
    pub fn cost(&self, in_flight: u32, now: Instant) -> f64 {
        let seconds = self.average.get() * self.weight(now);
        if seconds == 0.0 && in_flight > 0 {
            return f64::from(in_flight);
        }
        seconds * f64::from(in_flight + 1)
    }

    fn weight(&self, now: Instant) -> f64 {
        (-now.saturating_duration_since(self.at.get()).as_secs_f64() / DECAY).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn peaks_count_at_once_and_fade() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let latency = Latency::new(start);
        assert_eq!((latency.cost(0, start), latency.cost(2, start)), (0.0, 2.0));
        latency.observe(0.1, start);
        assert!((latency.cost(0, start) - 0.1).abs() < 1e-9 && (latency.cost(3, start) - 0.4).abs() < 1e-9);
        latency.observe(1.0, after(1));
        assert!((latency.cost(0, after(1)) - 1.0).abs() < 1e-9);
        latency.observe(0.1, after(2));
        assert!(latency.cost(0, after(2)) > 0.8, "one fast answer does not make good a slow one");
        assert!(latency.cost(0, after(32)) < 0.1);
    }
}
