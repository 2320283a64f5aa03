//! The settings of handshakes.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::{H2, HTTP11, suites};
use crate::model::settings::{TlsSettings, TlsVersion};

/// TLS as the settings say; where they say nothing, what the library takes for good: 1.2 and 1.3, forward secrecy and
/// authenticated encryption in every suite, a key exchange that withstands quantum computers preferred.
pub(super) fn make(
    settings: &TlsSettings,
    certificates: Arc<dyn ResolvesServerCert>,
    tickets: Arc<dyn ProducesTickets>,
    asking: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(provider(settings)));
    let builder = builder.with_protocol_versions(&versions(settings))?;
    let builder = match asking {
        Some(asking) => builder.with_client_cert_verifier(asking),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(certificates);
    config.ignore_client_order = settings.server_order;
    let h2 = settings.http2.then(|| H2.to_vec());
    config.alpn_protocols = h2.into_iter().chain([HTTP11.to_vec()]).collect();
    // Sessions live with the clients, sealed by keys that change: nothing is stored, and every worker can open them.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if settings.tickets || settings.session_cache {
        config.ticketer = tickets;
    } else {
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

fn versions(settings: &TlsSettings) -> Vec<&'static SupportedProtocolVersion> {
    let mut versions = Vec::new();
    for (version, library) in [(TlsVersion::V13, &TLS13), (TlsVersion::V12, &TLS12)] {
        if settings.versions.contains(&version) {
            versions.push(library);
        }
    }
    versions
}

/// Suites of TLS 1.3 are not chosen by anybody: all are good.
fn provider(settings: &TlsSettings) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let named: Vec<_> = settings.ciphers.iter().filter_map(|name| suites::suite(name)).collect();
    if !named.is_empty() {
        provider.cipher_suites.retain(|suite| suite.tls13().is_some());
        provider.cipher_suites.extend(named);
    }
    let groups: Vec<_> = settings.curves.iter().filter_map(|name| suites::group(name)).collect();
    if !groups.is_empty() {
        provider.kx_groups = groups;
    }
    provider
}
