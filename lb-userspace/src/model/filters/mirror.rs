//! Copies of requests for somebody else.

use serde::{Deserialize, Serialize};

use super::Template;

/// Where a copy of each request goes; its answer goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mirror {
    /// The URL.
    pub target: Template,
    /// The Host; `None`: that of the URL.
    pub host: Option<Template>,
    /// The body is sent too.
    pub body: bool,
}
