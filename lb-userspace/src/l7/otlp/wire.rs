//! Spans as OTLP has them in JSON: integers of 64 bits as text, ids in hexadecimal.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::Span;

/// The kind of spans of whoever answers (`SPAN_KIND_SERVER`).
pub(super) const SERVER: u8 = 2;

/// A name and a value.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Attribute {
    key: &'static str,
    value: Value,
}

impl Attribute {
    /// Bytes of memory, about: a value is a map of one entry.
    pub(super) fn bytes(&self) -> usize {
        const OVERHEAD: usize = 256;
        let text = self.value.as_object().and_then(|value| value.values().next()?.as_str());
        OVERHEAD + text.map_or(0, str::len)
    }
}

/// What a request was: its failure is one of the server.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Status {
    code: u8,
}

impl Status {
    /// An error is what begins with 5; other statuses are left to whoever reads them (`STATUS_CODE_UNSET`).
    pub(super) fn of(status: u16) -> Self {
        Status { code: if status >= 500 { 2 } else { 0 } }
    }
}

/// What values of attributes are made of.
pub(super) enum Content {
    Text(String),
    Number(i64),
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Content::Text(text.to_owned())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Content::Text(text)
    }
}

impl From<i64> for Content {
    fn from(number: i64) -> Self {
        Content::Number(number)
    }
}

pub(super) fn attribute(key: &'static str, value: impl Into<Content>) -> Attribute {
    let value = match value.into() {
        Content::Text(text) => json!({ "stringValue": text }),
        Content::Number(number) => json!({ "intValue": number.to_string() }),
    };
    Attribute { key, value }
}

pub(super) fn nanoseconds<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    to.collect_str(&since.as_nanos())
}

/// The body of a request to a collector.
pub(super) fn request(node: &str, service: &str, spans: &[Span]) -> Vec<u8> {
    let resource = [
        attribute("service.name", service),
        attribute("service.version", env!("CARGO_PKG_VERSION")),
        attribute("host.name", node),
    ];
    let scope = json!({ "name": "weir", "version": env!("CARGO_PKG_VERSION") });
    let body = json!({ "resourceSpans": [{
        "resource": { "attributes": resource },
        "scopeSpans": [{ "scope": scope, "spans": spans }],
    }] });
    body.to_string().into_bytes()
}
