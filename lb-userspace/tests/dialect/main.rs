//! The dialect of ingress-nginx from manifest to wire: curl asks the real `weir front`, and what is asserted is what the
//! client and what the backend received.

#![allow(clippy::disallowed_methods, reason = "tests wait with deadlines")]

mod access;
mod affinity;
mod asset_fallback;
mod backends;
mod balancing;
mod basic;
mod bounds;
mod breaker;
mod browser;
mod buffering;
mod canary;
mod certificates;
mod change;
mod clients;
mod compression;
mod configmap;
mod cors;
mod errors;
mod explain;
mod external;
mod external_auth;
mod grpc;
mod harness;
mod headers;
mod health;
mod host_policy;
mod hosts;
mod http2;
#[cfg(feature = "http3")]
mod http3;
mod limits;
mod load;
mod logs;
mod mirror;
mod nginx;
#[cfg(feature = "otlp")]
mod otlp;
mod pod;
mod pressure;
mod proxied;
mod proxying;
mod redirects;
mod retries;
mod rolls;
mod secrets;
mod secure;
mod secure_pod;
mod secured;
mod slashes;
mod slow;
mod streams;
mod suites;
mod timeouts;
mod tls;
mod traffic;
mod trailers;
mod tunnels;
mod websocket;
