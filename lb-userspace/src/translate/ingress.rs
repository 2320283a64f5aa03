//! Ingresses to routes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::configmap::Read;
use super::{Services, Settings, seniority};
use crate::model::filters::Filters;
use crate::model::problem::code;
use crate::model::{ObjectRef, PathMatch, Problem, Route, RouteKey, Tls, Users};
use crate::source::Objects;
use crate::source::kinds::{Ingress, IngressBackend, IngressRule};

mod aliases;
mod annotations;
pub(super) mod backend;
mod canary;
mod class;
pub(in crate::translate) mod dialect;
mod host;
pub(in crate::translate) mod hosts;
mod neighbours;
mod path;
mod rewrite;
mod slashes;
mod surprises;
mod tls;

use backend::Lookup;
use canary::Mains;
pub(super) use class::Classes;
use hosts::Hosts;
use rewrite::Rewriting;
use tls::Certificates;

/// Translates every Ingress that is ours, to routes, the users whom they ask for a password, and what TLS needs; where two
/// want the same host and path, the older one has it.
pub(super) fn translate_all(
    objects: &Objects,
    settings: &Settings,
    services: &Services,
    usual: &Read,
    problems: &mut Vec<Problem>,
) -> (BTreeMap<RouteKey, Route>, BTreeMap<String, Arc<Users>>, Tls) {
    let mut users = BTreeMap::new();
    let classes = Classes::new(objects, settings);
    let lookup = Lookup { objects, services };
    let mut ours: Vec<_> = objects.ingresses().filter(|ingress| classes.serve(ingress, problems)).collect();
    ours.sort_by_cached_key(|ingress| seniority(&ingress.metadata));
    let mut table = Table::default();
    let hosts = Hosts::new(usual.own.hosts, objects, &ours);
    let mut certificates = Certificates::new(objects, &hosts);
    let mut canaries = Vec::new();
    for &ingress in &ours {
        let mut drafts = translate(ingress, &lookup, usual, &mut users, problems);
        drafts.iter_mut().for_each(|draft| draft.open(usual));
        drafts.retain(|draft| hosts.admit(draft.route.key.host.as_deref(), ingress, &draft.field, problems));
        certificates.add(ingress, &drafts, problems);
        for draft in drafts {
            match draft.route.filters.canary {
                Some(_) => canaries.push((draft, ingress)),
                None => table.add(draft, &reference(ingress), problems),
            }
        }
    }
    if let Some((namespace, name)) = &settings.default_backend_service {
        table.add_default(backend::default_service(namespace, name, &lookup, problems));
    }
    let mut mains = Mains::new(&mut table.routes, !canaries.is_empty());
    canaries.into_iter().for_each(|(draft, ingress)| mains.join(draft, ingress, problems));
    let ingresses = ours.iter().map(|ingress| &***ingress);
    surprises::note(&table.routes, ingresses.clone(), problems);
    slashes::add(&mut table.routes, ingresses.clone());
    aliases::add(&mut table.routes, ingresses, &hosts, problems);
    neighbours::note_literal(&table.routes, problems);
    neighbours::note_unused_fallbacks(&table.routes, problems);
    certificates.settle(&mut table.routes);
    (table.routes, users, certificates.finish(settings, problems))
}

/// A route and the field that asks for it.
struct Draft {
    route: Route,
    field: String,
}

impl Draft {
    /// Takes authentication away where the front's ConfigMap says that there is to be none.
    fn open(&mut self, usual: &Read) {
        let filters = &self.route.filters;
        let asks = filters.basic.is_some() || filters.external.is_some();
        if asks && usual.own.is_without_auth(&self.route.key.path) {
            let filters = Arc::make_mut(&mut self.route.filters);
            (filters.basic, filters.external) = (None, None);
        }
    }
}

fn reference(ingress: &Ingress) -> ObjectRef {
    ObjectRef::new("Ingress", &ingress.metadata.namespace, &ingress.metadata.name)
}

/// Translates one Ingress.
fn translate(
    ingress: &Ingress,
    lookup: &Lookup<'_>,
    usual: &Read,
    users: &mut BTreeMap<String, Arc<Users>>,
    problems: &mut Vec<Problem>,
) -> Vec<Draft> {
    let owner = reference(ingress);
    let filters = dialect::read(ingress, &owner, lookup, usual, users, problems);
    let mut one = OneIngress { ingress, owner, filters, lookup, problems, drafts: Vec::new() };
    one.translate();
    one.drafts
}

struct OneIngress<'a> {
    ingress: &'a Ingress,
    owner: ObjectRef,
    filters: Arc<Filters>,
    lookup: &'a Lookup<'a>,
    problems: &'a mut Vec<Problem>,
    drafts: Vec<Draft>,
}

