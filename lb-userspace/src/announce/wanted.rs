//! Which addresses are announced to neighbours, and by whom they may be. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{Backend, BackendState, DesiredState, FrontendKind, Service, Target, TrafficPolicy};
use crate::pools::Pools;
use crate::source::Objects;
use crate::source::kinds::{Announcement, any_matches};
use crate::translate::EXCLUDED;

/// Addresses that neighbours are told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// What is to be announced.
    pub addresses: BTreeMap<IpAddr, Candidates>,
    /// All nodes that Announcements choose, whether there is something for them now or not.
    pub nodes: BTreeSet<Arc<str>>,
}

/// By whom an address may be announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Names of nodes.
    pub nodes: BTreeSet<Arc<str>>,
    /// By which interfaces this node may.
    pub interfaces: Interfaces,
}

/// Interfaces by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    all: bool,
    /// One that ends in `*` stands for all that begin so.
    patterns: BTreeSet<String>,
}

impl Interfaces {
    /// This one is among them.
    pub fn include(&self, name: &str) -> bool {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == pattern,
        };
        self.all || self.patterns.iter().any(matches)
    }

    fn add(&mut self, names: &[String]) {
        self.all |= names.is_empty();
        self.patterns.extend(names.iter().cloned());
    }
}

/// An Announcement as it counts.
struct Rule<'a> {
    announcement: &'a Announcement,
    chosen: Chosen<'a>,
    interfaces: &'a [String],
}

/// What an Announcement chooses.
pub(super) struct Chosen<'a> {
    pub(super) nodes: BTreeSet<Arc<str>>,
    pub(super) pools: BTreeSet<&'a str>,
}

impl<'a> Chosen<'a> {
    pub(super) fn new(announcement: &Announcement, objects: &'a Objects, pools: &'a Pools, me: &str) -> Self {
        let spec = &announcement.spec;
        let everything = spec.pools.is_empty() && spec.pool_selectors.is_empty();
        let labels = |name: &str| objects.address_pool("", name).map(|pool| &pool.metadata.labels);
        let is_chosen = |name: &str| {
            let selected = |labels| spec.pool_selectors.iter().any(|selector| selector.matches(labels));
            everything || spec.pools.iter().any(|wanted| wanted == name) || labels(name).is_some_and(selected)
        };
        let chosen = pools.iter().map(|pool| pool.name.as_str()).filter(|name| is_chosen(name)).collect();
        Self { nodes: nodes(announcement, objects, me), pools: chosen }
    }
}

impl Wanted {
    /// What the Announcements ask for, for the node `me`.
    pub fn new(objects: &Objects, desired: &DesiredState, pools: &Pools, me: &str) -> Self {
        let rules: Vec<_> = objects.announcements().filter_map(|one| Rule::new(one, objects, pools, me)).collect();
        let mut addresses = BTreeMap::<IpAddr, Candidates>::new();
        if rules.is_empty() {
            return Self::default();
        }
        for service in desired.services.values() {
            let balanced = service.frontends.iter().filter(|frontend| frontend.kind == FrontendKind::LoadBalancer);
            let of_service: BTreeSet<IpAddr> = balanced.filter_map(|frontend| frontend.address).collect();
            for address in of_service {
                let Some(pool) = pools.of(address) else { continue };
                let found = candidates(&rules, objects, service, &pool.name, me);
                // all Services that share an address have to be served where it is
                match addresses.get_mut(&address) {
                    Some(known) => known.nodes.retain(|node| found.nodes.contains(node)),
                    None => drop(addresses.insert(address, found)),
                }
            }
        }
        addresses.retain(|_, candidates| !candidates.nodes.is_empty());
        Self { addresses, nodes: rules.iter().flat_map(|rule| &rule.chosen.nodes).cloned().collect() }
    }

    /// Something may be announced by this interface of this node.
    pub fn includes(&self, interface: &str) -> bool {
        self.addresses.values().any(|candidates| candidates.interfaces.include(interface))
    }

    /// Another node than this one may come to announce one of them.
    pub fn concerns_others(&self, me: &str) -> bool {
        self.nodes.iter().any(|node| **node != *me)
    }
}

impl<'a> Rule<'a> {
    /// `None` if it is not for neighbours, or asks for something that it cannot be both of.
    fn new(announcement: &'a Arc<Announcement>, objects: &'a Objects, pools: &'a Pools, me: &str) -> Option<Self> {
        let spec = &announcement.spec;
        let l2 = spec.l2.as_ref().filter(|_| spec.bgp.is_none())?;
        let chosen = Chosen::new(announcement, objects, pools, me);
        Some(Self { announcement, chosen, interfaces: &l2.interfaces })
    }
}

/// The nodes that it chooses. Without any object for nodes, this one is alone.
fn nodes(announcement: &Announcement, objects: &Objects, me: &str) -> BTreeSet<Arc<str>> {
    let selectors = &announcement.spec.node_selectors;
    if objects.nodes().next().is_none() {
        return if any_matches(selectors, &BTreeMap::new()) { [me.into()].into() } else { BTreeSet::new() };
    }
    let may = |labels: &BTreeMap<String, String>| !labels.contains_key(EXCLUDED) && any_matches(selectors, labels);
    let chosen = objects.nodes().filter(|node| may(&node.metadata.labels));
    chosen.map(|node| node.metadata.name.as_str().into()).collect()
}

fn candidates(rules: &[Rule<'_>], objects: &Objects, service: &Service, pool: &str, me: &str) -> Candidates {
    let key = &service.key;
    let labels = objects.service(&key.namespace, &key.name).map(|service| &service.metadata.labels);
    let mut found = Candidates::default();
    for rule in rules.iter().filter(|rule| rule.chosen.pools.contains(pool)) {
        let selectors = &rule.announcement.spec.service_selectors;
        if !labels.is_some_and(|labels| any_matches(selectors, labels)) {
            continue;
        }
        found.nodes.extend(rule.chosen.nodes.iter().cloned());
        if rule.chosen.nodes.contains(me) {
            found.interfaces.add(rule.interfaces);
        }
    }
    if let Some(serving) = serving(service) {
        found.nodes.retain(|node| serving.contains(&**node));
    }
    found
}

/// The nodes that serve clients from outside, where not all do: those with a backend, as `externalTrafficPolicy: Local` asks. While
/// no backend is ready, those that end and still serve count.
pub(super) fn serving(service: &Service) -> Option<BTreeSet<&str>> {
    let Target::Backends(backends) = &service.target else { return None };
    if service.policy_at(FrontendKind::LoadBalancer) == TrafficPolicy::Cluster {
        return None;
    }
    let with = |state| {
        let found = backends.iter().filter(move |backend: &&Backend| backend.state == state);
        found.filter_map(|backend| backend.node.as_deref()).collect::<BTreeSet<_>>()
    };
    let active = with(BackendState::Active);
    Some(if active.is_empty() { with(BackendState::Terminating) } else { active })
}

#[cfg(test)]
mod tests;
