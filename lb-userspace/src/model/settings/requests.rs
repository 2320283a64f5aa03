//! Headers of requests.

use serde::{Deserialize, Serialize};

use crate::model::filters::Template;

/// What backends get with every request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RequestSettings {
    /// Headers that are set; names in lower case. What an Ingress says is stronger.
    pub set: Vec<(String, Template)>,
    /// Requests without `X-Request-ID` get one.
    pub id: bool,
    /// Requests without a valid `traceparent` get one.
    pub trace: bool,
}

impl Default for RequestSettings {
    fn default() -> Self {
        RequestSettings { set: Vec::new(), id: true, trace: false }
    }
}
