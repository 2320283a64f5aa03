//! Ingresses to routes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::configmap::Read;
use super::{Settings, seniority};
use crate::model::filters::Filters;
use crate::model::problem::code;
use crate::model::{ObjectRef, PathMatch, Problem, Route, RouteKey, Tls, Users};
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
pub(super) mod secrets;
mod slashes;
mod surprises;
pub(super) mod ties;
mod tls;

use backend::Lookup;
use canary::Mains;
pub(super) use class::Classes;
use hosts::Hosts;
use rewrite::Rewriting;
use tls::Certificates;

/// What Ingresses come to.
pub(super) struct Layer7 {
    /// Where two want the same host and path, the older one has it.
    pub(super) routes: BTreeMap<RouteKey, Route>,
    /// Users whom routes ask for a password.
    pub(super) users: BTreeMap<String, Arc<Users>>,
    pub(super) tls: Tls,
    pub(super) told: Told,
}

/// Problems, by the object that gives rise to them: an Ingress, or what a setting names.
#[derive(Debug, Default)]
pub(super) struct Told(pub(super) BTreeMap<ObjectRef, Vec<Problem>>);

impl Told {
    /// An object gives rise to Problems, of which it may not be the object.
    fn add(&mut self, owner: ObjectRef, problems: Vec<Problem>) {
        if !problems.is_empty() {
            self.0.entry(owner).or_default().extend(problems);
        }
    }

    /// The objects of these give rise to them.
    fn add_own(&mut self, problems: Vec<Problem>) {
        problems.into_iter().for_each(|problem| self.add(problem.object.clone(), vec![problem]));
    }
}

/// Translates those of the Ingresses that are ours. What comes out for a host depends on those that name it
/// ([`ties`]) and on no others, so that all may be translated at once or some by themselves.
pub(super) fn translate_all<'a>(
    ingresses: impl Iterator<Item = &'a Arc<Ingress>>,
    lookup: &Lookup<'a>,
    settings: &Settings,
    usual: &Read,
) -> Layer7 {
    let (mut told, mut problems) = (Told::default(), Vec::new());
    let (mut found, objects) = (BTreeMap::new(), lookup.objects);
    let classes = Classes::new(objects, settings);
    let mut ours: Vec<_> = ingresses.filter(|ingress| classes.serve(ingress, &mut problems)).collect();
    ours.sort_by_cached_key(|ingress| seniority(&ingress.metadata));
    let mut table = Table::default();
    let hosts = Hosts::new(usual.own.hosts, objects, &ours);
    let mut certificates = Certificates::new(objects, &hosts);
    let (mut canaries, mut shared) = (Vec::new(), Arc::default());
    for &ingress in &ours {
        let (owner, mut own) = (reference(ingress), Vec::new());
        let mut drafts = translate(ingress, lookup, usual, &mut found, &mut own);
        drafts.iter_mut().for_each(|draft| draft.share(&mut shared));
        drafts.iter_mut().for_each(|draft| draft.open(usual));
        drafts.retain(|draft| hosts.admit(draft.route.key.host.as_deref(), ingress, &draft.field, &mut own));
        certificates.add(ingress, &drafts, &mut own);
        for draft in drafts {
            match draft.route.filters.canary {
                Some(_) => canaries.push((draft, ingress)),
                None => table.add(draft, &owner, &mut own),
            }
        }
        told.add(owner, own);
    }
    if let Some((namespace, name)) = &settings.default_backend_service {
        table.add_default(backend::default_service(namespace, name, lookup, &mut problems));
    }
    let mut mains = Mains::new(&mut table.routes, !canaries.is_empty());
    canaries.into_iter().for_each(|(draft, ingress)| mains.join(draft, ingress, &mut problems));
    let ingresses = ours.iter().map(|ingress| &***ingress);
    surprises::note(&table.routes, ingresses.clone(), &mut problems);
    slashes::add(&mut table.routes, ingresses.clone());
    aliases::add(&mut table.routes, ingresses, &hosts, &mut problems);
    neighbours::note_literal(&table.routes, &mut problems);
    neighbours::note_unused_fallbacks(&table.routes, &mut problems);
    certificates.settle(&mut table.routes);
    let mut tls = certificates.finish(settings, &mut problems);
    let mut users = found.into_iter().map(|(secret, found)| (secret, Arc::clone(&found.users))).collect();
    secrets::keep_used(&table.routes, &mut users, &mut tls);
    told.add_own(problems);
    Layer7 { routes: table.routes, users, tls, told }
}

/// A route and the field that asks for it.
struct Draft {
    route: Route,
    field: String,
}

impl Draft {
    /// Most Ingresses ask for the same as the one before, which is nothing: one instance is enough.
    fn share(&mut self, last: &mut Arc<Filters>) {
        if **last == *self.route.filters {
            self.route.filters = Arc::clone(last);
        } else {
            *last = Arc::clone(&self.route.filters);
        }
    }

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

pub(super) fn reference(ingress: &Ingress) -> ObjectRef {
    ObjectRef::new("Ingress", &ingress.metadata.namespace, &ingress.metadata.name)
}

/// Translates one Ingress.
fn translate(
    ingress: &Ingress,
    lookup: &Lookup<'_>,
    usual: &Read,
    users: &mut BTreeMap<String, Arc<dialect::basic::Found>>,
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
