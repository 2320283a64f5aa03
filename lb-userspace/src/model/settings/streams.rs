//! Connections of TCP ports that the front serves.

use serde::{Deserialize, Serialize};

/// How they are passed on. Those of other ports go by the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StreamSettings {
    /// Without a byte either way, in milliseconds.
    pub idle: u64,
    /// Another endpoint is tried if one cannot be reached.
    pub next: bool,
    /// For so long, in milliseconds; 0: without end.
    pub next_time: u64,
    /// So many altogether; 0: all.
    pub tries: u32,
}

impl Default for StreamSettings {
    fn default() -> Self {
        StreamSettings { idle: 600_000, next: true, next_time: 600_000, tries: 3 }
    }
}
