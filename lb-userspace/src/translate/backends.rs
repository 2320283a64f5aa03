//! Endpoint slices to backends.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::port::{self, Port};
use super::weights::{self, Weights};
use super::{Settings, address, topology};
use crate::model::problem::code;
use crate::model::{Backend, BackendState, IpFamily, ObjectRef, Problem};
use crate::source::Objects;
use crate::source::kinds::{Endpoint, EndpointConditions, EndpointHints, EndpointSlice, Node};

/// What endpoints do not say of themselves: whether they are on this node, and what Pods ask for.
#[derive(Debug)]
pub(super) struct Locality {
    node_name: String,
    node_ips: Vec<IpAddr>,
    pod_cidrs: Vec<IpNet>,
    weights: Weights,
    place: topology::Place,
}

impl Locality {
    /// From the settings, else from this node's Node object.
    pub(super) fn new(objects: &Objects, settings: &Settings, problems: &mut Vec<Problem>) -> Self {
        let own = objects.node("", &settings.node_name);
        let pod_cidrs = match own {
            Some(node) if settings.pod_cidrs.is_empty() => pod_cidrs(node, problems),
            _ => settings.pod_cidrs.clone(),
        };
        let weights = Weights::of_pods(objects, problems);
        let place = topology::Place::of(&settings.node_name, own.map(AsRef::as_ref));
        let node_ips = settings.node_ips.clone();
        Locality { node_name: settings.node_name.clone(), node_ips, pod_cidrs, weights, place }
    }

    /// By the name of its node, else by its address.
    pub(super) fn is_local(&self, node: Option<&str>, address: IpAddr) -> bool {
        match node {
            Some(node) => node == self.node_name,
            None => self.node_ips.contains(&address) || self.pod_cidrs.iter().any(|cidr| cidr.contains(&address)),
        }
    }
}

fn pod_cidrs(node: &Node, problems: &mut Vec<Problem>) -> Vec<IpNet> {
    let single = node.spec.pod_cidr.iter().map(|cidr| ("spec.podCIDR".to_owned(), cidr));
    let several = node.spec.pod_cidrs.iter().enumerate().map(|(i, cidr)| (format!("spec.podCIDRs[{i}]"), cidr));
    let mut cidrs = Vec::new();
    for (field, text) in single.chain(several).filter(|(_, text)| !text.is_empty()) {
        match text.parse() {
            Ok(cidr) => cidrs.push(cidr),
            Err(_) => {
                let owner = ObjectRef::new("Node", "", &node.metadata.name);
                let problem = Problem::error(code::ADDRESS_INVALID, &owner, "this is not a network");
                problems.push(problem.at(field, text).expected("a network, such as 10.244.1.0/24"));
            }
        }
    }
    cidrs
}

/// The backends of a port in the families of its Service: of the slices' ports of that name, each address and port once.
/// With `topology` their hints count.
pub(super) fn of_port(
    slices: &[&Arc<EndpointSlice>],
    families: &[IpFamily],
    port: &Port<'_>,
    (locality, topology): (&Locality, bool),
    problems: &mut Vec<Problem>,
) -> Vec<Backend> {
    let mut backends: BTreeMap<(IpAddr, u16), (Backend, &EndpointHints)> = BTreeMap::new();
    for slice in slices.iter().filter(|slice| slice.address_type != "FQDN") {
        let Some(number) = number_in(slice, port, problems) else { continue };
        for (index, endpoint) in slice.endpoints.iter().enumerate() {
            let backend = backend(slice, index, endpoint, number, locality, problems);
            let backend = backend.filter(|backend| families.contains(&IpFamily::of(backend.address)));
            let Some(backend) = backend else { continue };
            let hints = &endpoint.hints;
            let known = backends.entry((backend.address, backend.port)).or_insert_with(|| (backend.clone(), hints));
            // While an endpoint moves from one slice to another both name it; the better word counts.
            if backend.state < known.0.state {
                *known = (backend, hints);
            }
        }
    }
    let mut backends: Vec<_> = backends.into_values().collect();
    if topology {
        topology::lead(&mut backends, &locality.place);
    }
    backends.into_iter().map(|(backend, _)| backend).collect()
}

