//! What comes behind bodies, and answers that come before the end of them, over HTTP/2 from end to end.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2::SendRequest;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::certificates::{Authority, Kind, secret};
use crate::harness::{Site, ingress, ingress_over_tls};
use crate::http2::{over_tls, runtime};
use crate::pod::Pod;
use crate::secure_pod::{SecurePod, Speech};

type Parts = stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>;
type Sender = SendRequest<StreamBody<Parts>>;

/// A body whose parts come when the test says so.
fn body() -> (UnboundedSender<Frame<Bytes>>, StreamBody<Parts>) {
    let (sender, receiver): (_, UnboundedReceiver<Frame<Bytes>>) = unbounded_channel();
    let next = |mut receiver: UnboundedReceiver<_>| async move { Some((Ok(receiver.recv().await?), receiver)) };
    (sender, StreamBody::new(Box::pin(stream::unfold(receiver, next))))
}

fn trailers(fields: &[(&'static str, &'static str)]) -> Frame<Bytes> {
    let field = |&(name, value): &(_, _)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    Frame::trailers(fields.iter().map(field).collect::<HeaderMap>())
}

async fn connect(site: &Site, authority: Option<&Authority>) -> Sender {
    let shaken = match authority {
        None => {
            let stream = TcpStream::connect(site.address()).await.expect("the front listens");
            let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
            shaken.map(|(sender, connection)| (sender, tokio::spawn(async { drop(connection.await) })))
        }
        Some(authority) => {
            let stream = TokioIo::new(over_tls(site, authority).await);
            let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await;
            shaken.map(|(sender, connection)| (sender, tokio::spawn(async { drop(connection.await) })))
        }
    };
    shaken.expect("HTTP/2").0
}

fn post(body: StreamBody<Parts>, path: &str) -> Request<StreamBody<Parts>> {
    let uri = format!("http://a.example{path}");
    Request::post(uri).header("te", "trailers").body(body).expect("a request")
}

#[test]
fn trailers_go_both_ways_plain_and_over_tls() {
    let authority = Authority::new();
    let pair = authority.issue(&["a.example"], Kind::Ecdsa);
    for secured in [false, true] {
        let pod = SecurePod::start(&Speech { http2: true, pair: secured.then_some(&pair), clients: None });
        let spoken = [("backend-protocol", if secured { "GRPCS" } else { "GRPC" }), ("ssl-redirect", "false")];
        let manifests = secret("one", &pair) + &ingress_over_tls("web", "a.example", "one", &spoken);
        let site = Site::start(&manifests, &[("web", &pod.pod)]);
        runtime().block_on(async {
            let mut sender = connect(&site, secured.then_some(&authority)).await;
            let (parts, body) = body();
            for frame in [
                Frame::data(Bytes::from_static(b"hel")),
                Frame::data(Bytes::from_static(b"lo")),
                trailers(&[("x-sum", "5"), ("x-forwarded-for", "192.0.2.9"), ("x-real-ip", "192.0.2.9")]),
            ] {
                parts.send(frame).expect("it is read");
            }
            drop(parts);
            let answer = sender.send_request(post(body, "/")).await.expect("an answer");
            let answer = answer.into_body().collect().await.expect("a body");
            assert_eq!(answer.trailers().map(|all| &all["grpc-status"]), Some(&HeaderValue::from_static("0")));
            assert_eq!(answer.to_bytes(), "done");
        });
        let told = pod.told().pop().expect("a request");
        assert_eq!((&told.body[..], &told.trailers["x-sum"]), (&b"hello"[..], &HeaderValue::from_static("5")));
        assert_eq!(told.trailers.len(), 1, "only heads say who the client is: {:?}", told.trailers);
    }
}

#[test]
fn an_answer_may_come_before_the_end_of_its_request() {
    let (web, closed) = (Pod::echo(), Pod::echo());
    let authority = Authority::new();
    let manifests = secret("one", &authority.issue(&["a.example"], Kind::Ecdsa))
        + &ingress_over_tls("web", "a.example", "one", &[("ssl-redirect", "false"), ("proxy-body-size", "4")])
        + &ingress(
            "closed",
            "a.example",
            "/closed",
            &[("ssl-redirect", "false"), ("whitelist-source-range", "192.0.2.0/24")],
        );
    let site = Site::start(&manifests, &[("web", &web), ("closed", &closed)]);
    runtime().block_on(async {
        for authority in [None, Some(&authority)] {
            let mut sender = connect(&site, authority).await;
            for (path, status) in [("/closed", StatusCode::FORBIDDEN), ("/large", StatusCode::PAYLOAD_TOO_LARGE)] {
                let (parts, body) = body();
                parts.send(Frame::data(Bytes::from_static(b"some more"))).expect("it is read");
                let answer = sender.send_request(post(body, path)).await.expect("an answer");
                assert_eq!(answer.status(), status, "{path}");
                assert!(!answer.into_body().collect().await.expect("a body").to_bytes().is_empty());
                drop(parts);
            }
            // The connection is as good as before.
            let (parts, body) = body();
            drop(parts);
            let answer = sender.send_request(post(body, "/small")).await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::OK);
        }
    });
    assert!(closed.seen().is_empty());
}