impl OneIngress<'_> {
    fn translate(&mut self) {
        let mut rewriting = Rewriting::of(self.ingress, &self.owner, self.problems);
        let spec = &self.ingress.spec;
        let mut hosts = Vec::new();
        for (index, rule) in spec.rules.iter().enumerate() {
            if let Some(host) = self.host(index, rule) {
                self.rule(index, rule, &host, &mut rewriting);
                hosts.push(host);
            }
        }
        rewriting.note_ambiguous(&self.owner, self.problems);
        let default = [("spec.defaultBackend", &spec.default_backend), ("spec.backend", &spec.backend)];
        match default.into_iter().find_map(|(field, backend)| Some((field, backend.as_ref()?))) {
            Some((field, backend)) => self.default_backend(field, backend, hosts),
            None if spec.rules.is_empty() => {
                let problem = Problem::error(code::INGRESS_EMPTY, &self.owner, "the Ingress asks for nothing");
                self.problems.push(problem.at_field("spec").expected("rules or a default backend"));
            }
            None => {}
        }
    }

    /// The host of a rule, if it is good; inside, `None` is any host.
    fn host(&mut self, index: usize, rule: &IngressRule) -> Option<Option<String>> {
        let text = rule.host.as_deref().unwrap_or_default();
        match host::validate(text) {
            Ok(host) => Some(host),
            Err(expected) => {
                let problem = Problem::error(code::HOST_INVALID, &self.owner, "this is not a host name");
                self.problems.push(problem.at(format!("spec.rules[{index}].host"), text).expected(expected));
                None
            }
        }
    }

    fn rule(&mut self, index: usize, rule: &IngressRule, host: &Option<String>, rewriting: &mut Rewriting) {
        for (number, written) in rule.http.iter().flat_map(|http| &http.paths).enumerate() {
            let field = format!("spec.rules[{index}].http.paths[{number}]");
            let is_regex = |path: &PathMatch| rewriting.is_regex(path);
            let path = path::validate(written, self.ingress.beta, is_regex, &field, &self.owner, self.problems);
            let Some(path) = path else { continue };
            let served = rewriting.of_path(path, &field, &self.owner, self.problems);
            let Some((path, rewrite)) = served else { continue };
            if let Some(mut draft) = self.draft(RouteKey { host: host.clone(), path }, &written.backend, &field) {
                draft.route.rewrite = rewrite;
                self.drafts.push(draft);
            }
        }
    }

    /// Takes what the rules of its hosts do not match; without rules, what nobody matches.
    fn default_backend(&mut self, field: &str, backend: &IngressBackend, mut hosts: Vec<Option<String>>) {
        if self.ingress.spec.rules.is_empty() {
            hosts.push(None);
        }
        hosts.sort();
        hosts.dedup();
        // What is wrong with the backend is said once, not for every host.
        let first = hosts.first().cloned().map(|host| RouteKey { host, path: PathMatch::Default });
        let Some(draft) = first.and_then(|key| self.draft_at(key, backend, field)) else { return };
        for host in hosts {
            let key = RouteKey { host, path: PathMatch::Default };
            self.drafts.push(Draft { route: Route { key, ..draft.route.clone() }, field: field.to_owned() });
        }
    }

    fn draft(&mut self, key: RouteKey, backend: &IngressBackend, path_field: &str) -> Option<Draft> {
        let draft = self.draft_at(key, backend, &format!("{path_field}.backend"))?;
        Some(Draft { field: format!("{path_field}.path"), ..draft })
    }

    fn draft_at(&mut self, key: RouteKey, backend: &IngressBackend, field: &str) -> Option<Draft> {
        let namespace = &self.ingress.metadata.namespace;
        let (backend, problem) = self.lookup.backend(backend, namespace, field, &self.owner, self.problems)?;
        let ingress = format!("{namespace}/{}", self.ingress.metadata.name);
        let filters = Arc::clone(&self.filters);
        Some(Draft { route: Route { key, ingress, backend, rewrite: None, filters, problem }, field: field.to_owned() })
    }
}

/// All routes, each host and path once.
#[derive(Default)]
struct Table {
    routes: BTreeMap<RouteKey, Route>,
    /// Who has a host and path; paths that match the same requests are the same here.
    holders: HashMap<RouteKey, String>,
}

impl Table {
    fn add(&mut self, draft: Draft, owner: &ObjectRef, problems: &mut Vec<Problem>) {
        let claim = RouteKey { host: draft.route.key.host.clone(), path: path::canonical(&draft.route.key.path) };
        match self.holders.get(&claim) {
            None => {
                self.holders.insert(claim, draft.route.ingress.clone());
                self.routes.insert(draft.route.key.clone(), draft.route);
            }
            Some(holder) => {
                let host = draft.route.key.host.as_deref().unwrap_or("any host");
                let path = path::text(&draft.route.key.path);
                let what = format!("Ingress {holder} has host and path already; its backend answers");
                let problem = Problem::warning(code::ROUTE_CONFLICT, owner, what);
                problems.push(problem.at(draft.field, format!("{host}{path}")));
            }
        }
    }

    /// An Ingress that is a default backend for everything goes before the one that a flag names.
    fn add_default(&mut self, route: Route) {
        self.routes.entry(route.key.clone()).or_insert(route);
    }
}
