//! Where a host has regular expressions beside other paths, which ingress-nginx would make regular expressions too.

use std::collections::{BTreeMap, BTreeSet};

use super::path::text;
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

/// A path that matches something else as a regular expression: all do but `/`.
fn is_literal(path: &PathMatch) -> bool {
    match path {
        PathMatch::Exact(_) => true,
        PathMatch::Prefix(text) | PathMatch::ImplementationSpecific(text) => text != "/",
        PathMatch::Regex(_) | PathMatch::Default => false,
    }
}
