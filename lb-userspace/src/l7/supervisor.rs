//! The agent's side of layer 7: opens the listeners, starts `weir front` without privileges, keeps it running and feeds
//! it route tables.
//!
//! The agent keeps a copy of every listener. While it does, connections wait in the kernel when the front dies, and the
//! next front takes them from there.

mod absent;
mod backoff;
mod listeners;
mod pid_file;
mod process;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::control::{Collector, ControlError, Listeners};
use super::counters::FrontCounters;
use super::names::NameError;
use super::table::RouteTable;
use super::traffic::Traffic;
use pid_file::PidFile;
use session::{DRAIN, Published, Supervisor};

/// How the front is run.
#[derive(Clone, Debug)]
pub struct FrontConfig {
    /// The program that is called with `front`; the running one by default, even if its file was replaced.
    pub program: PathBuf,
    /// Directory for run-time files; created if missing.
    pub run_dir: PathBuf,
    /// Cores that the front uses: one listener and one worker each.
    pub cores: usize,
    /// The access log goes to standard output.
    pub access_log: bool,
    /// There are listeners for HTTPS.
    pub tls: bool,
    /// Port at which HTTP/3 is spoken; 0: that of the listeners for HTTPS.
    pub quic: Option<u16>,
    /// Servers that are asked for names outside of the cluster; none: the system's.
    pub name_servers: Vec<SocketAddr>,
    /// Such names may stand for addresses of the node itself.
    pub local_names: bool,
    /// Times and sizes of requests are counted by route.
    pub in_detail: bool,
    /// Where spans go.
    pub collector: Option<Collector>,
}

impl FrontConfig {
    /// All cores, with an access log.
    pub fn new(run_dir: impl Into<PathBuf>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        FrontConfig {
            program: PathBuf::from("/proc/self/exe"),
            run_dir: run_dir.into(),
            cores,
            access_log: true,
            tls: true,
            quic: None,
            name_servers: Vec::new(),
            local_names: false,
            in_detail: false,
            collector: None,
        }
    }
}

/// How the front is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrontStatus {
    /// Process id; `None` between two processes.
    pub pid: Option<u32>,
    /// Version of the route table that was published last; 0 before the first.
    pub published: u64,
    /// Version that every worker serves from; `None` until the process has told.
    pub version: Option<u64>,
    /// How often the process was started again.
    pub restarts: u64,
    /// Number of listeners.
    pub listeners: usize,
    /// Inodes of the listeners, which the process could turn into connections of ours.
    pub lent: Vec<u64>,
    /// Loopback port of the listeners for HTTP.
    pub port: u16,
    /// Loopback port of those for HTTPS; 0: there are none.
    pub tls_port: u16,
    /// Routes in the table that was published last.
    pub routes: usize,
    /// What all processes since the start of the agent have counted.
    pub counters: FrontCounters,
    /// What they have counted of routes.
    pub traffic: Arc<Traffic>,
    /// Why VIPs that are on no interface are not answered, if so.
    pub not_transparent: Option<String>,
    /// Names that routes lead to and that have no address, and why.
    pub unresolved: BTreeMap<String, NameError>,
    /// Endpoints that are left out, each by the kind of question that it answers badly ([`crate::l7::health::kind`]).
    pub unhealthy: Arc<BTreeSet<(u64, SocketAddr)>>,
    /// Why the process may ask more of the kernel than it needs, if so.
    pub unconfined: Option<String>,
    /// What went wrong last with the process.
    pub last_failure: Option<String>,
}

impl FrontStatus {
    /// The front serves from the table that was published last.
    pub fn is_current(&self) -> bool {
        self.published > 0 && self.version == Some(self.published)
    }
}

