//! TLS towards clients: which certificate a name gets, and the handshake.
//!
//! Everything that a handshake needs is one immutable [`Server`], made anew when certificates change; connections that
//! exist keep what they began with.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::ProducesTickets;
use rustls::sign::CertifiedKey;

use crate::model::{Certificate, Tls};

mod accept;
mod certificates;
mod config;
mod fallback;

pub use accept::{Secured, accept};
use certificates::Certificates;

/// The name of HTTP/2 in ALPN (RFC 9113 section 3.2).
pub const H2: &[u8] = b"h2";
/// That of HTTP/1.1 (RFC 7301 section 6).
pub const HTTP11: &[u8] = b"http/1.1";

/// A connection over TLS, as its requests see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The name that the client asked for, in lower case.
    pub server_name: Option<Box<str>>,
}

/// What handshakes are made with.
#[derive(Clone)]
pub struct Server {
    plain: Arc<ServerConfig>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// What becomes of a connection.
#[derive(Debug)]
pub enum Choice {
    /// The handshake goes on with this.
    Serve(Arc<ServerConfig>),
}

impl Server {
    /// What a name gets; in lower case, without a dot at its end.
    pub fn choose(&self, _name: Option<&str>) -> Choice {
        Choice::Serve(Arc::clone(&self.plain))
    }
}

/// Why there can be no TLS at all.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The library refused something.
    #[error("TLS cannot be set up")]
    Library(#[from] rustls::Error),
    /// No certificate for hosts without one could be made.
    #[error("no fallback certificate could be made")]
    Fallback(#[from] rcgen::Error),
}

/// Makes a [`Server`] of each table, and remembers what the next one can use again.
pub struct Builder {
    fallback: Arc<CertifiedKey>,
    /// Opens sessions whichever worker began them; its keys change by themselves.
    tickets: Arc<dyn ProducesTickets>,
    /// Certificates as they are used, with what they were made of.
    prepared: HashMap<String, (Arc<Certificate>, Arc<CertifiedKey>)>,
}

impl Builder {
    /// Makes the certificate for hosts without one.
    pub fn new() -> Result<Self, TlsError> {
        let fallback = Arc::new(fallback::make()?);
        Ok(Builder { fallback, tickets: rustls::crypto::aws_lc_rs::Ticketer::new()?, prepared: HashMap::new() })
    }

    /// What handshakes are made with from now on.
    pub fn server(&mut self, tls: &Tls) -> Result<Server, TlsError> {
        self.prepare(&tls.certificates);
        let key = |secret: &String| self.prepared.get(secret).map(|(_, key)| Arc::clone(key));
        let default = tls.default.as_ref().and_then(key).unwrap_or_else(|| Arc::clone(&self.fallback));
        let hosts = tls.hosts.iter();
        let hosts = hosts.filter_map(|(host, entry)| Some((host.as_str(), key(entry.certificate.as_ref()?)?)));
        let certificates = Arc::new(Certificates::new(hosts, default));
        Ok(Server { plain: Arc::new(config::plain(certificates, Arc::clone(&self.tickets))?) })
    }

    /// Reads what is new, and forgets what is gone.
    fn prepare(&mut self, certificates: &BTreeMap<String, Arc<Certificate>>) {
        self.prepared.retain(|secret, (made_of, _)| certificates.get(secret) == Some(made_of));
        for (secret, certificate) in certificates {
            if self.prepared.contains_key(secret) {
                continue;
            }
            match certificates::prepare(certificate) {
                Ok(key) => drop(self.prepared.insert(secret.clone(), (Arc::clone(certificate), Arc::new(key)))),
                // The agent has read it before.
                Err(fault) => tracing::error!(%fault, secret, "a certificate cannot be used"),
            }
        }
    }
}
