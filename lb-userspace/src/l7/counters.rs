//! What the front counts. Each worker has its own counters and is the only one that writes them.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::hits::Hit;

/// Counters of one worker.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub connections: Counter,
    /// Of those, ended.
    pub connections_ended: Counter,
    /// Requests by the first digit of their status, from 1 to 5.
    pub requests: [Counter; 5],
    /// Requests refused by the guard; they are in `requests` too.
    pub refused: Counter,
    /// Connections on which TLS was to be spoken.
    pub tls_handshakes: Counter,
    /// Of those, without a good handshake.
    pub tls_failures: Counter,
    /// Connections that speak HTTP/2.
    pub http2_connections: Counter,
    /// Connections that speak HTTP/3.
    pub http3_connections: Counter,
    /// Connections to backends opened.
    pub upstream_connections: Counter,
    /// Requests sent on a connection that an earlier request had opened.
    pub upstream_reuses: Counter,
    /// Backends that could not be reached, broke off or answered in a doubtful way.
    pub upstream_failures: Counter,
    /// Requests sent again, to the same or another endpoint.
    pub upstream_retries: Counter,
    /// Lines of the access log that were lost because nobody read it fast enough.
    pub log_lines_lost: Counter,
    /// Spans that were lost because they could not be handed over fast enough.
    pub spans_lost: Counter,
    /// How often a limit was reached, by its number.
    pub limited: [Counter; Hit::ALL.len()],
}

/// A number that one thread raises and another reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds a number.
    pub fn add(&self, number: u64) {
        // One writer: no locked instruction is needed.
        self.0.store(self.get().wrapping_add(number), Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// Counts an answer by its status.
    pub fn count_status(&self, status: u16) {
        if let Some(counter) = usize::from(status / 100).checked_sub(1).and_then(|class| self.requests.get(class)) {
            counter.increment();
        }
    }

    /// Counts a limit that was reached.
    pub fn hit(&self, hit: Option<Hit>) {
        if let Some(counter) = hit.and_then(|hit| self.limited.get(hit as usize)) {
            counter.increment();
        }
    }

    /// The numbers now.
    pub fn read(&self) -> FrontCounters {
        FrontCounters {
            connections: self.connections.get(),
            active_connections: self.connections.get().saturating_sub(self.connections_ended.get()),
            requests: self.requests.each_ref().map(Counter::get),
            refused: self.refused.get(),
            tls_handshakes: self.tls_handshakes.get(),
            tls_failures: self.tls_failures.get(),
            http2_connections: self.http2_connections.get(),
            http3_connections: self.http3_connections.get(),
            upstream_connections: self.upstream_connections.get(),
            upstream_reuses: self.upstream_reuses.get(),
            upstream_failures: self.upstream_failures.get(),
            upstream_retries: self.upstream_retries.get(),
            log_lines_lost: self.log_lines_lost.get(),
            spans_lost: self.spans_lost.get(),
            limited: self.limited.each_ref().map(Counter::get),
            ..FrontCounters::default()
        }
    }
}

/// The counters of a front, summed over its workers. They begin at 0 with each process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontCounters {
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub active_connections: u64,
    /// Requests by the first digit of their status, from 1 to 5.
    pub requests: [u64; 5],
    /// Requests refused because their framing or Host is doubtful; they are in `requests` too.
    pub refused: u64,
    /// Connections on which TLS was to be spoken.
    pub tls_handshakes: u64,
    /// Of those, without a good handshake.
    pub tls_failures: u64,
    /// Connections that speak HTTP/2.
    pub http2_connections: u64,
    /// Connections that speak HTTP/3.
    #[serde(default)]
    pub http3_connections: u64,
    /// Connections to backends opened.
    pub upstream_connections: u64,
    /// Requests sent on a connection that an earlier request had opened.
    pub upstream_reuses: u64,
    /// Backends that could not be reached, broke off or answered in a doubtful way.
    pub upstream_failures: u64,
    /// Requests sent again, to the same or another endpoint.
    pub upstream_retries: u64,
    /// Lines of the access log that were lost.
    pub log_lines_lost: u64,
    /// Spans that were lost.
    #[serde(default)]
    pub spans_lost: u64,
    /// How often a limit was reached, by the number of [`Hit`].
    #[serde(default)]
    pub limited: [u64; Hit::ALL.len()],
    /// Endpoints that are left out now, by what they answer to health checks.
    #[serde(default)]
    pub unhealthy_endpoints: u64,
    /// Health checks.
    #[serde(default)]
    pub health_checks: u64,
    /// Of those, not answered well.
    #[serde(default)]
    pub health_check_failures: u64,
}

impl FrontCounters {
    /// All requests.
    pub fn total_requests(&self) -> u64 {
        self.requests.iter().sum()
    }
}

impl AddAssign for FrontCounters {
    fn add_assign(&mut self, other: Self) {
        self.connections += other.connections;
        self.active_connections += other.active_connections;
        for (sum, part) in self.requests.iter_mut().zip(other.requests) {
            *sum += part;
        }
        self.refused += other.refused;
        self.tls_handshakes += other.tls_handshakes;
        self.tls_failures += other.tls_failures;
        self.http2_connections += other.http2_connections;
        self.http3_connections += other.http3_connections;
        self.upstream_connections += other.upstream_connections;
        self.upstream_reuses += other.upstream_reuses;
        self.upstream_failures += other.upstream_failures;
        self.upstream_retries += other.upstream_retries;
        self.log_lines_lost += other.log_lines_lost;
        self.spans_lost += other.spans_lost;
        for (sum, part) in self.limited.iter_mut().zip(other.limited) {
            *sum += part;
        }
        self.unhealthy_endpoints += other.unhealthy_endpoints;
        self.health_checks += other.health_checks;
        self.health_check_failures += other.health_check_failures;
    }
}
