//! What a node tells routers: with which of them it speaks, which networks, and what it puts on them. Pure.

pub mod community;
pub mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::wanted::{Chosen, serving};
use crate::model::problem::code;
use crate::model::{DesiredState, FrontendKind, ObjectRef, Problem, Service, Target};
use crate::pools::Pools;
use crate::siphash::UNKEYED;
use crate::source::Objects;
use crate::source::kinds::{Announcement, BgpPeer, Node, any_matches};
use session::{Common, Password, Session};

/// With so many routers a node speaks at most.
pub const MAX_SESSIONS: usize = 128;

/// What a node tells routers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// By what routers tell nodes apart.
    pub router_id: Ipv4Addr,
    /// The routers, by their addresses.
    pub peers: BTreeMap<IpAddr, Peer>,
    /// What each Announcement tells, by its name.
    pub told: BTreeMap<String, Told>,
    /// Networks that lead to this node now.
    pub routes: BTreeSet<IpNet>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// A router with whom this node speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The session.
    pub session: Session,
    /// Its key.
    pub password: Option<Password>,
    /// Names of the Announcements that it is told.
    pub told: BTreeSet<String>,
}

/// What an Announcement tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What is put on its routes.
    pub common: Common,
    /// All networks that nodes may tell by it, whether this one does now or not.
    pub networks: BTreeSet<IpNet>,
}

/// What has to be known of this node.
#[derive(Clone, Copy, Debug)]
pub struct Me<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its addresses.
    pub addresses: &'a [IpAddr],
    /// Its front answers.
    pub front_serves: bool,
}

impl Plan {
    /// What the Announcements ask for.
    pub fn new(objects: &Objects, desired: &DesiredState, pools: &Pools, me: Me<'_>) -> Self {
        let mut plan = Self::silent(me);
        let announcements = objects.announcements().filter(|one| one.spec.bgp.is_some() && one.spec.l2.is_none());
        let mut addresses = None;
        for announcement in announcements {
            if !plan.meet(announcement, objects, me) {
                continue;
            }
            let addresses = addresses.get_or_insert_with(|| balanced(desired, pools));
            plan.tell(announcement, objects, pools, addresses, me);
        }
        plan
    }

    /// Nothing is told to anybody.
    pub fn silent(me: Me<'_>) -> Self {
        let v4 = |address: &IpAddr| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        };
        // where there is none, any number will do that others hardly have; 0 is none (RFC 6286)
        let by_name = || Ipv4Addr::from((UNKEYED.hash(me.name.as_bytes()) as u32).max(1));
        let router_id = me.addresses.iter().find_map(v4).unwrap_or_else(by_name);
        let (peers, told, routes, problems) = Default::default();
        Self { router_id, peers, told, routes, problems }
    }

    /// Adds the routers of an Announcement with whom this node is to speak; false if there are none.
    fn meet(&mut self, announcement: &Announcement, objects: &Objects, me: Me<'_>) -> bool {
        let (spec, owner) = (&announcement.spec, owner(announcement));
        let no_labels = BTreeMap::new();
        let labels = objects.node("", me.name).map_or(&no_labels, |node| &node.metadata.labels);
        let Some(bgp) = spec.bgp.as_ref().filter(|_| any_matches(&spec.node_selectors, labels)) else { return false };
        let mut found = false;
        for (index, peer) in bgp.peers.iter().enumerate().filter(|(_, peer)| any_matches(&peer.node_selectors, labels))
        {
            // what is wrong with it is told where objects are checked
            let Some(session) = Session::read(bgp, index, &owner, &mut Vec::new()) else { continue };
            let field = format!("spec.bgp.peers[{index}]");
            found |= match password(peer, objects, &owner, &field) {
                Ok(password) => self.add(session, password, announcement, &field),
                Err(problem) => {
                    self.problems.push(*problem);
                    false
                }
            };
        }
        found
    }

    /// There is one session with a router, whoever asks for it.
    fn add(&mut self, session: Session, password: Option<Password>, by: &Announcement, field: &str) -> bool {
        let (name, is_full) = (&by.metadata.name, self.peers.len() >= MAX_SESSIONS);
        match self.peers.get_mut(&session.peer) {
            Some(known) => {
                if (&known.session, &known.password) != (&session, &password) {
                    let what = "other Announcements, or routers before this one, say something else of this router, and that holds";
                    let problem = Problem::warning(code::BGP_PEER_CONFLICT, &owner(by), what);
                    let problem = problem.at(format!("{field}.address"), session.peer);
                    self.problems.push(problem.expected("the same wherever a router is named"));
                }
                known.told.insert(name.clone());
                true
            }
            None if is_full => {
                let what = format!("this node speaks with {MAX_SESSIONS} routers already");
                self.problems.push(Problem::error(code::BGP_PEERS_EXHAUSTED, &owner(by), what).at_field(field));
                false
            }
            None => {
                let peer = Peer { session, password, told: [name.clone()].into() };
                self.peers.insert(peer.session.peer, peer);
                true
            }
        }
    }

    fn tell(
        &mut self,
        announcement: &Announcement,
        objects: &Objects,
        pools: &Pools,
        addresses: &Addresses<'_>,
        me: Me<'_>,
    ) {
        let (Some(bgp), chosen) = (&announcement.spec.bgp, Chosen::new(announcement, objects, pools, me.name)) else {
            return;
        };
        let common = Common::read(bgp, &owner(announcement), &mut Vec::new());
        let nodes = Nodes::new(chosen.nodes, objects);
        let mut networks = BTreeSet::new();
        for (address, (pool, services)) in addresses {
            let is_selected = |service: &&Service| {
                let labels = objects.service(&service.key.namespace, &service.key.name).map(|s| &s.metadata.labels);
                labels.is_some_and(|labels| any_matches(&announcement.spec.service_selectors, labels))
            };
            if !chosen.pools.contains(pool) || !services.iter().all(is_selected) {
                continue;
            }
            let length = if address.is_ipv4() { common.lengths.0 } else { common.lengths.1 };
            let Ok(network) = IpNet::new(*address, length).map(|network| network.trunc()) else { continue };
            networks.insert(network);
            if nodes.announce(services, me) {
                self.routes.insert(network);
            }
        }
        self.told.insert(announcement.metadata.name.clone(), Told { common, networks });
    }
}

