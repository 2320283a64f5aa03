//! One worker per core: a single-threaded runtime with its own listeners, its own connections to backends and its own
//! view of the routes. Workers share nothing that a request would have to wait for.

mod limits;
mod view;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{LocalSet, unconstrained, yield_now};
use tokio::time::{Instant, interval, sleep, timeout, timeout_at};

use super::access_log::Log;
use super::connection::{self, Scheme};
use super::control::BACKLOG;
use super::counters::Counters;
use super::gather::Room;
use super::guard;
use super::health::Unhealthy;
use super::hits::Hit;
use super::http1::Outbox;
use super::limiter::{self, Flight, Limit, Limiter};
use super::names::{NameError, Names};
use super::patience::Timers;
use super::pool::Pool;
use super::retry::Budget;
use super::router::Router;
use super::subrequest::Asker;
use super::traffic::{Tally, Traffic};
use super::verdicts::Verdicts;
use super::verifier::Verifier;
use crate::siphash::UNKEYED;
pub use limits::Limits;
pub use view::View;

/// Names without an address that a worker tells of; of more it is known that there are some.
const MOST_UNRESOLVED: usize = 1024;

/// What the main thread sees of a worker.
#[derive(Debug, Default)]
pub struct Shared {
    /// What it counts.
    pub counters: Counters,
    /// Version of the table that it serves from.
    version: AtomicU64,
    /// Names that upstreams stand for and that have no address, and why; locked only when that changes.
    unresolved: Mutex<BTreeMap<String, NameError>>,
    /// What was counted of routes and not taken yet; touched once a second.
    traffic: Mutex<Traffic>,
}

impl Shared {
    /// Names that upstreams stand for and that have no address, and why.
    pub fn unresolved(&self) -> BTreeMap<String, NameError> {
        self.unresolved.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes what was counted of routes since the last time.
    pub fn take_traffic(&self) -> Traffic {
        std::mem::take(&mut self.traffic.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Version of the table that it serves from.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

/// What a worker is given to start.
#[derive(Debug)]
pub struct Start {
    /// Its listeners: one of each family and scheme.
    pub listeners: Vec<(Scheme, std::net::TcpListener)>,
    /// Its sockets for HTTP/3: one of each family.
    pub quic: Vec<std::net::UdpSocket>,
    /// The routes, as they change.
    pub routes: watch::Receiver<Arc<Router>>,
    /// Turns true when the worker is to drain.
    pub drain: watch::Receiver<bool>,
    /// What it tells the main thread.
    pub shared: Arc<Shared>,
    /// Endpoints that are left out, as they change.
    pub unhealthy: watch::Receiver<Arc<Unhealthy>>,
    /// Told when a new table is in force.
    pub in_force: Arc<Notify>,
    /// Its end of the access log.
    pub log: Log,
    /// Its limits.
    pub limits: Limits,
    /// What clients have asked for; shared by all workers.
    pub limiter: Arc<Limiter>,
    /// Where spans go.
    #[cfg(feature = "otlp")]
    pub exporter: Option<super::otlp::Exporter>,
}

/// Runs a worker on this thread until it is drained.
pub fn run(start: Start) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(start))
}

/// How far a worker is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Not at all.
    Serving,
    /// Still accepting; connections end with their next answer.
    Draining,
    /// The listeners are closed; connections end as soon as no request is in flight.
    Closing,
}

/// The state of a worker. Lives on one thread.
#[derive(Debug)]
pub struct Worker {
    /// Limits.
    pub limits: Limits,
    /// What clients have asked for.
    pub limiter: Arc<Limiter>,
    /// Who may log in.
    pub verifier: Verifier,
    /// Whom to ask for that.
    pub asker: Asker,
    /// What they answered.
    pub verdicts: Verdicts,
    /// What it knows of endpoints.
    pub pool: Pool,
    /// For the deadlines of requests.
    pub timers: Timers,
    /// For answers over HTTP/1.
    pub outbox: Outbox,
    /// How often requests may be repeated.
    pub budget: Budget,
    /// Names outside of the cluster.
    pub names: Rc<Names>,
    /// What it holds of bodies of requests.
    pub room: Rc<Room>,
    /// Held by each copy of a request that is on its way.
    pub copies: Rc<()>,
    /// Its end of the access log.
    pub log: RefCell<Log>,
    /// What it counts of routes.
    pub tally: Tally,
    /// Its end of the spans.
    #[cfg(feature = "otlp")]
    pub spans: super::otlp::Spans,
    /// What it counts.
    pub counters: SharedCounters,
    /// How far it is on its way out.
    pub stage: watch::Sender<Stage>,
    /// Where HTTP/3 is spoken; 0: nowhere.
    #[cfg(feature = "http3")]
    pub quic_port: Cell<u16>,
    /// Version of the table in force.
    #[cfg(feature = "http3")]
    pub versions: watch::Sender<u64>,
    view: RefCell<Rc<View>>,
    unhealthy: RefCell<Arc<Unhealthy>>,
    random: Cell<u64>,
    /// Names without an address.
    failing: Cell<usize>,
    open: watch::Sender<usize>,
}

/// Counters behind a worker's part of the shared state.
#[derive(Clone, Debug)]
pub struct SharedCounters(Arc<Shared>);

impl std::ops::Deref for SharedCounters {
    type Target = Counters;

