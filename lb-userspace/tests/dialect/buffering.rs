use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use hyper::body::{Body, Frame};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::harness::{Site, ingress};
use crate::pod::Pod;

const HEAD: &str = "PUT /slow HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n";

#[test]
fn an_endpoint_hears_of_a_request_when_its_body_is_here() {
    let fast = Pod::echo();
    for (switch, waits) in [("on", true), ("off", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("allowed");
        let slow = Pod::at(listener.local_addr().expect("bound"));
        let manifests = ingress("slow", "a.example", "/slow", &[("proxy-request-buffering", switch)])
            + &ingress("fast", "a.example", "/", &[]);
        let site = Site::start(&manifests, &[("slow", &slow), ("fast", &fast)]);
        assert!(site.problems.is_empty(), "{:?}", site.problems);
        let mut client = TcpStream::connect(site.address()).expect("connected");
        client.write_all(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").as_bytes()).expect("sent");
        let mut early = None;
        if waits {
            // The worker has had time for what came before.
            (0..20).for_each(|_| assert_eq!(site.get("a.example", "/", &[]).status, 200));
            assert!(listener.accept().is_err(), "the endpoint heard of half a request");
        } else {
            site.eventually("a connection to the endpoint", || {
                early = listener.accept().ok();
                early.is_some()
            });
        }
        client.write_all(b"6\r\n world\r\n0\r\n\r\n").expect("sent");
        site.eventually("a connection to the endpoint", || {
            early = early.take().or_else(|| listener.accept().ok());
            early.is_some()
        });
        let (mut backend, _) = early.expect("a connection");
        backend.set_nonblocking(false).expect("allowed");
        let mut request = Vec::new();
        let end: &[u8] = if waits { b"hello world" } else { b"0\r\n\r\n" };
        while !request.ends_with(end) {
            let mut chunk = [0; 1024];
            let count = backend.read(&mut chunk).expect("read");
            assert!(count > 0, "{}", String::from_utf8_lossy(&request));
            request.extend_from_slice(&chunk[..count]);
        }
        let request = String::from_utf8_lossy(&request).to_ascii_lowercase();
        assert_eq!(request.contains("content-length: 11"), waits, "{request}");
        assert_eq!(request.contains("transfer-encoding: chunked"), !waits, "{request}");
        backend.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("sent");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("answered");
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    }
}

#[test]
fn a_body_that_is_here_can_be_sent_again() {
    let broken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = broken.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in broken.incoming() {
            let Ok(mut stream) = stream else { return };
            // Reads some of the request and breaks off.
            let _ = stream.read(&mut [0; 64]);
        }
    });
    let (breaks, pod) = (Pod::at(at), Pod::echo());
    let manifests = ingress("web", "a.example", "/", &[("proxy-request-buffering", "on")]);
    let site = Site::start(&manifests, &[("web", &breaks), ("web", &pod)]);
    let put = ["--request", "PUT", "--data", "hello"];
    for _ in 0..4 {
        assert_eq!(site.get("a.example", "/", &put).status, 200);
    }
    assert!(pod.seen().iter().all(|asked| asked.body == b"hello") && pod.seen().len() == 4);
    let counters = || site.counters();
    site.eventually("a repeated request to be counted", || counters().upstream_retries > 0);
}

#[test]
fn long_bodies_arrive_whole_and_are_limited_as_ever() {
    let pod = Pod::echo();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let length = (20 << 20) + 7;
    file.as_file().set_len(length).expect("sparse");
    let data = format!("@{}", file.path().display());
    let chunked = "Transfer-Encoding: chunked";
    let site = Site::annotated(&[("proxy-request-buffering", "on")], &pod);
    for arguments in [&["--data-binary", data.as_str()][..], &["--data-binary", &data, "--header", chunked]] {
        assert_eq!(site.get("a.example", "/", arguments).status, 200);
        assert_eq!(pod.seen().last().map(|asked| asked.body.len() as u64), Some(length));
    }
    let site = Site::annotated(&[("proxy-request-buffering", "on"), ("proxy-body-size", "1m")], &pod);
    assert_eq!(site.get("a.example", "/", &["--data-binary", &data, "--header", chunked]).status, 413);
    assert_eq!(pod.seen().len(), 2);
}

/// A body that stops after its first piece.
struct Stops {
    begun: bool,
}

impl Body for Stops {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if std::mem::replace(&mut self.begun, true) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"hello")))))
    }
}

#[test]
fn a_client_of_http2_that_stops_in_its_body_is_told() {
    let pod = Pod::echo();
    let manifests = ingress("web", "a.example", "/", &[("proxy-request-buffering", "on")]);
    let site = Site::configured(&[("client-body-timeout", "1")], &manifests, &[("web", &pod)]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let status = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(site.address()).await.expect("connected");
        let client = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut sender, connection) = client.expect("HTTP/2 is spoken");
        tokio::spawn(connection);
        let request = Request::put("http://a.example/").body(Stops { begun: false }).expect("a request");
        let answer = tokio::time::timeout(Duration::from_secs(60), sender.send_request(request)).await;
        answer.expect("an answer in time").expect("an answer").status()
    });
    assert_eq!((status.as_u16(), pod.seen().len()), (408, 0));
}
