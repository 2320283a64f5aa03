//! Secret (v1). Of its values only those are kept that something may need, and none is ever shown.
#![allow(missing_docs, reason = "fields of the Kubernetes API")]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Metadata;
use crate::model::PasswordHash;

/// Keys with users and passwords, in the form of htpasswd.
const KEPT: [&str; 1] = ["auth"];

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Written")]
pub struct Secret {
    pub metadata: Metadata,
    pub secret_type: Option<String>,
    /// Decoded, `stringData` included.
    pub data: BTreeMap<String, SecretValue>,
}

/// A value of a Secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretValue(pub Arc<[u8]>);

impl SecretValue {
    /// The value, if it is text.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Written {
    metadata: Metadata,
    #[serde(rename = "type")]
    secret_type: Option<String>,
    data: BTreeMap<String, Option<String>>,
    string_data: BTreeMap<String, Option<String>>,
}

impl From<Written> for Secret {
    /// A value that is not in base64 is as good as missing, which whoever needs it says.
    fn from(written: Written) -> Self {
        let decode = |text: String| STANDARD.decode(text.split_ascii_whitespace().collect::<String>()).ok();
        let encoded = written.data.into_iter().filter_map(|(key, text)| Some((key, decode(text?)?)));
        let plain = written.string_data.into_iter().filter_map(|(key, text)| Some((key, text?.into_bytes())));
        let kept = encoded.chain(plain).filter(|(key, value)| is_needed(key, value));
        let data = kept.map(|(key, value)| (key, SecretValue(value.into()))).collect();
        Secret { metadata: written.metadata, secret_type: written.secret_type, data }
    }
}

/// Users with their passwords have keys of their own where each is a value by itself.
fn is_needed(key: &str, value: &[u8]) -> bool {
    KEPT.contains(&key) || std::str::from_utf8(value).is_ok_and(|text| PasswordHash::parse(text).is_ok())
}
