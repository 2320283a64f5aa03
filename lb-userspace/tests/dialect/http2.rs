//! HTTP/2 of clients beyond requests: tunnels, connections that end, clients that do not read.

use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificates::{Authority, Kind, secret};
use crate::harness::{Site, ingress, ingress_over_tls};
use crate::pod::{Pod, answer};
use crate::websocket::{client as websocket_client, echo};

pub(crate) type Sender = SendRequest<Empty<Bytes>>;

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// A connection with prior knowledge, whose client knows the front's settings.
async fn connect(site: &Site) -> Sender {
    let stream = TcpStream::connect(site.address()).await.expect("the front listens");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let known = sender.send_request(request(Method::GET, "http://a.example/known")).await.expect("an answer");
    drop(known.into_body().collect().await.expect("its body"));
    sender
}

pub(crate) fn request(method: Method, uri: &str) -> Request<Empty<Bytes>> {
    Request::builder().method(method).uri(uri).body(Empty::new()).expect("a request")
}

/// A connection over TLS, on which this was agreed.
pub(crate) async fn over_tls(site: &Site, authority: &Authority) -> TlsStream<TcpStream> {
    over_tls_at(site.tls_port(), authority).await
}

/// The same at a port.
pub(crate) async fn over_tls_at(port: u16, authority: &Authority) -> TlsStream<TcpStream> {
    let mut config = ClientConfig::clone(&websocket_client(authority));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the front listens");
    let name = ServerName::try_from("a.example").expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    stream
}

/// The same as [`connect`] over TLS.
pub(crate) async fn connect_secured(site: &Site, authority: &Authority) -> Sender {
    let stream = TokioIo::new(over_tls(site, authority).await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let known = sender.send_request(request(Method::GET, "https://a.example/known")).await.expect("an answer");
    drop(known.into_body().collect().await.expect("its body"));
    sender
}

async fn websocket(sender: &mut Sender, uri: &str) -> Response<Incoming> {
    let mut request = request(Method::CONNECT, uri);
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    request.headers_mut().insert("sec-websocket-version", "13".parse().expect("a value"));
    sender.send_request(request).await.expect("an answer")
}

/// A frame of text as clients send it, masked, and as servers do.
fn frames(text: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mask, length) = ([1, 2, 3, 4], text.len() as u8);
    let masked = text.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    let sent = [0x81, 0x80 | length].into_iter().chain(mask).chain(masked).collect();
    (sent, [0x81, length].into_iter().chain(text.iter().copied()).collect())
}

#[test]
fn a_websocket_is_a_stream_among_others() {
    let (chat, pod) = (echo(), Pod::echo());
    let manifests = ingress("chat", "a.example", "/chat", &[]) + &ingress("web", "a.example", "/", &[]);
    let site = Site::start(&manifests, &[("chat", &chat), ("web", &pod)]);
    runtime().block_on(async {
        let mut sender = connect(&site).await;
        let answer = websocket(&mut sender, "http://a.example/chat").await;
        assert_eq!(answer.status(), StatusCode::OK, "{:?}", answer.headers());
        assert!(!answer.headers().contains_key("sec-websocket-accept"));
        let mut tunnel = TokioIo::new(hyper::upgrade::on(answer).await.expect("a tunnel"));
        for text in [&b"hello"[..], b"", b"again"] {
            let (sent, expected) = frames(text);
            tunnel.write_all(&sent).await.expect("sent");
            let mut heard = vec![0; expected.len()];
            tunnel.read_exact(&mut heard).await.expect("an echo");
            assert_eq!(heard, expected);
            // The connection has room for others meanwhile.
            let other = sender.send_request(request(Method::GET, "http://a.example/other")).await.expect("an answer");
            assert_eq!(other.status(), StatusCode::OK);
        }
    });
}

#[test]
fn no_other_tunnel_is_begun() {
    let pod = Pod::echo();
    let site = Site::annotated(&[], &pod);
    runtime().block_on(async {
        let mut sender = connect(&site).await;
        // It answers 200, which would mean that a tunnel stands.
        let answer = websocket(&mut sender, "http://a.example/page").await;
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
        let nobody = websocket(&mut sender, "http://nobody.example/healthz").await;
        assert_eq!(nobody.status(), StatusCode::BAD_GATEWAY);
        let plain = sender.send_request(request(Method::CONNECT, "a.example:443")).await.expect("an answer");
        assert_eq!(plain.status(), StatusCode::METHOD_NOT_ALLOWED);
        let mut other = request(Method::CONNECT, "http://a.example/");
        other.extensions_mut().insert(Protocol::from_static("connect-udp"));
        assert_eq!(sender.send_request(other).await.expect("an answer").status(), StatusCode::NOT_IMPLEMENTED);
    });
    let lines: Vec<_> = pod.seen().into_iter().map(|asked| asked.line).collect();
    assert_eq!(lines, ["GET /known HTTP/1.1", "GET /page HTTP/1.1"]);
}

#[test]
fn a_connection_ends_after_as_many_requests_as_it_may_have() {
    let (pod, authority) = (Pod::echo(), Authority::new());
    let manifests = secret("one", &authority.issue(&["a.example"], Kind::Ecdsa))
        + &ingress_over_tls("web", "a.example", "one", &[]);
    let site = Site::configured(&[("keep-alive-requests", "5")], &manifests, &[("web", &pod)]);
    // Over TLS: with prior knowledge curl 7.88 fails at the second request of any connection, whoever the server is.
    let url = format!("https://a.example:{}/[1-40]", site.tls_port());
    let to = format!("a.example:{}:127.0.0.1", site.tls_port());
    for arguments in [&[][..], &["--parallel", "--parallel-max", "4"]] {
        let before = site.counters().http2_connections;
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--http2", "--insecure", "--max-time", "60", "--resolve", &to])
            .args(["--output", "/dev/null", "--write-out", "%{http_version} %{http_code}\n"])
            .args(arguments)
            .arg(&url)
            .output()
            .expect("curl is installed");
        let statuses = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(statuses, "2 200\n".repeat(40), "{arguments:?}: {errors}");
        site.eventually("several connections", || site.counters().http2_connections >= before + 4);
    }
}

#[test]
fn a_client_that_does_not_read_keeps_no_place() {
    let large = "x".repeat(8 << 20);
    let pod = Pod::answering(move |asked| {
        let body = if asked.line.contains("/large") { large.as_str() } else { "small" };
        answer("200 OK", &[], body)
    });
    let asked = [("weir.io/max-connections", "1"), ("weir.io/request-timeout", "2")];
    let site = Site::annotated(&asked, &pod);
    let runtime = runtime();
    let (_sender, _unread) = runtime.block_on(async {
        let mut sender = connect(&site).await;
        let mut answer = None;
        for _ in 0..500 {
            // The place of the request before is free a moment after its answer.
            let large = sender.send_request(request(Method::GET, "http://a.example/large")).await.expect("an answer");
            if large.status() == StatusCode::OK {
                answer = Some(large);
                break;
            }
        }
        (sender, answer.expect("a place"))
    });
    assert_eq!(site.get("a.example", "/", &[]).status, 503, "the only place is taken");
    site.eventually("the place of the one that does not read", || site.get("a.example", "/", &[]).status == 200);
}
