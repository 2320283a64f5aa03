//! One client connection from accept to close.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::BytesMut;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::forward::Ends;
use super::guard::Guard;
use super::hits::Hit;
use super::http1;
use super::http2::{self, Opening};
use super::passthrough;
use super::proxy::Client;
use super::proxy_protocol;
use super::stream;
use super::tls;
use super::worker::{Stage, Worker};

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

/// Starts to serve a connection on this worker.
pub fn spawn(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, scheme: Scheme) {
    worker.counters.connections.increment();
    let (worker, open) = (Rc::clone(worker), worker.opened());
    tokio::task::spawn_local(async move {
        serve(&worker, stream, peer, scheme).await;
        worker.counters.connections_ended.increment();
        drop(open);
    });
}

async fn serve(worker: &Rc<Worker>, mut stream: TcpStream, peer: SocketAddr, scheme: Scheme) {
    // The address that the client connected to: the VIP.
    let Ok(front) = stream.local_addr() else { return };
    prepare(&stream);
    let entry = worker.view().router.streams.get(&front.port()).cloned();
    if let Some(entry) = entry.filter(|_| scheme == Scheme::Http) {
        return Box::pin(stream::run(worker, stream, peer, front, &entry)).await;
    }
    // Who does not begin as a proxy that is believed gets no answer: it would be one to somebody else.
    let Some((peer, front)) = told(worker, &mut stream, peer, front).await else { return };
    let Some(_counted) = worker.connected(peer.ip()) else { return };
    match scheme {
        Scheme::Http => http(worker, stream, Ends::new(peer, front)).await,
        // What only TLS needs takes no memory of other connections.
        Scheme::Https => Box::pin(https(worker, stream, peer, front)).await,
    }
}

/// HTTP/1, unless the client begins with what only HTTP/2 begins with (RFC 9113 section 3.3).
async fn http(worker: &Rc<Worker>, stream: TcpStream, ends: Ends) {
    let (mut opening, limits) = (Opening::default(), worker.client_limits());
    let is_h2 = tokio::select! {
        is_h2 = opening.read(&stream, &limits) => is_h2,
        () = closing(worker) => Ok(false),
    };
    match is_h2 {
        Ok(false) => http1(worker, stream, ends, opening, None).await,
        Ok(true) => Box::pin(http2::serve(worker, stream, ends, opening.bytes)).await,
        Err(_) => {}
    }
}

async fn https(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, front: SocketAddr) {
    worker.counters.tls_handshakes.increment();
    let secured = match Box::pin(timeout(worker.handshake_limit(), accept(worker, stream))).await {
        Ok(Ok(tls::Accepted::Secured(secured))) => secured,
        Ok(Ok(tls::Accepted::Passed { stream, read, upstream })) => {
            return passthrough::run(worker, stream, read, &upstream).await;
        }
        Ok(Err(_)) => return worker.counters.tls_failures.increment(),
        Err(_) => {
            worker.counters.hit(Some(Hit::Handshake));
            return worker.counters.tls_failures.increment();
        }
    };
    let ends = Ends::secured(peer, front, secured.session);
    if secured.is_h2 {
        http2::serve(worker, secured.stream, ends, BytesMut::new()).await;
    } else {
        http1(worker, secured.stream, ends, Opening::default(), Some(secured.left)).await;
    }
}

async fn accept(worker: &Rc<Worker>, stream: TcpStream) -> io::Result<tls::Accepted> {
    let view = worker.view();
    let server = view.router.tls.as_ref().ok_or(io::ErrorKind::Unsupported)?;
    tls::accept(server, stream).await
}

async fn http1<I>(worker: &Rc<Worker>, stream: I, ends: Ends, opening: Opening, left: Option<Arc<AtomicU64>>)
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (guard, handle) = Guard::new(stream, worker.client_limits());
    let guard = guard.after(opening.bytes, opening.begun).counting(left);
    http1::serve(worker, guard, Rc::new(Client::alone(ends, handle))).await;
}

/// Both ends, as the PROXY protocol tells them where it is spoken; `None`: it should have been.
async fn told(
    worker: &Rc<Worker>,
    stream: &mut TcpStream,
    peer: SocketAddr,
    front: SocketAddr,
) -> Option<(SocketAddr, SocketAddr)> {
    if worker.view().router.settings.asked.forwarded.proxy_protocol {
        read_told(worker, stream, peer, front).await
    } else {
        Some((peer, front))
    }
}

/// Both ends, as the header of the PROXY protocol tells them; `None`: there is none, or from somebody who is not believed.
pub(super) async fn read_told(
    worker: &Rc<Worker>,
    stream: &mut TcpStream,
    peer: SocketAddr,
    front: SocketAddr,
) -> Option<(SocketAddr, SocketAddr)> {
    let view = worker.view();
    let settings = &view.router.settings.asked.forwarded;
    if !settings.trusts(peer.ip()) {
        return None;
    }
    let limit = Duration::from_millis(settings.proxy_protocol_timeout);
    let told = timeout(limit, proxy_protocol::read(stream)).await;
    let told = told.inspect_err(|_| worker.counters.hit(Some(Hit::ProxyHeader))).ok()?.ok()?;
    Some(told.map_or((peer, front), |told| (told.client, told.front)))
}

/// Waits until the connection may be closed between two requests. One that has not had its first request yet gets time
/// to send it: a client that connects and sees the connection close does not try again by itself.
pub(super) async fn to_be_closed(worker: &Rc<Worker>, client: &Client) {
    until(worker, |stage| stage == Stage::Closing || (stage == Stage::Draining && client.has_been_served())).await;
}

/// Waits until connections end as soon as no request is in flight.
pub(super) async fn closing(worker: &Rc<Worker>) {
    until(worker, |stage| stage == Stage::Closing).await;
}

async fn until(worker: &Rc<Worker>, reached: impl Fn(Stage) -> bool) {
    if worker.stage.subscribe().wait_for(|stage| reached(*stage)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Small messages go out at once; an other side that is dead is noticed even in tunnels.
pub(super) fn prepare(stream: &TcpStream) {
    // If it fails the connection is broken and the next read says so.
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}
