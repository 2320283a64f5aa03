//! From the name that a client asks for to a certificate (RFC 6066 section 3).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::model::Certificate;
use crate::x509::{self, Fault};

/// Certificates by name.
#[derive(Debug)]
pub(super) struct Certificates {
    exact: HashMap<Box<str>, Arc<CertifiedKey>>,
    /// By what follows the first label, without its dot.
    wildcard: HashMap<Box<str>, Arc<CertifiedKey>>,
    default: Arc<CertifiedKey>,
}

impl Certificates {
    /// Hosts are exact, or `*.suffix` for one label more.
    pub(super) fn new<'a>(
        hosts: impl Iterator<Item = (&'a str, Arc<CertifiedKey>)>,
        default: Arc<CertifiedKey>,
    ) -> Self {
        let mut certificates = Certificates { exact: HashMap::new(), wildcard: HashMap::new(), default };
        for (host, key) in hosts {
            match host.strip_prefix("*.") {
                Some(suffix) => drop(certificates.wildcard.insert(suffix.into(), key)),
                None => drop(certificates.exact.insert(host.into(), key)),
            }
        }
        certificates
    }

    /// The certificate for a name in lower case.
    pub(super) fn find(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        let Some(name) = name else { return &self.default };
        let wildcard = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(name).or_else(wildcard).unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(normalise);
        Some(Arc::clone(self.find(name.as_deref())))
    }
}

/// The form in which names are looked up.
pub(super) fn normalise(name: &str) -> Box<str> {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into()
}

/// A certificate as handshakes use it.
pub(super) fn prepare(certificate: &Certificate) -> Result<CertifiedKey, Fault> {
    let mut key = x509::certified(certificate.chain.as_bytes(), certificate.key.as_bytes())?;
    key.ocsp.clone_from(&certificate.staple);
    Ok(key)
}
