//! One endpoint: its idle connections, how much it has to do, how well it does.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::health::Health;
use super::latency::Latency;
use super::life::{Life, most_idle};
use super::{Lease, Sender};
use crate::l7::secure::Transport;
use crate::model::settings::UpstreamSettings;

/// A request that must not be sent twice uses only a connection that was used so recently: some servers close after 2 s.
const FRESH: Duration = Duration::from_secs(1);
/// An endpoint that left a connection open for so long after an answer keeps connections.
const KEPT: Duration = Duration::from_millis(20);

/// Which idle connection will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Any: should the endpoint close it just now, the request is sent again.
    Any,
    /// One that is least likely to be closed just now: the request must not be sent twice (RFC 9112 section 9.3.1).
    Proven,
}

/// An endpoint as one worker knows it.
#[derive(Debug)]
pub struct Peer {
    /// Its address.
    pub endpoint: SocketAddr,
    /// Whether it fails.
    pub health: Health,
    /// How long its answers take.
    pub latency: Latency,
    /// When the worker got to know it.
    pub since: Instant,
    idle: RefCell<Vec<Idle>>,
    /// Connections that take several requests at once.
    shared: RefCell<Vec<Idle>>,
    in_flight: Cell<u32>,
    used: Cell<Instant>,
    /// It has been seen to keep connections after an answer.
    keeps: Cell<bool>,
    /// How connections are kept.
    kept: Rc<Cell<UpstreamSettings>>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    transport: Transport,
    since: Instant,
    life: Life,
}

impl Peer {
    pub(super) fn new(endpoint: SocketAddr, kept: Rc<Cell<UpstreamSettings>>) -> Self {
        let now = Instant::now();
        Peer {
            endpoint,
            health: Health::default(),
            latency: Latency::new(now),
            since: now,
            idle: RefCell::default(),
            shared: RefCell::default(),
            in_flight: Cell::new(0),
            used: Cell::new(now),
            keeps: Cell::new(false),
            kept,
        }
    }

    #[cfg(test)]
    pub(in crate::l7) fn loaded(self: &Rc<Self>) -> Load {
        Load::new(self)
    }

    /// Requests whose answers are awaited or on their way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    pub(super) fn last_used(&self) -> Instant {
        self.used.get()
    }

    /// An idle connection that looks alive; the one that was used last.
    pub fn take(self: &Rc<Self>, transport: &Transport, reuse: Reuse) -> Option<Lease> {
        if transport.http2 {
            return self.take_shared(transport);
        }
        let now = Instant::now();
        let mut idle = self.idle.borrow_mut();
        if reuse == Reuse::Proven && !self.proves_to_keep(&idle, now) {
            return None;
        }
        let kept = self.kept.get();
        while let Some(at) = idle.iter().rposition(|one| one.transport == *transport) {
            let Idle { sender, transport, since, life } = idle.remove(at);
            let age = now.duration_since(since);
            if !sender.is_ready() {
                self.keeps.set(self.keeps.get() && age > FRESH);
            } else if reuse == Reuse::Proven && age > FRESH {
                // The ones below are older still.
                idle.insert(at, Idle { sender, transport, since, life });
                return None;
            } else if life.goes_on(since, now, &kept) {
                return Some(Lease { sender, transport, load: Load::new(self), life });
            }
        }
        None
    }

    fn proves_to_keep(&self, idle: &[Idle], now: Instant) -> bool {
        let kept = |one: &Idle| one.sender.is_ready() && now.duration_since(one.since) > KEPT;
        // The first is the oldest.
        if !self.keeps.get() && idle.first().is_some_and(kept) {
            self.keeps.set(true);
        }
        self.keeps.get()
    }

    /// A connection that takes several requests at once; what is closed is forgotten.
    fn take_shared(self: &Rc<Self>, transport: &Transport) -> Option<Lease> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(|one| !one.sender.is_closed());
        let found = shared.iter().find(|one| one.transport == *transport)?;
        let (sender, life) = (found.sender.share()?, found.life);
        Some(Lease { sender, transport: transport.clone(), load: Load::new(self), life })
    }

    /// Others may use this connection at the same time.
    pub(super) fn share(&self, sender: Sender, transport: &Transport, life: Life) {
        let since = Instant::now();
        self.shared.borrow_mut().push(Idle { sender, transport: transport.clone(), since, life });
    }

    pub(super) fn keep(&self, sender: Sender, transport: Transport, life: Life) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < most_idle(&self.kept.get()) {
            idle.push(Idle { sender, transport, since: Instant::now(), life });
        }
    }

    pub(super) fn sweep(&self, wanted: bool, now: Instant) {
        let settings = self.kept.get();
        // One that has something to do is not idle; requests that are on a connection keep it when it is forgotten here.
        let since = if self.in_flight.get() > 0 { now } else { self.used.get() };
        let stays = |one: &Idle| wanted && !one.sender.is_closed() && one.life.goes_on(since, now, &settings);
        self.shared.borrow_mut().retain(stays);
        let mut idle = self.idle.borrow_mut();
        self.proves_to_keep(&idle, now);
        idle.retain(|one| wanted && !one.sender.is_closed() && one.life.goes_on(one.since, now, &settings));
    }
}

/// One request's part in what an endpoint has to do.
#[derive(Debug)]
pub(in crate::l7) struct Load(Rc<Peer>);

impl Load {
    pub(super) fn new(peer: &Rc<Peer>) -> Self {
        peer.in_flight.set(peer.in_flight.get() + 1);
        peer.used.set(Instant::now());
        Load(Rc::clone(peer))
    }

    pub(super) fn peer(&self) -> &Rc<Peer> {
        &self.0
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
        self.0.used.set(Instant::now());
    }
}
