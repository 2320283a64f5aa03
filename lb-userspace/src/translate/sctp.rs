//! SCTP keeps its ports: they are in a checksum over the whole packet (RFC 9260, section 6.8), which is not computed anew
//! for each packet. So a client has to send to the port that the backend listens on.

use super::port::Port;
use super::service::NodePort;
use crate::model::problem::code;
use crate::model::{Backend, ObjectRef, Problem, Protocol, ServiceType};

/// Leaves out the backends that listen on another port.
pub(super) fn reachable(
    backends: Vec<Backend>,
    port: &Port<'_>,
    owner: &ObjectRef,
    problems: &mut Vec<Problem>,
) -> Vec<Backend> {
    if port.protocol != Protocol::Sctp {
        return backends;
    }
    let (same, others): (Vec<_>, Vec<_>) = backends.into_iter().partition(|backend| backend.port == port.number);
    if let Some(other) = others.first() {
        let what = "SCTP ports cannot be mapped, since its checksum covers them: these backends are left out";
        let problem = Problem::error(code::SCTP_PORT_MAPPED, owner, what);
        let problem = match port.raw.target() {
            Some(target) => problem.at(port.field("targetPort"), target),
            None => problem.at(port.field("port"), port.number),
        };
        problems.push(problem.expected(format!("port and targetPort equal, such as {} for both", other.port)));
    }
    same
}

/// The node port, if it is the port itself. Where any would do, it is taken if it can be one.
pub(super) fn node_port(
    asked: NodePort,
    service_type: ServiceType,
    port: &Port<'_>,
    owner: &ObjectRef,
    problems: &mut Vec<Problem>,
) -> NodePort {
    let same = super::node_ports::RANGE.contains(&port.number);
    let problem = match asked {
        _ if port.protocol != Protocol::Sctp => return asked,
        NodePort::No => return asked,
        NodePort::Fixed(number) if number == port.number => return asked,
        NodePort::Any if same => return NodePort::Fixed(port.number),
        NodePort::Fixed(number) => {
            let what = "SCTP ports cannot be mapped, since its checksum covers them: there is no such node port";
            Problem::error(code::SCTP_PORT_MAPPED, owner, what).at(port.field("nodePort"), number)
        }
        // a load balancer has other frontends
        NodePort::Any => {
            let what = "the port cannot be a node port, and SCTP ports cannot be mapped: there is no node port";
            let problem = match service_type {
                ServiceType::NodePort => Problem::error(code::SCTP_PORT_MAPPED, owner, what),
                _ => Problem::info(code::SCTP_PORT_MAPPED, owner, what),
            };
            problem.at(port.field("port"), port.number)
        }
    };
    problems.push(problem.expected("port, targetPort and nodePort equal, in 30000-32767"));
    NodePort::No
}
