//! When another endpoint is tried, and how often.

use serde::{Deserialize, Serialize};

/// How many endpoints one request tries where nothing else is said.
const TRIES: u32 = 3;

/// What counts as a failure of an endpoint that another one may make good, and how far that goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Retry {
    /// There is no connection, or it broke.
    pub on_error: bool,
    /// Something took too long.
    pub on_timeout: bool,
    /// The answer could not be read.
    pub on_invalid: bool,
    /// The answer has one of these statuses.
    pub on_status: Vec<u16>,
    /// Requests that may have been acted upon are repeated even if that does harm (POST, PATCH).
    pub repeats_all: bool,
    /// Endpoints that one request tries; 0: all.
    pub tries: u32,
    /// No further endpoint is tried after so many milliseconds; 0: no limit.
    pub timeout: u64,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            on_error: true,
            on_timeout: true,
            on_invalid: false,
            on_status: Vec::new(),
            repeats_all: false,
            tries: TRIES,
            timeout: 0,
        }
    }
}

impl Retry {
    /// With conditions none of which is set.
    pub fn never() -> Self {
        Retry { on_error: false, on_timeout: false, ..Retry::default() }
    }
}
