//! Every metric: name, labels and help text.

mod ingress_nginx;
mod labels;
mod scrape;

#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

pub use scrape::Scrape;

use crate::sink::{Change, Sink};
use labels::ProblemLabels;

/// Content type of what [`Metrics::render`] makes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the agent counts itself; everything else is read when somebody asks.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    problems: Family<ProblemLabels, Gauge>,
    reconcile_duration: Histogram,
    reconcile_writes: Counter,
    reconcile_failures: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        // 1 ms to 16 s.
        let reconcile_duration = Histogram::new(exponential_buckets(0.001, 2.0, 15));
        let (problems, reconcile_writes, reconcile_failures) = Default::default();
        let mut metrics = Self { registry: weir(), problems, reconcile_duration, reconcile_writes, reconcile_failures };
        metrics.register();
        metrics
    }
}

/// A registry whose names begin with `weir_`.
fn weir() -> Registry {
    Registry::with_prefix("weir")
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("problems", "Problems that there are, by severity and code", self.problems.clone());
        registry.register_with_unit(
            "reconcile_duration",
            "Time from a set of objects to the maps that hold it",
            Unit::Seconds,
            self.reconcile_duration.clone(),
        );
        registry.register("reconcile_writes", "Entries written to or deleted from maps", self.reconcile_writes.clone());
        registry.register(
            "reconcile_failures",
            "Passes after which a write had to be tried again",
            self.reconcile_failures.clone(),
        );
    }

    /// Counts one pass of the reconciler.
    pub fn reconciled(&self, took: Duration, writes: usize, failed: bool) {
        self.reconcile_duration.observe(took.as_secs_f64());
        self.reconcile_writes.inc_by(writes as u64);
        self.reconcile_failures.inc_by(u64::from(failed));
    }

    /// All metrics as OpenMetrics text.
    pub fn render(&self, scrape: &Scrape) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode_registry(&mut text, &self.registry);
        let _ = encode_registry(&mut text, &scrape.registry());
        if scrape.as_ingress_nginx {
            let _ = ingress_nginx::write(&mut text, scrape);
        }
        let _ = encode_eof(&mut text);
        text
    }

    /// The sink that counts Problems.
    pub fn problem_sink(&self) -> ProblemSink {
        ProblemSink { problems: self.problems.clone() }
    }
}

/// Counts Problems in `weir_problems`.
#[derive(Debug)]
pub struct ProblemSink {
    problems: Family<ProblemLabels, Gauge>,
}

impl Sink for ProblemSink {
    fn accept(&mut self, change: &Change) {
        self.problems.clear();
        for problem in change.all.iter() {
            self.problems.get_or_create(&ProblemLabels::of(problem)).inc();
        }
    }
}

/// A counter that stands at a value read elsewhere.
fn counter_at(value: u64) -> Counter<u64, AtomicU64> {
    let counter = Counter::default();
    counter.inc_by(value);
    counter
}