    fn deref(&self) -> &Counters {
        &self.0.counters
    }
}

impl Worker {
    fn new(shared: Arc<Shared>, log: Log, limits: Limits, limiter: Arc<Limiter>) -> Self {
        Worker {
            limits,
            limiter,
            verifier: Verifier::default(),
            asker: Asker::default(),
            verdicts: Verdicts::default(),
            pool: Pool::new(limits.unacknowledged, limits.upstreams),
            timers: Timers::default(),
            outbox: Outbox::default(),
            budget: Budget::default(),
            room: Rc::default(),
            copies: Rc::default(),
            names: Rc::new(Names::new(limits.name_servers.into_iter().flatten().collect())),
            log: RefCell::new(log),
            tally: Tally::new(limits.in_detail),
            #[cfg(feature = "otlp")]
            spans: super::otlp::Spans::new(None),
            counters: SharedCounters(shared),
            stage: watch::Sender::new(Stage::Serving),
            #[cfg(feature = "http3")]
            quic_port: Cell::new(0),
            #[cfg(feature = "http3")]
            versions: watch::Sender::new(0),
            view: RefCell::new(Rc::new(View::new(Arc::default()))),
            unhealthy: RefCell::default(),
            failing: Cell::new(0),
            random: Cell::new(RandomState::new().hash_one(0)),
            open: watch::Sender::new(0),
        }
    }

    /// One that serves nobody and remembers nothing, for requests that are only explained.
    pub fn apart() -> Rc<Self> {
        Rc::new(Self::new(Arc::default(), Log::new(None), Limits::default(), Arc::default()))
    }

    /// The routes now. A request keeps the view it began with.
    pub fn view(&self) -> Rc<View> {
        Rc::clone(&self.view.borrow())
    }

    /// Endpoints that are left out.
    pub fn unhealthy(&self) -> Arc<Unhealthy> {
        Arc::clone(&self.unhealthy.borrow())
    }

    /// Limits of clients' connections that begin now.
    pub fn client_limits(&self) -> guard::Limits {
        self.view.borrow().router.settings.client_limits(self.limits.client)
    }

    /// For a handshake of TLS.
    pub fn handshake_limit(&self) -> Duration {
        let asked = self.view.borrow().router.settings.asked.clients.handshake;
        asked.map_or(self.limits.handshake, Duration::from_millis)
    }

    /// Connections of clients that there may be.
    fn most_clients(&self) -> usize {
        let asked = self.view.borrow().router.settings.asked.clients.per_core;
        asked.map_or(self.limits.clients, |most| self.limits.clients.min(most as usize))
    }

    /// A client's connection, which counts until it is dropped; `None`: it has as many as it may have.
    pub fn connected(&self, client: IpAddr) -> Option<Option<Flight>> {
        let view = self.view.borrow();
        let settings = &view.router.settings.asked;
        let (most, proxies) = (settings.clients.per_client, &settings.forwarded);
        if most == 0 || (!proxies.proxies.is_empty() && proxies.trusts(client)) {
            return Some(None);
        }
        let key = self.limiter.key(Limit::Connections, "", limiter::who(client));
        let counted = self.limiter.take_off(key, most, Instant::now()).map(Some);
        if counted.is_none() {
            self.counters.hit(Some(Hit::ClientConnections));
        }
        counted
    }

    /// Connections are to end.
    pub fn is_draining(&self) -> bool {
        *self.stage.borrow() > Stage::Serving
    }

    /// It takes no further connection.
    #[cfg(feature = "http3")]
    pub fn is_full(&self) -> bool {
        let full = *self.open.borrow() >= self.most_clients();
        self.counters.hit(full.then_some(Hit::Connections));
        full
    }

