//! Redirects to somewhere else.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Template;

/// An answer that sends the client elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Redirect {
    /// Status, one of 3xx.
    pub status: u16,
    /// Where to.
    pub to: Template,
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.to)
    }
}
