//! Secret (v1). Of its values only those are kept that something may need, and none is ever shown.
#![allow(missing_docs, reason = "fields of the Kubernetes API")]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Metadata, SecretReference};
use crate::model::{Certificate, PasswordHash};
use crate::x509::{self, Fault};

/// Keys whose values are kept as they are: users and passwords in the form of htpasswd, and authorities.
const KEPT: [&str; 3] = ["auth", x509::AUTHORITIES, x509::REVOKED];

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Written")]
pub struct Secret {
    pub metadata: Metadata,
    pub secret_type: Option<String>,
    /// Decoded, `stringData` included.
    pub data: BTreeMap<String, SecretValue>,
    /// The certificate with its key, if there is any sign of one.
    pub pair: Option<Pair>,
}

/// What became of a certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pair {
    /// It can be used.
    Good(Arc<Certificate>),
    /// It cannot.
    Bad {
        /// Why.
        fault: Fault,
        /// The one that the same Secret held before, which goes on.
        before: Option<Arc<Certificate>>,
    },
}

impl Pair {
    /// The certificate to use.
    pub fn usable(&self) -> Option<&Arc<Certificate>> {
        match self {
            Pair::Good(certificate) => Some(certificate),
            Pair::Bad { before, .. } => before.as_ref(),
        }
    }
}

impl Secret {
    /// This Secret takes the place of an older one: a certificate that cannot be used does not take the place of one
    /// that can.
    pub fn succeed(&mut self, older: &Secret) {
        if let Some(Pair::Bad { before, .. }) = &mut self.pair {
            *before = older.pair.as_ref().and_then(Pair::usable).cloned();
        }
    }
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

type Values = BTreeMap<String, Zeroizing<Vec<u8>>>;

impl From<Written> for Secret {
    /// A value that is not in base64 is as good as missing, which whoever needs it says.
    fn from(written: Written) -> Self {
        let decode = |text: String| STANDARD.decode(text.split_ascii_whitespace().collect::<String>()).ok();
        let encoded = written.data.into_iter().filter_map(|(key, text)| Some((key, decode(text?)?)));
        let plain = written.string_data.into_iter().filter_map(|(key, text)| Some((key, text?.into_bytes())));
        let values: Values = encoded.chain(plain).map(|(key, value)| (key, Zeroizing::new(value))).collect();
        let is_tls = written.secret_type.as_deref() == Some("kubernetes.io/tls");
        let pair = pair(&values, is_tls);
        let kept = values.into_iter().filter(|(key, value)| is_needed(key, value));
        let data = kept.map(|(key, value)| (key, SecretValue(value.as_slice().into()))).collect();
        Secret { metadata: written.metadata, secret_type: written.secret_type, data, pair }
    }
}

/// Users with their passwords have keys of their own where each is a value by itself. Passwords of routers are called so.
fn is_needed(key: &str, value: &[u8]) -> bool {
    KEPT.contains(&key)
        || key.contains(SecretReference::PASSWORD)
        || std::str::from_utf8(value).is_ok_and(|text| PasswordHash::parse(text).is_ok())
}

fn pair(values: &Values, is_tls: bool) -> Option<Pair> {
    let value = |key| values.get(key).map(|value: &Zeroizing<Vec<u8>>| value.as_slice());
    let (chain, key) = (value(x509::CHAIN), value(x509::KEY));
    if chain.is_none() && key.is_none() && !is_tls {
        return None;
    }
    let read = x509::certificate(chain.unwrap_or_default(), key.unwrap_or_default(), value(x509::STAPLE));
    Some(match read {
        Ok(certificate) => Pair::Good(Arc::new(certificate)),
        Err(fault) => Pair::Bad { fault, before: None },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::tests::self_signed;

    fn secret(chain: &str, key: &str) -> Secret {
        let string_data = [("tls.crt", chain), ("tls.key", key), ("other", "x"), ("ca.crt", "y")];
        let string_data = string_data.map(|(key, value)| (key.to_owned(), Some(value.to_owned()))).into();
        Written { string_data, ..Written::default() }.into()
    }

    #[test]
    fn only_what_may_be_needed_is_kept_and_nothing_is_shown() {
        let (chain, key) = self_signed(&["a.example"], &rcgen::PKCS_ED25519);
        let good = secret(&chain, &key);
        assert_eq!(good.data.keys().collect::<Vec<_>>(), ["ca.crt"]);
        assert!(matches!(&good.pair, Some(Pair::Good(_))));
        let secret_part = key.lines().nth(1).expect("a line of the key");
        assert!(!format!("{good:?}").contains(secret_part), "{good:?}");
        assert_eq!(Secret::from(Written::default()).pair, None);
    }

    #[test]
    fn a_bad_certificate_does_not_take_the_place_of_a_good_one() {
        let (chain, key) = self_signed(&["a.example"], &rcgen::PKCS_ED25519);
        let good = secret(&chain, &key);
        let mut bad = secret(&chain, "");
        assert_eq!(bad.pair.as_ref().and_then(Pair::usable), None);
        bad.succeed(&good);
        assert_eq!(bad.pair.as_ref().and_then(Pair::usable), good.pair.as_ref().and_then(Pair::usable));
        let mut worse = secret("", "");
        worse.succeed(&bad);
        assert!(worse.pair.as_ref().and_then(Pair::usable).is_some());
    }
}
