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
/// An endpoint under which a connection broke that was used again gets requests that must not be sent twice on connections
/// of their own for so long.
const DISTRUST: Duration = Duration::from_secs(60);

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
    /// Until then it is not trusted to keep them.
    distrusted: Cell<Option<Instant>>,
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
            distrusted: Cell::new(None),
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
        let kept = self.kept.get();
        let fresh = kept.idle_time_once.map_or(FRESH, Duration::from_millis);
        if reuse == Reuse::Proven && (fresh.is_zero() || !self.proves_to_keep(&idle, now)) {
            return None;
        }
        while let Some(at) = idle.iter().rposition(|one| one.transport == *transport) {
            let Idle { sender, transport, since, life } = idle.remove(at);
            let age = now.duration_since(since);
            if !sender.is_ready() {
                self.keeps.set(self.keeps.get() && age > FRESH);
            } else if reuse == Reuse::Proven && age > fresh {
                // The ones below are older still.
                idle.insert(at, Idle { sender, transport, since, life });
                return None;
            } else if life.goes_on(since, now, &kept) {
                return Some(Lease { sender, transport, load: Load::new(self), life, place: None });
            }
        }
        None
    }

    /// A connection that was used again broke under a request, and nobody can tell whether that has been seen.
    pub fn broke(&self) {
        self.distrusted.set(Some(Instant::now() + DISTRUST));
    }

    fn proves_to_keep(&self, idle: &[Idle], now: Instant) -> bool {
        if self.distrusted.get().is_some_and(|until| now < until) {
            return false;
        }
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
        let found = shared.iter_mut().find(|one| one.transport == *transport)?;
        found.since = Instant::now();
        let (sender, life) = (found.sender.share()?, found.life);
        Some(Lease { sender, transport: transport.clone(), load: Load::new(self), life, place: None })
    }

    /// Others may use this connection at the same time: all, or where it begins with the PROXY protocol, the requests of one
    /// client. There is one for each client then, so they are as few as idle ones.
    pub(super) fn share(&self, sender: Sender, transport: &Transport, life: Life) {
        let one = Idle { sender, transport: transport.clone(), since: Instant::now(), life };
        let mut shared = self.shared.borrow_mut();
        if transport.proxied.is_some() {
            let proxied = shared.iter().filter(|one| one.transport.proxied.is_some()).count();
            // Requests that are on a connection keep it when it is forgotten here.
            if proxied >= most_idle(&self.kept.get()).max(1)
                && let Some(oldest) = (0..shared.len())
                    .filter(|at| shared[*at].transport.proxied.is_some())
                    .min_by_key(|at| shared[*at].since)
            {
                shared.remove(oldest);
            }
        }
        shared.push(one);
    }

    /// The oldest makes room: it may be that of a client who is gone, which nobody else can use.
    pub(super) fn keep(&self, sender: Sender, transport: Transport, life: Life) {
        let most = most_idle(&self.kept.get());
        let mut idle = self.idle.borrow_mut();
        if most == 0 {
            return;
        }
        if idle.len() >= most {
            idle.remove(0);
        }
        idle.push(Idle { sender, transport, since: Instant::now(), life });
    }

    /// Closes what nobody uses now.
    pub(super) fn close_idle(&self) {
        self.idle.borrow_mut().clear();
    }

    pub(super) fn sweep(&self, wanted: bool, now: Instant) {
        let settings = self.kept.get();
        // Requests that are on a connection keep it when it is forgotten here. One that all share may have long ones on it.
        let busy = self.in_flight.get() > 0;
        let stays = |one: &Idle| {
            let since = if busy && one.transport.proxied.is_none() { now } else { one.since };
            wanted && !one.sender.is_closed() && one.life.goes_on(since, now, &settings)
        };
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

#[cfg(test)]
mod tests {
    use hyper::client::conn::http2;
    use hyper_util::rt::TokioIo;
    use tokio::io::DuplexStream;
    use tokio::task::LocalSet;

    use super::*;
    use crate::l7::http2::Local;
    use crate::l7::proxy_protocol::{Told, Version};
    use crate::l7::wire::Wire;

    /// For the client with this port.
    fn proxied(http2: bool, port: u16) -> Transport {
        let told = Told { client: ([192, 0, 2, 1], port).into(), front: ([192, 0, 2, 2], 80).into() };
        Transport { http2, tls: None, proxied: Some((Version::V1, told)) }
    }

    /// A connection, and its other end, which has to live as long.
    async fn connection(http2: bool) -> (Sender, DuplexStream) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let sender = if http2 {
            let (sender, connection) = http2::handshake(Local, TokioIo::new(near)).await.expect("a connection");
            tokio::task::spawn_local(connection);
            Sender::Http2(sender)
        } else {
            Sender::Http1(Wire::new(near), Rc::default())
        };
        (sender, far)
    }

    fn peer() -> Rc<Peer> {
        Rc::new(Peer::new(([192, 0, 2, 9], 80).into(), Rc::default()))
    }

    async fn fill(peer: &Peer, http2: bool, count: u16) -> Vec<DuplexStream> {
        let mut ends = Vec::new();
        for port in 1..=count {
            let (sender, end) = connection(http2).await;
            ends.push(end);
            match http2 {
                true => peer.share(sender, &proxied(true, port), Life::new()),
                false => peer.keep(sender, proxied(false, port), Life::new()),
            }
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        ends
    }

    #[tokio::test(start_paused = true)]
    async fn connections_of_clients_who_are_gone_make_room() {
        LocalSet::new()
            .run_until(async {
                for http2 in [false, true] {
                    let peer = peer();
                    let ends = fill(&peer, http2, 100).await;
                    let kept = peer.idle.borrow().len() + peer.shared.borrow().len();
                    assert_eq!(kept, most_idle(&UpstreamSettings::default()), "http2: {http2}");
                    let has = |port| peer.take(&proxied(http2, port), Reuse::Any).is_some();
                    assert!(has(100) && !has(1), "http2: {http2}: not the oldest made room");
                    drop(ends);
                }
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_nobody_uses_ends_while_others_are_used() {
        LocalSet::new()
            .run_until(async {
                let peer = peer();
                let ends = fill(&peer, true, 2).await;
                for _ in 0..10 {
                    tokio::time::advance(Duration::from_secs(10)).await;
                    let lease = peer.take(&proxied(true, 2), Reuse::Any);
                    peer.sweep(true, Instant::now());
                    assert!(lease.is_some(), "it is in use");
                }
                assert!(peer.take(&proxied(true, 1), Reuse::Any).is_none(), "its client was not seen for 100 s");
                drop(ends);
            })
            .await;
    }
}
