//! Services whose backend is the node's own front.

use super::Settings;
use super::port::Port;
use crate::model::problem::code;
use crate::model::{FrontListener, ObjectRef, Problem, Protocol};
use crate::source::kinds::{IntOrString, Service};

/// The listener that a port leads to, if the front's labels satisfy the Service's selector.
pub(super) fn listener(
    object: &Service,
    port: &Port<'_>,
    settings: &Settings,
    owner: &ObjectRef,
    problems: &mut Vec<Problem>,
) -> Option<FrontListener> {
    if !selects_front(object, settings) {
        return None;
    }
    let target = port.raw.target().cloned().unwrap_or(IntOrString::Int(port.number.into()));
    let field = if port.raw.target().is_some() { "targetPort" } else { "port" };
    let unspoken = match port.protocol {
        Protocol::Tcp => None,
        Protocol::Udp if settings.http3 => None,
        Protocol::Udp => Some(Problem::info(
            code::FRONT_PORT_UNKNOWN,
            owner,
            "the front does not speak HTTP/3, which --http3 asks for",
        )),
        Protocol::Sctp => Some(Problem::warning(code::FRONT_PORT_UNKNOWN, owner, "the front does not speak SCTP")),
    };
    if let Some(problem) = unspoken {
        problems.push(problem.at(port.field("protocol"), port.protocol).expected("TCP"));
        return None;
    }
    let listener = named_listener(&target, settings);
    let fault = match listener {
        None => Some("the Service selects the front, which has no such port; its own endpoints are used"),
        Some(FrontListener::Http) if settings.http_port == 0 => Some("the front's HTTP port is switched off"),
        Some(FrontListener::Https) if settings.https_port == 0 => Some("the front's HTTPS port is switched off"),
        // An answer over UDP leaves from the port of its socket.
        Some(listener)
            if port.protocol == Protocol::Udp
                && (listener, port.number) != (FrontListener::Https, settings.https_port) =>
        {
            Some("HTTP/3 is spoken at the port of HTTPS and no other")
        }
        Some(_) => None,
    };
    if let Some(fault) = fault {
        let problem = Problem::warning(code::FRONT_PORT_UNKNOWN, owner, fault);
        problems.push(problem.at(port.field(field), target).expected("80 or http, 443 or https"));
    }
    listener
}

/// Every label that the Service selects is one of the front's.
pub(super) fn selects_front(object: &Service, settings: &Settings) -> bool {
    let has = |(key, value): (&String, &String)| settings.front_labels.iter().any(|(k, v)| (k, v) == (key, value));
    !object.spec.selector.is_empty() && object.spec.selector.iter().all(has)
}

fn named_listener(target: &IntOrString, settings: &Settings) -> Option<FrontListener> {
    match target {
        IntOrString::Int(80) => Some(FrontListener::Http),
        IntOrString::Int(443) => Some(FrontListener::Https),
        IntOrString::Int(number) if *number == i64::from(settings.http_port) => Some(FrontListener::Http),
        IntOrString::Int(number) if *number == i64::from(settings.https_port) => Some(FrontListener::Https),
        IntOrString::Name(name) if name == "http" => Some(FrontListener::Http),
        IntOrString::Name(name) if name == "https" => Some(FrontListener::Https),
        _ => None,
    }
}
