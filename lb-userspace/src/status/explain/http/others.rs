//! Why other rules do not get the request.

use std::collections::HashMap;

use hyper::http::request::Parts;

use super::Told;
use crate::l7::host::normalise;
use crate::l7::path::CanonicalPath;
use crate::l7::proxy::host_of;
use crate::l7::rules::{HostRules, Rule};
use crate::l7::table::{RouteEntry, RouteTable};
use crate::model::PathMatch;
use crate::model::problem::code;
use crate::status::routes::path_of;

/// Rules that are named; of more only the number is told.
const TOLD: usize = 12;

/// The host as rules have it.
pub(super) fn normalised(head: &Parts) -> String {
    normalise(host_of(head)).unwrap_or_default().into_owned()
}

/// Whose rules are looked at.
pub(super) fn rules_of(table: &RouteTable, head: &Parts) -> String {
    let host = normalised(head);
    match candidates(&host).find(|name| table.hosts.contains_key(name)) {
        Some(name) => format!("{} routes of host {name}", table.hosts[&name].len()),
        None => "no route names it".to_owned(),
    }
}

/// Where rules for a host can stand, the strongest first.
fn candidates(host: &str) -> impl Iterator<Item = String> + use<> {
    let wildcard = host.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, suffix)| format!("*.{suffix}"));
    [Some(host.to_owned()), wildcard, Some("*".to_owned())].into_iter().flatten()
}

/// Tells why each of the others did not get the request that goes by this rule.
pub(super) fn tell(told: &mut Told<'_>, table: &RouteTable, head: &Parts, rule: &Rule) {
    others(told, table, head, Some(&*rule.entry));
}

/// The same where no rule has it.
pub(super) fn tell_all(told: &mut Told<'_>, head: &Parts) {
    let table = std::sync::Arc::clone(&told.view.routes);
    others(told, &table, head, None);
}

fn others(told: &mut Told<'_>, table: &RouteTable, head: &Parts, chosen: Option<&RouteEntry>) {
    let host = normalised(head);
    let mut hosts = candidates(&host).filter(|name| table.hosts.contains_key(name));
    let used = hosts.next();
    let (mut reasons, mut unmatched) = (Vec::new(), Vec::new());
    for entry in used.iter().flat_map(|name| table.hosts[name].iter()).filter(|entry| Some(*entry) != chosen) {
        match matches(entry, head.uri.path()) {
            true => reasons.push((entry, why_weaker(entry, chosen))),
            false => unmatched.push((entry, "does not match the path")),
        }
    }
    reasons.extend(unmatched);
    for (entry, why) in reasons.iter().take(TOLD) {
        let (path, kind) = path_of(&entry.path);
        let name = kind.map_or_else(|| "default backend".to_owned(), |kind| format!("{kind} {path}"));
        told.step("not", name, format!("of Ingress {}: {why}", entry.ingress));
    }
    if reasons.len() > TOLD {
        told.step("not", format!("{} more", reasons.len() - TOLD), "that do not match the path");
    }
    for name in hosts {
        let what =
            format!("the routes of host {}, which is stronger, are looked at", used.as_deref().unwrap_or_default());
        told.step("not", format!("host {name}"), what);
    }
    left_out(told, &host);
}

/// By the index that the front uses.
fn matches(entry: &RouteEntry, path: &str) -> bool {
    if entry.path == PathMatch::Default {
        return true;
    }
    let rules = HostRules::new(std::slice::from_ref(entry), &HashMap::new(), false);
    CanonicalPath::new(path).is_ok_and(|path| rules.own(&path).is_ok_and(|rule| rule.is_some()))
}

fn why_weaker(entry: &RouteEntry, chosen: Option<&RouteEntry>) -> &'static str {
    let Some(chosen) = chosen else { return "matches, but servers differ in how they read the path" };
    match (&chosen.path, &entry.path) {
        (_, PathMatch::Default) if chosen.path != PathMatch::Default => "takes what no rule matches, and one does",
        (PathMatch::Exact(_), _) => "matches too, but an exact path comes first",
        (PathMatch::Regex(_), PathMatch::Regex(_)) => "matches too, but the longer expression comes first",
        (PathMatch::Regex(_), _) => "matches too, but an expression comes first",
        _ => "matches too, but the longer path comes first",
    }
}

/// What Ingresses wanted for this host and did not get.
fn left_out(told: &mut Told<'_>, host: &str) {
    let codes = [code::ROUTE_CONFLICT, code::HOST_DENIED];
    let names = |value: &str| {
        candidates(host).any(|name| {
            let name = if name == "*" { "any host" } else { &name };
            value.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    let problems = std::sync::Arc::clone(&told.view.problems);
    let problems = problems.iter().filter(|one| codes.contains(&one.code.as_str()));
    for problem in problems.filter(|one| one.value.as_deref().is_some_and(names)).take(TOLD) {
        let (namespace, name) = (problem.object.namespace.as_deref(), problem.object.name.as_deref());
        let ingress = format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default());
        told.step(
            "not",
            problem.value.clone().unwrap_or_default(),
            format!("of Ingress {ingress}: {}", problem.message),
        );
    }
}
