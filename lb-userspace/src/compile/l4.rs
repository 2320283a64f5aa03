//! Which frontends the data plane serves, and which service each leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Node, policy, problems};
use crate::model::{
    BackendState, DesiredState, Forwarding, FrontListener, FrontendKind, Problem, Protocol, Service, ServiceKey,
    StreamPort, Target, TrafficPolicy,
};
use crate::tables::{self, FrontendKey, IpFamily, ServiceId};

mod host_ports;

/// Name of the service, in no namespace, that the front's ports on the node's own addresses belong to. Its frontends come
/// from `--http-port` and `--https-port`, not from an object.
pub const FRONT_SERVICE: &str = "weir-front";

/// A service as the data plane knows it: one per family, and one for each policy that its frontends follow.
pub type Owner = (ServiceKey, IpFamily, TrafficPolicy);

/// The frontends of the data plane.
#[derive(Default)]
pub(super) struct Claims {
    /// Whose each frontend is.
    pub(super) frontends: BTreeMap<FrontendKey, Claim>,
    /// The services that have a frontend.
    pub(super) services: BTreeMap<Owner, Claimed>,
}

/// Whose a frontend is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) owner: Owner,
    pub(super) front: Option<FrontListener>,
    /// Only this node's own processes and pods reach it.
    pub(super) cluster: bool,
    /// They have a claim of their own.
    pub(super) inside: bool,
    /// Packets for backends on other nodes go there in a tunnel.
    pub(super) dsr: bool,
    /// Only for clients of some networks.
    pub(super) ranges: bool,
    /// Flows choose otherwise than by their hash.
    pub(super) chooses: bool,
    /// The front answers with SYN cookies while its listener is full.
    pub(super) cookies: bool,
    /// Clients are led to backends on this node only, and there are some on others.
    pub(super) elsewhere: bool,
    /// The host port of a pod: the rest of the address is not its.
    pub(super) host_port: bool,
}

impl Claim {
    /// With nothing special about it.
    const fn of(owner: Owner) -> Self {
        Self {
            owner,
            front: None,
            cluster: false,
            inside: false,
            dsr: false,
            ranges: false,
            chooses: false,
            cookies: false,
            elsewhere: false,
            host_port: false,
        }
    }
}

/// What a service has in the data plane.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Claimed {
    pub(super) frontends: Vec<FrontendKey>,
    pub(super) front: Option<FrontListener>,
    pub(super) dsr: bool,
}

/// Collects the frontends of the desired services, of which no two share one, and of the node's own front, which yields to
/// them.
pub(super) fn claims(desired: &DesiredState, node: &Node, problems: &mut Vec<Problem>) -> Claims {
    let mut claims = Claims::default();
    let nodes = desired.nodes.values().flat_map(|node| node.addresses.iter().copied()).collect();
    for service in desired.services.values() {
        claims.add_service(service, &nodes, node);
    }
    claims.add_host_ports(desired, node, problems);
    for stream in &desired.streams {
        claims.add_stream(node, stream, desired, problems);
    }
    for (port, listener) in [(node.http_port, FrontListener::Http), (node.https_port, FrontListener::Https)] {
        if port != 0 {
            claims.add_own_front(node, port, listener, problems);
        }
    }
    claims
}

impl Claims {
    /// Lowest and highest NodePort.
    pub(super) fn node_ports(&self) -> Option<(u16, u16)> {
        let ports = || self.frontends.keys().filter(|key| key.address.is_unspecified()).map(|key| key.port);
        ports().min().zip(ports().max())
    }

    /// Addresses with a frontend of their own that nobody else answers for, and that clients outside know.
    pub(super) fn vips(&self, node_addresses: &BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
        let outside = self.frontends.iter().filter(|(_, claim)| !claim.cluster && !claim.host_port);
        let addresses = outside.map(|(key, _)| key.address);
        addresses.filter(|address| !address.is_unspecified() && !node_addresses.contains(address)).collect()
    }

