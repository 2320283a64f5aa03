//! Ports of a Service.

use std::collections::HashSet;

use crate::model::problem::code;
use crate::model::{ObjectRef, Problem, Protocol, name};
use crate::source::kinds::{IntOrString, Service, ServicePort};

/// A port whose number and protocol are good.
#[derive(Clone, Copy, Debug)]
pub(super) struct Port<'a> {
    /// Its place in `spec.ports`.
    pub(super) index: usize,
    /// Number.
    pub(super) number: u16,
    /// Protocol.
    pub(super) protocol: Protocol,
    /// As written.
    pub(super) raw: &'a ServicePort,
}

impl Port<'_> {
    /// The path of one of its fields.
    pub(super) fn field(&self, field: &str) -> String {
        format!("spec.ports[{}].{field}", self.index)
    }
}

/// The good ports of a Service; each of the others costs itself.
pub(super) fn valid<'a>(object: &'a Service, owner: &ObjectRef, problems: &mut Vec<Problem>) -> Vec<Port<'a>> {
    let mut good: Vec<Port<'a>> = Vec::new();
    let mut taken = Taken::default();
    for (index, raw) in object.spec.ports.iter().enumerate() {
        let judged = judge(index, raw, owner).and_then(|port| taken.agree(port, object.spec.ports.len(), owner));
        match judged {
            Ok(port) => good.push(port),
            Err(problem) => problems.push(*problem),
        }
    }
    good
}

type Judgement<'a> = Result<Port<'a>, Box<Problem>>;

/// Looks at a port alone.
fn judge<'a>(index: usize, raw: &'a ServicePort, owner: &ObjectRef) -> Judgement<'a> {
    let field = |field: &str| format!("spec.ports[{index}].{field}");
    let Some(written) = raw.port else {
        let problem = Problem::error(code::PORT_INVALID, owner, "the port has no number");
        return Err(Box::new(problem.at_field(field("port")).expected("1-65535")));
    };
    let Some(number) = number(written) else {
        let problem = Problem::error(code::PORT_INVALID, owner, "this is not a port");
        return Err(Box::new(problem.at(field("port"), written).expected("1-65535")));
    };
    if let Some(&IntOrString::Int(target)) = raw.target()
        && self::number(target).is_none()
    {
        let problem = Problem::error(code::PORT_INVALID, owner, "this is not a port");
        let expected = "1-65535, or the name of a port of the pods";
        return Err(Box::new(problem.at(field("targetPort"), target).expected(expected)));
    }
    let protocol = protocol(raw.protocol.as_deref(), &format!("spec.ports[{index}]"), owner)?;
    Ok(Port { index, number, protocol, raw })
}

/// A protocol by its name; that of a port without one is TCP. `port` is the place of the port in its object.
pub(super) fn protocol(written: Option<&str>, port: &str, owner: &ObjectRef) -> Result<Protocol, Box<Problem>> {
    match written {
        None | Some("TCP" | "") => Ok(Protocol::Tcp),
        Some("UDP") => Ok(Protocol::Udp),
        Some("SCTP") => Ok(Protocol::Sctp),
        Some(other) => {
            let problem = Problem::error(code::PROTOCOL_UNKNOWN, owner, "there is no such protocol");
            Err(Box::new(problem.at(format!("{port}.protocol"), other).expected("TCP, UDP or SCTP")))
        }
    }
}

/// What the good ports so far have taken: slices tell ports apart by name.
#[derive(Default)]
struct Taken<'a> {
    numbers: HashSet<(u16, Protocol)>,
    names: HashSet<&'a str>,
}

impl<'a> Taken<'a> {
    /// Looks at a port beside those before it.
    fn agree(&mut self, port: Port<'a>, count: usize, owner: &ObjectRef) -> Judgement<'a> {
        let port_name = port.raw.name.as_deref().unwrap_or_default();
        if self.numbers.contains(&(port.number, port.protocol)) {
            let problem = Problem::error(code::PORT_DUPLICATE, owner, "the port is given twice; the first counts");
            return Err(Box::new(problem.at(port.field("port"), port.number)));
        }
        let fault = match port_name {
            "" if count > 1 => Some("each port needs a name where there are several"),
            "" => None,
            _ if !name::is_port_name(port_name) => Some("this is not a name"),
            _ if self.names.contains(port_name) => Some("the name is used twice"),
            _ => None,
        };
        if let Some(fault) = fault {
            let problem = Problem::error(code::PORT_NAME_INVALID, owner, fault);
            let expected = "a name of its own of lower-case letters, digits and '-'";
            return Err(Box::new(problem.at(port.field("name"), port_name).expected(expected)));
        }
        self.numbers.insert((port.number, port.protocol));
        self.names.insert(port_name);
        Ok(port)
    }
}

/// A port number, if it is one.
pub(super) fn number(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|number| *number != 0)
}
