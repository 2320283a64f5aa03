//! Conditions of our own kinds, as everywhere in Kubernetes.

use serde::Deserialize;

/// Something that holds of an object, or does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    /// What is said.
    #[serde(rename = "type")]
    pub condition_type: String,
    /// True, False or Unknown.
    #[cfg_attr(test, schemars(extend("enum" = ["True", "False", "Unknown"])))]
    pub status: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// Since when it is so (RFC 3339).
    #[cfg_attr(test, schemars(extend("format" = "date-time")))]
    pub last_transition_time: Option<String>,
    /// The generation of the object that it was said of.
    pub observed_generation: Option<i64>,
}

/// The status of a kind that has nothing but conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, rename_all = "camelCase")]
pub struct OwnStatus {
    /// What holds of the object.
    #[cfg_attr(test, schemars(length(max = 16)))]
    pub conditions: Vec<Condition>,
}
