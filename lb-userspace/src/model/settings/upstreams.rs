//! Connections to backends.

use serde::{Deserialize, Serialize};

/// How connections to backends are kept; what is not said holds as in [`crate::l7::pool`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct UpstreamSettings {
    /// Most idle ones to one endpoint, of each core.
    pub idle: Option<u32>,
    /// How long one may be idle, in milliseconds.
    pub idle_time: Option<u64>,
    /// How long one may have been idle for a request that must not be sent twice, in milliseconds; 0: it gets one of its own.
    pub idle_time_once: Option<u64>,
    /// How old one may be when it is used again, in milliseconds.
    pub age: Option<u64>,
    /// Requests on one.
    pub requests: Option<u32>,
    /// Requests that may have been seen are sent again even if that could do harm.
    pub retry_all: bool,
    /// Names outside of the cluster are asked for addresses of IPv4 only.
    pub ipv4_names: bool,
}
