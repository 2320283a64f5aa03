//! How packets reach backends on other nodes, and where those nodes are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::service::reference;
use super::{Settings, address};
use crate::model::node::node_of;
use crate::model::problem::code;
use crate::model::{
    Backend, BackendState, Forwarding, ForwardingBy, NodeAddresses, ObjectRef, Problem, Service, Target,
};
use crate::source::Objects;
use crate::source::kinds;

/// How the packets of a Service reach other nodes.
pub(super) const ANNOTATION: &str = "weir.io/forwarding";
/// The type of a node's address that other nodes reach it by.
const INTERNAL: &str = "InternalIP";

/// What the Service asks for, else what the flag says.
pub(super) fn of_service(
    object: &kinds::Service,
    settings: &Settings,
    owner: &ObjectRef,
    problems: &mut Vec<Problem>,
) -> (Forwarding, ForwardingBy) {
    let Some(text) = object.metadata.annotations.get(ANNOTATION) else {
        return (settings.forwarding, ForwardingBy::Flag);
    };
    match text.parse() {
        Ok(forwarding) => (forwarding, ForwardingBy::Annotation),
        Err(expected) => {
            let what = format!("there is no such way of forwarding; {} is used", settings.forwarding);
            let problem = Problem::error(code::FORWARDING_INVALID, owner, what);
            problems.push(problem.at(format!("metadata.annotations[{ANNOTATION}]"), text).expected(expected));
            (settings.forwarding, ForwardingBy::Flag)
        }
    }
}

/// The nodes that have an address. This node has those of `--node-ip` too.
pub(super) fn nodes(
    objects: &Objects,
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, NodeAddresses> {
    let mut nodes = BTreeMap::new();
    for node in objects.nodes() {
        let name = &node.metadata.name;
        let own = *name == settings.node_name;
        nodes.insert(name.clone(), NodeAddresses { addresses: internal(node, problems), own });
    }
    if !settings.node_name.is_empty() {
        let node = nodes.entry(settings.node_name.clone()).or_default();
        node.own = true;
        for address in &settings.node_ips {
            if !node.addresses.contains(address) {
                node.addresses.push(*address);
            }
        }
    }
    nodes.retain(|_, node| !node.addresses.is_empty());
    nodes
}

fn internal(node: &kinds::Node, problems: &mut Vec<Problem>) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for (index, entry) in node.status.addresses.iter().enumerate().filter(|(_, entry)| entry.address_type == INTERNAL) {
        match address::routable(&entry.address) {
            Ok(address) => addresses.push(address),
            Err(fault) => {
                let owner = ObjectRef::new("Node", "", &node.metadata.name);
                let problem = Problem::error(code::ADDRESS_INVALID, &owner, fault);
                problems.push(
                    problem
                        .at(format!("status.addresses[{index}].address"), &entry.address)
                        .expected(address::EXPECTED),
                );
            }
        }
    }
    addresses
}

/// Says where DSR is asked for and not to be had.
pub(super) fn check(service: &Service, nodes: &BTreeMap<String, NodeAddresses>, problems: &mut Vec<Problem>) {
    if service.forwarding != Forwarding::Dsr {
        return;
    }
    let owner = reference(&service.key.namespace, &service.key.name);
    let backends = match &service.target {
        Target::Backends(backends) => backends,
        Target::Front(_) if service.forwarding_by == ForwardingBy::Annotation => {
            let what = "the front answers on the node where packets arrive, so there is nothing to forward";
            let problem = Problem::info(code::FORWARDING_UNUSED, &owner, what);
            problems.push(problem.at(format!("metadata.annotations[{ANNOTATION}]"), service.forwarding));
            return;
        }
        Target::Front(_) => return,
    };
    let lost = |backend: &&Backend| {
        !backend.local && backend.state != BackendState::Unhealthy && node_of(backend, nodes).is_none()
    };
    let lost: Vec<_> = backends.iter().filter(lost).collect();
    if !lost.is_empty() {
        problems.push(node_unknown(&owner, service.key.port, &lost));
    }
}

fn node_unknown(owner: &ObjectRef, port: u16, lost: &[&Backend]) -> Problem {
    let name = |backend: &&Backend| backend.node.clone().unwrap_or_else(|| "no node named".to_owned());
    let nodes: BTreeSet<String> = lost.iter().map(name).collect();
    let what = format!(
        "{} of the backends of port {port} are reached by snat instead of dsr, because no address of their node is known",
        lost.len()
    );
    let nodes: Vec<_> = nodes.into_iter().collect();
    let problem = Problem::info(code::FORWARDING_NODE_UNKNOWN, owner, what).at("nodeName", nodes.join(", "));
    problem.expected("Nodes with a status.addresses of type InternalIP in the family of the backends")
}
