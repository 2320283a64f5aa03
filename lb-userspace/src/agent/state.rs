//! What the main loop leaves for those who ask: the admin API and the metrics.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lb_common::abi::Stat;
use lb_common::drop_reason::DropReason;
use tokio::sync::watch;

use super::exhaustion::Exhaustion;
use super::facts::Facts;
use super::readiness::Readiness;
use super::samples::Samples;
use crate::admin;
use crate::announce::Listing;
use crate::announce::routers::Routers;
use crate::clock;
use crate::compile::Compiled;
use crate::config::Config;
use crate::dataplane::kube_proxy::KubeProxy;
use crate::dataplane::{self, CounterSnapshot, Dataplane, Endpoint};
use crate::l7::supervisor::FrontStatus;
use crate::metrics::{Metrics, Scrape};
use crate::model::{Algorithm, DesiredState, Target};
use crate::sink::StatusSink;
use crate::status::View;
use crate::status::capture::{CaptureListing, CaptureQuery};
use crate::status::drops::{DropListing, DropsQuery};
use crate::status::explain::{ExplainListing, ExplainQuery};
use crate::status::flows::{FlowListing, FlowQuery};
use crate::status::row::{FrontRow, InterfaceRow, KubeProxyRow, MapRow, SocketLevelRow, SourceRow, WayRow};
use crate::status::top::TopReading;
use crate::tables::{BackendKey, IpFamily};
use crate::telemetry::LevelHandle;

/// What is younger is not read again.
const READING_AGE: Duration = Duration::from_secs(1);
/// A main loop that turned within this time is alive: a pass over a large cluster takes its time.
const ALIVE: Duration = Duration::from_secs(60);

/// What the main loop leaves for those who ask.
pub(super) struct State {
    pub(super) metrics: Metrics,
    pub(super) pin_path: PathBuf,
    pub(super) samples: Samples,
    node: String,
    level: LevelHandle,
    problems: StatusSink,
    dataplane: Mutex<Dataplane>,
    readiness: Mutex<Readiness>,
    picture: Mutex<Picture>,
    reading: Mutex<Option<Arc<Reading>>>,
    beat: Mutex<Instant>,
    as_ingress_nginx: bool,
    kube_proxy: Mutex<Option<KubeProxy>>,
    announcing: Mutex<Listing>,
    routers: Mutex<Option<Routers>>,
    front: watch::Receiver<FrontStatus>,
}

/// The result of the last pass, in parts that listings share.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    pub(super) desired: Arc<DesiredState>,
    pub(super) compiled: Compiled,
}

impl State {
    pub(super) fn new(
        config: &Config,
        facts: &Facts,
        level: LevelHandle,
        problems: StatusSink,
        metrics: Metrics,
        dataplane: Dataplane,
        front: watch::Receiver<FrontStatus>,
    ) -> Self {
        let sources = config.sources.iter().map(|source| (source.to_string(), false)).collect();
        Self {
            metrics,
            pin_path: config.pin_path.clone(),
            samples: Samples::default(),
            node: facts.name.clone(),
            level,
            problems,
            dataplane: Mutex::new(dataplane),
            readiness: Mutex::new(Readiness { sources, ..Readiness::default() }),
            picture: Mutex::default(),
            reading: Mutex::default(),
            beat: Mutex::new(clock::now()),
            as_ingress_nginx: config.nginx_metrics,
            kube_proxy: Mutex::default(),
            announcing: Mutex::default(),
            routers: Mutex::default(),
            front,
        }
    }

