//! The route table: routes in the order in which they are tried, and the endpoints behind them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::l7::router::upstream_name;
use crate::l7::table::{External, RouteEntry, RouteTable, Stream};
use crate::model::filters::Filters;
use crate::model::{
    Backend, BackendState, Changed, DesiredState, Frontend, FrontendKind, IpFamily, PathMatch, Protocol, Route,
    RouteKey, Service, ServiceKey, Target,
};

/// The key in [`RouteTable::hosts`] of routes for any host.
const ANY_HOST: &str = "*";

/// The route table of the desired routes. The default of any host is [`RouteTable::default`] and in no host's list.
pub fn route_table(desired: &DesiredState) -> RouteTable {
    let mut table = RouteTable::default();
    let mut routes = desired.routes.values().peekable();
    while let Some(first) = routes.next() {
        // Those of a host follow each other.
        let rest = std::iter::from_fn(|| routes.next_if(|route| route.key.host == first.key.host));
        let (default, entries) = entries(std::iter::once(first).chain(rest), desired, &mut table);
        table.default = default.or(table.default);
        if !entries.is_empty() {
            table.hosts.insert(name(&first.key.host).to_owned(), entries.into());
        }
    }
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

/// The name of a host in the table.
fn name(host: &Option<String>) -> &str {
    host.as_deref().unwrap_or(ANY_HOST)
}

/// The entries of the routes of a host in their order, and that of the table's default, if it is among them.
fn entries<'a>(
    routes: impl Iterator<Item = &'a Route>,
    desired: &DesiredState,
    table: &mut RouteTable,
) -> (Option<RouteEntry>, Vec<RouteEntry>) {
    let (mut default, mut entries) = (None, Vec::new());
    for route in routes {
        let entry = entry(route, desired, table);
        match (&route.key.host, &route.key.path) {
            (None, PathMatch::Default) => default = Some(entry),
            _ => entries.push(entry),
        }
    }
    entries.sort_by(|one, other| order(&one.path).cmp(&order(&other.path)));
    (default, entries)
}

/// Gives hosts the routes that they have now. Tells how many are others; of those that stay as they were nothing is moved.
pub(super) fn put_hosts(desired: &DesiredState, hosts: &BTreeSet<Option<String>>, table: &mut RouteTable) -> usize {
    let (mut left, mut others) = (BTreeSet::new(), 0);
    for host in hosts {
        let of_host = desired.routes.range(RouteKey::first_of(host.clone())..).take_while(|(key, _)| key.host == *host);
        let (default, entries) = entries(of_host.map(|(_, route)| route), desired, table);
        let mut is_other = false;
        if host.is_none() && default != table.default {
            left.extend(std::mem::replace(&mut table.default, default).iter().flat_map(upstreams));
            is_other = true;
        }
        let before = table.hosts.get(name(host));
        if before.map_or(&[][..], |before| &**before) != entries {
            left.extend(before.iter().flat_map(|entries| entries.iter()).flat_map(upstreams));
            match entries.is_empty() {
                true => drop(table.hosts.remove(name(host))),
                false => drop(table.hosts.insert(name(host).to_owned(), entries.into())),
            }
            is_other = true;
        }
        others += usize::from(is_other);
    }
    drop_unused(left, table);
    others
}

/// Gives hosts and Secrets what they have now of TLS, and of users; tells whether something is other than before.
pub(super) fn put_secrets(desired: &DesiredState, changed: &Changed, table: &mut RouteTable) -> bool {
    let mut is_other = false;
    for host in &changed.hosts {
        is_other |= put_same(name(host), &desired.tls.hosts, &mut table.tls.hosts);
    }
    for secret in &changed.secrets {
        is_other |= put_same(secret, &desired.tls.certificates, &mut table.tls.certificates)
            | put_same(secret, &desired.tls.authorities, &mut table.tls.authorities)
            | put_same(secret, &desired.users, &mut table.users);
    }
    is_other
}

/// Lets one map have under a key what the other has there; tells whether it had something else.
fn put_same<V: Clone + PartialEq>(key: &str, from: &BTreeMap<String, V>, to: &mut BTreeMap<String, V>) -> bool {
    let (now, before) = (from.get(key), to.get(key));
    if now == before {
        return false;
    }
    match now {
        Some(value) => to.insert(key.to_owned(), value.clone()),
        None => to.remove(key),
    };
    true
}

/// Takes away those of these upstreams to which nothing leads any more.
fn drop_unused(mut names: BTreeSet<String>, table: &mut RouteTable) {
    if names.is_empty() {
        return;
    }
    for entry in table.hosts.values().flat_map(|entries| entries.iter()).chain(&table.default) {
        if entry.upstream.as_ref().is_some_and(|name| names.contains(name)) || leads_on(entry) {
            for name in upstreams(entry) {
                names.remove(&name);
            }
        }
        if names.is_empty() {
            return;
        }
    }
    for stream in table.streams.values() {
        names.remove(&stream.upstream);
    }
    for name in names {
        table.upstreams.remove(&name);
        table.weights.remove(&name);
        table.external.remove(&name);
    }
}

/// It may lead to more upstreams than its own.
fn leads_on(entry: &RouteEntry) -> bool {
    entry.filters.services().next().is_some() || entry.filters.canary.is_some()
}

/// All upstreams that an entry may lead to.
fn upstreams(entry: &RouteEntry) -> impl Iterator<Item = String> {
    let own = entry.upstream.clone();
    own.into_iter()
        .chain(entry.filters.services().map(upstream_name))
        .chain(canary(&entry.filters).map(|key| upstream_name(&key)))
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
    if let Some(key) = canary(&route.filters) {
        upstream_of(&key, desired, table);
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

/// Where the requests go that a canary takes.
fn canary(filters: &Filters) -> Option<ServiceKey> {
    let to = filters.canary.as_ref()?.to.as_ref()?;
    let (namespace, name) = (to.namespace.clone(), to.name.clone());
    Some(ServiceKey { namespace, name, port: to.port, protocol: Protocol::Tcp })
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