    /// A name that an upstream stands for has an address or not; the agent hears of a change.
    pub fn note_name(&self, name: &str, error: Option<NameError>) {
        if error.is_none() && self.failing.get() == 0 {
            return;
        }
        let mut unresolved = self.counters.0.unresolved.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(_) if unresolved.len() >= MOST_UNRESOLVED && !unresolved.contains_key(name) => {}
            Some(error) => drop(unresolved.insert(name.to_owned(), error)),
            None => drop(unresolved.remove(name)),
        }
        self.failing.set(unresolved.len());
    }

    /// A random number; nothing secret hangs on it.
    pub fn random(&self) -> u64 {
        let next = self.random.get().wrapping_add(1);
        self.random.set(next);
        UNKEYED.hash(&next.to_le_bytes())
    }

    /// Counts as an open connection until it is dropped.
    pub fn opened(self: &Rc<Self>) -> Open {
        self.open.send_modify(|open| *open += 1);
        Open(Rc::clone(self))
    }

    fn replace_view(&self, router: Arc<Router>) {
        let version = router.version;
        self.pool.keep(router.settings.upstreams());
        self.names.limit(router.settings.upstreams().ipv4_names);
        self.forget_names(&router);
        self.view.replace(Rc::new(View::new(router)));
        // Who waits for a place may have one by a greater number of them.
        self.open.send_modify(|_| ());
        self.counters.0.version.store(version, Ordering::Release);
        #[cfg(feature = "http3")]
        self.versions.send_replace(version);
    }

    /// Names that nobody stands for any more are no problem.
    fn forget_names(&self, router: &Router) {
        if self.failing.get() > 0 {
            let named: HashSet<_> =
                router.upstreams.iter().filter_map(|one| Some(&one.external.as_ref()?.host)).collect();
            let mut unresolved = self.counters.0.unresolved.lock().unwrap_or_else(PoisonError::into_inner);
            unresolved.retain(|name, _| named.contains(name));
            self.failing.set(unresolved.len());
        }
    }

    fn sweep(&self) {
        self.asker.sweep();
        let view = self.view();
        let wanted: std::collections::HashSet<_> =
            view.router.upstreams.iter().flat_map(|upstream| upstream.endpoints.iter().copied()).collect();
        self.pool.sweep(|endpoint| wanted.contains(&endpoint));
    }

