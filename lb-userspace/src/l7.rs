//! Layer 7: the process `weir front` and what the agent needs to start and feed it.
//!
//! ```text
//! agent:  RouteTable ─supervisor─ snapshot, delta ─┐ control socket      ┌─ counters, version in force
//! front:                                           └─> Router ─> worker (one per core) ─> backend
//!              client ─> (tls) ─> guard ─> http1 ─> proxy ─(router, balance, pool)──────────────┘
//! ```

pub mod access_log;
pub mod answer;
pub mod balance;
pub mod body;
pub mod canary;
pub mod compress;
pub mod connection;
pub mod control;
pub mod cookies;
pub mod counters;
pub mod delta;
pub mod destination;
pub mod exchange;
pub mod fallback;
pub mod filter;
pub mod forward;
pub mod forwarded;
pub mod front;
pub mod gather;
pub mod grpc;
pub mod guard;
pub mod health;
pub mod hits;
pub mod host;
pub mod http1;
pub mod http2;
#[cfg(feature = "http3")]
pub mod http3;
pub mod limiter;
pub mod mirror;
pub mod names;
#[cfg(feature = "otlp")]
pub mod otlp;
pub mod parameters;
pub mod passthrough;
pub mod password;
pub mod path;
pub mod patience;
pub mod pattern;
pub mod pool;
pub mod proxy;
pub mod proxy_protocol;
pub mod rate;
pub mod record;
pub mod retry;
pub mod rewrite;
pub mod router;
pub mod routing;
pub mod rules;
pub mod secure;
pub mod settings;
pub mod stream;
pub mod subrequest;
pub mod supervisor;
pub mod table;
#[cfg(test)]
pub(crate) mod testing;
pub mod tls;
pub mod trace;
pub mod traffic;
pub mod tunnel;
pub mod verdicts;
pub mod verifier;
pub mod wire;
pub mod worker;

pub use front::{FrontError, front_main};

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
