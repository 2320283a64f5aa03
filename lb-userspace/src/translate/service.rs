//! One Service to its balanced ports.

use std::sync::Arc;

use super::backends::{self, Locality};
use super::port::{self, Port};
use super::{
    Seniority, Settings, choice, families, forwarding, front, frontends, policy, sctp, seniority, source_ranges,
    topology,
};
use crate::model::problem::code;
use crate::model::{
    Forwarding, ForwardingBy, Frontend, IpFamily, ObjectRef, Policy, Problem, Service, ServiceKey, ServiceType, Target,
};
use crate::pools;
use crate::source::kinds::{self, EndpointSlice};

/// A Service whose label names another proxy is left to that.
const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";

/// Prefix of our own annotations.
const ANNOTATIONS: &str = "weir.io/";

/// A balanced port before the global steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Draft {
    /// As it will be, but for node ports.
    pub(super) service: Service,
    /// Its place in `spec.ports`.
    pub(super) index: usize,
    /// What is asked for as node port.
    pub(super) node_port: NodePort,
    /// What the Service asks for as port of its health check.
    pub(super) health_check: NodePort,
    /// Who wins where two want the same.
    pub(super) seniority: Seniority,
}

/// What a port of a Service asks for as node port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodePort {
    /// None.
    No,
    /// Any.
    Any,
    /// This one.
    Fixed(u16),
}

impl Draft {
    /// The Service, for a Problem.
    pub(super) fn reference(&self) -> ObjectRef {
        reference(&self.service.key.namespace, &self.service.key.name)
    }

    /// Who comes first where two want the same.
    pub(super) fn rank(&self) -> (&Seniority, &ServiceKey) {
        (&self.seniority, &self.service.key)
    }
}

/// A label leaves it to another proxy.
pub(crate) fn is_of_other_proxy(object: &kinds::Service) -> bool {
    object.metadata.labels.contains_key(PROXY_NAME_LABEL)
}

/// Names a Service in a Problem.
pub(super) fn reference(namespace: &str, name: &str) -> ObjectRef {
    ObjectRef::new("Service", namespace, name)
}

/// Translates one Service.
pub(super) fn translate(
    object: &kinds::Service,
    slices: &[&Arc<EndpointSlice>],
    locality: &Locality,
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> Vec<Draft> {
    let owner = reference(&object.metadata.namespace, &object.metadata.name);
    let Some(service_type) = service_type(object, &owner, problems) else { return Vec::new() };
    if service_type == ServiceType::ExternalName || is_of_other_proxy(object) {
        return Vec::new();
    }
    if object.spec.ports.is_empty() && !object.is_headless() {
        let problem = Problem::error(code::SERVICE_PORTS_MISSING, &owner, "the Service has no port");
        problems.push(problem.at_field("spec.ports").expected("at least one port"));
    }
    ignored_annotations(object, &owner, problems);
    let ways = forwarding::of_service(object, settings, &owner, problems);
    let policy = policy::of(object, ways.0, &owner, problems);
    let topology = topology::counts(object, ways.0, &owner, problems);
    let health_check = policy::health_check(object, service_type, &policy, &owner, problems);
    let families = families::of(object, slices, &owner, problems);
    let vips = frontends::addresses(object, service_type, &families, (settings, &owner), problems);
    let source_ranges = source_ranges::of(object, service_type, &vips, &owner, problems);
    let ports = port::valid(object, &owner, problems);
    let drafts: Vec<_> = ports
        .into_iter()
        .map(|port| {
            let target = match front::listener(object, &port, settings, &owner, problems) {
                Some(listener) => Target::Front(listener),
                None => {
                    let backends = backends::of_port(slices, &families, &port, (locality, topology), problems);
                    Target::Backends(sctp::reachable(backends, &port, &owner, problems))
                }
            };
            let node_port = frontends::node_port(object, service_type, &port, &owner, problems);
            let node_port = sctp::node_port(node_port, service_type, &port, &owner, problems);
            let frontends: Vec<_> = vips.iter().map(|vip| vip.with_port(port.number)).collect();
            if let Target::Backends(backends) = &target {
                let is_node_port = node_port != NodePort::No;
                let lone = families::without_backends(&families, &frontends, is_node_port, backends, &owner);
                // One word per Service, not one per port.
                problems.extend(lone.filter(|lone| !problems.contains(lone)));
            }
            let service = balanced(object, service_type, families.clone(), &port, frontends, target, ways);
            let service = Service { policy, source_ranges: source_ranges.clone(), ..service };
            Draft { service, index: port.index, node_port, health_check, seniority: seniority(&object.metadata) }
        })
        .collect();
    if policy.syn_cookies && !drafts.iter().any(|draft| matches!(draft.service.target, Target::Front(_))) {
        problems.push(choice::wasted_cookies(&owner));
    }
    drafts
}

fn balanced(
    object: &kinds::Service,
    service_type: ServiceType,
    families: Vec<IpFamily>,
    port: &Port<'_>,
    frontends: Vec<Frontend>,
    target: Target,
    (forwarding, forwarding_by): (Forwarding, ForwardingBy),
) -> Service {
    Service {
        key: ServiceKey {
            namespace: object.metadata.namespace.clone(),
            name: object.metadata.name.clone(),
            port: port.number,
            protocol: port.protocol,
        },
        port_name: port.raw.name.clone().filter(|name| !name.is_empty()),
        service_type,
        families,
        frontends,
        target,
        forwarding,
        forwarding_by,
        policy: Policy::default(),
        source_ranges: None,
    }
}

fn service_type(object: &kinds::Service, owner: &ObjectRef, problems: &mut Vec<Problem>) -> Option<ServiceType> {
    match object.spec.service_type.as_deref() {
        None | Some("ClusterIP" | "") => Some(ServiceType::ClusterIP),
        Some("NodePort") => Some(ServiceType::NodePort),
        Some("LoadBalancer") => Some(ServiceType::LoadBalancer),
        Some("ExternalName") => Some(ServiceType::ExternalName),
        Some(other) => {
            let problem = Problem::error(code::SERVICE_TYPE_UNKNOWN, owner, "there is no such type");
            problems.push(problem.at("spec.type", other).expected("ClusterIP, NodePort, LoadBalancer or ExternalName"));
            None
        }
    }
}

/// One of our own annotations that has no effect yet.
fn is_ignored(key: &str) -> bool {
    let known = key == forwarding::ANNOTATION
        || key == choice::ALGORITHM
        || key == choice::SYN_COOKIES
        || pools::is_annotation(key);
    key.starts_with(ANNOTATIONS) && !known
}

/// Annotations that have no effect yet.
fn ignored_annotations(object: &kinds::Service, owner: &ObjectRef, problems: &mut Vec<Problem>) {
    let ours: Vec<_> = object.metadata.annotations.keys().filter(|key| is_ignored(key)).collect();
    if let Some(first) = ours.first() {
        let problem = Problem::info(code::ANNOTATIONS_IGNORED, owner, "annotations that are not honoured yet");
        let all = ours.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(", ");
        problems.push(problem.at(format!("metadata.annotations[{first}]"), all));
    }
}
