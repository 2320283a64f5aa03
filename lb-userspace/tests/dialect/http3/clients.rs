//! Clients of HTTP/3 that break off, disappear, or send what brings nothing: a client that writes bytes as it likes.

use std::sync::Arc;

use lb_userspace::l7::hits::Hit;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream, VarInt};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::manifests;
use crate::certificates::Authority;
use crate::harness::{PATIENCE, Site};
use crate::pod::Pod;

/// H3_EXCESSIVE_LOAD and H3_REQUEST_CANCELLED (RFC 9114 section 8.1).
const EXCESSIVE: u32 = 0x107;
const CANCELLED: u32 = 0x10c;
/// HEADERS in front of a block of this length.
const HEADERS: u8 = 1;
/// A frame without bytes that nobody knows, on purpose (RFC 9114 section 7.2.8).
const GREASE: [u8; 2] = [0x21, 0];
const GET: u8 = 0xd1;
const POST: u8 = 0xd4;

/// The head of a request for `/` at `a.example`, in fields of QPACK's static table (RFC 9204 appendix A).
fn head(method: u8) -> Vec<u8> {
    let mut block = vec![0, 0, method, 0xd7, 0xc1, 0x50, 9];
    block.extend(b"a.example");
    [&[HEADERS, block.len() as u8][..], &block].concat()
}

/// A client with a runtime of its own, which nobody drives when it is dropped.
struct Client {
    runtime: Option<Runtime>,
    connection: Connection,
    /// Where settings go.
    control: Option<SendStream>,
    _endpoint: Endpoint,
}

impl Client {
    fn connect(site: &Site, authority: &Authority) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("PEM")).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider);
        let tls = tls.with_protocol_versions(&[&rustls::version::TLS13]).expect("it is there");
        let mut tls = tls.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("TLS 1.3")));
        let to = (site.address().ip(), site.tls_port()).into();
        let (connection, control, endpoint) = runtime.block_on(async {
            let mut endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a socket");
            endpoint.set_default_client_config(config);
            let connection = endpoint.connect(to, "a.example").expect("a name").await.expect("a connection");
            let mut control = connection.open_uni().await.expect("a stream");
            // Settings that say nothing.
            control.write_all(&[0, 4, 0]).await.expect("sent");
            (connection, control, endpoint)
        });
        Client { runtime: Some(runtime), connection, control: Some(control), _endpoint: endpoint }
    }

    fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        let runtime = self.runtime.as_ref().expect("it lives");
        runtime.block_on(async { timeout(PATIENCE, what).await.expect("in time") })
    }

    /// A request that begins with these bytes; `None`: the connection has ended.
    fn try_begin(&self, bytes: &[u8]) -> Option<(SendStream, RecvStream)> {
        self.wait(async {
            let (mut to, from) = self.connection.open_bi().await.ok()?;
            to.write_all(bytes).await.ok()?;
            Some((to, from))
        })
    }

    fn begin(&self, bytes: &[u8]) -> (SendStream, RecvStream) {
        self.try_begin(bytes).expect("the connection is open")
    }

    /// A whole request; the bytes of its answer.
    fn ask(&self) -> Vec<u8> {
        let (mut to, mut from) = self.begin(&head(GET));
        to.finish().expect("open");
        self.wait(async { from.read_to_end(1 << 20).await.expect("an answer") })
    }

    /// Opens streams of a type that nobody knows, until the front closes.
    fn flood_with_streams(&self) {
        self.wait(async {
            while let Ok(mut stream) = self.connection.open_uni().await {
                // The front may have said already that it does not want this one.
                let _ = (stream.write_all(&[0x40, 0x21]).await, stream.finish());
            }
        });
    }

    /// The front has closed the connection because it was too much.
    fn was_too_much(&self) {
        match self.wait(self.connection.closed()) {
            ConnectionError::ApplicationClosed(close) => assert_eq!(close.error_code, VarInt::from_u32(EXCESSIVE)),
            // The packet that says so may get lost in a flood. The next one says that the connection is not known any more.
            ConnectionError::Reset => {}
            other => panic!("{other}"),
        }
    }

    /// Requests that have begun before have arrived, too.
    fn is_heard(&self) {
        assert!(!self.ask().is_empty());
    }

    /// Not a packet leaves it any more.
    fn disappear(mut self, request: (SendStream, RecvStream)) {
        let runtime = self.runtime.take().expect("it lives");
        // What is dropped says goodbye.
        std::mem::forget((self, request));
        runtime.shutdown_background();
    }
}

