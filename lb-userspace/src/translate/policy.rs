//! The policies of a Service: which backends its clients are led to.

use super::port;
use super::service::NodePort;
use super::{choice, node_ports};
use crate::model::problem::code;
use crate::model::{Forwarding, ObjectRef, Policy, Problem, ServiceType, TrafficPolicy};
use crate::source::kinds::Service;

/// The policies as written; the port of the health check is given out later.
pub(super) fn of(object: &Service, forwarding: Forwarding, owner: &ObjectRef, problems: &mut Vec<Problem>) -> Policy {
    let spec = &object.spec;
    Policy {
        external: traffic(("spec.externalTrafficPolicy", &spec.external_traffic_policy), owner, problems),
        internal: traffic(("spec.internalTrafficPolicy", &spec.internal_traffic_policy), owner, problems),
        affinity: choice::affinity(object, owner, problems),
        algorithm: choice::algorithm(object, forwarding, owner, problems),
        syn_cookies: choice::syn_cookies(object, owner, problems),
        health_check: None,
    }
}

fn traffic(
    (field, written): (&'static str, &Option<String>),
    owner: &ObjectRef,
    problems: &mut Vec<Problem>,
) -> TrafficPolicy {
    match written.as_deref() {
        None | Some("Cluster" | "") => TrafficPolicy::Cluster,
        Some("Local") => TrafficPolicy::Local,
        Some(other) => {
            let problem = Problem::warning(code::FIELD_INVALID, owner, "there is no such setting; taken as Cluster");
            problems.push(problem.at(field, other).expected("Cluster or Local"));
            TrafficPolicy::Cluster
        }
    }
}

/// What a Service asks for as port of its health check: one, if an outer load balancer has to know which nodes have backends.
pub(super) fn health_check(
    object: &Service,
    service_type: ServiceType,
    policy: &Policy,
    owner: &ObjectRef,
    problems: &mut Vec<Problem>,
) -> NodePort {
    let written = object.spec.health_check_node_port.filter(|number| *number != 0);
    let wanted = service_type == ServiceType::LoadBalancer && policy.external == TrafficPolicy::Local;
    let field = "spec.healthCheckNodePort";
    match written {
        None if wanted && !object.is_headless() => NodePort::Any,
        None => NodePort::No,
        Some(number) if !wanted || object.is_headless() => {
            let what = "nobody asks for the health of this Service: every node leads to its backends";
            let problem = Problem::warning(code::NODE_PORT_UNUSED, owner, what).at(field, number);
            problems.push(problem.expected("type LoadBalancer with externalTrafficPolicy Local"));
            NodePort::No
        }
        Some(number) => match port::number(number).filter(|number| node_ports::RANGE.contains(number)) {
            Some(number) => NodePort::Fixed(number),
            None => {
                let problem = Problem::error(code::NODE_PORT_OUT_OF_RANGE, owner, "this cannot be a node port");
                let expected = format!("{}-{}", node_ports::RANGE.start(), node_ports::RANGE.end());
                problems.push(problem.at(field, number).expected(expected));
                NodePort::No
            }
        },
    }
}