    /// The data plane. A panic of another holder leaves it as usable as it was.
    pub(super) fn dataplane(&self) -> MutexGuard<'_, Dataplane> {
        lock(&self.dataplane)
    }

    /// Publishes the result of a pass.
    pub(super) fn publish(&self, picture: Picture) {
        *lock(&self.picture) = picture;
    }

    /// What was published last.
    pub(super) fn picture(&self) -> Picture {
        lock(&self.picture).clone()
    }

    /// Changes what was published, in place where nobody is looking at it; who comes to look waits for the end.
    pub(super) fn amend<T>(&self, change: impl FnOnce(&mut Picture) -> T) -> T {
        change(&mut lock(&self.picture))
    }

    /// Has the kernel close the connected sockets whose backend is gone. Backends that are merely not ready are known, and
    /// keep their connections.
    pub(super) fn close_orphans(&self, dataplane: &Dataplane) {
        let picture = self.picture();
        let backends = picture.desired.services.iter().flat_map(|(key, service)| match &service.target {
            Target::Backends(backends) => backends.iter().map(|backend| (backend, key.protocol)).collect::<Vec<_>>(),
            Target::Front(_) => Vec::new(),
        });
        let known: LazyCell<BTreeSet<Endpoint>, _> = LazyCell::new(|| {
            backends.map(|(backend, protocol)| (SocketAddr::new(backend.address, backend.port), protocol)).collect()
        });
        match dataplane.close_orphans(|endpoint| known.contains(endpoint)) {
            Ok(0) => {}
            Ok(closed) => tracing::info!(closed, "sockets whose backend is gone were closed"),
            Err(error) => tracing::warn!(%error, "cannot close sockets whose backend is gone"),
        }
    }

    /// Counts the flows of backends whose services lead to those with fewer.
    pub(super) fn count_loads(&self, dataplane: &Dataplane) {
        let picture = self.picture();
        let least = |service: &&crate::model::Service| service.policy.algorithm == Algorithm::LeastConnections;
        let mut weights = BTreeMap::new();
        for service in picture.desired.services.values().filter(least) {
            let Target::Backends(backends) = &service.target else { continue };
            for backend in backends {
                let key = BackendKey {
                    address: backend.address,
                    port: backend.port,
                    protocol: service.key.protocol,
                    local: backend.local,
                };
                let id = picture.compiled.backends.get(&(IpFamily::of(backend.address), key));
                weights.extend(id.map(|id| (*id, backend.weight)));
            }
        }
        if let Err(error) = dataplane.count_loads(&weights) {
            tracing::warn!(%error, "cannot count the flows of backends");
        }
    }

    /// Changes what is known about readiness and returns what is missing.
    pub(super) fn update_readiness(&self, update: impl FnOnce(&mut Readiness)) -> Vec<String> {
        let mut readiness = lock(&self.readiness);
        update(&mut readiness);
        readiness.missing()
    }

    /// The main loop turned.
    pub(super) fn beat(&self) {
        *lock(&self.beat) = clock::now();
    }

    /// What there is of kube-proxy; true if that is news.
    pub(super) fn set_kube_proxy(&self, found: KubeProxy) -> bool {
        let mut known = lock(&self.kube_proxy);
        let is_news = known.as_ref() != Some(&found);
        *known = Some(found);
        is_news
    }

    /// What the last look found of kube-proxy.
    pub(super) fn kube_proxy(&self) -> Option<KubeProxy> {
        lock(&self.kube_proxy).clone()
    }

    /// Whether ports for source NAT have run out, or room for flows. What cannot be read now is read the next time.
    pub(super) fn look_for_exhaustion(&self, exhaustion: &mut Exhaustion, now: Instant) {
        let dataplane = self.dataplane();
        if let Ok(refused) = dataplane.event(Stat::FlowTableFull) {
            exhaustion.look_at_flows(refused, now);
        }
        if let Ok(dropped) = dataplane.dropped(DropReason::SynLimited) {
            exhaustion.look_at_limit(dropped, now);
        }
        let Ok(dropped) = dataplane.dropped(DropReason::SnatExhausted) else { return };
        let counted = || {
            let mut counted = BTreeMap::<_, u64>::new();
            for ((key, ..), id) in self.picture().compiled.services.iter() {
                *counted.entry(key.clone()).or_default() += dataplane.snat_exhausted(*id).ok()?;
            }
            Some(counted)
        };
        exhaustion.look_at_ports(dropped, counted, now);
    }

    /// Who announces what.
    pub(super) fn set_announcing(&self, listing: Listing) {
        *lock(&self.announcing) = listing;
    }

    /// Who announces what, as this node sees it.
    pub(super) fn announcing(&self) -> Listing {
        lock(&self.announcing).clone()
    }

    /// How it stands with routers.
    pub(super) fn set_routers(&self, routers: Option<Routers>) {
        *lock(&self.routers) = routers;
    }

    /// How it stands with routers; `None` if nobody speaks with them.
    pub(super) fn routers(&self) -> Option<Routers> {
        lock(&self.routers).clone()
    }

    /// How the front is.
    pub(super) fn front(&self) -> FrontStatus {
        self.front.borrow().clone()
    }

    fn sources(&self) -> Vec<SourceRow> {
        let row = |(source, complete): &(String, bool)| {
            let (kind, target) = source.split_once(':').unwrap_or((source, ""));
            SourceRow { kind: kind.to_owned(), target: target.to_owned(), complete: *complete }
        };
        lock(&self.readiness).sources.iter().map(row).collect()
    }

    /// What the maps say, not older than a second unless somebody asked for more: large tables take a while to count.
    fn reading(&self) -> Arc<Reading> {
        let mut cached = lock(&self.reading);
        if let Some(reading) = cached.as_ref().filter(|reading| clock::since(reading.taken) < READING_AGE) {
            return Arc::clone(reading);
        }
        let reading = Arc::new(Reading::take(&self.dataplane()));
        *cached = Some(Arc::clone(&reading));
        reading
    }
}

