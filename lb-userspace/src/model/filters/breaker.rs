//! How much is asked of an endpoint at once.

use serde::{Deserialize, Serialize};

/// Bounds of what one endpoint is asked at once, by the front of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Breaker {
    /// Requests that may be with it; over HTTP/1 that is connections. 0: no bound.
    pub connections: u32,
    /// Requests that may wait for that.
    pub pending: u32,
}

impl Breaker {
    /// In a few words.
    pub fn label(&self) -> String {
        format!("max-connections {}, pending {}", self.connections, self.pending)
    }
}
