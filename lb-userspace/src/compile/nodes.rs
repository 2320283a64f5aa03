//! Where tunnels begin and end: the cluster's nodes, and which of them each backend runs on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Owner;
use crate::model::node::node_of;
use crate::model::{Backend, DesiredState, Forwarding, Service, Target};
use crate::tables::{BackendId, BackendKey, IpFamily, ServiceId};

/// The nodes as the data plane needs them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Nodes {
    /// All addresses; true for those of this node.
    pub(super) all: BTreeMap<IpAddr, bool>,
    /// Where backends on other nodes are, of services that forward by DSR.
    pub(super) of_backends: BTreeMap<(IpFamily, BackendId), IpAddr>,
    /// What tunnels of this node come from: the first of its addresses.
    pub(super) own4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub(super) own6: Option<Ipv6Addr>,
}

impl Nodes {
    /// `backends` are those that have an id.
    /// `services`: those that have a frontend in the data plane. Tunnels lead to the backends of no others.
    pub(super) fn new(
        desired: &DesiredState,
        services: &BTreeMap<Owner, ServiceId>,
        backends: &BTreeMap<(IpFamily, BackendKey), BackendId>,
    ) -> Self {
        let mut nodes = Self::default();
        for node in desired.nodes.values() {
            for address in &node.addresses {
                // what two objects claim is this node's own, if one of them is this node
                *nodes.all.entry(*address).or_default() |= node.own;
            }
            if node.own {
                nodes.own4 = node.addresses.iter().find_map(|address| v4(*address));
                nodes.own6 = node.addresses.iter().find_map(|address| v6(*address));
            }
        }
        let keys: BTreeSet<_> = services.keys().map(|(key, ..)| key).collect();
        let used = desired.services.values().filter(|service| keys.contains(&service.key));
        for service in used.filter(|service| service.forwarding == Forwarding::Dsr) {
            nodes.of_backends.extend(of_service(service, desired, backends));
        }
        nodes
    }
}

fn of_service<'a>(
    service: &'a Service,
    desired: &'a DesiredState,
    ids: &'a BTreeMap<(IpFamily, BackendKey), BackendId>,
) -> impl Iterator<Item = ((IpFamily, BackendId), IpAddr)> + 'a {
    let backends = match &service.target {
        Target::Backends(backends) => backends.as_slice(),
        Target::Front(_) => &[],
    };
    let entry = move |backend: &Backend| {
        let family = IpFamily::of(backend.address);
        let key = BackendKey {
            address: backend.address,
            port: backend.port,
            protocol: service.key.protocol,
            local: backend.local,
        };
        Some(((family, *ids.get(&(family, key))?), node_of(backend, &desired.nodes)?))
    };
    backends.iter().filter(|backend| !backend.local).filter_map(entry)
}

const fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

const fn v6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(address),
    }
}
