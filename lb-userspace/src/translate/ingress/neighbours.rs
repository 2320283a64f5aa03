//! What the routes of one host mean for each other: regular expressions beside other paths, which ingress-nginx would make
//! regular expressions too, and rules that leave nothing to others.

use std::collections::{BTreeMap, BTreeSet};

use super::path::text;
use crate::l7::pattern::Pattern;
use crate::model::problem::code;
use crate::model::{ObjectRef, PathMatch, Problem, Route, RouteKey};

/// Says of each Ingress and host which paths are still taken as written.
pub(super) fn note_literal(routes: &BTreeMap<RouteKey, Route>, problems: &mut Vec<Problem>) {
    let is_regex = |key: &&RouteKey| matches!(key.path, PathMatch::Regex(_));
    let hosts: BTreeSet<_> = routes.keys().filter(is_regex).map(|key| &key.host).collect();
    let mut literal = BTreeMap::<_, Vec<&str>>::new();
    for (key, route) in routes.iter().filter(|(key, _)| hosts.contains(&key.host) && is_literal(&key.path)) {
        literal.entry((&route.ingress, &key.host)).or_default().push(text(&key.path));
    }
    for ((ingress, host), paths) in literal {
        let Some((namespace, name)) = ingress.split_once('/') else { continue };
        let host = host.as_deref().unwrap_or("any host");
        let what = format!(
            "{host} has paths that are regular expressions; ingress-nginx makes all of a host's paths into such, here \
             these stay as written, and only those of type Exact come before the expressions"
        );
        let problem = Problem::info(code::LITERAL_BESIDE_REGEX, &ObjectRef::new("Ingress", namespace, name), what);
        problems.push(problem.at("spec.rules", paths.join(", ")));
    }
}

/// Says of each Ingress with an asset fallback on which hosts it can have no effect, and why.
pub(super) fn note_unused_fallbacks(routes: &BTreeMap<RouteKey, Route>, problems: &mut Vec<Problem>) {
    let asking: BTreeSet<_> =
        routes.iter().filter(|(_, route)| route.filters.asset_fallback).map(|(key, _)| &key.host).collect();
    let all: BTreeMap<_, _> = routes
        .iter()
        .filter(|(key, _)| asking.contains(&key.host) && takes_all(&key.path))
        .map(|(key, route)| (&key.host, (text(&key.path), &route.ingress)))
        .collect();
    let mut told = BTreeSet::new();
    for (key, route) in routes.iter().filter(|(_, route)| route.filters.asset_fallback) {
        let Some((path, by)) = all.get(&key.host) else { continue };
        let Some((namespace, name)) =
            route.ingress.split_once('/').filter(|_| told.insert((&route.ingress, &key.host)))
        else {
            continue;
        };
        let host = key.host.as_deref().unwrap_or("any host");
        let what =
            format!("path {path} of Ingress {by} takes every request for {host}, so none is left for the fallback");
        let owner = ObjectRef::new("Ingress", namespace, name);
        let problem = Problem::warning(code::ASSET_FALLBACK_UNUSED, &owner, what);
        let problem = problem.at("metadata.annotations[weir.io/asset-fallback]", true);
        problems.push(problem.expected("a default backend in the place of that path"));
    }
}

/// Whatever the request asks for, it matches.
fn takes_all(path: &PathMatch) -> bool {
    match path {
        PathMatch::Prefix(text) | PathMatch::ImplementationSpecific(text) => text == "/",
        // Nobody means this path in particular.
        PathMatch::Regex(text) => Pattern::new(text).is_ok_and(|pattern| pattern.is_match("/~")),
        PathMatch::Exact(_) | PathMatch::Default => false,
    }
}

/// A path that matches something else as a regular expression: all do but `/`.
fn is_literal(path: &PathMatch) -> bool {
    match path {
        PathMatch::Exact(_) => true,
        PathMatch::Prefix(text) | PathMatch::ImplementationSpecific(text) => text != "/",
        PathMatch::Regex(_) | PathMatch::Default => false,
    }
}
