//! The process `weir front`: gets listeners and route tables from the agent and serves until it is told to end.
//!
//! It goes on with what it has when the agent dies: the control socket closes, and a later agent ends it by SIGTERM when
//! that agent's own front is ready.

mod confine;
mod descriptors;
mod workers;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::control::{self, ControlError, FromFront, Hello, Listeners, ToFront};
use super::counters::FrontCounters;
use super::delta;
use super::names::NameError;
use super::pool::Unacknowledged;
use super::router::Router;
use super::table::RouteTable;
use super::tls;
use super::traffic::Traffic;
use super::worker::Limits;
use workers::Workers;

/// The agent is told of so many names without an address.
pub const MAX_NAMED: usize = 64;
/// The agent is told of so many endpoints that are left out.
pub const MAX_UNHEALTHY: usize = 512;

/// Why the front cannot run.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// Somebody typed `weir front`.
    #[error("standard input is not a control socket; `weir front` is started by `weir agent`")]
    NotStartedByAgent,
    /// The agent's first message is missing or wrong.
    #[error("the agent's first message could not be taken")]
    Hello(#[source] ControlError),
    /// The kernel refused something at the start.
    #[error("could not {action}")]
    Start {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Nothing could be encrypted.
    #[error("TLS is not available")]
    Tls(#[source] tls::TlsError),
    /// It may ask more of the kernel than it needs.
    #[error("the filter of system calls is not in force")]
    Unconfined(#[from] confine::ConfineError),
    /// A worker ended by itself.
    #[error("worker {worker} ended: {reason}")]
    Worker {
        /// Its number.
        worker: usize,
        /// Why.
        reason: String,
    },
}

fn start_error(action: &'static str) -> impl FnOnce(io::Error) -> FrontError {
    move |source| FrontError::Start { action, source }
}

/// The body of `weir front`: serves until drained. `unacknowledged` is what only the kernel knows.
pub fn front_main(unacknowledged: Unacknowledged) -> Result<(), FrontError> {
    // Fails if there is a log already, which is as good.
    let _ = tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).try_init();
    confine::give_up().map_err(start_error("give up privileges"))?;
    let control = control_socket()?;
    let (hello, listeners) = control::receive_hello(&control).map_err(FrontError::Hello)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(start_error("start the runtime"))?;
    runtime.block_on(run(control, &hello, listeners, unacknowledged))
}

/// What the front does to itself, for the test that tries what it can do then.
pub fn confine() -> Result<(), FrontError> {
    confine::give_up().map_err(start_error("give up privileges"))?;
    Ok(confine::filter()?)
}

/// Where the agent says which name servers to ask: addresses with ports between commas; `local` among them allows names to
/// stand for addresses of the node.
pub(super) const NAME_SERVERS: &str = "WEIR_NAME_SERVERS";

fn name_settings(text: Option<&str>) -> ([Option<SocketAddr>; 3], bool) {
    let words: Vec<_> = text.unwrap_or_default().split(',').collect();
    let mut servers = words.iter().filter_map(|word| word.parse().ok());
    ([servers.next(), servers.next(), servers.next()], words.contains(&"local"))
}

/// The control socket is standard input.
fn control_socket() -> Result<UnixStream, FrontError> {
    let stdin = io::stdin();
    let descriptor = stdin.as_fd();
    if rustix::net::sockopt::socket_domain(descriptor) != Ok(rustix::net::AddressFamily::UNIX) {
        return Err(FrontError::NotStartedByAgent);
    }
    descriptor.try_clone_to_owned().map(UnixStream::from).map_err(start_error("copy the control socket"))
}

async fn run(
    control: UnixStream,
    hello: &Hello,
    listeners: Listeners,
    unacknowledged: Unacknowledged,
) -> Result<(), FrontError> {
    control.set_nonblocking(true).map_err(start_error("set up the control socket"))?;
    let control = tokio::net::UnixStream::from_std(control).map_err(start_error("set up the control socket"))?;
    let terminate = signal(SignalKind::terminate()).map_err(start_error("listen for SIGTERM"))?;
    let (from_agent, to_agent) = control.into_split();
    let descriptors = descriptors::raise().map_err(start_error("raise the limit of open descriptors"))?;
    let tls = tls::Builder::new().map_err(FrontError::Tls)?;
    let listeners = workers::per_worker(listeners);
    let clients = descriptors::clients_per_worker(descriptors, listeners.len());
    let (name_servers, local_names) = name_settings(std::env::var(NAME_SERVERS).ok().as_deref());
    let limits = Limits {
        clients,
        upstreams: clients,
        name_servers,
        local_names,
        in_detail: hello.in_detail,
        unacknowledged: Some(unacknowledged),
        ..Limits::default()
    };
    hello.files.clone().tell();
    // The first of its threads begins below.
    let unconfined = confine::filter().err().map(|error| crate::l7::chain(&error));
    let (workers, log_written) = Workers::start(listeners, hello, limits)?;
    let mut front = Front {
        to_agent: Some(to_agent),
        workers,
        table: RouteTable::default(),
        tls,
        version: 0,
        acknowledged: 0,
        unresolved: BTreeMap::new(),
        unhealthy: Vec::new(),
    };
    if let Some(why) = unconfined {
        front.tell(&FromFront::Unconfined(why)).await;
    }
    let result = front.serve(listen(from_agent), terminate).await;
    drop(front);
    // The last lines; but not if nobody reads them.
    if let Some(written) = log_written {
        let _ = written.recv_timeout(Duration::from_secs(1));
    }
    result
}

/// Reads messages on a task of its own, as reading one is not something to break off half-way.
fn listen(mut from_agent: OwnedReadHalf) -> mpsc::Receiver<ToFront> {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        loop {
            match control::read(&mut from_agent, control::MAX_FRAME).await {
                Ok(Some(message)) => {
                    if sender.send(message).await.is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(error = %crate::l7::chain(&error), "no more messages from the agent");
                    return;
                }
            }
        }
    });
    receiver
}

