//! The route table: routes in the order in which they are tried, and the endpoints behind them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::l7::router::upstream_name;
use crate::l7::table::{External, RouteEntry, RouteTable, Stream};
use crate::model::{
    Backend, BackendState, DesiredState, Frontend, FrontendKind, IpFamily, PathMatch, Protocol, Route, Service,
    ServiceKey, Target,
};

/// The key in [`RouteTable::hosts`] of routes for any host.
const ANY_HOST: &str = "*";

/// The route table of the desired routes. The default of any host is [`RouteTable::default`] and in no host's list.
pub fn route_table(desired: &DesiredState) -> RouteTable {
    let mut hosts = BTreeMap::<String, Vec<RouteEntry>>::new();
    let mut table = RouteTable::default();
    for route in desired.routes.values() {
        let entry = entry(route, desired, &mut table);
        match (&route.key.host, &route.key.path) {
            (None, PathMatch::Default) => table.default = Some(entry),
            (host, _) => hosts.entry(host.as_deref().unwrap_or(ANY_HOST).into()).or_default().push(entry),
        }
    }
    let hosts = hosts.into_iter().map(|(host, mut entries)| {
        entries.sort_by(|one, other| order(&one.path).cmp(&order(&other.path)));
        (host, Arc::from(entries))
    });
    table.hosts = hosts.collect();
    for stream in &desired.streams {
        if let Some(proxy) = stream.proxy
            && let Some(upstream) = upstream_of(&stream.service, desired, &mut table)
        {
            table.streams.insert(stream.port, Stream { upstream, proxy });
        }
    }
    table.users = desired.users.clone();
    table.tls = desired.tls.clone();
    table.settings = Arc::new(desired.front.clone());
    table
}

/// The order in which the routes of a host are tried: exact paths, then regular expressions, then prefixes, each the
/// longest first, then the host's default. So the longest literal match wins, and the exact one among equals; how long
/// an expression is says little, but is how ingress-nginx sorts them. Paths of one length go by their text, `Prefix`
/// before `ImplementationSpecific`.
fn order(path: &PathMatch) -> (u8, Reverse<usize>, &str, u8) {
    match path {
        PathMatch::Exact(path) => (0, Reverse(path.len()), path, 0),
        PathMatch::Regex(path) => (1, Reverse(path.len()), path, 0),
        PathMatch::Prefix(path) => (2, Reverse(path.len()), path, 0),
        PathMatch::ImplementationSpecific(path) => (2, Reverse(path.len()), path, 1),
        PathMatch::Default => (3, Reverse(0), "", 0),
    }
}

fn entry(route: &Route, desired: &DesiredState, table: &mut RouteTable) -> RouteEntry {
    let backend = &route.backend;
    let by_ip = route.filters.service_upstream;
    let upstream = backend.resolved.as_ref().and_then(|key| {
        let address = desired.services.get(key).filter(|_| by_ip).and_then(cluster_ip);
        address.map(|address| by_address(key, address, table)).or_else(|| upstream_of(key, desired, table))
    });
    for key in route.filters.services() {
        upstream_of(key, desired, table);
    }
    if let Some(to) = route.filters.canary.as_ref().and_then(|canary| canary.to.as_ref()) {
        let (namespace, name) = (to.namespace.clone(), to.name.clone());
        upstream_of(&ServiceKey { namespace, name, port: to.port, protocol: Protocol::Tcp }, desired, table);
    }
    RouteEntry {
        path: route.key.path.clone(),
        ingress: route.ingress.clone(),
        service: format!("{}/{}", backend.namespace, backend.service),
        service_port: backend.port.clone(),
        upstream,
        rewrite: route.rewrite.clone(),
        filters: Arc::clone(&route.filters),
        problem: route.problem.clone(),
    }
}

/// The name of the upstream of a Service port, which is in the table then.
fn upstream_of(key: &ServiceKey, desired: &DesiredState, table: &mut RouteTable) -> Option<String> {
    if let Some(service) = desired.services.get(key) {
        return match &service.target {
            Target::Backends(backends) => Some(upstream(service, backends, table)),
            // The model has no such route: its requests would come back for ever.
            Target::Front(_) => None,
        };
    }
    let host = desired.externals.get(&(key.namespace.clone(), key.name.clone()))?;
    let name = upstream_name(key);
    table.upstreams.entry(name.clone()).or_default();
    table.external.insert(name.clone(), External { host: host.clone(), port: key.port });
    Some(name)
}

