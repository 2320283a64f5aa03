//! How much one client may ask for.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Template;

/// How many times the rate may come at once where nothing else is said.
const BURST_MULTIPLIER: u32 = 5;

/// Limits of one client; all requests of an Ingress count together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RequestLimits {
    /// Requests per second.
    pub per_second: Option<u32>,
    /// Requests per minute.
    pub per_minute: Option<u32>,
    /// How many times the rate may come at once; `None`: five.
    pub burst_multiplier: Option<u32>,
    /// Requests in flight.
    pub in_flight: Option<u32>,
    /// Clients without these limits.
    pub exempt: Vec<IpNet>,
    /// Requests per window over all clients with the same key.
    pub global: Option<GlobalLimit>,
    /// Bytes per second of one answer's body.
    pub bytes_per_second: Option<u64>,
    /// Bytes of an answer's body before that holds.
    pub bytes_before: u64,
    /// Status of requests beyond a rate; `None`: 503.
    pub rate_status: Option<u16>,
    /// Status of requests beyond those in flight; `None`: 503.
    pub flight_status: Option<u16>,
}

/// A limit with a key and a window of one's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GlobalLimit {
    /// Requests per window.
    pub requests: u32,
    /// The window, in milliseconds.
    pub window: u64,
    /// What is counted together.
    pub key: Template,
    /// Clients that are not counted.
    pub exempt: Vec<IpNet>,
}

impl RequestLimits {
    /// How many requests may come at once at this rate.
    pub fn burst(&self, rate: u32) -> u32 {
        rate.saturating_mul(self.burst_multiplier.unwrap_or(BURST_MULTIPLIER)).max(1)
    }

    /// The limits of requests hold for this client.
    pub fn hold_for(&self, client: IpAddr) -> bool {
        !contains(&self.exempt, client)
    }
}

impl GlobalLimit {
    /// This client counts.
    pub fn holds_for(&self, client: IpAddr) -> bool {
        !contains(&self.exempt, client)
    }
}

fn contains(networks: &[IpNet], client: IpAddr) -> bool {
    let client = client.to_canonical();
    networks.iter().any(|network| network.contains(&client))
}
