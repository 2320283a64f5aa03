//! Endpoints as one worker knows them, and its idle connections to them: nothing here is shared between cores.

mod connect;
mod gate;
mod health;
mod latency;
mod life;
mod peer;
mod watched;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::time::Instant;

use super::secure::{Connectors, Transport};
use crate::model::settings::UpstreamSettings;
pub use connect::Sender;
pub use gate::{Gates, Place};
use life::Life;
pub use peer::{Peer, Reuse};
pub use watched::Unacknowledged;

/// Endpoints that are in no table any more are remembered for so long after their last use: names may still lead there.
const FORGOTTEN: Duration = Duration::from_secs(120);

/// What a worker knows of endpoints.
#[derive(Debug, Default)]
pub struct Pool {
    peers: RefCell<HashMap<SocketAddr, Rc<Peer>>>,
    /// How connections are kept; what all peers look at.
    kept: Rc<Cell<UpstreamSettings>>,
    /// Settings of TLS.
    connectors: Connectors,
    /// Who knows what has arrived.
    unacknowledged: Option<Unacknowledged>,
    /// Held by each connection.
    open: Rc<()>,
    /// Connections that there may be.
    most: Option<usize>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Refused, unreachable, or not to be trusted.
    #[error("no connection")]
    Io(#[source] std::io::Error),
    /// There are no sockets left, or no ports: this says nothing about the endpoint.
    #[error("no sockets left")]
    Exhausted,
    /// Nobody answered.
    #[error("no connection in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
    /// The connection broke at once.
    #[error("the connection broke")]
    Broken(#[from] hyper::Error),
    /// The settings of TLS cannot be used.
    #[error("TLS cannot be spoken")]
    Tls(#[from] rustls::Error),
}

impl From<std::io::Error> for ConnectError {
    fn from(error: std::io::Error) -> Self {
        let raw = error.raw_os_error().map(Errno::from_raw_os_error);
        match raw {
            Some(Errno::MFILE | Errno::NFILE | Errno::ADDRNOTAVAIL | Errno::NOBUFS | Errno::NOMEM) => Self::Exhausted,
            _ => Self::Io(error),
        }
    }
}

/// A connection in use; it goes back to its endpoint's idle ones if it is given back.
#[derive(Debug)]
pub struct Lease {
    /// The connection.
    pub sender: Sender,
    transport: Transport,
    load: peer::Load,
    life: Life,
    /// Its request's place at the endpoint, where places are counted.
    pub place: Option<Place>,
}

impl Lease {
    /// The endpoint.
    pub fn peer(&self) -> &Rc<Peer> {
        self.load.peer()
    }

    /// Gives back a connection whose answer was read to its end.
    pub fn give_back(self) {
        let Lease { sender, transport, load, life, place: _place } = self;
        // Others share one that takes several at once; it is kept already.
        if !sender.is_closed() && sender.share().is_none() {
            load.peer().keep(sender, transport, life.older());
        }
    }
}

impl Pool {
    /// One with at most so many connections at a time; `unacknowledged` tells what has arrived.
    pub fn new(unacknowledged: Option<Unacknowledged>, most: usize) -> Self {
        Pool { unacknowledged, most: Some(most), ..Pool::default() }
    }

    /// A place for one connection more. Where there is none, idle ones close, and the next request finds theirs.
    fn place(&self) -> Result<Rc<()>, ConnectError> {
        let open = Rc::strong_count(&self.open) - 1;
        if self.most.is_none_or(|most| open < most) {
            return Ok(Rc::clone(&self.open));
        }
        self.peers.borrow().values().for_each(|peer| peer.close_idle());
        Err(ConnectError::Exhausted)
    }

    /// Keeps connections as these settings say, from now on.
    pub fn keep(&self, settings: UpstreamSettings) {
        self.kept.set(settings);
    }

    /// What is known of an endpoint.
    pub fn peer(&self, endpoint: SocketAddr) -> Rc<Peer> {
        let mut peers = self.peers.borrow_mut();
        Rc::clone(peers.entry(endpoint).or_insert_with(|| Rc::new(Peer::new(endpoint, Rc::clone(&self.kept)))))
    }

    /// Closes what is idle for long, closed by the other side, or leads to an endpoint that is not wanted any more;
    /// forgets such endpoints.
    pub fn sweep(&self, wanted: impl Fn(SocketAddr) -> bool) {
        let now = Instant::now();
        self.peers.borrow_mut().retain(|&endpoint, peer| {
            let wanted = wanted(endpoint) || now.duration_since(peer.last_used()) < FORGOTTEN;
            peer.sweep(wanted, now);
            wanted || Rc::strong_count(peer) > 1
        });
    }
}
