//! Copies of requests for somebody else: bounded in number, size and time, and never in the way of the request itself.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use hyper::{Request, Uri};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::body::RequestBody;
use super::destination;
use super::pool::Reuse;
use super::secure::Transport;
use super::worker::Worker;
use crate::model::filters::BackendTls;

/// Copies at a time, of one worker.
const MOST: usize = 128;
/// Largest body that is copied.
const MAX_BODY: usize = 1 << 20;
/// Longest time that a copy may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A copy, complete but for its body.
#[derive(Debug)]
pub struct Copy {
    /// The head, with the Host that it should have.
    pub head: Request<()>,
    /// Where it goes.
    pub target: Uri,
}

/// Collects a body while it goes by.
#[derive(Debug)]
pub struct Tee {
    collected: RefCell<Option<BytesMut>>,
    done: RefCell<Option<oneshot::Sender<Bytes>>>,
}

impl Tee {
    fn new() -> (Rc<Self>, oneshot::Receiver<Bytes>) {
        let (done, receiver) = oneshot::channel();
        (Rc::new(Tee { collected: RefCell::new(Some(BytesMut::new())), done: RefCell::new(Some(done)) }), receiver)
    }

    /// A part goes by.
    pub fn part(&self, data: &[u8]) {
        let mut collected = self.collected.borrow_mut();
        if collected.as_ref().is_some_and(|all| all.len() + data.len() > MAX_BODY) {
            *collected = None;
            self.done.take();
        }
        if let Some(all) = collected.as_mut() {
            all.extend_from_slice(data);
        }
    }

    /// That was all.
    pub fn end(&self) {
        if let (Some(all), Some(done)) = (self.collected.take(), self.done.take()) {
            // Nobody waits any more: the copy took too long.
            let _ = done.send(all.freeze());
        }
    }
}

/// Sends a copy. With a body, what is given back has to see it go by.
pub fn send(worker: &Rc<Worker>, copy: Copy, with_body: bool) -> Option<Rc<Tee>> {
    let place = Rc::clone(&worker.copies);
    if Rc::strong_count(&place) > MOST {
        return None;
    }
    let worker = Rc::clone(worker);
    let (tee, body) = if with_body {
        let (tee, body) = Tee::new();
        (Some(tee), Some(body))
    } else {
        (None, None)
    };
    tokio::task::spawn_local(async move {
        // What becomes of it is nobody's concern.
        let _ = timeout(LIMIT, deliver(&worker, copy, body)).await;
        drop(place);
    });
    tee
}

async fn deliver(worker: &Rc<Worker>, copy: Copy, body: Option<oneshot::Receiver<Bytes>>) -> Option<()> {
    let body = match body {
        Some(body) => body.await.ok()?,
        None => Bytes::new(),
    };
    let (host, secured) = (copy.target.host()?, copy.target.scheme_str() == Some("https"));
    let port = copy.target.port_u16().unwrap_or(if secured { 443 } else { 80 });
    let endpoints = destination::find(worker, host, port).await.ok()?;
    let transport = transport(secured, host);
    let mut lease = None;
    for endpoint in endpoints {
        lease = connect(worker, endpoint, &transport).await;
        if lease.is_some() {
            break;
        }
    }
    let mut lease = lease?;
    let mut request = copy.head;
    let target = copy.target.path_and_query().map_or("/", |target| target.as_str());
    *request.uri_mut() = Uri::try_from(target).ok()?;
    request.headers_mut().remove(TRANSFER_ENCODING);
    request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let response = lease.sender.send(request.map(|()| RequestBody::whole(body)), true).await.ok()?;
    let mut body = response.into_body();
    let mut left = MAX_BODY;
    while let Some(frame) = body.frame().await {
        left = left.checked_sub(frame.ok()?.data_ref().map_or(0, Bytes::len))?;
    }
    lease.give_back();
    Some(())
}

async fn connect(worker: &Rc<Worker>, endpoint: SocketAddr, transport: &Transport) -> Option<super::pool::Lease> {
    let peer = worker.pool.peer(endpoint);
    match peer.take(transport, Reuse::Proven) {
        Some(lease) => Some(lease),
        None => worker.pool.connect(&peer, transport, worker.limits.connect).await.ok(),
    }
}

fn transport(secured: bool, host: &str) -> Transport {
    let settings = || BackendTls { v12: true, v13: true, tells_name: true, ..BackendTls::default() };
    Transport { http2: false, proxied: None, tls: secured.then(|| (Arc::new(settings()), host.into())) }
}
