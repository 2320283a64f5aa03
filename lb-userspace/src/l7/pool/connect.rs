//! Opening connections to backends.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::life::Life;
use super::peer::{Load, Peer};
use super::wire::{Watched, Wire};
use super::{ConnectError, Lease, Pool};
use crate::l7::body::RequestBody;
use crate::l7::connection;
use crate::l7::http2::Local;
use crate::l7::proxy_protocol;
use crate::l7::secure::{Transport, server_name};

/// The answer, or why there is none.
type Sent = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

/// Sends requests on one connection.
#[derive(Debug)]
pub enum Sender {
    /// One after the other, and what is known of how they got there.
    Http1(http1::SendRequest<RequestBody>, Arc<Wire>),
    /// Several at once.
    Http2(http2::SendRequest<RequestBody>),
}

impl Sender {
    /// It takes a request now.
    pub fn is_ready(&self) -> bool {
        match self {
            Sender::Http1(sender, _) => sender.is_ready(),
            Sender::Http2(sender) => sender.is_ready(),
        }
    }

    /// It takes none any more.
    pub fn is_closed(&self) -> bool {
        match self {
            Sender::Http1(sender, _) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }

    /// Sends a request; what was not sent comes back.
    pub fn send(&mut self, request: Request<RequestBody>) -> impl Future<Output = Sent> + use<> {
        let (one, other) = match self {
            Sender::Http1(sender, wire) => {
                wire.begin();
                (Some(sender.try_send_request(request)), None)
            }
            Sender::Http2(sender) => (None, Some(sender.try_send_request(request))),
        };
        async move {
            match (one, other) {
                (Some(sent), _) => sent.await,
                (None, Some(sent)) => sent.await,
                // One of them is there.
                (None, None) => std::future::pending().await,
            }
        }
    }

    /// The last request, to which there was no answer, has not reached the other side: it closed before.
    pub fn was_unseen(&self) -> bool {
        match self {
            Sender::Http1(_, wire) => wire.is_unseen(),
            Sender::Http2(_) => false,
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
        let (stream, wire) = Watched::new(stream, self.unacknowledged);
        let Some((tls, name)) = &transport.tls else {
            return speak(stream, transport.http2, (wire, place)).await;
        };
        let config = self.connectors.get(tls, transport.http2)?;
        let name = server_name(name, peer.endpoint.ip());
        // What only TLS needs takes no memory of other requests.
        let secured = Box::pin(TlsConnector::from(config).connect(name, stream)).await?;
        speak(secured, transport.http2, (wire, place)).await
    }
}

async fn speak<I>(stream: I, http2: bool, (wire, place): (Arc<Wire>, Rc<()>)) -> Result<Sender, ConnectError>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // An error of a connection reaches whoever waits for an answer on it.
    if http2 {
        let (sender, connection) = http2::handshake(Local, TokioIo::new(stream)).await?;
        tokio::task::spawn_local(async move { drop((connection.await, place)) });
        return Ok(Sender::Http2(sender));
    }
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(async move { drop((connection.with_upgrades().await, place)) });
    Ok(Sender::Http1(sender, wire))
}
