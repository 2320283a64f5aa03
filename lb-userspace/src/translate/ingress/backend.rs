//! The Service port that a route names, and what became of it.

use std::sync::Arc;

use crate::model::problem::code;
use crate::model::{BackendRef, ObjectRef, PathMatch, Problem, Protocol, Route, RouteKey, Service, ServiceKey, Target};
use crate::source::Objects;
use crate::source::kinds::{self, IngressBackend, IntOrString};
use crate::translate::port;
use crate::translate::{Services, external};

/// Where backends are looked up.
pub(crate) struct Lookup<'a> {
    pub(crate) objects: &'a Objects,
    pub(crate) services: &'a Services,
}

/// A port that cannot be reached, and why in a few words.
pub(crate) struct Missing {
    pub(crate) code: &'static str,
    /// It is the Service that is missing, not the port.
    whole: bool,
    pub(crate) what: String,
}

impl Missing {
    pub(crate) fn of_service(code: &'static str, what: String) -> Self {
        Missing { code, whole: true, what }
    }
}

impl Lookup<'_> {
    /// The backend of a path, and what is wrong with it in a few words; nothing if it names none.
    pub(super) fn backend(
        &self,
        backend: &IngressBackend,
        namespace: &str,
        field: &str,
        owner: &ObjectRef,
        problems: &mut Vec<Problem>,
    ) -> Option<(BackendRef, Option<String>)> {
        if let Some(resource) = &backend.resource {
            return Some(unsupported_resource(resource, namespace, field, owner, problems));
        }
        let Some(named) = NamedPort::of(backend) else {
            let problem = Problem::error(code::BACKEND_INVALID, owner, "the backend names no Service and port");
            problems.push(problem.at_field(field).expected("the name of a Service and one of its ports"));
            return None;
        };
        let found = self.resolve(namespace, named.service, &named.port);
        let resolved = found.as_ref().ok().cloned();
        let what = found.err().map(|missing| {
            let (below, value) = match missing.whole {
                true => (named.service_field, named.service.to_owned()),
                false => (named.port_field, named.port.to_string()),
            };
            let what = format!("{}; requests get 503", missing.what);
            problems.push(Problem::warning(missing.code, owner, what).at(format!("{field}.{below}"), value));
            missing.what
        });
        let (namespace, service, port) = (namespace.to_owned(), named.service.to_owned(), named.port.to_string());
        Some((BackendRef { namespace, service, port, resolved }, what))
    }

    /// The port that requests go to: a balanced one, or one of the name that a Service stands for.
    fn resolve(&self, namespace: &str, name: &str, port: &IntOrString) -> Result<ServiceKey, Missing> {
        let external = self.objects.service(namespace, name).filter(|object| object.is_external_name());
        let Some(object) = external else {
            return self.port(namespace, name, port).map(|service| service.key.clone());
        };
        let full = format!("{namespace}/{name}");
        if external::host(object).is_none() {
            let what = format!("Service {full} is of type ExternalName and names no host in spec.externalName");
            return Err(Missing { code: code::HOST_INVALID, whole: true, what });
        }
        // Such a Service need not list its ports: a number is a port of the host.
        let listed = object.spec.ports.iter().find(|candidate| names(port, candidate)).and_then(|found| found.port);
        let written = match port {
            IntOrString::Int(number) => Some(*number),
            IntOrString::Name(_) => None,
        };
        let number = listed.or(written).and_then(port::number).ok_or_else(|| {
            let what = format!("Service {full} has no port {port}; it has {}", ports(object));
            Missing { code: code::SERVICE_PORT_MISSING, whole: false, what }
        })?;
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Ok(ServiceKey { namespace, name, port: number, protocol: Protocol::Tcp })
    }

    /// Finds a port of a Service by number or name, of either protocol.
    pub(crate) fn exists(&self, namespace: &str, name: &str, port: &IntOrString) -> Result<u16, Missing> {
        let full = format!("{namespace}/{name}");
        let Some(object) = self.objects.service(namespace, name) else {
            let what = format!("Service {full} does not exist");
            return Err(Missing { code: code::SERVICE_MISSING, whole: true, what });
        };
        if object.is_external_name() {
            let what = format!("Service {full} is of type ExternalName, which only rules of Ingresses can lead to");
            return Err(Missing { code: code::SERVICE_TYPE_UNSUITABLE, whole: true, what });
        }
        let mut written = object.spec.ports.iter().filter(|candidate| names(port, candidate));
        written.find_map(|found| port::number(found.port?)).ok_or_else(|| {
            let what = format!("Service {full} has no port {port}; it has {}", ports(object));
            Missing { code: code::SERVICE_PORT_MISSING, whole: false, what }
        })
    }

    /// Finds a balanced TCP port of a Service by number or name.
    pub(crate) fn port(&self, namespace: &str, name: &str, port: &IntOrString) -> Result<&Service, Missing> {
        let number = self.exists(namespace, name, port)?;
        let full = format!("{namespace}/{name}");
        let key = ServiceKey {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            port: number,
            protocol: Protocol::Tcp,
        };
        match self.services.get(&key) {
            Some(Service { target: Target::Front(_), .. }) => {
                let what = format!("Service {full} is the front itself");
                Err(Missing { code: code::BACKEND_LOOP, whole: true, what })
            }
            Some(service) => Ok(service),
            None => {
                let what = format!("port {port} of Service {full} is not balanced over TCP");
                Err(Missing { code: code::SERVICE_PORT_MISSING, whole: false, what })
            }
        }
    }
}

