//! Idle connections to backends, one pool per worker: nothing here is shared between cores.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::body::RequestBody;

/// Sends requests on one connection.
pub type Sender = http1::SendRequest<RequestBody>;

/// Most idle connections to one endpoint.
const MAX_IDLE: usize = 64;
/// Backends close idle connections too; staying under their usual 60 s and more makes the race rare.
const IDLE: Duration = Duration::from_secs(50);

/// Idle connections to backends.
#[derive(Debug, Default)]
pub struct Pool {
    idle: RefCell<HashMap<SocketAddr, Vec<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Refused, unreachable, or out of sockets.
    #[error("no connection")]
    Io(#[from] std::io::Error),
    /// Nobody answered.
    #[error("no connection in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
    /// The connection broke at once.
    #[error("the connection broke")]
    Broken(#[from] hyper::Error),
}

/// A connection in use; it goes back to the pool if it is given back.
#[derive(Debug)]
pub struct Lease {
    /// The endpoint.
    pub endpoint: SocketAddr,
    /// The connection.
    pub sender: Sender,
    /// An earlier request has used it.
    pub reused: bool,
}

impl Pool {
    /// An idle connection that looks alive; the one that was used last.
    pub fn take(&self, endpoint: SocketAddr) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        let idle = idle.get_mut(&endpoint)?;
        while let Some(Idle { sender, since }) = idle.pop() {
            if sender.is_ready() && since.elapsed() < IDLE {
                return Some(Lease { endpoint, sender, reused: true });
            }
        }
        None
    }

    /// Opens a connection and starts to drive it.
    pub async fn connect(endpoint: SocketAddr, limit: Duration) -> Result<Lease, ConnectError> {
        let stream = timeout(limit, TcpStream::connect(endpoint)).await??;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // An error here reaches whoever waits for the answer.
        tokio::task::spawn_local(async move { drop(connection.with_upgrades().await) });
        Ok(Lease { endpoint, sender, reused: false })
    }

    /// Gives back a connection whose answer was read to its end.
    pub fn give(&self, lease: Lease) {
        if lease.sender.is_closed() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let idle = idle.entry(lease.endpoint).or_default();
        if idle.len() < MAX_IDLE {
            idle.push(Idle { sender: lease.sender, since: Instant::now() });
        }
    }

    /// Closes what is idle for long, closed by the other side, or leads to an endpoint that is not wanted any more.
    pub fn sweep(&self, wanted: impl Fn(SocketAddr) -> bool) {
        self.idle.borrow_mut().retain(|&endpoint, idle| {
            idle.retain(|one| wanted(endpoint) && !one.sender.is_closed() && one.since.elapsed() < IDLE);
            !idle.is_empty()
        });
    }
}

/// A pool that answers' bodies can hold on to.
pub type SharedPool = Rc<Pool>;
