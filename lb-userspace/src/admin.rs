//! The admin API: `/healthz`, `/readyz`, `/metrics` and `/api/v1/NAME`, plain HTTP/1.1 on one address.
//!
//! Everything about a request is bounded: connections, time, head and body. Answers are text or JSON, never HTML.

mod answer;
mod asker;
mod host;
mod route;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use asker::Asker;

use crate::sockets;
use crate::status::View;
use crate::status::capture::{CaptureListing, CaptureQuery};
use crate::status::drops::{DropListing, DropsQuery};
use crate::status::explain::{ExplainListing, ExplainQuery};
use crate::status::flows::{FlowListing, FlowQuery};
use crate::status::top::TopReading;
use crate::telemetry::LevelHandle;

/// Connections at a time; more wait in the kernel.
const CONNECTIONS: usize = 64;
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// However slowly somebody reads or however often somebody asks.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
const LARGEST_HEAD: usize = 16 << 10;
/// How long the pause is after accept failed, for want of descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the API asks the agent. Each call may read maps, so it runs where blocking is allowed.
pub trait Agent: Send + Sync + 'static {
    /// The main loop turns.
    fn alive(&self) -> bool;
    /// What is missing until the agent is ready; empty when it is.
    fn missing(&self) -> Vec<String>;
    /// Whoever asks next gets what the maps say then, not what they said a moment ago.
    fn refresh(&self);
    /// What the agent knows.
    fn view(&self) -> View;
    /// The flows in the maps; else why they cannot be read.
    fn flows(&self, query: &FlowQuery) -> Result<FlowListing, String>;
    /// Drops by reason, and samples of them; else why they cannot be read.
    fn drops(&self, query: &DropsQuery) -> Result<DropListing, String>;
    /// Packets for a capture, which goes on for some seconds from now; else why not.
    fn capture(&self, query: &CaptureQuery) -> Result<CaptureListing, String>;
    /// What would become of a packet or request; else why nobody can tell.
    fn explain(&self, query: &ExplainQuery) -> Result<ExplainListing, String>;
    /// The name of the node.
    fn node(&self) -> Option<String>;
    /// Inodes of the sockets that it has handed to the front, which is somebody else.
    fn lent(&self) -> Vec<u64>;
    /// The counters, not older than a second.
    fn top(&self) -> TopReading;
    /// The metrics' text.
    fn metrics(&self) -> String;
    /// The level of the log.
    fn log_level(&self) -> &LevelHandle;
}

/// The API could not listen.
#[derive(Debug, thiserror::Error)]
#[error("{flag} {address}: cannot listen: {source}{held}")]
pub struct BindError {
    flag: &'static str,
    address: SocketAddr,
    held: String,
    /// Why.
    pub source: std::io::Error,
}

/// Listens; says who is there already if it can be seen.
pub async fn bind(flag: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { flag, address, held: held(address, &source), source })
}

fn held(address: SocketAddr, error: &std::io::Error) -> String {
    if error.kind() != std::io::ErrorKind::AddrInUse {
        return String::new();
    }
    let holder = sockets::listening_on(address.port()).ok().and_then(|listening| sockets::holder(&listening));
    holder.map(|holder| format!("; {holder} listens there")).unwrap_or_default()
}

/// What an address answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// `/metrics`, which may be reached by others.
    Metrics,
}

/// Serves for ever.
pub async fn serve(listener: TcpListener, agent: Arc<dyn Agent>, scope: Scope) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    // The semaphore is never closed.
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, peer)) => drop(tokio::spawn(connection(stream, peer, Arc::clone(&agent), scope, slot))),
            Err(error) => {
                tracing::warn!(%error, "admin API: accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    agent: Arc<dyn Agent>,
    scope: Scope,
    slot: OwnedSemaphorePermit,
) {
    // A connection that has no address has ended.
    let Ok(own) = stream.local_addr() else { return };
    let asker = Asker { peer, own };
    let service = service_fn(move |request| {
        let agent = Arc::clone(&agent);
        async move { Ok::<_, Infallible>(route::answer(agent, scope, asker, request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_TIMEOUT, serving).await {
        tracing::debug!(%peer, %error, "admin API: connection failed");
    }
    drop(slot);
}
