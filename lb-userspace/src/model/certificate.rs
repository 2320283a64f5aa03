//! A certificate with its key.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A certificate that is good: [`crate::x509`] has read it. The key is never shown, and wiped from memory with the last
/// copy.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// The chain in PEM, the server's own first.
    pub chain: String,
    /// Its key in PEM.
    pub key: Zeroizing<String>,
    /// What its authority says about its revocation (RFC 6960), in DER; sent along with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staple: Option<Vec<u8>>,
    /// The hosts that it is for: lower case, `*.suffix` for exactly one label more.
    pub names: Vec<String>,
    /// Seconds since 1970 from which it is valid.
    pub not_before: i64,
    /// Seconds since 1970 until which it is valid.
    pub not_after: i64,
}

impl Certificate {
    /// It is for this host.
    pub fn covers(&self, host: &str) -> bool {
        let suffix = host.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, suffix)| suffix);
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(below) => name == host || suffix == Some(below),
            None => name == host,
        })
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Certificate { names, not_before, not_after, .. } = self;
        f.debug_struct("Certificate")
            .field("names", names)
            .field("not_before", not_before)
            .field("not_after", not_after)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_one_label() {
        let certificate = Certificate {
            chain: String::new(),
            key: Zeroizing::new("secret".to_owned()),
            staple: None,
            names: vec!["a.example".to_owned(), "*.b.example".to_owned()],
            not_before: 0,
            not_after: 0,
        };
        for (host, covered) in [
            ("a.example", true),
            ("x.a.example", false),
            ("x.b.example", true),
            ("*.b.example", true),
            ("b.example", false),
            ("x.y.b.example", false),
            (".b.example", false),
        ] {
            assert_eq!(certificate.covers(host), covered, "{host}");
        }
        assert!(!format!("{certificate:?}").contains("secret"));
    }
}