fn upstream(service: &Service, backends: &[Backend], table: &mut RouteTable) -> String {
    let key = upstream_name(&service.key);
    if !table.upstreams.contains_key(&key) {
        let (endpoints, weights) = weighted(service, backends);
        put(key.clone(), endpoints, weights, table);
    }
    key
}

/// Some route leads to a Service port, and not to the endpoints that it has now.
pub(super) fn has_other_endpoints(desired: &DesiredState, key: &ServiceKey, table: &RouteTable) -> bool {
    let name = upstream_name(key);
    let (Some(known), Some((endpoints, weights))) = (table.upstreams.get(&name), served(desired, key)) else {
        return false;
    };
    **known != *endpoints || table.weights.get(&name).map(|known| &**known) != weights.as_deref()
}

/// Gives the upstream of a Service port the endpoints that it has now.
pub(super) fn put_endpoints(desired: &DesiredState, key: &ServiceKey, table: &mut RouteTable) {
    if let Some((endpoints, weights)) = served(desired, key) {
        put(upstream_name(key), endpoints, weights, table);
    }
}

type Endpoints = (Vec<SocketAddr>, Option<Vec<u16>>);

/// The endpoints of a port that routes may lead to.
fn served(desired: &DesiredState, key: &ServiceKey) -> Option<Endpoints> {
    let service = desired.services.get(key).filter(|_| key.protocol == Protocol::Tcp)?;
    match &service.target {
        Target::Backends(backends) => Some(weighted(service, backends)),
        Target::Front(_) => None,
    }
}

/// Endpoints, and their weights where they are not all the same.
fn weighted(service: &Service, backends: &[Backend]) -> Endpoints {
    let endpoints = endpoints(backends, &service.families);
    let first = endpoints.values().next();
    let differ = endpoints.values().any(|weight| Some(weight) != first);
    (endpoints.keys().copied().collect(), differ.then(|| endpoints.into_values().collect()))
}

fn put(name: String, endpoints: Vec<SocketAddr>, weights: Option<Vec<u16>>, table: &mut RouteTable) {
    match weights {
        Some(weights) => drop(table.weights.insert(name.clone(), weights.into())),
        None => drop(table.weights.remove(&name)),
    }
    table.upstreams.insert(name, endpoints.into());
}

/// The Service's own address as its only endpoint: layer 4 does the rest.
fn by_address(key: &ServiceKey, address: IpAddr, table: &mut RouteTable) -> String {
    let name = format!("{}#clusterIP", upstream_name(key));
    let endpoint = SocketAddr::new(address, key.port);
    table.upstreams.entry(name.clone()).or_insert_with(|| Arc::from([endpoint]));
    name
}

/// The cluster IP of the preferred family.
fn cluster_ip(service: &Service) -> Option<IpAddr> {
    let of_cluster = |frontend: &&Frontend| frontend.kind == FrontendKind::ClusterIP;
    let addresses = || service.frontends.iter().filter(of_cluster).filter_map(|frontend| frontend.address);
    let preferred = service.families.first();
    addresses().find(|address| Some(&IpFamily::of(*address)) == preferred).or_else(|| addresses().next())
}

/// Active backends and their weights; the terminating ones if there is none, as in a ring. Sorted, each once.
fn endpoints(backends: &[Backend], families: &[IpFamily]) -> BTreeMap<SocketAddr, u16> {
    let in_state = |state| -> BTreeMap<SocketAddr, u16> {
        let backends = backends.iter().filter(|backend| backend.state == state);
        let address = |backend: &Backend| SocketAddr::new(backend.address, backend.port);
        once_per_pod(backends, families).map(|backend| (address(backend), backend.weight)).collect()
    };
    let active = in_state(BackendState::Active);
    if active.is_empty() { in_state(BackendState::Terminating) } else { active }
}

/// A pod with an address of each family counts once, by the preferred one: it is no stronger than others.
fn once_per_pod<'a>(
    backends: impl Iterator<Item = &'a Backend>,
    families: &[IpFamily],
) -> impl Iterator<Item = &'a Backend> {
    let rank = |backend: &Backend| families.iter().position(|family| *family == IpFamily::of(backend.address));
    let mut best = BTreeMap::<(&str, u16), &Backend>::new();
    let mut nameless = Vec::new();
    for backend in backends {
        let Some(pod) = backend.pod.as_deref() else {
            nameless.push(backend);
            continue;
        };
        let known = best.entry((pod, backend.port)).or_insert(backend);
        if rank(backend) < rank(known) {
            *known = backend;
        }
    }
    best.into_values().chain(nameless)
}
