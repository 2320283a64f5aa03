//! Requests of the front itself: to ask an authentication service, to get a page for an error. They have no body, and
//! their answers are short.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::http::response;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::model::filters::KeepAlive;

mod unchecked;

/// Longest head of an answer.
const MAX_HEAD: usize = 64 << 10;
/// Longest body of an answer.
const MAX_BODY: usize = 1 << 20;
/// Addresses that are tried.
const MAX_ATTEMPTS: usize = 3;
/// Places to which idle connections are kept.
const MAX_PLACES: usize = 1024;

type Sender = http1::SendRequest<Empty<Bytes>>;

/// A worker's connections for requests of its own.
#[derive(Debug, Default)]
pub struct Asker {
    idle: RefCell<HashMap<Place, Vec<Idle>>>,
}

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    address: SocketAddr,
    /// TLS, with this name.
    tls: Option<Rc<str>>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    requests: u32,
    until: Instant,
}

/// How long the steps may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// To connect, with the handshake of TLS.
    pub connect: Duration,
    /// For the answer.
    pub answer: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no address to ask.
    #[error("there is no endpoint")]
    NoAddress,
    /// It cannot be reached.
    #[error("no connection")]
    Io(#[from] std::io::Error),
    /// It takes too long.
    #[error("no answer in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[from] hyper::Error),
    /// The host is no name for TLS.
    #[error("the host is no name for TLS")]
    Name,
}

impl Asker {
    /// Asks the first of these addresses that can be reached; over TLS if a name is given. A body that is
    /// longer than a page may be is left out.
    pub async fn ask(
        &self,
        request: &Request<Empty<Bytes>>,
        addresses: &[SocketAddr],
        tls: Option<&str>,
        keep: KeepAlive,
        times: Times,
    ) -> Result<(response::Parts, Option<Bytes>), AskError> {
        let tls: Option<Rc<str>> = tls.map(Rc::from);
        let mut last = AskError::NoAddress;
        for &address in addresses.iter().take(MAX_ATTEMPTS) {
            let place = Place { address, tls: tls.clone() };
            // One that the service has just closed says nothing about it.
            if let Some(idle) = self.take(&place)
                && let Ok(answer) = self.send(idle, &place, request, keep, times).await
            {
                return Ok(answer);
            }
            let fresh = match timeout(times.connect, connect(&place)).await {
                Ok(Ok(sender)) => Idle { sender, requests: 0, until: Instant::now() },
                Ok(Err(error)) => {
                    last = error;
                    continue;
                }
                Err(elapsed) => {
                    last = elapsed.into();
                    continue;
                }
            };
            return self.send(fresh, &place, request, keep, times).await;
        }
        Err(last)
    }

    /// Closes what is idle for too long.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.idle.borrow_mut().retain(|_, idle| {
            idle.retain(|one| one.until > now && !one.sender.is_closed());
            !idle.is_empty()
        });
    }

    async fn send(
        &self,
        mut connection: Idle,
        place: &Place,
        request: &Request<Empty<Bytes>>,
        keep: KeepAlive,
        times: Times,
    ) -> Result<(response::Parts, Option<Bytes>), AskError> {
        let answer = timeout(times.answer, connection.sender.send_request(request.clone())).await??;
        let (head, body) = timeout(times.answer, finish(answer)).await?;
        connection.requests += 1;
        if body.is_some() && connection.requests < keep.requests {
            self.give(place, connection, keep);
        }
        Ok((head, body))
    }

    fn take(&self, place: &Place) -> Option<Idle> {
        let mut idle = self.idle.borrow_mut();
        let idle = idle.get_mut(place)?;
        let now = Instant::now();
        std::iter::from_fn(|| idle.pop()).find(|one| one.sender.is_ready() && one.until > now)
    }

    fn give(&self, place: &Place, connection: Idle, keep: KeepAlive) {
        let mut idle = self.idle.borrow_mut();
        if connection.sender.is_closed() || (idle.len() >= MAX_PLACES && !idle.contains_key(place)) {
            return;
        }
        let idle = idle.entry(place.clone()).or_default();
        if idle.len() < keep.idle as usize {
            idle.push(Idle { until: Instant::now() + Duration::from_millis(keep.timeout), ..connection });
        }
    }
}

/// Reads the body to its end, if it is short.
async fn finish(answer: Response<Incoming>) -> (response::Parts, Option<Bytes>) {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await;
    (head, body.ok().map(Collected::to_bytes))
}

async fn connect(place: &Place) -> Result<Sender, AskError> {
    let stream = TcpStream::connect(place.address).await?;
    stream.set_nodelay(true)?;
    let Some(name) = &place.tls else { return handshake(stream).await };
    let name = ServerName::try_from(name.to_string()).map_err(|_| AskError::Name)?;
    let config = unchecked::config().map_err(std::io::Error::other)?;
    handshake(TlsConnector::from(Arc::clone(&config)).connect(name, stream).await?).await
}

async fn handshake(stream: impl AsyncRead + AsyncWrite + Unpin + 'static) -> Result<Sender, AskError> {
    let builder = http1::Builder::new().max_buf_size(MAX_HEAD).clone();
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    // An error here reaches whoever waits for the answer.
    tokio::task::spawn_local(async move { drop(connection.await) });
    Ok(sender)
}
