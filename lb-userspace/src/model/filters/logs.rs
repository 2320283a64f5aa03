//! What is logged of requests.

use serde::{Deserialize, Serialize};

/// Departures from the usual log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Logs {
    /// Requests have no line in the access log.
    pub no_access: bool,
    /// Paths that a rule changes are logged.
    pub rewrites: bool,
}
