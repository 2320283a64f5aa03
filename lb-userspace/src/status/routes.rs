//! Rows of `weir routes`.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::row::RouteRow;
use crate::l7::health;
use crate::l7::table::{RouteEntry, RouteTable};
use crate::model::PathMatch;
use crate::model::route::Rewrite;

/// Endpoints that are left out, each by the kind of question that it answers badly.
type Unhealthy = BTreeSet<(u64, SocketAddr)>;

/// Any host, any path.
const ANY: &str = "*";

/// One row for each route, hosts sorted, paths in the order in which they are tried, the front's default last.
pub(super) fn rows(table: &RouteTable, unhealthy: &Unhealthy) -> Vec<RouteRow> {
    let of_hosts = table.hosts.iter().flat_map(|(host, routes)| routes.iter().map(move |route| (host.as_str(), route)));
    let of_default = table.default.iter().map(|route| (ANY, route));
    of_hosts.chain(of_default).map(|(host, route)| row(table, host, route, unhealthy)).collect()
}

fn row(table: &RouteTable, host: &str, route: &RouteEntry, unhealthy: &Unhealthy) -> RouteRow {
    let (path, path_type) = path_of(&route.path);
    let secured = table.tls.of_host(host);
    let endpoints = route.upstream.as_ref().and_then(|upstream| table.upstreams.get(upstream));
    RouteRow {
        host: host.to_owned(),
        path: path.to_owned(),
        path_type: path_type.map(str::to_owned),
        ingress: route.ingress.clone(),
        service: route.service.clone(),
        service_port: route.service_port.clone(),
        endpoints: endpoints.map_or(0, |endpoints| endpoints.len()),
        unhealthy: health::kind(route).map_or_else(Vec::new, |kind| {
            let all = endpoints.into_iter().flat_map(|endpoints| endpoints.iter());
            all.filter(|endpoint| unhealthy.contains(&(kind, **endpoint))).map(ToString::to_string).collect()
        }),
        filters: route.rewrite.iter().map(filter).chain(route.filters.labels()).collect(),
        tls: Some(!table.tls.off && secured.is_some_and(|host| host.listed && host.passthrough.is_none())),
        certificate: secured.and_then(|host| host.certificate.clone()),
        problem: route.problem.clone(),
    }
}

/// The text of a path, and how it matches; no type for a default backend.
pub(super) fn path_of(path: &PathMatch) -> (&str, Option<&'static str>) {
    match path {
        PathMatch::Exact(path) => (path, Some("Exact")),
        PathMatch::Prefix(path) => (path, Some("Prefix")),
        PathMatch::ImplementationSpecific(path) => (path, Some("ImplementationSpecific")),
        PathMatch::Regex(path) => (path, Some("Regex")),
        PathMatch::Default => (ANY, None),
    }
}

/// A filter in words.
pub(super) fn filter(rewrite: &Rewrite) -> String {
    match rewrite {
        Rewrite::Prefix(target) => format!("rewrite-target {target}"),
        Rewrite::Regex(target) => format!("rewrite-target {target} (regex)"),
    }
}