/// Why layer 7 cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// A listener cannot be opened.
    #[error("could not open a listener of the front on 127.0.0.1")]
    Listen(#[source] std::io::Error),
    /// There is no socket for HTTP/3.
    #[error("could not open UDP port {port} for HTTP/3")]
    Quic {
        /// The port.
        port: u16,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The run directory is not usable.
    #[error("run directory {path}: could not {action}")]
    RunDir {
        /// The directory or file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The process cannot be started.
    #[error("could not start {program} as the front (uid and gid 65534 need to read and execute it)")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// It was started, but did not take the first message.
    #[error("the front did not take its listeners")]
    Hello(#[from] ControlError),
}

/// Ends the fronts that agents which were killed have left: they drain, and are killed if that takes too long. Gives their
/// process ids. Only for whoever holds the lock of the run directory: a front with an agent would be started again.
pub fn end_left(run_dir: &Path) -> io::Result<Vec<u32>> {
    let pid_file = PidFile::new(run_dir);
    let fronts = pid_file.running();
    pid_file::end(&fronts, DRAIN)?;
    pid_file.write([])?;
    Ok(fronts.iter().map(|front| front.pid).collect())
}

/// The front as the agent has it. Dropped without [`Front::shutdown`], the process goes on serving what it has.
#[derive(Debug)]
pub struct Front {
    listeners: Arc<Listeners>,
    published: watch::Sender<Published>,
    status: watch::Sender<FrontStatus>,
    shutdown: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Front {
    /// Opens the listeners and starts the process. An earlier agent's front is drained once this one has a table.
    pub async fn start(config: FrontConfig) -> Result<Front, SupervisorError> {
        let http = listeners::open(config.cores).map_err(SupervisorError::Listen)?;
        let https = config.tls.then(|| listeners::open(config.cores)).transpose();
        let https = https.map_err(SupervisorError::Listen)?.unwrap_or_default();
        let quic = config.quic.map(|port| if port == 0 { https.port } else { port });
        let quic = quic.map(|port| {
            listeners::open_quic(config.cores, port).map_err(|source| SupervisorError::Quic { port, source })
        });
        let quic = quic.transpose()?.unwrap_or_default();
        let lent = http.listeners.iter().chain(&https.listeners).filter_map(crate::sockets::inode_of).collect();
        let status = FrontStatus {
            lent,
            listeners: http.listeners.len() + https.listeners.len(),
            port: http.port,
            tls_port: https.port,
            not_transparent: http.not_transparent,
            ..FrontStatus::default()
        };
        let listeners = Arc::new(Listeners { http: http.listeners, https: https.listeners, quic });
        let (published, status) = (watch::Sender::new(Published::default()), watch::Sender::new(status));
        let shutdown = watch::Sender::new(false);
        let supervisor = Supervisor::start(
            config,
            Arc::clone(&listeners),
            published.subscribe(),
            status.clone(),
            shutdown.subscribe(),
        )?;
        let task = tokio::spawn(supervisor.run());
        Ok(Front { listeners, published, status, shutdown, task })
    }

    /// The listeners, for the data plane's steering. Hand them over before the first table is published: with that an
    /// earlier front begins to drain.
    pub fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Gives the front a new table; returns its version. Never waits; of several tables the last one counts. A table that
    /// equals the last one is not sent.
    pub fn publish(&self, table: impl Into<Arc<RouteTable>>) -> u64 {
        let table = table.into();
        self.published.send_if_modified(|published| published.replace(table));
        let published = self.published.borrow();
        self.status.send_modify(|status| {
            status.published = published.version;
            status.routes = published.routes();
        });
        published.version
    }

    /// How the front is now.
    pub fn status(&self) -> FrontStatus {
        self.status.borrow().clone()
    }

    /// The same, as it changes.
    pub fn watch_status(&self) -> watch::Receiver<FrontStatus> {
        self.status.subscribe()
    }

    /// Drains the front and waits for its end. Take its listeners out of the steering before: what still arrives when
    /// the front closes them is reset.
    pub async fn shutdown(self) {
        // The front's own descriptors have to be the last, or connections would be made that nobody accepts.
        drop(self.listeners);
        self.shutdown.send_replace(true);
        // A panic of the supervisor was reported where it happened.
        let _ = self.task.await;
    }
}
