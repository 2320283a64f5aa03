//! What is spoken to backends.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::l7::proxy_protocol::Version;
use crate::model::Certificate;

/// What is spoken to backends, where it is not plain HTTP/1.1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Backend {
    /// HTTP/2 instead of HTTP/1.1.
    pub http2: bool,
    /// When TLS is spoken.
    pub secure: TlsUse,
    /// How.
    pub tls: Arc<BackendTls>,
    /// Connections begin with the PROXY protocol, which tells of the client.
    pub proxy_protocol: Option<Version>,
}

/// When TLS is spoken to backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TlsUse {
    /// Never.
    #[default]
    Never,
    /// Always.
    Always,
    /// If the client speaks it.
    Alike,
}

/// Settings of TLS towards backends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BackendTls {
    /// Our own certificate.
    pub certificate: Option<Arc<Certificate>>,
    /// Authorities in PEM that a backend's certificate has to come from; `None`: it is not checked.
    pub authorities: Option<String>,
    /// So many certificates may stand between a backend's own and the authority's.
    pub depth: u32,
    /// The name that it has to have; `None`: that of the Service.
    pub name: Option<String>,
    /// The backend is told the name.
    pub tells_name: bool,
    /// TLS 1.2 is spoken.
    pub v12: bool,
    /// TLS 1.3 is spoken.
    pub v13: bool,
    /// Suites, in OpenSSL's names; empty: all that are good.
    pub suites: Vec<String>,
}

impl Backend {
    /// In a few words.
    pub fn label(&self) -> String {
        let name = match (self.http2, self.secure) {
            (true, TlsUse::Never) => "GRPC",
            (true, _) => "GRPCS",
            (false, TlsUse::Never) => "HTTP",
            (false, TlsUse::Always) => "HTTPS",
            (false, TlsUse::Alike) => "AUTO_HTTP",
        };
        let checked = if self.tls.authorities.is_some() { ", checked" } else { "" };
        let told = match self.proxy_protocol {
            Some(Version::V1) => ", PROXY v1",
            Some(Version::V2) => ", PROXY v2",
            None => "",
        };
        format!("backend {name}{checked}{told}")
    }
}
