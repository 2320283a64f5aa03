//! TLS and the redirects to it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What holds for all hosts with a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TlsSettings {
    /// HTTP/2 is offered.
    pub http2: bool,
    /// Streams of one connection at a time.
    pub http2_streams: u32,
    /// `Strict-Transport-Security` in answers over TLS.
    pub hsts: Option<Hsts>,
    /// Versions that are offered.
    pub versions: Vec<TlsVersion>,
    /// Suites of TLS 1.2, by the names of OpenSSL, the preferred one first; empty: what the library prefers.
    pub ciphers: Vec<String>,
    /// The front's order of suites counts, not the client's.
    pub server_order: bool,
    /// Groups for the key exchange; empty: what the library prefers.
    pub curves: Vec<String>,
    /// Sessions can be resumed by tickets.
    pub tickets: bool,
    /// Sessions can be resumed from a cache.
    pub session_cache: bool,
    /// Names without a certificate get no handshake instead of the default certificate.
    pub reject_unknown: bool,
    /// Status of redirects to HTTPS.
    pub redirect_status: u16,
    /// Beginnings of paths that are not redirected.
    pub no_redirect: Vec<String>,
}

/// `Strict-Transport-Security` (RFC 6797).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hsts {
    /// Seconds.
    pub max_age: u64,
    /// For all names below as well.
    pub subdomains: bool,
    /// For the lists that browsers come with.
    pub preload: bool,
}

impl fmt::Display for Hsts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "max-age={}", self.max_age)?;
        f.write_str(if self.subdomains { "; includeSubDomains" } else { "" })?;
        f.write_str(if self.preload { "; preload" } else { "" })
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    /// 1.2.
    V12,
    /// 1.3.
    V13,
}

impl Default for Hsts {
    fn default() -> Self {
        Hsts { max_age: 31_536_000, subdomains: true, preload: false }
    }
}

impl Default for TlsSettings {
    fn default() -> Self {
        TlsSettings {
            http2: true,
            http2_streams: 128,
            hsts: Some(Hsts::default()),
            versions: vec![TlsVersion::V12, TlsVersion::V13],
            ciphers: Vec::new(),
            server_order: true,
            curves: Vec::new(),
            tickets: false,
            session_cache: true,
            reject_unknown: false,
            redirect_status: 308,
            no_redirect: vec!["/.well-known/acme-challenge".to_owned()],
        }
    }
}
