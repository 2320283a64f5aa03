//! More names for the hosts of Ingresses: `server-alias`, and the other one of a host with and without `www.`. Both give
//! way to Ingresses that have rules of their own for that name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::annotations::nginx;
use super::dialect::value;
use super::hosts::Hosts;
use super::{host, reference};
use crate::model::filters::{Filters, Redirect, Template};
use crate::model::problem::code;
use crate::model::{ObjectRef, PathMatch, Problem, Route, RouteKey};
use crate::source::kinds::Ingress;

/// nginx's default for such redirects; the method stays (RFC 9110 section 15.4.9).
const REDIRECT: u16 = 308;

type Routes = BTreeMap<RouteKey, Route>;

/// Adds the routes of more names; Ingresses come the oldest first.
pub(super) fn add<'a>(
    routes: &mut Routes,
    ingresses: impl Iterator<Item = &'a Ingress> + Clone,
    policy: &Hosts,
    problems: &mut Vec<Problem>,
) {
    let mut taken: BTreeSet<String> = routes.keys().filter_map(|key| key.host.clone()).collect();
    for ingress in ingresses.clone() {
        let owner = reference(ingress);
        let own = hosts(ingress, routes);
        for alias in aliases(ingress, &owner, problems) {
            let Some(of) = own.first() else { break };
            if !may_have(policy, ingress, &alias, "server-alias", problems) {
                continue;
            }
            if taken.insert(alias.clone()) {
                copy(routes, of, &alias);
            } else if !own.contains(&alias) {
                problems.push(conflict(&owner, &alias));
            }
        }
    }
    for ingress in ingresses.filter(|ingress| is_asked(ingress)) {
        for host in hosts(ingress, routes) {
            let other = other(&host);
            if host.starts_with("*.") || taken.contains(&other) {
                continue;
            }
            if may_have(policy, ingress, &other, "from-to-www-redirect", problems) {
                taken.insert(other.clone());
                redirect(routes, ingress, &host, &other);
            }
        }
    }
}

/// The namespace of the Ingress may claim the name.
fn may_have(policy: &Hosts, ingress: &Ingress, name: &str, annotation: &str, problems: &mut Vec<Problem>) -> bool {
    policy.admit(Some(name), ingress, &field(annotation), problems)
}

/// The hosts that an Ingress has routes for, in the order of its rules.
fn hosts(ingress: &Ingress, routes: &Routes) -> Vec<String> {
    let holder = format!("{}/{}", ingress.metadata.namespace, ingress.metadata.name);
    let written = ingress.spec.rules.iter().filter_map(|rule| host::validate(rule.host.as_deref()?).ok()?);
    let mut hosts: Vec<String> = Vec::new();
    for host in written {
        let has = of_host(routes, &host).any(|route| route.ingress == holder);
        if has && !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

fn of_host<'a>(routes: &'a Routes, host: &'a str) -> impl Iterator<Item = &'a Route> {
    let of_it = routes
        .range(RouteKey::first_of(Some(host.to_owned()))..)
        .take_while(move |(key, _)| key.host.as_deref() == Some(host));
    of_it.map(|(_, route)| route)
}

/// All names that aliases could give to the hosts of an Ingress, whether they get them or not.
pub(super) fn possible(ingress: &Ingress) -> impl Iterator<Item = String> {
    let listed = nginx(ingress, "server-alias").into_iter().flat_map(value::list).map(str::to_ascii_lowercase);
    let hosts = ingress.spec.rules.iter().filter(|_| is_asked(ingress)).filter_map(|rule| rule.host.as_deref());
    let hosts = hosts.filter(|host| !host.is_empty());
    listed.chain(hosts.map(|host| other(&host.to_ascii_lowercase())))
}

/// The name of a host with `www.`, if it is without, and the other way round.
fn other(host: &str) -> String {
    host.strip_prefix("www.").map_or_else(|| format!("www.{host}"), str::to_owned)
}

/// Regular expressions are not names.
fn aliases(ingress: &Ingress, owner: &ObjectRef, problems: &mut Vec<Problem>) -> Vec<String> {
    let mut aliases = Vec::new();
    for text in nginx(ingress, "server-alias").into_iter().flat_map(value::list) {
        match host::validate(text) {
            Ok(Some(host)) => aliases.push(host),
            Ok(None) => {}
            Err(expected) => {
                let what = "this is no name for a host; the Ingress goes on without it";
                let problem = Problem::error(code::ANNOTATION_INVALID, owner, what);
                problems.push(problem.at(field("server-alias"), text).expected(expected));
            }
        }
    }
    aliases
}

/// All routes of a host, whichever Ingress they are of.
fn copy(routes: &mut Routes, of: &str, alias: &str) {
    let copies: Vec<_> = of_host(routes, of).cloned().collect();
    for mut route in copies {
        route.key.host = Some(alias.to_owned());
        routes.insert(route.key.clone(), route);
    }
}

fn conflict(owner: &ObjectRef, alias: &str) -> Problem {
    let what = "a host of this name has rules or aliases already, which answer";
    Problem::warning(code::ROUTE_CONFLICT, owner, what).at(field("server-alias"), alias)
}

fn is_asked(ingress: &Ingress) -> bool {
    nginx(ingress, "from-to-www-redirect").is_some_and(|text| value::flag(text) == Ok(true))
}

/// Everything that is asked of one name is sent to the other.
fn redirect(routes: &mut Routes, ingress: &Ingress, host: &str, other: &str) {
    let holder = format!("{}/{}", ingress.metadata.namespace, ingress.metadata.name);
    let Some(route) = of_host(routes, host).find(|route| route.ingress == holder) else { return };
    // A host has only letters, digits, dashes and dots.
    let Ok(to) = Template::parse(&format!("$scheme://{host}$request_uri")) else { return };
    let filters = Filters { redirect: Some(Redirect { status: REDIRECT, to }), ..Filters::default() };
    let key = RouteKey { host: Some(other.to_owned()), path: PathMatch::Prefix("/".to_owned()) };
    let route = Route { key: key.clone(), rewrite: None, filters: Arc::new(filters), problem: None, ..route.clone() };
    routes.insert(key, route);
}

fn field(name: &str) -> String {
    format!("metadata.annotations[{}{name}]", super::annotations::NGINX)
}
