//! gRPC with a client and a server that people use (tonic), over HTTP/2 from end to end.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, BufMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::certificates::{Authority, Kind, secret};
use crate::harness::{Site, ingress, ingress_over_tls};
use crate::http2::over_tls;
use crate::pod::Pod;

/// Messages are bytes.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}

type Messages = BoxStream<'static, Result<Vec<u8>, Status>>;
type Answered = Pin<Box<dyn Future<Output = Result<Response<Messages>, Status>> + Send>>;

/// What a server of the methods below has seen.
#[derive(Default)]
struct Seen {
    deadlines: Mutex<Vec<Option<String>>>,
    /// Calls of `Never` that somebody has given up.
    given_up: AtomicUsize,
}

/// A call that is waited for in vain; gone when the server gives it up.
struct Waiting(Arc<Seen>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.given_up.fetch_add(1, Ordering::SeqCst);
    }
}

/// `Each` answers each message, `Fail` one and then fails, `Refuse` fails at once, `Never` does nothing.
fn call(method: &str, request: Request<Streaming<Vec<u8>>>, seen: Arc<Seen>) -> Answered {
    let deadline = request.metadata().get("grpc-timeout").and_then(|value| value.to_str().ok()).map(str::to_owned);
    seen.deadlines.lock().unwrap_or_else(PoisonError::into_inner).push(deadline);
    let method = method.to_owned();
    Box::pin(async move {
        let messages = request.into_inner().map(|message| message.map(|text| text.to_ascii_uppercase()));
        let failure = || {
            let mut status = Status::failed_precondition("no more");
            status.metadata_mut().insert("x-detail", "seven".parse().expect("text"));
            status
        };
        let answer: Messages = match method.as_str() {
            "/test.Echo/Each" => messages.boxed(),
            "/test.Echo/Fail" => messages.take(1).chain(stream::iter([Err(failure())])).boxed(),
            "/test.Echo/Never" | "/test.Slow/Never" => {
                let _waiting = Waiting(seen);
                pending().await
            }
            _ => return Err(failure()),
        };
        Ok(Response::new(answer))
    })
}

/// A server on this runtime.
fn serve(runtime: &Runtime, seen: &Arc<Seen>) -> Pod {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let (pod, seen) = (Pod::at(listener.local_addr().expect("bound")), Arc::clone(seen));
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
                let (seen, method) = (Arc::clone(&seen), request.uri().path().to_owned());
                let method = tower::service_fn(move |request| call(&method, request, Arc::clone(&seen)));
                async move { Ok::<_, Infallible>(tonic::server::Grpc::new(Raw).streaming(method, request).await) }
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    pod
}

struct Peers {
    runtime: Runtime,
    seen: Arc<Seen>,
    site: Site,
    channel: Channel,
}

impl Peers {
    fn new() -> Self {
        Self::beside("")
    }

    /// With further routes.
    fn beside(manifests: &str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let seen = Arc::default();
        let pod = serve(&runtime, &seen);
        let main = ingress("web", "a.example", "/test.Echo", &[("backend-protocol", "GRPC")]);
        let site = Site::start(&(main + manifests), &[("web", &pod)]);
        let endpoint = Endpoint::from_shared(format!("http://{}", site.address())).expect("a URL");
        let endpoint = endpoint.origin("http://a.example".parse().expect("a URL"));
        let channel = runtime.block_on(endpoint.connect()).expect("the front listens");
        Peers { runtime, seen, site, channel }
    }
}

async fn ask(
    channel: &Channel,
    method: &'static str,
    request: Request<impl futures_util::Stream<Item = Vec<u8>> + Send + 'static>,
) -> Result<Streaming<Vec<u8>>, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.expect("a connection");
    let path = hyper::http::uri::PathAndQuery::from_static(method);
    client.streaming(request, path, Raw).await.map(Response::into_inner)
}

/// Messages of a client that are sent when the test says so.
fn sending() -> (mpsc::UnboundedSender<Vec<u8>>, impl futures_util::Stream<Item = Vec<u8>> + Send + 'static) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let messages = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    (sender, messages)
}

