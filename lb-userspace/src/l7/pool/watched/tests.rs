//! Real connections that end in each way; what is known of a request that was on its way is asserted.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream as Blocking};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;

use super::*;
use crate::dataplane::unacknowledged;
use crate::l7::body::RequestBody;
use crate::l7::pool::{Lease, Pool};
use crate::l7::secure::Transport;
use crate::l7::wire::Failed;
use crate::model::filters::BackendTls;

const HEARD: &str = "POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nxyz";

fn post() -> Request<RequestBody> {
    Request::post("/").body(RequestBody::whole(Bytes::from_static(b"xyz"))).expect("a request")
}

/// A backend's end of a connection, with TLS or without.
enum Far {
    Plain(Blocking),
    Secured(Box<StreamOwned<ServerConnection, Blocking>>),
}

impl Far {
    fn new(stream: Blocking, tls: bool) -> Self {
        if !tls {
            return Far::Plain(stream);
        }
        let own = rcgen::generate_simple_self_signed(["backend.test".to_owned()]).expect("a certificate");
        let key = own.signing_key.serialize_der().try_into().expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = versions.expect("versions").with_no_client_auth();
        let config = builder.with_single_cert(vec![own.cert.der().clone()], key).expect("a key that fits");
        let connection = ServerConnection::new(Arc::new(config)).expect("a connection");
        Far::Secured(Box::new(StreamOwned::new(connection, stream)))
    }

    /// Reads a request.
    fn hear(&mut self) {
        let mut heard = vec![0; HEARD.len()];
        match self {
            Far::Plain(stream) => stream.read_exact(&mut heard),
            Far::Secured(stream) => stream.read_exact(&mut heard),
        }
        .expect("a request");
        assert_eq!(String::from_utf8_lossy(&heard), HEARD);
    }

    fn answer(&mut self) {
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        match self {
            Far::Plain(stream) => stream.write_all(answer),
            Far::Secured(stream) => stream.write_all(answer),
        }
        .expect("open");
    }

    /// Closes as servers do that end or time out.
    fn close(self) {
        if let Far::Secured(mut stream) = self {
            stream.conn.send_close_notify();
            stream.flush().expect("open");
        }
    }

    /// Closes without an end of TLS.
    fn stop(self) {}

    /// Resets the connection.
    fn abort(self) {
        let stream = match &self {
            Far::Plain(stream) => stream,
            Far::Secured(stream) => &stream.sock,
        };
        SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("allowed");
    }
}

/// A connection that was used once, and its other end.
async fn used(tls: bool) -> (Lease, Far) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let pool = Pool::new(Some(unacknowledged), 1);
    let peer = pool.peer(listener.local_addr().expect("bound"));
    let far = spawn(move || {
        let mut far = Far::new(listener.accept().expect("a connection").0, tls);
        far.hear();
        far.answer();
        far
    });
    let (v12, v13) = (true, true);
    let settings = Arc::new(BackendTls { v12, v13, ..BackendTls::default() });
    let transport = Transport { tls: tls.then(|| (settings, Arc::from("backend.test"))), ..Transport::PLAIN };
    let lease = pool.connect(&peer, &transport, Duration::from_secs(60)).await;
    let mut lease = lease.unwrap_or_else(|error| panic!("{error}"));
    lease.sender.send(post(), false).await.unwrap_or_else(|failed| panic!("{failed:?}"));
    (lease, far.join().expect("no panic"))
}

/// Whether a request is known to be unseen on whose connection the other end does this. The runtime does not look at its
/// sockets before the request is written.
async fn is_unseen(tls: bool, then: impl FnOnce(Far) -> Option<JoinHandle<()>>) -> bool {
    let (mut lease, far) = used(tls).await;
    let far = then(far);
    let sent = lease.sender.send(post(), false).await;
    far.into_iter().for_each(|far| far.join().expect("no panic"));
    !matches!(sent.expect_err("nobody answers"), Failed::Sent)
}

