//! From what should be to what the maps and the front hold: `compile` is a pure function of the DesiredState, the node
//! and the ids given out before.
//!
//! Its parts: `l4` decides which frontends the data plane serves and whose they are, `ids` gives services and backends the
//! ids they had before, `ring` makes the rings, `l7` makes the route table.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::l7::table::RouteTable;
use crate::model::{Backend, DesiredState, Problem, Target, problem};
use crate::tables::{BackendId, BackendKey, IpFamily, ServiceId, Settings, Tables};

mod amend;
mod ids;
mod l4;
mod l7;
mod nodes;
mod policy;
mod problems;
mod ring;

pub use amend::{Amended, amend};
pub use ids::Ids;
pub use l4::{FRONT_SERVICE, Owner};
pub use l7::route_table;

/// What compilation needs to know of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// All addresses of the node: a host port may be at each of them, and nowhere else.
    pub own_addresses: BTreeSet<IpAddr>,
    /// Addresses on which NodePorts answer.
    pub node_addresses: BTreeSet<IpAddr>,
    /// Those of them on which the front answers for HTTP: no other socket of the host listens on its port there.
    pub front_addresses: BTreeSet<IpAddr>,
    /// The same for HTTPS.
    pub tls_addresses: BTreeSet<IpAddr>,
    /// Settings of the data plane; `node_ports` is found by `compile`.
    pub settings: Settings,
    /// Port of the front on the node's addresses; 0: none.
    pub http_port: u16,
    /// The same for HTTPS.
    pub https_port: u16,
    /// Cluster IPs answer what comes in by external interfaces as well.
    pub external_cluster_ips: bool,
    /// The networks of `loadBalancerSourceRanges` are the only ones for all addresses that clients outside know.
    pub source_ranges_everywhere: bool,
    /// Networks from which everything is dropped; `None` if that is not known: those in the maps stay.
    pub denied: Option<Arc<BTreeSet<IpNet>>>,
    /// How many ids there are.
    pub limits: Limits,
}

/// Sizes of the maps that are indexed by id. Id 0 means none, so one less can be given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Services (`--max-services`).
    pub services: u32,
    /// Backends of both families (`--max-backends`).
    pub backends: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { services: lb_common::limits::SERVICES, backends: lb_common::limits::BACKENDS }
    }
}

/// The result of a compilation, in parts that are shared with those who look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// What the maps should hold.
    pub tables: Arc<Tables>,
    /// What the front should serve.
    pub routes: Arc<RouteTable>,
    /// What could not be done as the user asked.
    pub problems: Vec<Problem>,
    /// Id of each service in the data plane. One without a frontend there has none.
    pub services: Arc<BTreeMap<Owner, ServiceId>>,
    /// Id of each backend in the data plane.
    pub backends: Arc<BTreeMap<(IpFamily, BackendKey), BackendId>>,
}

/// Compiles the desired state for a node. `ids` is what the last compilation returned, or what was restored from the maps;
/// an id that becomes free is not given out again in the same compilation.
pub fn compile(desired: &DesiredState, node: &Node, ids: &Ids) -> (Compiled, Ids) {
    let mut problems = Vec::new();
    let claims = l4::claims(desired, node, &mut problems);
    let mut allocation = ids::Allocation::new(ids, node.limits);
    let services = allocation.services(&claims.services, &mut problems);
    let mut cache = ring::Cache::default();
    let mut rings = BTreeMap::new();
    for (owner, id) in &services {
        let (key, ..) = owner;
        let backends = match desired.services.get(key).map(|service| &service.target) {
            Some(Target::Backends(backends)) => backends.as_slice(),
            Some(Target::Front(_)) | None => &[],
        };
        let members = members(owner, backends, &mut allocation, &mut problems);
        rings.insert(*id, cache.ring(&ids.rings, members));
    }
    problem::sort(&mut problems);
    let nodes = nodes::Nodes::new(desired, &services, &allocation.backends);
    let frontends = claims.frontends_with(&services);
    let denied = node.denied.clone().unwrap_or_default();
    let denies = |family| denied.iter().any(|network| IpFamily::of(network.addr()) == family);
    let tables = Tables {
        policies: policy::all(desired, &services),
        ranges: policy::ranges(desired, &services, &frontends),
        services: rings,
        backends: allocation.backends.iter().map(|(&(family, key), &id)| ((family, id), key)).collect(),
        backend_nodes: nodes.of_backends,
        nodes: nodes.all,
        node_addresses: node.node_addresses.clone(),
        vips: claims.vips(&node.node_addresses),
        settings: Settings {
            node_ports: claims.node_ports(),
            node_address4: nodes.own4,
            node_address6: nodes.own6,
            denies4: denies(IpFamily::V4),
            denies6: denies(IpFamily::V6),
            ..node.settings
        },
        denied,
        frontends,
    };
    let ids = Ids::after(claims.services_with(&services), allocation, cache);
    let (routes, backends) = (Arc::new(l7::route_table(desired)), Arc::clone(&ids.backends));
    (Compiled { tables: Arc::new(tables), routes, problems, services: Arc::new(services), backends }, ids)
}

/// Gives a service's backends their ids, and returns those that share its ring. Terminating backends keep their ids while
/// they are not in the ring, so that their flows go on.
fn members(
    (service, family, policy): &Owner,
    backends: &[Backend],
    allocation: &mut ids::Allocation<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<ring::RingMember> {
    let (family, choice) = (*family, ring::choose(backends, *family, *policy, service.protocol));
    let mut without_id = 0;
    let mut members = Vec::with_capacity(choice.in_ring.len());
    for (key, weight) in choice.in_ring {
        match allocation.backend(family, key) {
            Some(id) => members.push(ring::RingMember { key, weight, id }),
            None => without_id += 1,
        }
    }
    for key in choice.draining {
        without_id += usize::from(allocation.backend(family, key).is_none());
    }
    if without_id > 0 {
        problems.push(problems::backends_exhausted(service, without_id, allocation.limits.backends));
    }
    members
}

#[cfg(test)]
pub(crate) mod tests;
