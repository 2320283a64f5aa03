//! `weir agent`: builds everything, owns the tasks, starts and ends them in order.
//!
//! It starts from the outside in: the admin API answers (not ready) before anything changes, the front listens before a
//! frontend leads to it, the maps are written before a program that reads them is attached. When it ends, programs and
//! maps stay: packets go on.

mod announcer;
mod control;
mod deny_list;
mod dry_run;
mod error;
mod exhaustion;
mod facts;
mod hand_over;
mod health_checks;
mod node;
mod problems;
mod readiness;
mod samples;
mod schedule;
mod see;
mod service_manager;
mod sources;
mod speaker;
mod state;

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

pub use error::AgentError;

use crate::admin::{self, Scope};
use crate::cluster::Cluster;
use crate::config::Config;
use crate::dataplane::Dataplane;
use crate::l7::supervisor::{Front, FrontConfig};
use crate::l7::worker;
use crate::metrics::Metrics;
use crate::sink::{LogSink, Sink, Sinks, StatusSink};
use crate::telemetry::LevelHandle;
use control::Control;
use facts::Facts;
use state::State;

/// The agent's own work is small; what blocks runs elsewhere.
const WORKERS: usize = 2;
/// How long the handshake of a client far away takes.
const LAST_HANDSHAKES: Duration = Duration::from_secs(1);
/// What blocks when the agent ends is given so long.
const LAST_CALLS: Duration = Duration::from_secs(2);

/// Runs until SIGTERM or SIGINT, or until another agent takes over.
pub fn run(config: Config, level: LevelHandle) -> Result<(), AgentError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = runtime.map_err(AgentError::Runtime)?;
    let result = if config.dry_run {
        runtime.block_on(dry_run::run(&config)).map(|()| None)
    } else if config.retired {
        runtime.block_on(hand_over::wait_for_front(&config)).map(|()| None)
    } else {
        runtime.block_on(serve(config, level))
    };
    // A thread that hangs in a system call must not keep the process from ending.
    runtime.shutdown_timeout(LAST_CALLS);
    match result? {
        // The lock is let go of with what is left of the agent: when all addresses are free.
        Some((_locked, stop)) => Err(hand_over::retire(stop)),
        None => Ok(()),
    }
}