/// What the maps said at one moment.
struct Reading {
    taken: Instant,
    interfaces: Vec<InterfaceRow>,
    socket_level: SocketLevelRow,
    ways: Vec<WayRow>,
    maps: Vec<MapRow>,
    counters: Option<Arc<CounterSnapshot>>,
}

impl Reading {
    fn take(dataplane: &Dataplane) -> Self {
        let maps = dataplane.maps().inspect_err(|error| tracing::warn!(%error, "cannot see how full maps are"));
        let counters = dataplane.counters().inspect_err(|error| tracing::warn!(%error, "cannot read counters"));
        Self {
            taken: clock::now(),
            interfaces: dataplane.interfaces().iter().map(InterfaceRow::from).collect(),
            socket_level: SocketLevelRow::from(&dataplane.socket_level()),
            ways: dataplane.ways().iter().map(WayRow::from).collect(),
            maps: maps.unwrap_or_default().iter().map(MapRow::from).collect(),
            counters: counters.ok().map(Arc::new),
        }
    }
}

impl admin::Agent for State {
    fn alive(&self) -> bool {
        clock::since(*lock(&self.beat)) < ALIVE
    }

    fn missing(&self) -> Vec<String> {
        lock(&self.readiness).missing()
    }

    fn refresh(&self) {
        *lock(&self.reading) = None;
    }

    fn view(&self) -> View {
        let picture = self.picture();
        let reading = self.reading();
        View {
            node: Some(self.node.clone()),
            missing: self.missing(),
            sources: self.sources(),
            interfaces: reading.interfaces.clone(),
            socket_level: Some(reading.socket_level.clone()),
            kube_proxy: self.kube_proxy().as_ref().map(KubeProxyRow::from),
            ways: reading.ways.clone(),
            maps: reading.maps.clone(),
            front: Some(front_row(&self.front())),
            problems: self.problems.all(),
            desired: Some(picture.desired),
            service_ids: picture.compiled.services,
            backend_ids: picture.compiled.backends,
            tables: picture.compiled.tables,
            routes: picture.compiled.routes,
            unhealthy: self.front().unhealthy,
            announcing: Some(self.announcing()),
            routers: self.routers(),
            counts: reading.counters.clone(),
            counted_at: Some(reading.taken),
        }
    }

    fn flows(&self, query: &FlowQuery) -> Result<FlowListing, String> {
        self.read_flows(query)
    }

    fn drops(&self, query: &DropsQuery) -> Result<DropListing, String> {
        self.list_drops(query)
    }

    fn capture(&self, query: &CaptureQuery) -> Result<CaptureListing, String> {
        self.capture_packets(query)
    }

    fn explain(&self, query: &ExplainQuery) -> Result<ExplainListing, String> {
        self.explain_live(query)
    }

    fn node(&self) -> Option<String> {
        Some(self.node.clone())
    }

    fn lent(&self) -> Vec<u64> {
        self.front().lent
    }

    fn top(&self) -> TopReading {
        let front = self.front();
        TopReading { view: self.view(), front: Some(front.counters), traffic: front.traffic, asked: clock::now() }
    }

    fn metrics(&self) -> String {
        let front = self.front();
        self.metrics.render(&Scrape {
            view: self.view(),
            front: Some(front.counters),
            traffic: front.traffic,
            as_ingress_nginx: self.as_ingress_nginx,
            conntrack: dataplane::conntrack(),
        })
    }

    fn log_level(&self) -> &LevelHandle {
        &self.level
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn front_row(front: &FrontStatus) -> FrontRow {
    FrontRow {
        listeners: front.listeners,
        routes: front.routes,
        pid: front.pid,
        restarts: front.restarts,
        requests: Some(front.counters.total_requests()),
    }
}
