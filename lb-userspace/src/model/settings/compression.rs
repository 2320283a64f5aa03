//! Coding of answers.

use serde::{Deserialize, Serialize};

use super::TextMatch;

/// Which answers are compressed, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CompressionSettings {
    /// gzip.
    pub gzip: Coding,
    /// brotli.
    pub brotli: Coding,
    /// zstd, which ingress-nginx does not have.
    pub zstd: Coding,
    /// User agents that get no gzip.
    pub no_gzip: Vec<TextMatch>,
}

/// One coding; what is not said holds as in ingress-nginx.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Coding {
    /// It is used.
    pub on: bool,
    /// How hard it tries.
    pub level: Option<u32>,
    /// Shortest body that is compressed, in bytes.
    pub min_length: Option<u64>,
    /// Media types; `*` is any.
    pub types: Option<Vec<String>>,
}