fn names(wanted: &IntOrString, port: &kinds::ServicePort) -> bool {
    match wanted {
        IntOrString::Int(number) => port.port == Some(*number),
        IntOrString::Name(name) => port.name.as_ref() == Some(name),
    }
}

/// The ports of a Service, for a message.
fn ports(object: &kinds::Service) -> String {
    let ports = object.spec.ports.iter().filter_map(|port| {
        let number = port.port?;
        Some(port.name.as_ref().map_or_else(|| number.to_string(), |name| format!("{number} ({name})")))
    });
    let ports: Vec<_> = ports.collect();
    if ports.is_empty() { "none".to_owned() } else { ports.join(", ") }
}

/// Service and port as an Ingress of either version names them.
struct NamedPort<'a> {
    service: &'a str,
    port: IntOrString,
    service_field: &'static str,
    port_field: &'static str,
}

impl<'a> NamedPort<'a> {
    fn of(backend: &'a IngressBackend) -> Option<Self> {
        if let Some(service) = backend.service.as_ref().filter(|service| !service.name.is_empty()) {
            let number = service.port.number.map(|number| (IntOrString::Int(number), "service.port.number"));
            let name = || Some((service.port.name.as_deref()?.into(), "service.port.name"));
            let (port, port_field) = number.or_else(name)?;
            return Some(NamedPort { service: &service.name, port, service_field: "service.name", port_field });
        }
        let service = backend.service_name.as_deref().filter(|name| !name.is_empty())?;
        let port = backend.service_port.clone()?;
        Some(NamedPort { service, port, service_field: "serviceName", port_field: "servicePort" })
    }
}

fn unsupported_resource(
    resource: &kinds::TypedReference,
    namespace: &str,
    field: &str,
    owner: &ObjectRef,
    problems: &mut Vec<Problem>,
) -> (BackendRef, Option<String>) {
    let what = "backends other than Services are not supported";
    let value = format!("{} {}", resource.kind, resource.name);
    let problem = Problem::warning(code::BACKEND_RESOURCE, owner, format!("{what}; requests get 503"));
    problems.push(problem.at(format!("{field}.resource"), value).expected("service"));
    let service = resource.name.clone();
    let backend = BackendRef { namespace: namespace.to_owned(), service, port: String::new(), resolved: None };
    (backend, Some(what.to_owned()))
}

/// The route to the Service of `--default-backend-service`: its first port.
pub(super) fn default_service(namespace: &str, name: &str, lookup: &Lookup<'_>, problems: &mut Vec<Problem>) -> Route {
    let first = lookup.objects.service(namespace, name).and_then(|object| object.spec.ports.first()?.port);
    let port = IntOrString::Int(first.unwrap_or_default());
    let found = lookup.resolve(namespace, name, &port);
    let resolved = found.as_ref().ok().cloned();
    let problem = found.err().map(|missing| {
        let what = format!("--default-backend-service: {}; requests that no Ingress wants get 503", missing.what);
        problems.push(Problem::warning(missing.code, &ObjectRef::new("Service", namespace, name), what));
        missing.what
    });
    Route {
        key: RouteKey { host: None, path: PathMatch::Default },
        ingress: format!("{namespace}/{name}"),
        backend: BackendRef {
            namespace: namespace.to_owned(),
            service: name.to_owned(),
            port: first.map(|port| port.to_string()).unwrap_or_default(),
            resolved,
        },
        rewrite: None,
        filters: Arc::default(),
        problem,
    }
}
