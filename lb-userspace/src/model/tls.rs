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
    /// What holds for a host. Keys as those of routes: `*` is any host.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, TlsHost>,
    /// Who has signed certificates of clients, by Secret.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub authorities: BTreeMap<String, Arc<Authorities>>,
    /// There is no HTTPS, so nobody is sent there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub off: bool,
    /// The Secret with the certificate for everything else; `None`: the front makes one itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// Who has signed certificates of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Authorities {
    /// Their own certificates, in PEM.
    pub certificates: String,
    /// Lists of what they have revoked, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
}

/// The certificate that clients are asked for in the handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClientAsk {
    /// Key in [`Tls::authorities`].
    pub authorities: String,
    /// So many authorities may stand between it and one of those.
    pub depth: u8,
}

/// What holds for one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TlsHost {
    /// The Secret with its certificate, `namespace/name`; `None`: it has the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// An Ingress lists it under `spec.tls`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub listed: bool,
    /// Clients are asked for a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientAsk>,
    /// Connections go as they are to this upstream; empty: to none that there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passthrough: Option<String>,
    /// Suites of TLS 1.2 that are offered, by the names of OpenSSL; empty: those of the front.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ciphers: Vec<String>,
    /// Whether the front's order of suites counts; `None`: as for other hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_order: Option<bool>,
}

impl Tls {
    /// What holds for a host: its own entry, else that of a wildcard, which stands for one label, else that of any host.
    pub fn of_host(&self, host: &str) -> Option<&TlsHost> {
        let wildcard = || self.hosts.get(&format!("*.{}", host.split_once('.')?.1));
        self.hosts.get(host).or_else(wildcard).or_else(|| self.hosts.get("*"))
    }
}

/// One line per host.
impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(secret) = &self.default {
            writeln!(f, "tls default: {secret}")?;
        }
        self.hosts.iter().try_for_each(|(host, entry)| {
            let certificate = entry.certificate.as_deref().unwrap_or("default certificate");
            let client = entry.client.as_ref().map(|ask| format!(", clients of {}", ask.authorities));
            match &entry.passthrough {
                Some(upstream) => writeln!(f, "tls {host}: passed through to {upstream}"),
                None => writeln!(f, "tls {host}: {certificate}{}", client.unwrap_or_default()),
            }
        })
    }
}
