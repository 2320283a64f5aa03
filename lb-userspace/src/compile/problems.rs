//! The Problems that compilation finds. Conflicts between Services are settled before, in `translate`.

use std::net::IpAddr;

use crate::model::problem::code;
use crate::model::{FrontListener, Problem, ServiceKey, StreamPort};
use crate::tables::FrontendKey;

/// A Service has an address and port of the node on which the front would answer.
pub(super) fn front_address_taken(holder: &ServiceKey, key: &FrontendKey, listener: FrontListener) -> Problem {
    let flag = match listener {
        FrontListener::Http => "--http-port",
        FrontListener::Https => "--https-port",
    };
    let what = format!("it has {key}, so the front does not answer there");
    Problem::warning(code::FRONT_ADDRESS_TAKEN, &holder.object(), what)
        .expected(format!("another port for the Service, or for {flag} (0 switches it off)"))
}

/// A Service has an address and port of the node on which a port of the front would lead elsewhere.
pub(super) fn stream_taken(stream: &StreamPort, holder: &ServiceKey, key: &FrontendKey) -> Problem {
    let what = format!("it has {key}, so port {}/{} does not lead to {}", stream.port, stream.protocol, stream.service);
    Problem::warning(code::FRONT_ADDRESS_TAKEN, &holder.object(), what).expected("another port in the ConfigMap")
}

/// Somebody else has an address and port of the node that a pod asks for as host port.
pub(super) fn host_port_taken(key: &ServiceKey, holder: &ServiceKey, at: &FrontendKey) -> Problem {
    let what =
        format!("{} has {at}, so the host port {}/{} is not served there", holder.object(), key.port, key.protocol);
    Problem::warning(code::HOST_PORT_TAKEN, &key.object(), what)
        .expected("another hostPort, or another port of the Service")
}

/// A host port at an address that is not the node's.
pub(super) fn host_port_elsewhere(key: &ServiceKey, address: IpAddr) -> Problem {
    let what =
        format!("{address} is no address of this node, so the host port {}/{} is not served", key.port, key.protocol);
    Problem::error(code::ADDRESS_INVALID, &key.object(), what).expected("an address of the node, or none for all")
}

/// There is no id left for a service.
pub(super) fn services_exhausted(key: &ServiceKey, capacity: u32) -> Problem {
    let usable = capacity.saturating_sub(1);
    let what = format!("port {}/{} is not balanced: all {usable} service ids are in use", key.port, key.protocol);
    Problem::error(code::SERVICES_EXHAUSTED, &key.object(), what).expected(format!("--max-services above {capacity}"))
}

/// There is no id left for some of a service's backends.
pub(super) fn backends_exhausted(key: &ServiceKey, missing: usize, capacity: u32) -> Problem {
    let usable = capacity.saturating_sub(1);
    let what = format!(
        "port {}/{} goes without {missing} of its backends: all {usable} backend ids are in use",
        key.port, key.protocol
    );
    Problem::error(code::BACKENDS_EXHAUSTED, &key.object(), what).expected(format!("--max-backends above {capacity}"))
}
