//! Clients over TLS: HTTP/1.1 and HTTP/2.

use std::io::BufReader;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use weir_lab::{Request, connect};

use super::clients::served;
use super::{Client, HOST, Target};

/// A connection of a client.
pub(crate) type Stream = BufReader<StreamOwned<ClientConnection, TcpStream>>;

/// Connects; the handshake goes with what is sent first.
pub(crate) fn secured(target: &Target) -> Result<Stream> {
    let connection = ClientConnection::new(Arc::clone(&target.tls), ServerName::try_from(HOST)?)?;
    Ok(BufReader::new(StreamOwned::new(connection, connect(target.https)?)))
}

pub(super) struct Https {
    target: Target,
    keeps: bool,
    stream: Option<Stream>,
}

impl Https {
    pub(super) fn kept(target: &Target) -> Self {
        Https { target: target.clone(), keeps: true, stream: None }
    }

    pub(super) fn fresh(target: &Target) -> Self {
        Https { keeps: false, ..Https::kept(target) }
    }
}

impl Client for Https {
    fn exchange(&mut self) -> Result<()> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => secured(&self.target)?,
        };
        let answer = Request::get(HOST, "/secure").send_on(&mut stream)?;
        served(&answer)?;
        let closes = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        self.stream = Some(stream).filter(|_| self.keeps && !closes);
        Ok(())
    }
}

/// Within which an answer comes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections that may say goodbye before a request is sent, one after the other.
const GOODBYES: usize = 3;

type Sender = SendRequest<Empty<Bytes>>;

/// One request after the other.
pub(super) struct Http2 {
    target: Target,
    runtime: Option<Runtime>,
    sender: Option<Sender>,
}

impl Http2 {
    pub(super) fn new(target: &Target) -> Self {
        Http2 { target: target.clone(), runtime: None, sender: None }
    }
}

impl Client for Http2 {
    fn exchange(&mut self) -> Result<()> {
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        };
        let asked = ask(&self.target, &mut self.sender);
        let answer = runtime.block_on(async { timeout(PATIENCE, asked).await.context("no answer in time")? });
        self.runtime = Some(runtime);
        answer
    }
}

/// Asks on the connection that there is. A request that was not sent because the server had said goodbye (RFC 9113,
/// section 6.8) goes on another one, as with every client of HTTP/2.
async fn ask(target: &Target, sender: &mut Option<Sender>) -> Result<()> {
    for _ in 0..GOODBYES {
        let mut open = match sender.take() {
            Some(open) => open,
            None => open(target).await?,
        };
        if open.ready().await.is_err() {
            continue;
        }
        let request = hyper::Request::get(format!("https://{HOST}/http2")).body(Empty::new())?;
        match open.try_send_request(request).await {
            Ok(answer) => {
                let status = answer.status();
                let body = answer.into_body().collect().await?.to_bytes();
                ensure!(status == 200, "{status} {}", String::from_utf8_lossy(&body));
                *sender = Some(open);
                return Ok(());
            }
            Err(mut error) => {
                // It was never sent.
                if error.take_message().is_none() {
                    return Err(error.into_error().into());
                }
            }
        }
    }
    bail!("{GOODBYES} connections said goodbye before the first request")
}

async fn open(target: &Target) -> Result<Sender> {
    let stream = tokio::net::TcpStream::connect(target.https).await.context("connecting")?;
    stream.set_nodelay(true)?;
    let connector = TlsConnector::from(Arc::clone(&target.tls2));
    let stream = connector.connect(ServerName::try_from(HOST)?, stream).await.context("shaking hands")?;
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