fn number_in(slice: &EndpointSlice, port: &Port<'_>, problems: &mut Vec<Problem>) -> Option<u16> {
    let wanted = port.raw.name.as_deref().unwrap_or_default();
    let (index, found) = slice.ports.iter().enumerate().find(|(_, found)| {
        let protocol = found.protocol.as_deref().unwrap_or("TCP");
        found.name.as_deref().unwrap_or_default() == wanted && protocol == port.protocol.to_string()
    })?;
    // No number means every port, which is of use to others than a Service.
    let number = found.port?;
    let valid = port::number(number);
    if valid.is_none() {
        let problem = Problem::error(code::PORT_INVALID, &reference(slice), "this is not a port");
        problems.push(problem.at(format!("ports[{index}].port"), number).expected("1-65535"));
    }
    valid
}

fn backend(
    slice: &EndpointSlice,
    index: usize,
    endpoint: &Endpoint,
    port: u16,
    locality: &Locality,
    problems: &mut Vec<Problem>,
) -> Option<Backend> {
    // Consumers take the first address: the others are the same endpoint (API documentation of EndpointSlice).
    let text = endpoint.addresses.first()?;
    let address = match address::routable(text) {
        Ok(address) => address,
        Err(fault) => {
            problems.push(bad_address(slice, index, text, fault));
            return None;
        }
    };
    let (node, pod) = (endpoint.node(), pod(slice, endpoint));
    let asked = pod.as_deref().and_then(|pod| locality.weights.of_pod(pod));
    let weight = asked.or_else(|| weights::of_slice(slice, problems)).unwrap_or(1);
    Some(Backend {
        address,
        port,
        weight: weight.max(1),
        state: weighed(state(endpoint.conditions), weight),
        local: locality.is_local(node, address),
        far: false,
        node: node.map(str::to_owned),
        pod,
    })
}

fn bad_address(slice: &EndpointSlice, index: usize, text: &str, fault: &str) -> Problem {
    let (owner, field) = match slice.endpoints.get(index).and_then(|endpoint| endpoint.target_ref.as_ref()) {
        // A derived slice is nobody's text; the pod's address is.
        Some(pod) if slice.derived => {
            (ObjectRef::new("Pod", &slice.metadata.namespace, &pod.name), "status.podIP".to_owned())
        }
        _ => (reference(slice), format!("endpoints[{index}].addresses[0]")),
    };
    Problem::error(code::ADDRESS_INVALID, &owner, fault).at(field, text).expected(address::EXPECTED)
}

fn reference(slice: &EndpointSlice) -> ObjectRef {
    let metadata = &slice.metadata;
    match slice.service() {
        Some(service) if slice.derived => ObjectRef::new("Endpoints", &metadata.namespace, service),
        _ => ObjectRef::new("EndpointSlice", &metadata.namespace, &metadata.name),
    }
}

/// As the API documents the conditions: unknown readiness is ready, unknown serving is readiness.
fn state(conditions: EndpointConditions) -> BackendState {
    let ready = conditions.ready.unwrap_or(true);
    let serving = conditions.serving.unwrap_or(ready);
    match (ready, serving && conditions.terminating == Some(true)) {
        (true, _) => BackendState::Active,
        (false, true) => BackendState::Terminating,
        (false, false) => BackendState::Unhealthy,
    }
}

/// Without any weight it keeps the flows that it has, like one that ends.
fn weighed(state: BackendState, weight: u16) -> BackendState {
    if weight == 0 { state.max(BackendState::Terminating) } else { state }
}

fn pod(slice: &EndpointSlice, endpoint: &Endpoint) -> Option<String> {
    let target = endpoint.target_ref.as_ref().filter(|target| target.kind == "Pod")?;
    let namespace = if target.namespace.is_empty() { &slice.metadata.namespace } else { &target.namespace };
    Some(format!("{namespace}/{}", target.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_to_states() {
        let state_of = |ready, serving, terminating| state(EndpointConditions { ready, serving, terminating });
        assert_eq!(state_of(None, None, None), BackendState::Active);
        assert_eq!(state_of(Some(true), Some(true), Some(false)), BackendState::Active);
        assert_eq!(state_of(Some(false), Some(true), Some(true)), BackendState::Terminating);
        assert_eq!(state_of(Some(false), Some(false), Some(true)), BackendState::Unhealthy);
        assert_eq!(state_of(Some(false), None, Some(true)), BackendState::Unhealthy);
        assert_eq!(state_of(Some(false), Some(true), None), BackendState::Unhealthy);
        // publishNotReadyAddresses
        assert_eq!(state_of(Some(true), Some(false), Some(true)), BackendState::Active);
    }
}