/// A server that refuses every second call and answers the others with what it was sent; the calls that it answered.
fn serve_every_second(runtime: &Runtime) -> (Pod, Arc<AtomicUsize>) {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let (pod, answered) = (Pod::at(listener.local_addr().expect("bound")), Arc::new(AtomicUsize::new(0)));
    let (counted, calls) = (Arc::clone(&answered), Arc::new(AtomicUsize::new(0)));
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (counted, calls) = (Arc::clone(&counted), Arc::clone(&calls));
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.expect("a client of HTTP/2");
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    if calls.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                        respond.send_reset(h2::Reason::REFUSED_STREAM);
                        continue;
                    }
                    counted.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(echo(request.into_body(), respond));
                }
            });
        }
    });
    (pod, answered)
}

async fn echo(mut body: h2::RecvStream, mut respond: h2::server::SendResponse<bytes::Bytes>) -> Result<(), h2::Error> {
    let head = hyper::Response::builder().header("content-type", "application/grpc").body(()).expect("a head");
    let mut stream = respond.send_response(head, false)?;
    while let Some(data) = body.data().await {
        stream.send_data(data?, false)?;
    }
    let trailers = [("grpc-status", "0")].map(|(name, value)| {
        (hyper::header::HeaderName::from_static(name), hyper::header::HeaderValue::from_static(value))
    });
    stream.send_trailers(trailers.into_iter().collect())
}

#[test]
fn calls_that_a_server_refuses_are_made_again() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (pod, answered) = serve_every_second(&runtime);
    let main = ingress("web", "a.example", "/test.Echo", &[("backend-protocol", "GRPC")]);
    let site = Site::start(&main, &[("web", &pod)]);
    let endpoint = Endpoint::from_shared(format!("http://{}", site.address())).expect("a URL");
    let endpoint = endpoint.origin("http://a.example".parse().expect("a URL"));
    runtime.block_on(async {
        let channel = endpoint.connect().await.expect("the front listens");
        for call in 0..20 {
            let message = format!("call {call}").into_bytes();
            let one = Request::new(stream::iter([message.clone()]));
            let mut answers = ask(&channel, "/test.Echo/Each", one).await.expect("an answer");
            assert_eq!(answers.message().await.expect("a message"), Some(message));
        }
    });
    assert_eq!(answered.load(Ordering::SeqCst), 20, "each call was made once");
}

#[test]
fn messages_go_both_ways_at_once() {
    let peers = Peers::new();
    peers.runtime.block_on(async {
        let (sender, messages) = sending();
        sender.send(b"one".to_vec()).expect("taken");
        let mut answers = ask(&peers.channel, "/test.Echo/Each", Request::new(messages)).await.expect("an answer");
        assert_eq!(answers.message().await.expect("a message").as_deref(), Some(&b"ONE"[..]));
        // Only now, when the first has come back; and one that fills many frames.
        let large = vec![b'x'; 1 << 20];
        sender.send(large.clone()).expect("taken");
        assert_eq!(answers.message().await.expect("a message"), Some(large.to_ascii_uppercase()));
        drop(sender);
        assert_eq!(answers.message().await.expect("the end is OK"), None);
    });
}

#[test]
fn calls_come_over_tls() {
    let authority = Authority::new();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let seen = Arc::default();
    let pod = serve(&runtime, &seen);
    let manifests = secret("one", &authority.issue(&["a.example"], Kind::Ecdsa))
        + &ingress_over_tls("web", "a.example", "one", &[("backend-protocol", "GRPC")]);
    let site = Site::start(&manifests, &[("web", &pod)]);
    runtime.block_on(async {
        let stream = Mutex::new(Some(TokioIo::new(over_tls(&site, &authority).await)));
        let connector = tower::service_fn(move |_: hyper::Uri| {
            let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
            async move { stream.ok_or_else(|| std::io::Error::other("there is one connection")) }
        });
        let endpoint = Endpoint::from_static("http://a.example");
        let endpoint = endpoint.origin("https://a.example".parse().expect("a URL"));
        let channel = endpoint.connect_with_connector(connector).await.expect("a connection");
        let (sender, messages) = sending();
        let mut answers = ask(&channel, "/test.Echo/Each", Request::new(messages)).await.expect("an answer");
        for turn in 0..5 {
            sender.send(format!("turn {turn}").into_bytes()).expect("taken");
            let answer = answers.message().await.expect("a message");
            assert_eq!(answer, Some(format!("TURN {turn}").into_bytes()));
        }
        drop(sender);
        assert_eq!(answers.message().await.expect("the end is OK"), None);
        let one = Request::new(stream::iter([b"one".to_vec()]));
        let status = ask(&channel, "/test.Echo/Refuse", one).await.expect_err("a failure at once");
        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "no more"));
    });
}

