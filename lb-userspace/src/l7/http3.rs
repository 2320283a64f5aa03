//! HTTP/3 towards clients (RFC 9114), over QUIC (RFC 9000) with the TLS that all other connections have.
//!
//! A request of HTTP/3 takes the same way as one of HTTP/2: the same checks of its head, the same rules and filters. Each worker
//! has sockets of its own; the kernel leads a client's datagrams to the same one as long as its address and port stay, so
//! clients that move to another address make a new connection. What is not spoken over QUIC: TLS that asks for a
//! certificate of the client, or that ends at a backend; the handshake fails for such names, and clients use TCP.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h3::error::{Code, ConnectionError};
use hyper::header::{ALT_SVC, HeaderMap, HeaderValue};
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connecting, Endpoint, EndpointConfig, Incoming, TokioRuntime};
use tokio::time::timeout;

use super::connection::{closing, to_be_closed};
use super::forward::Ends;
use super::hits::Hit;
use super::http2::activity::Activity;
use super::http2::frames::Budget;
use super::proxy::Client;
use super::tls::Session;
use super::worker::Worker;

mod body;
mod counted;
mod frames;
mod request;

pub use body::Received;

type Connection = h3::server::Connection<counted::Connection, Bytes>;

/// With so many handshakes under way clients have to show first that they get what is sent to them (RFC 9000 section 8.1.2).
const UNPROVEN: usize = 64;
/// For the client to take note that the connection ends.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long clients may remember that HTTP/3 is spoken here.
const REMEMBERED: u32 = 86_400;

/// Begins to serve these sockets; needs a table.
pub fn listen(worker: &Rc<Worker>, sockets: Vec<UdpSocket>) -> io::Result<()> {
    for socket in sockets {
        worker.quic_port.set(socket.local_addr()?.port());
        socket.set_nonblocking(true)?;
        let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))?;
        tokio::task::spawn_local(accept(Rc::clone(worker), endpoint));
    }
    Ok(())
}

/// Tells clients that come over TCP that HTTP/3 is spoken at the port that they came to (RFC 7838).
pub fn offer(worker: &Worker, ends: &Ends, headers: &mut HeaderMap) {
    let Some(session) = &ends.session else { return };
    let port = worker.quic_port.get();
    let view = worker.view();
    let offered = || view.router.tls.as_ref().is_some_and(|tls| tls.speaks_quic(session.server_name.as_deref()));
    if port == 0 || port != ends.front.port() || view.router.settings.asked.forwarded.proxy_protocol || !offered() {
        return;
    }
    // Digits are always valid in a header.
    if let Ok(value) = HeaderValue::try_from(format!("h3=\":{port}\"; ma={REMEMBERED}")) {
        headers.insert(ALT_SVC, value);
    }
}

async fn accept(worker: Rc<Worker>, endpoint: Endpoint) {
    let handshakes = Rc::new(());
    follow(&worker, &endpoint);
    let mut version = worker.view().router.version;
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            () = changed(&worker, version) => {
                version = worker.view().router.version;
                follow(&worker, &endpoint);
                continue;
            }
            () = closing(&worker) => break,
        };
        let Some(incoming) = incoming else { return };
        take(&worker, incoming, &handshakes);
    }
    // Who comes now gets no answer, and those who are here are not disturbed.
    endpoint.set_server_config(None);
    endpoint.wait_idle().await;
}

/// New connections are made as the table says. There is no PROXY protocol over UDP: where clients come by proxies only, nobody
/// else is to come.
fn follow(worker: &Worker, endpoint: &Endpoint) {
    let view = worker.view();
    let proxied = view.router.settings.asked.forwarded.proxy_protocol;
    let config = view.router.tls.as_ref().filter(|_| !proxied).and_then(|tls| tls.quic());
    endpoint.set_server_config(config.map(|config| quinn::ServerConfig::clone(&config)));
}

/// Another table than this one is in force.
async fn changed(worker: &Worker, version: u64) {
    let mut versions = worker.versions.subscribe();
    let _ = versions.wait_for(|now| *now != version).await;
}