    fn hand_over(&self) {
        self.tally.hand_over(&mut self.counters.0.traffic.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn flush_log(&self) {
        let lost = self.log.borrow_mut().flush();
        self.counters.log_lines_lost.add(lost);
        #[cfg(feature = "otlp")]
        self.counters.spans_lost.add(self.spans.flush(&self.view.borrow().router.settings.asked.spans));
    }
}

/// A connection that a draining worker waits for.
#[derive(Debug)]
pub struct Open(Rc<Worker>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

async fn serve(start: Start) -> io::Result<()> {
    let Start { listeners, quic, routes, drain, shared, unhealthy, in_force, log, limits, limiter, .. } = start;
    let listeners = listeners.into_iter().map(|(scheme, listener)| {
        listener.set_nonblocking(true)?;
        Ok((scheme, TcpListener::from_std(listener)?))
    });
    let listeners = Listeners { sockets: listeners.collect::<io::Result<_>>()?, first: Cell::new(0) };
    #[cfg_attr(not(feature = "otlp"), expect(unused_mut, reason = "where spans go is said to those who have some"))]
    let mut worker = Worker::new(shared, log, limits, limiter);
    #[cfg(feature = "otlp")]
    {
        worker.spans = super::otlp::Spans::new(start.exporter);
    }
    let worker = Rc::new(worker);
    if has_first_table(routes.clone(), drain.clone()).await {
        worker.replace_view(Arc::clone(&routes.borrow()));
        tokio::task::spawn_local(follow_routes(Rc::clone(&worker), routes, in_force));
        #[cfg(feature = "http3")]
        super::http3::listen(&worker, quic)?;
        #[cfg(not(feature = "http3"))]
        drop(quic);
        tokio::task::spawn_local(follow_health(Rc::clone(&worker), unhealthy));
        tokio::task::spawn_local(keep_house(Rc::clone(&worker)));
        accept_until_drained(&worker, listeners, drain).await;
    }
    let mut open = worker.open.subscribe();
    let asked = worker.view().router.settings.asked.clients.shutdown;
    // Whatever is still open after that is cut off.
    let _ = timeout(asked.map_or(limits.finish, Duration::from_millis), open.wait_for(|open| *open == 0)).await;
    worker.flush_log();
    worker.hand_over();
    Ok(())
}

/// Connections wait in the kernel until there is a table to serve them from; false if there will be none.
async fn has_first_table(mut routes: watch::Receiver<Arc<Router>>, mut drain: watch::Receiver<bool>) -> bool {
    tokio::select! {
        first = routes.wait_for(|router| router.version > 0) => first.is_ok(),
        _ = drain.wait_for(|drain| *drain) => false,
    }
}

/// Its first step, before anything is accepted, puts the first table in force.
async fn follow_routes(worker: Rc<Worker>, mut routes: watch::Receiver<Arc<Router>>, in_force: Arc<Notify>) {
    loop {
        let router = Arc::clone(&routes.borrow_and_update());
        worker.replace_view(router);
        in_force.notify_one();
        if routes.changed().await.is_err() {
            return;
        }
    }
}

async fn follow_health(worker: Rc<Worker>, mut unhealthy: watch::Receiver<Arc<Unhealthy>>) {
    loop {
        let now = Arc::clone(&unhealthy.borrow_and_update());
        worker.unhealthy.replace(now);
        if unhealthy.changed().await.is_err() {
            return;
        }
    }
}

/// Hands over lines of the access log, closes idle connections.
async fn keep_house(worker: Rc<Worker>) {
    let mut ticks = interval(Duration::from_millis(200));
    for tick in 0u64.. {
        ticks.tick().await;
        worker.flush_log();
        if tick.is_multiple_of(5) {
            worker.hand_over();
        }
        if tick.is_multiple_of(25) {
            worker.sweep();
        }
    }
}

async fn accept_until_drained(worker: &Rc<Worker>, listeners: Listeners, mut drain: watch::Receiver<bool>) {
    tokio::select! {
        () = accept(worker, &listeners) => {}
        _ = drain.wait_for(|drain| *drain) => {}
    }
    worker.stage.send_replace(Stage::Draining);
    // Half-open handshakes stay with these sockets until they are done.
    let _ = timeout_at(Instant::now() + worker.limits.hand_over, accept(worker, &listeners)).await;
    // tokio lets a task accept only so many connections at once, and does not know yet of those that came since it looked last.
    for _ in 0..2 {
        yield_now().await;
        unconstrained(empty_queues(worker, &listeners)).await;
    }
    drop(listeners);
    worker.stage.send_replace(Stage::Closing);
}

/// Accepts what the kernel has already connected: closing the socket would reset it. Without a successor more keeps
/// coming, so there is an end to it.
async fn empty_queues(worker: &Rc<Worker>, listeners: &Listeners) {
    for _ in 0..BACKLOG as usize * listeners.sockets.len() {
        match poll_fn(|cx| Poll::Ready(listeners.poll_accept(cx))).await {
            Poll::Ready(Ok((scheme, stream, peer))) => connection::spawn(worker, stream, peer, scheme),
            Poll::Ready(Err(_)) | Poll::Pending => return,
        }
    }
}

/// The listeners of a worker, as one.
struct Listeners {
    sockets: Vec<(Scheme, TcpListener)>,
    /// Which one is asked first: the one after that which had a connection last, so that none waits for the others.
    first: Cell<usize>,
}

impl Listeners {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Scheme, TcpStream, SocketAddr)>> {
        let count = self.sockets.len();
        for turn in 0..count {
            let index = (self.first.get() + turn) % count;
            let Some((scheme, socket)) = self.sockets.get(index) else { continue };
            if let Poll::Ready(accepted) = socket.poll_accept(cx) {
                self.first.set(index + 1);
                return Poll::Ready(accepted.map(|(stream, peer)| (*scheme, stream, peer)));
            }
        }
        Poll::Pending
    }
}

async fn accept(worker: &Rc<Worker>, listeners: &Listeners) {
    let mut open = worker.open.subscribe();
    loop {
        let full = *open.borrow() >= worker.most_clients();
        worker.counters.hit(full.then_some(Hit::Connections));
        // The worker holds the sender, so this ends only when there is room.
        let _ = open.wait_for(|open| *open < worker.most_clients()).await;
        match poll_fn(|cx| listeners.poll_accept(cx)).await {
            Ok((scheme, stream, peer)) => connection::spawn(worker, stream, peer, scheme),
            // Out of descriptors or memory: the connections wait in the kernel.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

#[cfg(test)]
mod tests;
