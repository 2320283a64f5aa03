//! Node ports for ports that ask for any: a pure function of the set of Services, so that every node and every start
//! comes to the same ports without keeping state.
//!
//! Ports that are asked for by number are reserved first. Each of the others walks its own sequence of ports, which
//! follows from its name alone, and takes the first free one, older Services before younger ones. So a Service moves
//! another only if it is older and the other would have taken the same port: rare, and reported.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use super::Settings;
use super::health_checks::HealthChecks;
use super::service::{Draft, NodePort};
use crate::model::problem::code;
use crate::model::{DesiredState, Frontend, FrontendKind, Problem, Protocol, Service, ServiceKey};

/// Where node ports lie, as in Kubernetes.
pub(super) const RANGE: RangeInclusive<u16> = 30000..=32767;
/// Kubernetes leaves the lowest ports (here 86) to those who ask by number, as far as others suffice (KEP-3668).
const STATIC_BAND: u16 = 86;

/// A port of the node.
pub(super) type Key = (Protocol, u16);

/// Gives every port that asks for one its node port.
pub(super) fn assign(drafts: &mut [Draft], settings: &Settings, problems: &mut Vec<Problem>) {
    let mut order: Vec<usize> = (0..drafts.len()).collect();
    order.sort_by(|a, b| drafts[*a].rank().cmp(&drafts[*b].rank()));
    let mut taken: HashMap<Key, String> = HashMap::new();
    for (flag, port) in [("--http-port", settings.http_port), ("--https-port", settings.https_port)] {
        taken.insert((Protocol::Tcp, port), format!("the front ({flag})"));
    }
    for &index in &order {
        if let NodePort::Fixed(number) = drafts[index].node_port {
            reserve(&mut drafts[index], number, &mut taken, problems);
        }
    }
    let mut health_checks = HealthChecks::new(drafts, &order);
    health_checks.reserve(drafts, &mut taken, problems);
    let mut exhausted: HashSet<Protocol> = HashSet::new();
    for &index in &order {
        let draft = &mut drafts[index];
        let protocol = draft.service.key.protocol;
        if draft.node_port == NodePort::Any && (exhausted.contains(&protocol) || !allocate(draft, &mut taken)) {
            exhausted.insert(protocol);
            let problem = Problem::error(code::NODE_PORTS_EXHAUSTED, &draft.reference(), "no node port is free");
            problems.push(problem.at_field(format!("spec.ports[{}].nodePort", draft.index)));
        }
    }
    health_checks.allocate(drafts, &mut taken, problems);
    health_checks.write(drafts);
}

fn reserve(draft: &mut Draft, number: u16, taken: &mut HashMap<Key, String>, problems: &mut Vec<Problem>) {
    let key = (draft.service.key.protocol, number);
    if let Some(holder) = taken.get(&key) {
        let what = format!("the node port belongs to {holder}");
        let problem = Problem::error(code::NODE_PORT_CONFLICT, &draft.reference(), what);
        let field = format!("spec.ports[{}].nodePort", draft.index);
        problems.push(problem.at(field, number).expected("a free port in 30000-32767, or none to get one"));
        return;
    }
    taken.insert(key, draft.service.key.to_string());
    add_frontend(&mut draft.service, number);
}

fn allocate(draft: &mut Draft, taken: &mut HashMap<Key, String>) -> bool {
    let protocol = draft.service.key.protocol;
    let free = candidates(&draft.service.key.to_string()).find(|number| !taken.contains_key(&(protocol, *number)));
    if let Some(number) = free {
        taken.insert((protocol, number), draft.service.key.to_string());
        add_frontend(&mut draft.service, number);
    }
    free.is_some()
}

fn add_frontend(service: &mut Service, port: u16) {
    service.frontends.push(Frontend { kind: FrontendKind::NodePort, address: None, port });
    service.frontends.sort();
}

/// Every port of the range once, in an order of this name's own; those of the static band last.
pub(super) fn candidates(name: &str) -> impl Iterator<Item = u16> + use<> {
    let hash = fnv1a(name.as_bytes());
    let (start, end) = (u32::from(*RANGE.start()), u32::from(*RANGE.end()));
    let first_dynamic = start + u32::from(STATIC_BAND);
    let walk = move |low: u32, length: u32| {
        let offset = u32::try_from(hash % u64::from(length)).unwrap_or(0);
        (0..length).map(move |step| low + (offset + step) % length)
    };
    walk(first_dynamic, end - first_dynamic + 1)
        .chain(walk(start, first_dynamic - start))
        .filter_map(|number| u16::try_from(number).ok())
}

/// FNV-1a with a final mix, written out because ports must never change with a library or compiler.
fn fnv1a(bytes: &[u8]) -> u64 {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
}

/// Allocated node ports that are others than before: clients that use the old one lose the Service. Ports that were asked
/// for by number, before or now, are the user's own doing.
pub fn moved_node_ports(old: &DesiredState, new: &DesiredState) -> Vec<Problem> {
    let changed = new.services.iter().filter_map(|(key, service)| {
        let now = node_port(service)?;
        let before = node_port(old.services.get(key)?)?;
        (now != before).then_some((key, before, now))
    });
    let moved = changed.filter(|(key, before, now)| is_allocated(key, *before, old) && is_allocated(key, *now, new));
    moved.map(|(key, before, now)| moved_port(key, before, now)).collect()
}

/// Allocation would come to this port: others hold all that the Service would rather have.
fn is_allocated(key: &ServiceKey, port: u16, state: &DesiredState) -> bool {
    let others = state.services.values().filter(|other| other.key != *key && other.key.protocol == key.protocol);
    let held: HashSet<u16> =
        others.flat_map(|other| node_port(other).into_iter().chain(other.policy.health_check)).collect();
    candidates(&key.to_string()).take_while(|candidate| *candidate != port).all(|candidate| held.contains(&candidate))
}

fn node_port(service: &Service) -> Option<u16> {
    service.frontends.iter().find(|frontend| frontend.kind == FrontendKind::NodePort).map(|frontend| frontend.port)
}

fn moved_port(key: &ServiceKey, before: u16, now: u16) -> Problem {
    let what = format!("the node port of {key} was {before} and is {now} now; clients of the old one lose the Service");
    let owner = super::service::reference(&key.namespace, &key.name);
    Problem::warning(code::NODE_PORT_MOVED, &owner, what).expected("spec.ports[].nodePort set, to keep a port for good")
}

#[cfg(test)]
mod tests;