/// Reads the request, and then does this.
fn behind(then: impl FnOnce(Far) + Send + 'static) -> impl FnOnce(Far) -> Option<JoinHandle<()>> {
    |mut far: Far| {
        Some(spawn(move || {
            far.hear();
            then(far);
        }))
    }
}

fn before(then: impl FnOnce(Far)) -> impl FnOnce(Far) -> Option<JoinHandle<()>> {
    |far: Far| {
        then(far);
        None
    }
}

#[tokio::test]
async fn an_end_that_crosses_a_request_proves_that_nobody_read_it() {
    let all = async {
        for tls in [false, true] {
            assert!(is_unseen(tls, before(Far::close)).await, "tls: {tls}");
            assert!(is_unseen(tls, before(Far::stop)).await, "tls: {tls}");
            assert!(!is_unseen(tls, behind(Far::close)).await, "tls: {tls}: it was read");
            assert!(!is_unseen(tls, behind(Far::stop)).await, "tls: {tls}: it was read");
        }
    };
    LocalSet::new().run_until(all).await;
}

#[tokio::test]
async fn a_reset_before_a_request_is_told_from_one_behind_it() {
    let all = async {
        for tls in [false, true] {
            assert!(is_unseen(tls, before(Far::abort)).await, "tls: {tls}: nothing of it was sent");
            assert!(!is_unseen(tls, behind(Far::abort)).await, "tls: {tls}: it was read");
        }
    };
    LocalSet::new().run_until(all).await;
}

/// Over TLS a backend may say that it closes long before it does.
#[tokio::test]
async fn an_end_is_waited_for_only_where_it_proves_something() {
    let all = async {
        for (twice, waits) in [(true, false), (false, true)] {
            let (mut lease, mut far) = used(true).await;
            if let Far::Secured(stream) = &mut far {
                stream.conn.send_close_notify();
                stream.flush().expect("open");
            }
            tokio::time::pause();
            let start = tokio::time::Instant::now();
            assert!(lease.sender.send(post(), twice).await.is_err());
            assert_eq!(!start.elapsed().is_zero(), waits, "it may be sent twice: {twice}");
            tokio::time::resume();
        }
    };
    LocalSet::new().run_until(all).await;
}

/// What is acknowledged late is read early: only the first error tells of the reset.
#[tokio::test]
async fn a_reset_is_remembered() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
    let (mut far, _) = listener.accept().expect("a connection");
    let (mut near, way) = Watched::new(near, Some(unacknowledged), Rc::default());
    let mut byte = [0];
    for _ in 0..50 {
        near.write_all(b"?").await.expect("open");
        far.read_exact(&mut byte).expect("open");
        far.write_all(b"!").expect("open");
        near.read_exact(&mut byte).await.expect("open");
    }
    way.begin();
    near.write_all(b"head").await.expect("open");
    far.read_exact(&mut [0; 4]).expect("open");
    Far::Plain(far).abort();
    near.write_all(b"body").await.expect_err("reset");
    assert_eq!(near.read(&mut byte).await.expect("this is what the kernel says"), 0);
    assert!(!way.is_unseen(), "the head was read");
}

#[test]
fn a_request_is_unseen_if_nothing_of_it_had_arrived() {
    let way = Way::default();
    let seen = |written: &[usize], unacknowledged| {
        way.begin();
        written.iter().for_each(|bytes| way.wrote(*bytes));
        way.ended(unacknowledged);
        !way.is_unseen()
    };
    assert!(!seen(&[100, 20], 120) && !seen(&[5], 6), "nothing had arrived");
    assert!(seen(&[100, 20], 119) && seen(&[100], 0), "a part had");
    assert!(!seen(&[], 0), "nothing was sent");
    way.wrote(1);
    way.ended(1);
    way.begin();
    way.wrote(1);
    assert!(!way.is_unseen(), "that was another request");
}