/// Addresses that load balancers have out of pools, each with its pool and the Services that share it.
type Addresses<'a> = BTreeMap<IpAddr, (&'a str, Vec<&'a Service>)>;

fn balanced<'a>(desired: &'a DesiredState, pools: &'a Pools) -> Addresses<'a> {
    let mut addresses = Addresses::new();
    for service in desired.services.values() {
        let balanced = service.frontends.iter().filter(|frontend| frontend.kind == FrontendKind::LoadBalancer);
        let of_service: BTreeSet<IpAddr> = balanced.filter_map(|frontend| frontend.address).collect();
        for address in of_service {
            let Some(pool) = pools.of(address) else { continue };
            addresses.entry(address).or_insert((&pool.name, Vec::new())).1.push(service);
        }
    }
    addresses
}

/// The nodes that an Announcement chooses.
struct Nodes {
    all: BTreeSet<Arc<str>>,
    /// Those of them that are ready and are to stay so.
    sound: BTreeSet<Arc<str>>,
}

impl Nodes {
    fn new(all: BTreeSet<Arc<str>>, objects: &Objects) -> Self {
        let is_sound = |name: &&Arc<str>| objects.node("", name).is_none_or(|node| stays(node));
        let sound = all.iter().filter(is_sound).cloned().collect();
        Self { all, sound }
    }

    /// This node announces an address: it serves all who share it, and is sound, unless no node that serves them is.
    fn announce(&self, services: &[&Service], me: Me<'_>) -> bool {
        let needs_front = services.iter().any(|service| matches!(service.target, Target::Front(_)));
        if !self.all.contains(me.name) || needs_front && !me.front_serves {
            return false;
        }
        let by_policy: Vec<BTreeSet<&str>> = services.iter().filter_map(|service| serving(service)).collect();
        let Some((first, others)) = by_policy.split_first() else {
            return self.sound.contains(me.name) || self.sound.is_empty();
        };
        let serves = |node: &&str| others.iter().all(|nodes| nodes.contains(*node));
        let mut sound = first.iter().copied().filter(serves).filter(|node| self.sound.contains(*node)).peekable();
        match sound.peek() {
            Some(_) => sound.any(|node| node == me.name),
            None => first.contains(me.name) && serves(&me.name),
        }
    }
}

/// A node that is ready and does not drain.
fn stays(node: &Node) -> bool {
    let is = |kind: &str, status: &str| node.status.conditions.iter().any(|c| c.kind == kind && c.status == status);
    let has_ready = node.status.conditions.iter().any(|condition| condition.kind == "Ready");
    !node.spec.unschedulable && (is("Ready", "True") || !has_ready) && !is("NetworkUnavailable", "True")
}

fn owner(announcement: &Announcement) -> ObjectRef {
    ObjectRef::new("Announcement", "", &announcement.metadata.name)
}

fn password(
    peer: &BgpPeer,
    objects: &Objects,
    owner: &ObjectRef,
    field: &str,
) -> Result<Option<Password>, Box<Problem>> {
    let Some(named) = &peer.password_secret else { return Ok(None) };
    let (key, name) = (named.key(), format!("{}/{}", named.namespace, named.name));
    let field = format!("{field}.passwordSecret");
    let value = objects.secret(&named.namespace, &named.name).and_then(|secret| secret.data.get(key));
    let Some(value) = value else {
        let what = format!("there is no such Secret, or it has no usable {key}; the router is left out");
        let problem = Problem::error(code::SECRET_MISSING, owner, what).at(field, name);
        return Err(Box::new(problem.expected(format!("a Secret with the value {key}"))));
    };
    match value.text().map(|text| text.trim_end_matches('\n')).and_then(Password::new) {
        Some(password) => Ok(Some(password)),
        None => {
            let what = format!("{key} of this Secret cannot be a password of BGP; the router is left out");
            let expected = format!("1 to {} printable ASCII characters other than a double quote", Password::MAX);
            Err(Box::new(Problem::error(code::SECRET_INVALID, owner, what).at(field, name).expected(expected)))
        }
    }
}

#[cfg(test)]
pub(in crate::announce) mod tests;
