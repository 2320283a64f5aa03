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

use crate::model::settings::TlsSettings;
use crate::model::{Certificate, Tls, TlsHost};

mod accept;
mod by_name;
mod certificates;
mod clients;
mod config;
mod fallback;
mod leaving;
#[cfg(feature = "http3")]
mod quic;
mod suites;

pub use accept::{Accepted, Secured, accept};
use by_name::ByName;
use certificates::Certificates;
use clients::Judge;
pub use clients::{Presented, Shown, SubjectPattern};
pub use suites::{group, suite};

/// The name of HTTP/2 in ALPN (RFC 9113 section 3.2).
pub const H2: &[u8] = b"h2";
/// That of HTTP/1.1 (RFC 7301 section 6).
pub const HTTP11: &[u8] = b"http/1.1";

/// A connection over TLS, as its requests see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The name that the client asked for, in lower case.
    pub server_name: Option<Box<str>>,
    /// What the client has shown, if it was asked for a certificate.
    pub client: Option<Presented>,
    /// The version, as nginx writes it.
    pub version: &'static str,
    /// The suite, by OpenSSL's name.
    pub suite: &'static str,
}

/// What handshakes are made with.
#[derive(Clone)]
pub struct Server {
    plain: Arc<ServerConfig>,
    /// Names for which something else holds.
    special: ByName<Special>,
    /// The only names that get a handshake; `None`: all do.
    names: Option<ByName<()>>,
    /// The same over QUIC.
    #[cfg(feature = "http3")]
    quic: Option<Arc<quinn::ServerConfig>>,
}

/// What else holds for a name.
#[derive(Clone)]
enum Special {
    /// Clients are asked for a certificate.
    Asking(Arc<ServerConfig>, Judge),
    /// Connections go to this upstream as they are.
    Passthrough(Arc<str>),
    /// Other suites are offered.
    Offering(Arc<ServerConfig>),
    /// Nothing, but what holds for others does not either.
    Plain,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// What becomes of a connection.
#[derive(Debug)]
enum Choice {
    /// The handshake goes on with this, and then the client's certificate is judged.
    Serve(Arc<ServerConfig>, Option<Judge>),
    /// The connection goes to this upstream as it is.
    Pass(Arc<str>),
    /// There is nothing here for this name.
    Refuse,
}

#[cfg(feature = "http3")]
impl Server {
    /// What handshakes over QUIC are made with.
    pub fn quic(&self) -> Option<Arc<quinn::ServerConfig>> {
        self.quic.clone()
    }

    /// Clients that ask for this name may come over QUIC; in lower case, without a dot at its end.
    pub fn speaks_quic(&self, name: Option<&str>) -> bool {
        self.quic.is_some() && self.is_usual(name)
    }

    /// The handshake for this name asks for nothing from the client, and ends here.
    fn is_usual(&self, name: Option<&str>) -> bool {
        matches!(self.choose(name), Choice::Serve(_, None))
    }
}

impl Server {
    /// What a name gets; in lower case, without a dot at its end.
    fn choose(&self, name: Option<&str>) -> Choice {
        if self.names.as_ref().is_some_and(|names| names.find(name).is_none()) {
            return Choice::Refuse;
        }
        match self.special.find(name) {
            None | Some(Special::Plain) => Choice::Serve(Arc::clone(&self.plain), None),
            Some(Special::Offering(config)) => Choice::Serve(Arc::clone(config), None),
            Some(Special::Asking(config, judge)) => Choice::Serve(Arc::clone(config), Some(judge.clone())),
            Some(Special::Passthrough(upstream)) => Choice::Pass(Arc::clone(upstream)),
        }
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
    pub fn server(&mut self, tls: &Tls, settings: &TlsSettings) -> Result<Server, TlsError> {
        self.prepare(&tls.certificates);
        let key = |secret: &String| self.prepared.get(secret).map(|(_, key)| Arc::clone(key));
        let default = tls.default.as_ref().and_then(key).unwrap_or_else(|| Arc::clone(&self.fallback));
        let hosts = tls.hosts.iter();
        let hosts = hosts.filter_map(|(host, entry)| Some((host.clone(), key(entry.certificate.as_ref()?)?)));
        let certificates = Arc::new(Certificates::new(hosts, default));
        let special = tls
            .hosts
            .iter()
            .map(|(host, entry)| Ok((host.clone(), self.special(entry, tls, settings, &certificates)?)));
        let special = special.collect::<Result<ByName<_>, TlsError>>()?;
        let names = settings.reject_unknown.then(|| tls.hosts.keys().map(|host| (host.clone(), ())).collect());
        let plain = Arc::new(self.config(settings, &certificates, None)?);
        #[cfg_attr(not(feature = "http3"), expect(unused_mut, reason = "what goes over QUIC is made of it"))]
        let mut server = Server {
            plain,
            special,
            names,
            #[cfg(feature = "http3")]
            quic: None,
        };
        #[cfg(feature = "http3")]
        {
            server.quic = quic::make(settings, &server, &certificates, Arc::clone(&self.tickets));
        }
        Ok(server)
    }

    fn special(
        &self,
        host: &TlsHost,
        tls: &Tls,
        settings: &TlsSettings,
        certificates: &Arc<Certificates>,
    ) -> Result<Special, TlsError> {
        if let Some(upstream) = &host.passthrough {
            return Ok(Special::Passthrough(upstream.as_str().into()));
        }
        let own = of_host(settings, host);
        let settings = own.as_ref().unwrap_or(settings);
        let judge = host.client.as_ref().and_then(|asked| Judge::new(asked, tls.authorities.get(&asked.authorities)?));
        Ok(match judge {
            Some(judge) => Special::Asking(Arc::new(self.config(settings, certificates, Some(&judge))?), judge),
            None if own.is_some() => Special::Offering(Arc::new(self.config(settings, certificates, None)?)),
            // Without authorities to believe the requests are refused.
            None => Special::Plain,
        })
    }

    fn config(
        &self,
        settings: &TlsSettings,
        certificates: &Arc<Certificates>,
        judge: Option<&Judge>,
    ) -> Result<ServerConfig, TlsError> {
        let asking = judge.map(Judge::asking);
        Ok(config::make(settings, Arc::clone(certificates) as _, Arc::clone(&self.tickets), asking)?)
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

/// The settings of a host that has some of its own.
fn of_host(usual: &TlsSettings, host: &TlsHost) -> Option<TlsSettings> {
    if host.ciphers.is_empty() && host.server_order.is_none() {
        return None;
    }
    let mut settings = usual.clone();
    if !host.ciphers.is_empty() {
        settings.ciphers.clone_from(&host.ciphers);
    }
    settings.server_order = host.server_order.unwrap_or(usual.server_order);
    Some(settings)
}
