//! TLS for connections of QUIC (RFC 9001): the certificates of all others, for names where nothing special is asked for.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{IdleTimeout, TransportConfig, VarInt};
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificates::{Certificates, normalise};
use super::{Server, config};
use crate::model::settings::{TlsSettings, TlsVersion};

/// The name of HTTP/3 in ALPN (RFC 9114 section 3.1).
const H3: &[u8] = b"h3";
/// Bytes of bodies that may be on their way on one stream, and on all.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of answers that wait for one client.
const SEND_WINDOW: u64 = 1024 * 1024;
/// Streams of the client that carry no requests: control and QPACK (RFC 9114 section 6.2).
const OTHER_STREAMS: u32 = 8;
/// A client that says nothing is asked whether it is still there, and is gone without an answer for so long.
const PING: Duration = Duration::from_secs(20);
const SILENCE: u32 = 60_000;

/// Certificates for those names that have a handshake over QUIC.
#[derive(Debug)]
struct OverQuic {
    server: Server,
    certificates: Arc<Certificates>,
}

impl ResolvesServerCert for OverQuic {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(normalise);
        if self.server.is_usual(name.as_deref()) { self.certificates.resolve(hello) } else { None }
    }
}

/// `None`: QUIC has TLS 1.3 only, and that is not wanted.
pub(super) fn make(
    settings: &TlsSettings,
    server: &Server,
    certificates: &Arc<Certificates>,
    tickets: Arc<dyn ProducesTickets>,
) -> Option<Arc<quinn::ServerConfig>> {
    if !settings.versions.contains(&TlsVersion::V13) {
        return None;
    }
    let settings = TlsSettings { versions: vec![TlsVersion::V13], ..settings.clone() };
    let names = Arc::new(OverQuic { server: server.clone(), certificates: Arc::clone(certificates) });
    let mut tls = config::make(&settings, names, tickets, None).ok()?;
    tls.alpn_protocols = vec![H3.to_vec()];
    // Every provider has the suite that QUIC begins with.
    let tls = QuicServerConfig::try_from(tls).ok()?;
    let mut quic = quinn::ServerConfig::with_crypto(Arc::new(tls));
    // Datagrams of a client that moves would come to another worker.
    quic.migration(false).transport_config(Arc::new(transport(settings.http2_streams)));
    Some(Arc::new(quic))
}

fn transport(streams: u32) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(OTHER_STREAMS))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(PING))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(SILENCE))));
    transport
}
