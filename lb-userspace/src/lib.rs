//! weir: the agent, the layer 7 front and the command line.
//!
//! Data flows one way:
//!
//! ```text
//! source ─> Objects ─translate─> DesiredState ─compile─> Tables ─diff─> Plan ─> dataplane ─> maps
//!                      (pure)                  (pure)  └> RouteTable ─────────> front
//! ```

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests wait with deadlines and measure"))]

pub mod admin;
pub mod agent;
pub mod announce;
pub mod check;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod commands;
pub mod compile;
pub mod config;
pub mod dataplane;
pub mod diff;
pub mod expiry;
pub mod l7;
pub mod metrics;
pub mod migrate;
pub mod model;
pub mod plan;
pub mod pools;
pub mod reconcile;
#[cfg(test)]
mod reference;
pub mod sink;
pub mod siphash;
pub mod sockets;
pub mod source;
pub mod status;
pub mod tables;
pub mod telemetry;
pub mod translate;
pub mod webhook;
pub mod x509;
