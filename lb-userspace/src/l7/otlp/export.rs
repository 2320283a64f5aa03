//! The thread that sends spans to the collector.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::{Batch, wire};
use crate::l7::chain;
use crate::l7::names::Names;

/// Batches that may wait.
const QUEUE: usize = 64;
/// Spans of one request to the collector.
const MOST: usize = 512;
/// Longest wait for the collector.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where collectors take spans.
const PATH: &str = "/v1/traces";

/// Starts it. It ends with the last worker.
pub fn start() -> io::Result<SyncSender<Batch>> {
    let (to, from) = sync_channel(QUEUE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let export = move || {
        let (names, collector) = (Rc::new(Names::new(Vec::new())), String::new());
        let mut export = Export { collector, node, names, connection: None, failing: false };
        let (local, mut next) = (LocalSet::new(), None);
        while let Some(batch) = gather(&from, &mut next) {
            export.go_to(&batch.collector);
            let sent = local.block_on(&runtime, async { timeout(PATIENCE, export.send(&batch)).await });
            let result = sent.unwrap_or_else(|_| Err("it does not answer".to_owned()));
            export.note(result, batch.spans.len());
        }
    };
    std::thread::Builder::new().name("spans".to_owned()).spawn(export)?;
    Ok(to)
}

/// What is here now for one collector; `None`: nothing comes any more. What is for another one is next.
fn gather(from: &Receiver<Batch>, next: &mut Option<Batch>) -> Option<Batch> {
    let mut batch = next.take().or_else(|| from.recv().ok())?;
    while batch.spans.len() < MOST
        && let Ok(more) = from.try_recv()
    {
        if (&more.collector, &more.service) != (&batch.collector, &batch.service) {
            *next = Some(more);
            break;
        }
        batch.spans.extend(more.spans);
    }
    Some(batch)
}

struct Export {
    collector: String,
    node: String,
    names: Rc<Names>,
    connection: Option<SendRequest<Full<Bytes>>>,
    failing: bool,
}

impl Export {
    /// From now on they go there.
    fn go_to(&mut self, collector: &str) {
        if self.collector != collector {
            collector.clone_into(&mut self.collector);
            (self.connection, self.failing) = (None, false);
        }
    }

    async fn send(&mut self, batch: &Batch) -> Result<(), String> {
        let body = Bytes::from(wire::request(&self.node, &batch.service, &batch.spans));
        // A connection that the collector has closed meanwhile says nothing about the collector.
        if let Some(mut open) = self.connection.take().filter(|open| !open.is_closed())
            && self.post(&mut open, body.clone()).await.is_ok()
        {
            self.connection = Some(open);
            return Ok(());
        }
        let mut fresh = self.connect().await?;
        self.post(&mut fresh, body).await?;
        self.connection = Some(fresh);
        Ok(())
    }

    /// Where the collector is: the C library would open files to find that out.
    async fn address(&self) -> Result<SocketAddr, String> {
        let (host, port) = self.collector.rsplit_once(':').ok_or("it has no port")?;
        let port = port.parse().map_err(|_| "its port is no number")?;
        let found = self.names.find(host).await.map_err(|error| error.to_string())?;
        found.first().map(|address| SocketAddr::new(*address, port)).ok_or_else(|| "its name has no address".to_owned())
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let to = self.address().await?;
        let stream = TcpStream::connect(to).await.map_err(|error| error.to_string())?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| chain(&error))?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    async fn post(&self, to: &mut SendRequest<Full<Bytes>>, body: Bytes) -> Result<(), String> {
        to.ready().await.map_err(|error| chain(&error))?;
        let request = Request::builder().method(Method::POST).uri(PATH).header(HOST, &self.collector);
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(body));
        let answer =
            to.send_request(request.map_err(|error| error.to_string())?).await.map_err(|error| chain(&error))?;
        let status = answer.status();
        // The connection takes another request once this answer has been read.
        drop(answer.into_body().collect().await);
        if status == StatusCode::OK { Ok(()) } else { Err(format!("it answers {status}")) }
    }

    /// Told when it begins and when it ends, not for each batch.
    fn note(&mut self, result: Result<(), String>, spans: usize) {
        let failed = result.is_err();
        match result {
            Ok(()) if self.failing => tracing::info!(collector = self.collector, "the collector takes spans again"),
            Err(error) if !self.failing => {
                tracing::warn!(
                    collector = self.collector,
                    error,
                    spans,
                    "the collector does not take spans; they are lost"
                );
            }
            _ => {}
        }
        self.failing = failed;
    }
}