    /// The frontends of services that have an id.
    pub(super) fn frontends_with(&self, ids: &BTreeMap<Owner, ServiceId>) -> BTreeMap<FrontendKey, tables::Frontend> {
        let frontend = |claim: &Claim| {
            let service = *ids.get(&claim.owner)?;
            let Claim { front, cluster, inside, dsr, ranges, chooses, cookies, elsewhere, .. } = *claim;
            Some(tables::Frontend { service, front, cluster, inside, dsr, ranges, chooses, cookies, elsewhere })
        };
        self.frontends.iter().filter_map(|(key, claim)| Some((*key, frontend(claim)?))).collect()
    }

    /// Where any frontend of a service leads.
    pub(super) fn services_with(&self, ids: &BTreeMap<Owner, ServiceId>) -> BTreeMap<Owner, tables::Frontend> {
        let services = self.services.iter().filter_map(|(owner, claimed)| {
            let service = *ids.get(owner)?;
            let Claimed { front, dsr, .. } = *claimed;
            Some((owner.clone(), tables::Frontend { service, front, dsr, ..Default::default() }))
        });
        services.collect()
    }

    fn add_service(&mut self, service: &Service, nodes: &BTreeSet<IpAddr>, node: &Node) {
        let front = match service.target {
            Target::Front(listener) => Some(listener),
            Target::Backends(_) => None,
        };
        let tunnelled = front.is_none() && service.forwarding == Forwarding::Dsr;
        for frontend in service.frontends.iter().filter(|frontend| of_services(frontend.kind)) {
            let addresses = match frontend.address {
                Some(address) => vec![address],
                None => service.families.iter().map(|family| family.unspecified()).collect(),
            };
            for address in addresses {
                let key = FrontendKey { address, port: frontend.port, protocol: service.key.protocol, inside: false };
                // no other node may send from a node's address
                let dsr = tunnelled && !address.is_unspecified() && !nodes.contains(&address);
                if !self.frontends.contains_key(&key) {
                    self.add_frontend(service, frontend.kind, key, (front, dsr), node);
                }
            }
        }
    }

    /// Clients on this node are led to any backend, as kube-proxy does it, where those from outside are not. What leads to
    /// backends of this node alone needs no tunnel.
    fn add_frontend(
        &mut self,
        service: &Service,
        kind: FrontendKind,
        key: FrontendKey,
        (front, dsr): (Option<FrontListener>, bool),
        node: &Node,
    ) {
        let owner = |policy| (service.key.clone(), IpFamily::of(key.address), policy);
        let policy = service.policy_at(kind);
        let inside = kind.is_external() && policy == TrafficPolicy::Local;
        let cluster = !kind.is_external() && !node.external_cluster_ips;
        let dsr = dsr && policy == TrafficPolicy::Cluster;
        let ranges = service.source_ranges.is_some() && is_restricted(kind, node);
        let chooses = front.is_none() && policy::of(service).is_some();
        let cookies = front.is_some() && service.policy.syn_cookies && key.protocol == Protocol::Tcp;
        let elsewhere = policy == TrafficPolicy::Local && serves_elsewhere(&service.target, IpFamily::of(key.address));
        let claim = Claim::of(owner(policy));
        self.insert(key, Claim { front, cluster, inside, dsr, ranges, chooses, cookies, elsewhere, ..claim });
        if inside {
            let claim = Claim { front, chooses, ..Claim::of(owner(TrafficPolicy::Cluster)) };
            self.insert(FrontendKey { inside, ..key }, claim);
        }
    }

    /// Who has a port of an address of the node.
    fn holder(&self, key: &FrontendKey) -> Option<&Claim> {
        let on_every_node = FrontendKey { address: IpFamily::of(key.address).unspecified(), ..*key };
        self.frontends.get(key).or_else(|| self.frontends.get(&on_every_node))
    }

