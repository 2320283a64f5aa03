//! ConfigMaps of TCP and UDP ports: `"9000": namespace/service:port`.
//!
//! The ports are served in the kernel, by layer 4, on the addresses of the node on which the front answers. Layer 4
//! passes packets on and writes none of its own into a connection, so the dialect's `:PROXY` cannot be honoured there.

use super::reference;
use crate::model::problem::code;
use crate::model::{ObjectRef, Problem, Protocol, ServiceKey, StreamPort, Target, name};
use crate::source::kinds::{ConfigMap, IntOrString};
use crate::translate::ingress::backend::{Lookup, Missing};
use crate::translate::{Settings, port};

/// Reads a ConfigMap. What is wrong with an entry costs that entry.
pub(super) fn read(
    found: &ConfigMap,
    protocol: Protocol,
    settings: &Settings,
    lookup: &Lookup<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<StreamPort> {
    let reading = Reading { owner: reference(found), protocol, settings, lookup };
    let mut ports = Vec::new();
    for (key, text) in &found.data {
        match reading.entry(key, text) {
            Ok(port) => ports.push(port),
            Err(problem) => problems.push(*problem),
        }
    }
    ports
}

struct Reading<'a> {
    owner: ObjectRef,
    protocol: Protocol,
    settings: &'a Settings,
    lookup: &'a Lookup<'a>,
}

impl Reading<'_> {
    fn entry(&self, key: &str, text: &str) -> Result<StreamPort, Box<Problem>> {
        let invalid = |what: String, expected: &str| {
            let problem = Problem::error(code::CONFIGMAP_INVALID, &self.owner, what);
            Box::new(problem.at(format!("data[{key}]"), text).expected(expected))
        };
        let port = key.parse().ok().and_then(port::number);
        let port = port.ok_or_else(|| invalid(format!("{key} is not a port"), "a port, 1-65535, as key"))?;
        if self.protocol == Protocol::Tcp && [self.settings.http_port, self.settings.https_port].contains(&port) {
            return Err(invalid(format!("the front itself answers on port {port}"), "another port"));
        }
        let target = target(text)
            .ok_or_else(|| invalid("this names no Service and port".to_owned(), "namespace/service:port"))?;
        if target.proxy_protocol {
            return Err(Box::new(self.no_proxy_protocol(key, text)));
        }
        let service = self.service(&target).map_err(|missing| {
            let what = format!("{}; the port is not served", missing.what);
            Box::new(Problem::warning(missing.code, &self.owner, what).at(format!("data[{key}]"), text))
        })?;
        Ok(StreamPort { port, protocol: self.protocol, service })
    }

    fn no_proxy_protocol(&self, key: &str, text: &str) -> Problem {
        let what =
            "layer 4 passes connections on as they are and cannot speak the PROXY protocol; the port is not served";
        let expected = "an entry without PROXY; pods on the node where clients arrive see their addresses in any case";
        Problem::error(code::CONFIGMAP_INVALID, &self.owner, what).at(format!("data[{key}]"), text).expected(expected)
    }

    /// The balanced port that an entry names.
    fn service(&self, target: &StreamTarget<'_>) -> Result<ServiceKey, Missing> {
        let StreamTarget { namespace, name, port, .. } = target;
        let number = self.lookup.exists(namespace, name, port)?;
        let key = ServiceKey {
            namespace: (*namespace).to_owned(),
            name: (*name).to_owned(),
            port: number,
            protocol: self.protocol,
        };
        match self.lookup.services.get(&key).map(|service| &service.target) {
            Some(Target::Backends(_)) => Ok(key),
            Some(Target::Front(_)) => {
                Err(Missing::of_service(code::BACKEND_LOOP, format!("Service {namespace}/{name} is the front itself")))
            }
            None => {
                let what = format!("port {port} of Service {namespace}/{name} is not balanced over {}", self.protocol);
                Err(Missing::of_service(code::SERVICE_PORT_MISSING, what))
            }
        }
    }
}

/// What an entry names.
#[derive(Debug, PartialEq, Eq)]
struct StreamTarget<'a> {
    namespace: &'a str,
    name: &'a str,
    port: IntOrString,
    proxy_protocol: bool,
}

/// `namespace/service:port`, and behind that `:PROXY` for connections of clients, and once more for those to backends.
fn target(text: &str) -> Option<StreamTarget<'_>> {
    let (service, rest) = text.split_once(':')?;
    let (namespace, name) = name::split_qualified(service)?;
    let mut parts = rest.split(':');
    let port = parts.next().map(IntOrString::from)?;
    let valid = match &port {
        IntOrString::Int(number) => port::number(*number).is_some(),
        IntOrString::Name(name) => name::is_port_name(name),
    };
    let options: Vec<_> = parts.collect();
    let known = options.len() <= 2 && options.iter().all(|option| matches!(*option, "" | "PROXY"));
    let proxy_protocol = options.contains(&"PROXY");
    (valid && known).then_some(StreamTarget { namespace, name, port, proxy_protocol })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let good = |port: &str, proxy_protocol| {
            Some(StreamTarget { namespace: "a", name: "b", port: IntOrString::from(port), proxy_protocol })
        };
        assert_eq!(target("a/b:80"), good("80", false));
        assert_eq!(target("a/b:web:PROXY"), good("web", true));
        assert_eq!(target("a/b:80::PROXY"), good("80", true));
        for bad in ["", "a", "a/b", "b:80", "a/b:0", "a/b:70000", "a/b:80:TLS", "a/b/c:80", "a/b:", "a/b:80:::"] {
            assert_eq!(target(bad), None, "{bad}");
        }
    }
}
