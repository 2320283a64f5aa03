//! Headers that a route adds or changes.

use serde::{Deserialize, Serialize};

use super::Template;

/// Headers of requests and answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Headers {
    /// Host for the backend.
    pub host: Option<Template>,
    /// X-Forwarded-Prefix for the backend.
    pub prefix: Option<Template>,
    /// The backend is asked to close the connection after its answer.
    pub close: bool,
    /// Headers of answers, which replace the backend's; names in lower case.
    pub answer: Vec<(String, Template)>,
    /// In Location and Refresh of answers, text that is replaced at the beginning.
    pub location: Option<Replace>,
    /// The Domain of cookies that the backend sets.
    pub cookie_domain: Option<Replace>,
    /// Their Path.
    pub cookie_path: Option<Replace>,
}

/// A text at the beginning of a value, and what takes its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replace {
    /// What is replaced.
    pub from: String,
    /// By this.
    pub to: Template,
}
