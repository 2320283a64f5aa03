//! What the front needs to speak TLS: certificates, and which host has which.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Certificate;

/// All of TLS. Travels to the front with the routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Tls {
    /// Certificates by their Secret, `namespace/name`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub certificates: BTreeMap<String, Arc<Certificate>>,
    /// What holds for a host. Keys as those of routes, but there is none for any host.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, TlsHost>,
    /// The Secret with the certificate for everything else; `None`: the front makes one itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// What holds for one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TlsHost {
    /// The Secret with its certificate, `namespace/name`; `None`: it has the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

impl Tls {
    /// What holds for a host: its own entry, else that of a wildcard, which stands for one label.
    pub fn of_host(&self, host: &str) -> Option<&TlsHost> {
        let wildcard = || self.hosts.get(&format!("*.{}", host.split_once('.')?.1));
        self.hosts.get(host).or_else(wildcard)
    }
}

/// One line per host.
impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(secret) = &self.default {
            writeln!(f, "tls default: {secret}")?;
        }
        self.hosts.iter().try_for_each(|(host, entry)| {
            writeln!(f, "tls {host}: {}", entry.certificate.as_deref().unwrap_or("default certificate"))
        })
    }
}