fn take(worker: &Rc<Worker>, incoming: Incoming, handshakes: &Rc<()>) {
    if worker.is_full() {
        return incoming.refuse();
    }
    if Rc::strong_count(handshakes) > UNPROVEN && !incoming.remote_address_validated() && incoming.may_retry() {
        // What cannot be sent is asked for again.
        let _ = incoming.retry();
        return;
    }
    worker.counters.tls_handshakes.increment();
    let Ok(connecting) = incoming.accept() else { return worker.counters.tls_failures.increment() };
    worker.counters.connections.increment();
    let (worker, open, handshake) = (Rc::clone(worker), worker.opened(), Rc::clone(handshakes));
    tokio::task::spawn_local(async move {
        serve(&worker, connecting, handshake).await;
        worker.counters.connections_ended.increment();
        drop(open);
    });
}

async fn serve(worker: &Rc<Worker>, connecting: Connecting, handshake: Rc<()>) {
    let shaken = timeout(worker.handshake_limit(), connecting).await;
    drop(handshake);
    let Ok(Ok(connection)) = shaken else {
        worker.counters.hit(shaken.is_err().then_some(Hit::Handshake));
        return worker.counters.tls_failures.increment();
    };
    let Some(_counted) = worker.connected(connection.remote_address().ip()) else {
        return connection.close(quinn::VarInt::from_u32(Code::H3_EXCESSIVE_LOAD.value() as u32), b"");
    };
    let mut builder = h3::server::builder();
    builder.max_field_section_size(worker.client_limits().head_size as u64).send_grease(false);
    // a client that lets no stream be opened would be waited for as long as it lives
    let asked = Arc::clone(&worker.view().router.settings.asked);
    let budget = Budget::new(&asked.clients, worker.client_limits().head_size);
    let counted = counted::Connection::new(&connection, budget, worker.counters.clone());
    let built = timeout(worker.handshake_limit(), builder.build(counted)).await;
    let Ok(Ok(mut streams)) = built else {
        return connection.close(quinn::VarInt::from_u32(Code::H3_NO_ERROR.value() as u32), b"");
    };
    let Some(ends) = ends(worker, &connection) else { return };
    worker.counters.http3_connections.increment();
    let activity = Rc::new(Activity::new(worker.client_limits().floor(), worker.counters.clone()));
    let client = Rc::new(Client::over_streams(ends, Rc::clone(&activity)));
    tokio::select! {
        // Requests that wait for a backend are given up with the connection.
        _ = connection.closed() => {}
        () = requests(worker, &client, (&mut streams, &activity), &connection) => {}
    }
    connection.close(quinn::VarInt::from_u32(Code::H3_NO_ERROR.value() as u32), b"");
}

async fn requests(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    (streams, activity): (&mut Connection, &Rc<Activity>),
    connection: &quinn::Connection,
) {
    let limits = worker.client_limits();
    let answer = |stream| {
        let request = request::answer(Rc::clone(worker), Rc::clone(client), stream, activity.enter());
        let gone = connection.clone();
        tokio::task::spawn_local(async move {
            tokio::select! {
                () = request => {}
                _ = gone.closed() => {}
            }
        });
    };
    loop {
        tokio::select! {
            stream = streams.accept() => match next(stream) {
                Some(stream) => answer(stream),
                None => return,
            },
            () = to_be_closed(worker, client) => break,
            () = client.last() => break,
            () = activity.idle(limits.idle) => break,
            () = activity.watch() => return,
        }
    }
    // An error here concerns this connection only.
    if streams.shutdown(0).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            stream = streams.accept() => match next(stream) {
                Some(stream) => answer(stream),
                None => return activity.idle(Duration::ZERO).await,
            },
            () = activity.done(FAREWELL) => return,
            () = activity.watch() => return,
        }
    }
}

type Stream = h3::server::RequestResolver<counted::Connection, Bytes>;

/// The next request; an error concerns this connection only, and who caused it knows.
fn next(stream: Result<Option<Stream>, ConnectionError>) -> Option<Stream> {
    stream.ok().flatten()
}

/// Both ends of a connection. The kernel tells to which address its datagrams came.
fn ends(worker: &Worker, connection: &quinn::Connection) -> Option<Ends> {
    let shaken = connection.handshake_data()?.downcast::<HandshakeData>().ok()?;
    let server_name = shaken.server_name.map(|name| name.trim_end_matches('.').to_ascii_lowercase().into_boxed_str());
    let session = Session { server_name, client: None, version: "TLSv1.3", suite: "" };
    let front = SocketAddr::new(connection.local_ip()?, worker.quic_port.get());
    Some(Ends::secured(connection.remote_address(), front, Rc::new(session)))
}
