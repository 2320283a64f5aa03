//! Headers of answers.

use serde::{Deserialize, Serialize};

use crate::model::filters::Template;

/// Headers of all answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AnswerSettings {
    /// Added to every answer; names in lower case.
    pub add: Vec<(String, Template)>,
    /// Taken out of what backends answer; names in lower case.
    pub hide: Vec<String>,
    /// The backend's `Server` reaches the client.
    pub server_of_backend: bool,
    /// The front names itself in `Server`.
    pub server: bool,
}

impl Default for AnswerSettings {
    fn default() -> Self {
        AnswerSettings { add: Vec::new(), hide: Vec::new(), server_of_backend: true, server: false }
    }
}
