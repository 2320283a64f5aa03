//! What the agent (or the pins alone) know at one moment.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::row::{
    Counters, ForwardingRow, FrontRow, InterfaceRow, KubeProxyRow, MapRow, RouterRow, SocketLevelRow, SourceRow,
    StatusRow, WayRow,
};
use super::services;
use crate::announce::Listing;
use crate::announce::routers::Routers;
use crate::compile::Owner;
use crate::dataplane::CounterSnapshot;
use crate::l7::table::RouteTable;
use crate::model::{DesiredState, Problem, ServiceKey, Severity, Target};
use crate::tables::{BackendId, BackendKey, IpFamily, ServiceId, Tables};

/// What the agent knows at one moment; everything shared, so that making one is cheap.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Name of the node; `None` if only the pins were read.
    pub node: Option<String>,
    /// Who announces which address; `None` if only the pins were read.
    pub announcing: Option<Listing>,
    /// How it stands with routers; `None` if nobody speaks with them.
    pub routers: Option<Routers>,
    /// What is missing until the agent is ready.
    pub missing: Vec<String>,
    /// Sources.
    pub sources: Vec<SourceRow>,
    /// Interfaces with programs.
    pub interfaces: Vec<InterfaceRow>,
    /// Socket-level balancing.
    pub socket_level: Option<SocketLevelRow>,
    /// What there is of kube-proxy; `None` if nobody looked.
    pub kube_proxy: Option<KubeProxyRow>,
    /// By which devices backends on other nodes are reached.
    pub ways: Vec<WayRow>,
    /// Maps.
    pub maps: Vec<MapRow>,
    /// The layer 7 process.
    pub front: Option<FrontRow>,
    /// Problems.
    pub problems: Arc<Vec<Problem>>,
    /// What should be; `None` if only the pins were read.
    pub desired: Option<Arc<DesiredState>>,
    /// Ids of services.
    pub service_ids: Arc<BTreeMap<Owner, ServiceId>>,
    /// Ids of backends.
    pub backend_ids: Arc<BTreeMap<(IpFamily, BackendKey), BackendId>>,
    /// What the maps hold.
    pub tables: Arc<Tables>,
    /// The route table in force.
    pub routes: Arc<RouteTable>,
    /// Endpoints that the front leaves out, each by the kind of question that it answers badly.
    pub unhealthy: Arc<BTreeSet<(u64, SocketAddr)>>,
    /// Counters; `None` if they cannot be read.
    pub counts: Option<Arc<CounterSnapshot>>,
    /// When they were read.
    pub counted_at: Option<Instant>,
}

impl View {
    /// The row of `weir status`, problems sorted by severity and object.
    pub(super) fn status(&self) -> StatusRow {
        let mut problems = self.problems.to_vec();
        problems.sort_by(|a, b| order(a).cmp(&order(b)));
        StatusRow {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node.clone(),
            ready: self.missing.is_empty(),
            missing: self.missing.clone(),
            sources: self.sources.clone(),
            interfaces: self.interfaces.clone(),
            socket_level: self.socket_level.clone(),
            kube_proxy: self.kube_proxy.clone(),
            ways: self.ways.clone(),
            routers: self.routers.iter().flat_map(|routers| &routers.sessions).map(RouterRow::from).collect(),
            maps: self.maps.clone(),
            forwarding: self.forwarding(),
            front: self.front.clone(),
            problems,
        }
    }

    fn forwarding(&self) -> Vec<ForwardingRow> {
        let mut ways = BTreeMap::<_, usize>::new();
        for service in self.desired.iter().flat_map(|desired| desired.services.values()) {
            if matches!(service.target, Target::Backends(_)) {
                *ways.entry((service.forwarding, services::reason(service))).or_default() += 1;
            }
        }
        let row = |((forwarding, reason), services)| ForwardingRow { forwarding, reason, services };
        ways.into_iter().map(row).collect()
    }

    /// Counters of a service. One that counted nothing has zeros.
    pub(super) fn service_counters(&self, id: Option<ServiceId>) -> Option<Counters> {
        let counts = self.counts.as_ref()?;
        Some(counts.services.get(&id?).map(Counters::from).unwrap_or_default())
    }

    /// Counters of a backend. One that counted nothing has zeros.
    pub(super) fn backend_counters(&self, family: IpFamily, id: Option<BackendId>) -> Option<Counters> {
        let counts = self.counts.as_ref()?;
        Some(counts.backends.get(&(family, id?)).map(Counters::from).unwrap_or_default())
    }

    /// `namespace/name:port` of each service in the maps, by id.
    pub(super) fn service_names(&self) -> HashMap<u32, String> {
        let name = |key: &ServiceKey| format!("{}/{}:{}", key.namespace, key.name, key.port);
        self.service_ids.iter().map(|((key, ..), id)| (id.0, name(key))).collect()
    }

    /// The node of the backend at an address and port.
    pub(super) fn node_of(&self, at: SocketAddr) -> Option<String> {
        let services = self.desired.as_ref()?.services.values();
        let backends = services.flat_map(|service| match &service.target {
            Target::Backends(backends) => backends.as_slice(),
            Target::Front(_) => &[],
        });
        let mut found = backends.filter(|backend| (backend.address, backend.port) == (at.ip(), at.port()));
        found.find_map(|backend| backend.node.clone())
    }

    /// How often a backend's id was used.
    pub(super) fn generation(&self, family: IpFamily, id: Option<BackendId>) -> Option<u32> {
        self.counts.as_ref()?.generations.get(&(family, id?)).copied()
    }
}

fn order(problem: &Problem) -> (Severity, &crate::model::ObjectRef, &Option<String>, &str) {
    (problem.severity, &problem.object, &problem.field, &problem.message)
}