    /// A port of the node that leads to a service, where no frontend of a Service is in its way.
    fn add_stream(&mut self, node: &Node, stream: &StreamPort, desired: &DesiredState, problems: &mut Vec<Problem>) {
        let Some(service) = desired.services.get(&stream.service) else { return };
        let mut holders = BTreeMap::<ServiceKey, FrontendKey>::new();
        for &address in &node.node_addresses {
            let family = IpFamily::of(address);
            if stream.proxy.is_none() && !service.families.contains(&family) {
                continue;
            }
            let key = FrontendKey { address, port: stream.port, protocol: stream.protocol, inside: false };
            match self.holder(&key) {
                None => {
                    let front = stream.proxy.map(|_| FrontListener::Http);
                    let name = if front.is_some() { own_front(stream.port) } else { stream.service.clone() };
                    let chooses = front.is_none() && policy::of(service).is_some();
                    let owner = (name, family, TrafficPolicy::Cluster);
                    self.insert(key, Claim { front, chooses, ..Claim::of(owner) });
                }
                Some(claim) => drop(holders.entry(claim.owner.0.clone()).or_insert(key)),
            }
        }
        problems.extend(holders.iter().map(|(holder, key)| problems::stream_taken(stream, holder, key)));
    }

    /// The front on the node's addresses, where no user's frontend is in its way.
    fn add_own_front(&mut self, node: &Node, port: u16, listener: FrontListener, problems: &mut Vec<Problem>) {
        let service = own_front(port);
        let mut holders = BTreeMap::<ServiceKey, FrontendKey>::new();
        let addresses = match listener {
            FrontListener::Http => &node.front_addresses,
            FrontListener::Https => &node.tls_addresses,
        };
        for &address in addresses {
            let family = IpFamily::of(address);
            let key = FrontendKey { address, port, protocol: Protocol::Tcp, inside: false };
            match self.holder(&key) {
                None => {
                    let owner = (service.clone(), family, TrafficPolicy::Cluster);
                    let front = Some(listener);
                    self.insert(key, Claim { front, ..Claim::of(owner) });
                }
                Some(claim) if claim.front == Some(listener) => {}
                Some(claim) => drop(holders.entry(claim.owner.0.clone()).or_insert(key)),
            }
        }
        problems.extend(holders.iter().map(|(holder, key)| problems::front_address_taken(holder, key, listener)));
    }

    fn insert(&mut self, key: FrontendKey, claim: Claim) {
        let claimed = self.services.entry(claim.owner.clone()).or_default();
        claimed.frontends.push(key);
        claimed.front = claim.front;
        claimed.dsr |= claim.dsr;
        self.frontends.insert(key, claim);
    }
}

/// What stands for the front where it has no Service.
fn own_front(port: u16) -> ServiceKey {
    ServiceKey { namespace: String::new(), name: FRONT_SERVICE.into(), port, protocol: Protocol::Tcp }
}

/// Whether `loadBalancerSourceRanges` concerns a kind of address: those of load balancers, with `--source-ranges-everywhere` all
/// that clients from outside come to.
const fn is_restricted(kind: FrontendKind, node: &Node) -> bool {
    matches!(kind, FrontendKind::LoadBalancer) || (node.source_ranges_everywhere && kind.is_external())
}

/// Some other node has a backend that takes new flows.
pub(super) fn serves_elsewhere(target: &Target, family: IpFamily) -> bool {
    let Target::Backends(backends) = target else { return false };
    let mut others = backends.iter().filter(|backend| !backend.local && IpFamily::of(backend.address) == family);
    others.any(|backend| backend.state != BackendState::Unhealthy)
}

/// Kinds of frontends of Services; host ports yield to them.
const fn of_services(kind: FrontendKind) -> bool {
    match kind {
        FrontendKind::ClusterIP | FrontendKind::NodePort | FrontendKind::ExternalIP | FrontendKind::LoadBalancer => {
            true
        }
        FrontendKind::HostPort => false,
    }
}