/// Sends frames that bring nothing, until the front closes.
async fn flood(stream: &mut SendStream) {
    while stream.write_all(&GREASE).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

fn is_hit(site: &Site, limit: Hit, times: u64) {
    site.eventually(limit.label(), || site.counters().limited[limit as usize] >= times);
    assert_eq!(site.counters().limited[limit as usize], times, "{limit:?}");
}

fn configured(data: &[(&str, &str)], authority: &Authority, pods: &[(&str, &Pod)]) -> Site {
    Site::configured_over_quic(data, &manifests(authority, &[]), pods)
}

#[test]
fn http3_frames_that_bring_nothing_have_a_budget() {
    let (authority, pod) = (Authority::new(), Pod::echo());
    let site = configured(&[("http2-max-control-frames", "50")], &authority, &[("web", &pod)]);
    let connect = || Client::connect(&site, &authority);
    let client = connect();
    let (mut request, _answer) = client.begin(&head(POST));
    client.wait(flood(&mut request));
    client.was_too_much();
    is_hit(&site, Hit::Http3Frames, 1);
    let mut client = connect();
    let mut control = client.control.take().expect("it is here");
    client.wait(flood(&mut control));
    client.was_too_much();
    is_hit(&site, Hit::Http3Frames, 2);
    let client = connect();
    client.flood_with_streams();
    client.was_too_much();
    is_hit(&site, Hit::Http3Frames, 3);
    // Announced, and not yet here: 64 MiB of what nobody knows, and of a head.
    for (frame, limit) in [([0x21, 0x84, 0, 0, 0], (Hit::Http3Frames, 4)), ([1, 0x84, 0, 0, 0], (Hit::HeaderSize, 1))] {
        let client = connect();
        let _request = client.begin(&frame);
        client.was_too_much();
        is_hit(&site, limit.0, limit.1);
    }
    // What clients send to keep others from relying on what they know is no reason.
    let client = connect();
    let (mut request, mut answer) = client.begin(&[&GREASE[..], &head(GET)].concat());
    request.finish().expect("open");
    client.wait(async { assert!(!answer.read_to_end(1 << 20).await.expect("an answer").is_empty()) });
    assert_eq!(pod.seen().iter().filter(|asked| asked.line.starts_with("GET")).count(), 1);
}

#[test]
fn http3_streams_that_are_given_up_have_a_budget() {
    let (authority, pod) = (Authority::new(), Pod::echo());
    let site = configured(&[("http2-max-resets", "20")], &authority, &[("web", &pod)]);
    let client = Client::connect(&site, &authority);
    while let Some((mut to, mut from)) = client.try_begin(&head(POST)) {
        let cancelled = VarInt::from_u32(CANCELLED);
        // Streams of a connection that has ended meanwhile say so.
        let _ = (to.reset(cancelled), from.stop(cancelled));
    }
    client.was_too_much();
    is_hit(&site, Hit::Http3Resets, 1);
    assert!(!Client::connect(&site, &authority).ask().is_empty(), "others are served");
}

#[test]
fn http3_endpoints_do_not_pay_for_clients() {
    let (authority, pods) = (Authority::new(), [Pod::echo(), Pod::echo()]);
    let both = [("web", &pods[0]), ("web", &pods[1])];
    let site = configured(&[("client-body-timeout", "1")], &authority, &both);
    let begun = [&head(POST)[..], &[0, 9], b"hello"].concat();
    for round in 1..=4 {
        // A body that is given up, and a connection that is closed under one.
        let client = Client::connect(&site, &authority);
        let (mut first, _answer) = client.begin(&begun);
        client.is_heard();
        first.reset(VarInt::from_u32(CANCELLED)).expect("open");
        let _second = client.begin(&begun);
        client.is_heard();
        client.connection.close(VarInt::from_u32(0), b"");
        // One that is silent, and one that is gone.
        let silent = Client::connect(&site, &authority);
        let _third = silent.begin(&begun);
        silent.is_heard();
        let gone = Client::connect(&site, &authority);
        let fourth = gone.begin(&begun);
        gone.is_heard();
        gone.disappear(fourth);
        let late = |limit: Hit| site.counters().limited[limit as usize];
        site.eventually("both to be late", || late(Hit::BodyTime) + late(Hit::BodyRate) >= 2 * round);
    }
    assert_eq!(site.counters().upstream_failures, 0);
    let before = pods.each_ref().map(|pod| pod.seen().len());
    let client = Client::connect(&site, &authority);
    for _ in 0..4 {
        assert!(!client.ask().is_empty());
    }
    let after = pods.each_ref().map(|pod| pod.seen().len());
    assert_eq!([after[0] - before[0], after[1] - before[1]], [2, 2], "both are asked in turn");
}
