//! ConfigMaps of TCP and UDP ports: `"9000": namespace/service:port`.
//!
//! The ports are served in the kernel, by layer 4, on the addresses of the node on which the front answers. Layer 4
//! passes packets on and writes none of its own into a connection, so those with the dialect's `:PROXY` are served by the
//! front.

use super::reference;
use crate::model::problem::code;
use crate::model::{ObjectRef, Problem, Protocol, Service, ServiceKey, StreamPort, StreamProxy, Target, name};
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
        if target.proxy.is_some() {
            self.served_by_front(port).map_err(|(what, expected)| invalid(what, expected))?;
        }
        let service = self.service(&target).map_err(|missing| {
            let what = format!("{}; the port is not served", missing.what);
            Box::new(Problem::warning(missing.code, &self.owner, what).at(format!("data[{key}]"), text))
        })?;
        Ok(StreamPort { port, protocol: self.protocol, service, proxy: target.proxy })
    }

    /// The front speaks TCP, and tells connections by their port.
    fn served_by_front(&self, port: u16) -> Result<(), (String, &'static str)> {
        if self.protocol != Protocol::Tcp {
            return Err(("the PROXY protocol is spoken over TCP only".to_owned(), "an entry without PROXY"));
        }
        let is_front = |service: &&Service| matches!(service.target, Target::Front(_));
        let holder = self.lookup.services.values().filter(is_front).find(|service| {
            service.key.protocol == Protocol::Tcp && service.frontends.iter().any(|frontend| frontend.port == port)
        });
        match holder {
            Some(holder) => {
                Err((format!("the front itself answers on port {port}, as Service {}", holder.key), "another port"))
            }
            None => Ok(()),
        }
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
    proxy: Option<StreamProxy>,
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
    let says = |position: usize| options.get(position) == Some(&"PROXY");
    let proxy = StreamProxy { decode: says(0), encode: says(1) };
    let proxy = Some(proxy).filter(|proxy| proxy.decode || proxy.encode);
    (valid && known).then_some(StreamTarget { namespace, name, port, proxy })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let good = |port: &str, proxy: Option<(bool, bool)>| {
            let proxy = proxy.map(|(decode, encode)| StreamProxy { decode, encode });
            Some(StreamTarget { namespace: "a", name: "b", port: IntOrString::from(port), proxy })
        };
        assert_eq!(target("a/b:80"), good("80", None));
        assert_eq!(target("a/b:web:PROXY"), good("web", Some((true, false))));
        assert_eq!(target("a/b:80::PROXY"), good("80", Some((false, true))));
        assert_eq!(target("a/b:80:PROXY:PROXY"), good("80", Some((true, true))));
        for bad in ["", "a", "a/b", "b:80", "a/b:0", "a/b:70000", "a/b:80:TLS", "a/b/c:80", "a/b:", "a/b:80:::"] {
            assert_eq!(target(bad), None, "{bad}");
        }
    }
}
