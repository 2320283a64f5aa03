//! From the name that a client asks for to a certificate (RFC 6066 section 3).

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::by_name::ByName;
use crate::model::Certificate;
use crate::x509::{self, Fault};

/// Certificates by name.
#[derive(Debug)]
pub(super) struct Certificates {
    named: ByName<Arc<CertifiedKey>>,
    default: Arc<CertifiedKey>,
}

impl Certificates {
    pub(super) fn new(hosts: impl Iterator<Item = (String, Arc<CertifiedKey>)>, default: Arc<CertifiedKey>) -> Self {
        Certificates { named: hosts.collect(), default }
    }

    fn find(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        self.named.find(name).unwrap_or(&self.default)
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
