//! Opening connections to backends.

use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use h2::Reason;
use hyper::client::conn::http2;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::life::Life;
use super::peer::{Load, Peer};
use super::watched::{Watched, Way};
use super::{ConnectError, Lease, Pool};
use crate::l7::body::{BackendBody, RequestBody};
use crate::l7::connection;
use crate::l7::http2::Local;
use crate::l7::proxy_protocol;
use crate::l7::secure::{Transport, server_name};
use crate::l7::wire::{Failed, Io, Wire};

/// Sends requests on one connection.
#[derive(Debug)]
pub enum Sender {
    /// One after the other, and what is known of how the last got there.
    Http1(Wire, Rc<Way>),
    /// Several at once.
    Http2(http2::SendRequest<RequestBody>),
}

impl Sender {
    /// It takes a request now.
    pub fn is_ready(&self) -> bool {
        match self {
            Sender::Http1(wire, _) => wire.is_ready(),
            Sender::Http2(sender) => sender.is_ready(),
        }
    }

    /// It takes none any more.
    pub fn is_closed(&self) -> bool {
        match self {
            Sender::Http1(wire, _) => !wire.is_ready(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }

    /// Sends a request and waits for the head of its answer. Whether anybody has seen a request that must not be sent twice is
    /// found out where that takes a moment, too.
    pub async fn send(&mut self, request: Request<RequestBody>, twice: bool) -> Result<Response<BackendBody>, Failed> {
        match self {
            Sender::Http1(wire, way) => {
                way.begin();
                match wire.send(request).await {
                    Ok(answer) => Ok(answer.map(BackendBody::Wire)),
                    Err(Failed::Sent) => {
                        if !twice {
                            wire.end().await;
                        }
                        Err(if way.is_unseen() { Failed::Unseen } else { Failed::Sent })
                    }
                    Err(failed) => Err(failed),
                }
            }
            Sender::Http2(sender) => match Box::pin(sender.try_send_request(request)).await {
                Ok(answer) => Ok(answer.map(BackendBody::Hyper)),
                Err(mut error) => Err(match error.take_message() {
                    Some(request) => Failed::Unsent(Box::new(request)),
                    None => failed(error.error()),
                }),
            },
        }
    }

    /// The same connection for another request, if it takes several at once.
    pub(super) fn share(&self) -> Option<Self> {
        match self {
            Sender::Http1(..) => None,
            Sender::Http2(sender) => Some(Sender::Http2(sender.clone())),
        }
    }
}

/// A backend of HTTP/2 says that it has not processed a request, which may be sent again then, whatever its method (RFC 9113
/// section 8.7): by REFUSED_STREAM, or by a GOAWAY whose last stream is an earlier one. h2 ends only such streams with the error
/// of a GOAWAY that came; others go on, and end with their connection if nothing comes. A request that waits until the backend
/// lets another stream be opened is held by hyper's task for the connection, which ends at the GOAWAY and lets go of it.
fn failed(error: &hyper::Error) -> Failed {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    match cause {
        Some(cause) if cause.is_remote() && cause.is_go_away() => Failed::Ended,
        Some(cause) if cause.is_remote() && cause.is_reset() && cause.reason() == Some(Reason::REFUSED_STREAM) => {
            Failed::Refused
        }
        // The only error of this kind in which a request that hyper took ends.
        None if error.is_user() => Failed::Ended,
        _ => Failed::Sent,
    }
}

impl Pool {
    /// Opens a connection and starts to drive it.
    pub async fn connect(
        &self,
        peer: &Rc<Peer>,
        transport: &Transport,
        limit: Duration,
    ) -> Result<Lease, ConnectError> {
        let (load, life) = (Load::new(peer), Life::new());
        let sender = timeout(limit, self.open(peer, transport)).await??;
        if let Some(shared) = sender.share() {
            peer.share(shared, transport, life);
        }
        Ok(Lease { sender, transport: transport.clone(), load, life, place: None })
    }

    async fn open(&self, peer: &Rc<Peer>, transport: &Transport) -> Result<Sender, ConnectError> {
        let place = self.place()?;
        let mut stream = TcpStream::connect(peer.endpoint).await?;
        connection::prepare(&stream);
        if let Some((version, told)) = transport.proxied {
            stream.write_all(&proxy_protocol::write(version, told)).await?;
        }
        let (stream, way) = Watched::new(stream, self.unacknowledged, place);
        let Some((tls, name)) = &transport.tls else { return speak(stream, transport.http2, way).await };
        let config = self.connectors.get(tls, transport.http2)?;
        let name = server_name(name, peer.endpoint.ip());
        // What only TLS needs takes no memory of other requests.
        let secured = Box::pin(TlsConnector::from(config).connect(name, stream)).await?;
        speak(secured, transport.http2, way).await
    }
}

async fn speak(stream: impl Io + 'static, http2: bool, way: Rc<Way>) -> Result<Sender, ConnectError> {
    if !http2 {
        return Ok(Sender::Http1(Wire::new(stream), way));
    }
    let (sender, connection) = http2::handshake(Local, TokioIo::new(stream)).await?;
    // An error of a connection reaches whoever waits for an answer on it.
    tokio::task::spawn_local(async move { drop(connection.await) });
    Ok(Sender::Http2(sender))
}