/// Gives what holds the lock, and what hears of signals, if another agent is to have it.
async fn serve(config: Config, level: LevelHandle) -> Result<Option<(Arc<State>, Stop)>, AgentError> {
    let mut stop = Stop::new()?;
    let facts = Facts::find(&config)?;
    let api = sources::connect(&config.sources).await?;
    hand_over::ask(&config.pin_path).await;
    let listener = admin::bind("--admin", config.admin).await?;
    let metrics_listener = match config.metrics {
        Some(address) => Some(admin::bind("--metrics", address).await?),
        None => None,
    };
    let dataplane = Dataplane::start(&facts.dataplane_config(&config)).await?;
    tokio::spawn(dataplane.follow_next_hops()?.run());
    let front = FrontConfig {
        tls: config.manifests.https_port != 0,
        quic: config.manifests.http3.then_some(config.manifests.https_port),
        name_servers: config.name_servers.clone(),
        local_names: config.local_names,
        in_detail: config.nginx_metrics,
        collector: config.collector.clone(),
        ..FrontConfig::new(dataplane.run_dir())
    };
    let front = Front::start(front).await?;

    let problems = StatusSink::default();
    let metrics = Metrics::default();
    let (cluster, events) = api.as_ref().map(|api| Cluster::start(api.clone(), &facts.name)).unzip();
    let mut sinks: Vec<Box<dyn Sink>> =
        vec![Box::new(LogSink), Box::new(problems.clone()), Box::new(metrics.problem_sink())];
    sinks.extend(events.map(|events| Box::new(events) as Box<dyn Sink>));
    let sinks = Sinks::new(sinks);
    let state = Arc::new(State::new(&config, &facts, level, problems, metrics, dataplane, front.watch_status()));
    let samples = state.dataplane().samples()?; // each holds the data plane for its own statement
    let errors = state.dataplane().shared_errors()?;
    state.samples.follow(samples, errors).map_err(AgentError::Runtime)?;
    tokio::spawn(admin::serve(listener, Arc::clone(&state) as Arc<dyn admin::Agent>, Scope::All));
    if let Some(listener) = metrics_listener {
        tokio::spawn(admin::serve(listener, Arc::clone(&state) as Arc<dyn admin::Agent>, Scope::Metrics));
    }

    let events = sources::start(&config, &facts, api.as_ref());
    let announcers = Announcers {
        neighbours: announcer::start(&state, &facts.name)?,
        routers: config.bird.as_ref().map(|bird| speaker::start(&state, bird)),
    };
    let mut control = Control::new(config, facts, sinks, Arc::clone(&state), front, cluster, announcers)?;
    let result = control.run(events, &mut stop).await;
    state.update_readiness(|readiness| readiness.ending = true);
    let (front, cluster, announcers) = control.into_parts();
    if matches!(result, Ok(Reason::Replaced)) {
        tracing::info!("another agent asks for the pin path: it takes over");
        give_up(cluster).await;
        // The process goes on.
        drop(front);
        return Ok(Some((state, stop)));
    }
    service_manager::stopping();
    announcers.leave().await;
    tracing::info!("ending: the front drains; a second signal does not wait for it");
    let drained = async { tokio::join!(front.shutdown(), give_up(cluster)).0 };
    tokio::select! {
        ((), ()) = async { tokio::join!(drained, end_steering(&state)) } => {}
        () = stop.told() => {}
    }
    tracing::info!("ended: programs and maps stay, packets go on");
    result.map(|_| None)
}

/// Who tells others of this node's addresses.
struct Announcers {
    /// Stations of the same network.
    neighbours: Option<announcer::Handle>,
    /// Routers.
    routers: Option<speaker::Handle>,
}

impl Announcers {
    /// Before anything stops that serves them.
    async fn leave(self) {
        let neighbours = async {
            if let Some(neighbours) = self.neighbours {
                neighbours.leave().await;
            }
        };
        let routers = async {
            if let Some(routers) = self.routers {
                routers.leave().await;
            }
        };
        tokio::join!(neighbours, routers);
    }
}

/// The next agent that writes for the cluster need not wait for the Lease to end.
async fn give_up(cluster: Option<Cluster>) {
    if let Some(cluster) = cluster {
        let _ = tokio::time::timeout(LAST_CALLS, cluster.end()).await;
    }
}

/// Steers no more connections to a front that drains, a little before it stops to accept: then none waits in its queue
/// when it closes, which would be refused. Whoever comes now is not answered, tries again, and meets the next front.
async fn end_steering(state: &State) {
    let accepts = worker::Limits::default().hand_over;
    tokio::time::sleep(accepts.saturating_sub(LAST_HANDSHAKES)).await;
    if let Err(error) = state.dataplane().set_listeners(&[], &[]) {
        tracing::warn!(%error, "connections may be refused while the front ends");
    }
}

/// Why an agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// It was told to.
    Told,
    /// Another one takes over.
    Replaced,
}

/// The signals that end the agent.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
    replace: Signal,
}

impl Stop {
    fn new() -> Result<Self, AgentError> {
        let listen = |kind| signal(kind).map_err(AgentError::Runtime);
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            replace: listen(SignalKind::user_defined2())?,
        })
    }

    /// Waits for one of them.
    async fn asked(&mut self) -> Reason {
        tokio::select! {
            _ = self.terminate.recv() => Reason::Told,
            _ = self.interrupt.recv() => Reason::Told,
            _ = self.replace.recv() => Reason::Replaced,
        }
    }

    /// Waits for one that is no other agent's.
    async fn told(&mut self) {
        while self.asked().await != Reason::Told {}
    }
}