#[test]
fn errors_come_in_trailers_and_without_an_answer() {
    let peers = Peers::new();
    peers.runtime.block_on(async {
        let one = || Request::new(stream::iter([b"one".to_vec()]));
        let mut answers = ask(&peers.channel, "/test.Echo/Fail", one()).await.expect("an answer");
        assert_eq!(answers.message().await.expect("a message").as_deref(), Some(&b"ONE"[..]));
        let late = answers.message().await.expect_err("a failure behind the message");
        let at_once = ask(&peers.channel, "/test.Echo/Refuse", one()).await.expect_err("a failure at once");
        for status in [late, at_once] {
            assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "no more"));
            assert_eq!(status.metadata().get("x-detail").map(|value| value.as_bytes()), Some(&b"seven"[..]));
        }
    });
}

/// A client of the front that sends a message and reads to the end of the answer.
fn failure(peers: &Peers, method: &'static str) -> (Code, String) {
    peers.runtime.block_on(async {
        let one = Request::new(stream::iter([b"one".to_vec()]));
        let status = match ask(&peers.channel, method, one).await {
            Ok(mut answers) => answers.message().await.expect_err(method),
            Err(status) => status,
        };
        (status.code(), status.message().to_owned())
    })
}

#[test]
fn errors_of_the_front_are_told_in_terms_of_grpc() {
    let of = |service: &str, path: &str, annotations: &[(&str, &str)]| {
        let annotations: Vec<_> = [("backend-protocol", "GRPC")].iter().chain(annotations).copied().collect();
        let name = path.trim_start_matches("/test.").to_ascii_lowercase();
        ingress(service, "a.example", path, &annotations).replacen(service, &name, 1)
    };
    let peers = Peers::beside(
        &[
            of("nobody", "/test.Nobody", &[]),
            of("web", "/test.Closed", &[("whitelist-source-range", "192.0.2.0/24")]),
            of("web", "/test.Users", &[("auth-type", "basic"), ("auth-secret", "users")]),
            of("web", "/test.Slow", &[("proxy-read-timeout", "1"), ("proxy-send-timeout", "600")]),
            "---\nkind: Secret\napiVersion: v1\nmetadata: {name: users}\nstringData: {auth: \"a:{SHA}6dcfXufJLW3J6S/9rRe4vUlBj5g=\"}\n".to_owned(),
        ]
        .concat(),
    );
    for (method, code, part) in [
        ("/other.Service/Call", Code::Unimplemented, "No Ingress has a rule"),
        ("/test.Nobody/Each", Code::Unavailable, "does not exist"),
        ("/test.Closed/Each", Code::PermissionDenied, "403 Forbidden"),
        ("/test.Users/Each", Code::Unauthenticated, "401 Unauthorized"),
        ("/test.Slow/Never", Code::DeadlineExceeded, "no answer in time"),
    ] {
        let (found, message) = failure(&peers, method);
        assert_eq!((found, message.contains(part)), (code, true), "{method}: {message}");
        assert!(message.contains("Request ID: "), "{message}");
    }
    // Who is no caller of gRPC gets a page.
    assert_eq!(peers.site.get("a.example", "/test.Nobody/Each", &[]).status, 503);
}

#[test]
fn deadlines_reach_the_server_and_end_its_work() {
    let peers = Peers::new();
    peers.runtime.block_on(async {
        let (_sender, messages) = sending();
        let mut request = Request::new(messages);
        request.set_timeout(Duration::from_millis(400));
        let status = ask(&peers.channel, "/test.Echo/Never", request).await.expect_err("no answer");
        assert!(matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded), "{status:?}");
    });
    peers.site.eventually("the server to hear that nobody waits", || peers.seen.given_up.load(Ordering::SeqCst) == 1);
    let deadlines = peers.seen.deadlines.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(deadlines, [Some("400000u".to_owned())]);
}