struct Front {
    /// `None`: the agent is gone.
    to_agent: Option<OwnedWriteHalf>,
    workers: Workers,
    table: RouteTable,
    tls: tls::Builder,
    version: u64,
    acknowledged: u64,
    /// What the agent was told of names.
    unresolved: BTreeMap<String, NameError>,
    /// What the agent was told of endpoints that are left out.
    unhealthy: Vec<(u64, SocketAddr)>,
}

impl Front {
    async fn serve(&mut self, mut messages: mpsc::Receiver<ToFront>, mut terminate: Signal) -> Result<(), FrontError> {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut agent_lives = true;
        loop {
            tokio::select! {
                message = messages.recv(), if agent_lives => match message {
                    Some(message) => self.handle(message).await,
                    None => {
                        agent_lives = false;
                        self.lose_agent();
                    }
                },
                () = self.workers.in_force.notified() => self.acknowledge().await,
                _ = ticks.tick() => self.report().await,
                _ = terminate.recv() => self.leave().await,
                ended = self.workers.ended.recv() => {
                    if self.workers.note_end(ended)? {
                        self.report().await;
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Told to end by a signal: an agent that is there starts another one, which serves while this one drains.
    async fn leave(&mut self) {
        let is_first = !self.workers.is_draining();
        // First, for an agent that hangs does not listen.
        self.workers.drain();
        if is_first {
            self.tell(&FromFront::Leaving).await;
        }
    }

    fn lose_agent(&mut self) {
        self.to_agent = None;
        if self.version == 0 {
            // It has never served and never will.
            self.workers.drain();
        } else if !self.workers.is_draining() {
            tracing::warn!("the agent is gone; the front goes on with the routes it has");
        }
    }

    async fn handle(&mut self, message: ToFront) {
        match message {
            ToFront::Snapshot { version, table } => {
                self.table = table;
                self.put_in_force(Router::new(version, &self.table), true);
            }
            ToFront::Delta { version, base, delta } if base == self.version => {
                let tls = !delta.tls.is_empty() || delta.settings.is_some();
                delta::apply(&mut self.table, delta.clone());
                let router = self.workers.routes.borrow().after(version, &self.table, &delta);
                self.put_in_force(router.unwrap_or_else(|| Router::new(version, &self.table)), tls);
            }
            ToFront::Delta { .. } => self.tell(&FromFront::Mismatch { version: self.version }).await,
            ToFront::Files(files) => files.tell(),
            ToFront::Report => self.report().await,
            ToFront::Drain => self.workers.drain(),
        }
    }

    /// `tls`: something may have changed of what handshakes are made with.
    fn put_in_force(&mut self, mut router: Router, tls: bool) {
        self.version = router.version;
        router.tls = self.workers.routes.borrow().tls.clone();
        if tls {
            match self.tls.server(&self.table.tls, &self.table.settings.tls) {
                Ok(server) => router.tls = Some(server),
                Err(error) => tracing::error!(error = %crate::l7::chain(&error), "TLS stays as it was"),
            }
        }
        self.workers.routes.send_replace(Arc::new(router));
    }

    /// A version is in force when the last worker serves from it.
    async fn acknowledge(&mut self) {
        let version = self.workers.shared.iter().map(|worker| worker.version()).min().unwrap_or(0);
        if version > self.acknowledged {
            self.acknowledged = version;
            self.tell(&FromFront::InForce { version }).await;
        }
    }

    async fn report(&mut self) {
        let mut sum = FrontCounters::default();
        for worker in &self.workers.shared {
            sum += worker.counters.read();
        }
        let health = &self.workers.health;
        let unhealthy = Arc::clone(&health.unhealthy.borrow());
        sum.unhealthy_endpoints = unhealthy.endpoints() as u64;
        sum.health_checks = health.counts.asked.load(Ordering::Relaxed);
        sum.health_check_failures = health.counts.failed.load(Ordering::Relaxed);
        self.tell(&FromFront::Counters(Box::new(sum))).await;
        let unhealthy: Vec<_> = unhealthy.iter().take(MAX_UNHEALTHY).collect();
        if unhealthy != self.unhealthy {
            self.unhealthy.clone_from(&unhealthy);
            self.tell(&FromFront::Unhealthy(unhealthy)).await;
        }
        let mut traffic = Traffic::default();
        for worker in &self.workers.shared {
            worker.take_traffic().iter().for_each(|(key, counts)| traffic.add(key.clone(), counts));
        }
        for portion in traffic.into_portions() {
            self.tell(&FromFront::Traffic(portion)).await;
        }
        let unresolved: BTreeMap<_, _> =
            self.workers.shared.iter().flat_map(|worker| worker.unresolved()).take(MAX_NAMED).collect();
        if unresolved != self.unresolved {
            self.unresolved.clone_from(&unresolved);
            self.tell(&FromFront::Unresolved(unresolved)).await;
        }
    }

    async fn tell(&mut self, message: &FromFront) {
        if let Some(to_agent) = &mut self.to_agent
            && control::write(to_agent, message).await.is_err()
        {
            self.to_agent = None;
        }
    }
}
