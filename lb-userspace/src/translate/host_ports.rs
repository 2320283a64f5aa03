//! Host ports of the pods on this node: each is a balanced port of its own, whose backend is the pod.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::backends::Locality;
use super::{Seniority, port, seniority};
use crate::model::problem::code;
use crate::model::{
    Backend, BackendState, Forwarding, ForwardingBy, Frontend, FrontendKind, IpFamily, ObjectRef, Policy, Problem,
    Protocol, Service, ServiceKey, ServiceType, Target,
};
use crate::source::Objects;
use crate::source::kinds::{Container, ContainerPort, Pod};

/// A host port that a pod on this node asks for.
struct Ask<'a> {
    pod: &'a Pod,
    /// Its place in the object.
    field: String,
    name: Option<&'a String>,
    /// `hostIP` as written, if it is more than "everywhere".
    host_ip: Option<IpAddr>,
    host_port: u16,
    container_port: u16,
    protocol: Protocol,
    /// The pod's addresses that the port leads to, one of a family.
    addresses: BTreeMap<IpFamily, IpAddr>,
}

/// What only one pod can have: an address of a family, or all of them (`None`), with port and protocol.
type Place = (IpFamily, Option<IpAddr>, u16, Protocol);

/// The host ports that are served here. Where two pods ask for one place the scheduler has let one go already: the one that
/// ends keeps its connections, and the other gets what is new.
pub(super) fn services(objects: &Objects, locality: &Locality, problems: &mut Vec<Problem>) -> Vec<Service> {
    let mut asks: Vec<Ask<'_>> = objects.pods().flat_map(|pod| asks(pod, locality, problems)).collect();
    asks.sort_by_cached_key(|ask| (ask.is_ending(), ask.seniority(), ask.field.clone()));
    let mut holders: BTreeMap<Place, usize> = BTreeMap::new();
    let mut services: Vec<Service> = Vec::new();
    for ask in &asks {
        let mut won = BTreeSet::new();
        for place in ask.places() {
            match holders.get(&place).copied() {
                None => drop(won.insert(place.0)),
                Some(holder) if ask.is_ending() => add_ending(&mut services[holder], ask, place.0),
                Some(holder) => problems.push(ask.conflict(&services[holder].key)),
            }
        }
        if !won.is_empty() {
            holders.extend(ask.places().filter(|place| won.contains(&place.0)).map(|place| (place, services.len())));
            services.push(ask.service(&won));
        }
    }
    services
}

/// The host ports of a pod, if it is here, has an address, and is not on the host's network, where the port is its own.
fn asks<'a>(pod: &'a Pod, locality: &Locality, problems: &mut Vec<Problem>) -> Vec<Ask<'a>> {
    if pod.has_ended() || pod.spec.host_network {
        return Vec::new();
    }
    let mut addresses: BTreeMap<IpFamily, IpAddr> = BTreeMap::new();
    for address in pod.addresses().filter_map(|address| address.parse().ok()) {
        addresses.entry(IpFamily::of(address)).or_insert(address);
    }
    let node = pod.spec.node_name.as_deref().filter(|name| !name.is_empty());
    if !addresses.values().any(|address| locality.is_local(node, *address)) {
        return Vec::new();
    }
    let own = ports("containers", &pod.spec.containers).chain(ports("initContainers", &pod.spec.init_containers));
    let asked = own.filter(|(_, port)| port.host_port.is_some_and(|number| number != 0));
    asked
        .filter_map(|(field, port)| {
            Ask::read(pod, field, port, &addresses).unwrap_or_else(|problem| {
                problems.push(*problem);
                None
            })
        })
        .collect()
}

fn ports<'a>(list: &'static str, containers: &'a [Container]) -> impl Iterator<Item = (String, &'a ContainerPort)> {
    containers.iter().enumerate().flat_map(move |(i, container)| {
        let ports = container.ports.iter().enumerate();
        ports.map(move |(j, port)| (format!("spec.{list}[{i}].ports[{j}]"), port))
    })
}

impl<'a> Ask<'a> {
    /// `None` if the pod has no address in the family of `hostIP`.
    fn read(
        pod: &'a Pod,
        field: String,
        written: &'a ContainerPort,
        addresses: &BTreeMap<IpFamily, IpAddr>,
    ) -> Result<Option<Self>, Box<Problem>> {
        let owner = owner(pod);
        let number = |name: &str, number: Option<i64>| {
            let number = number.unwrap_or_default();
            port::number(number).ok_or_else(|| {
                let problem = Problem::error(code::PORT_INVALID, &owner, "this is not a port");
                Box::new(problem.at(format!("{field}.{name}"), number).expected("1-65535"))
            })
        };
        let (host_port, container_port) =
            (number("hostPort", written.host_port)?, number("containerPort", written.container_port)?);
        let protocol = port::protocol(written.protocol.as_deref(), &field, &owner)?;
        if protocol == Protocol::Sctp && host_port != container_port {
            let what = "SCTP ports cannot be mapped, since its checksum covers them: the host port is not served";
            let problem = Problem::error(code::SCTP_PORT_MAPPED, &owner, what);
            let problem = problem.at(format!("{field}.hostPort"), host_port);
            return Err(Box::new(problem.expected("hostPort and containerPort equal")));
        }
        let host_ip = host_ip(written, &field, &owner)?;
        let mut addresses = addresses.clone();
        addresses.retain(|family, _| host_ip.is_none_or(|ip| IpFamily::of(ip) == *family));
        let name = written.name.as_ref().filter(|name| !name.is_empty());
        let ask = Self { pod, field, name, host_ip, host_port, container_port, protocol, addresses };
        Ok(Some(ask).filter(|ask| !ask.addresses.is_empty()))
    }

    fn is_ending(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }

    fn seniority(&self) -> Seniority {
        seniority(&self.pod.metadata)
    }

    /// The address to arrive at; `None` for all of the node.
    fn address(&self) -> Option<IpAddr> {
        self.host_ip.filter(|ip| !ip.is_unspecified())
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        self.addresses.keys().map(|family| (*family, self.address(), self.host_port, self.protocol))
    }

    fn conflict(&self, holder: &ServiceKey) -> Problem {
        let what = format!("the host port belongs to {}", holder.object());
        let problem = Problem::error(code::HOST_PORT_CONFLICT, &owner(self.pod), what);
        problem
            .at(format!("{}.hostPort", self.field), self.host_port)
            .expected("a port that no other pod of the node has")
    }

    fn service(&self, families: &BTreeSet<IpFamily>) -> Service {
        let metadata = &self.pod.metadata;
        Service {
            key: ServiceKey::of_pod(&metadata.namespace, &metadata.name, self.host_ip, self.host_port, self.protocol),
            port_name: self.name.cloned(),
            service_type: ServiceType::HostPort,
            families: families.iter().copied().collect(),
            frontends: vec![Frontend { kind: FrontendKind::HostPort, address: self.address(), port: self.host_port }],
            target: Target::Backends(
                families.iter().filter_map(|family| self.backend(*family, BackendState::Active)).collect(),
            ),
            forwarding: Forwarding::Snat,
            forwarding_by: ForwardingBy::default(),
            policy: Policy::default(),
            source_ranges: None,
        }
    }

    /// Readiness is for Services: a host port leads to its pod as long as that is there, as with the CNI plugin `portmap`.
    fn backend(&self, family: IpFamily, state: BackendState) -> Option<Backend> {
        let metadata = &self.pod.metadata;
        Some(Backend {
            address: *self.addresses.get(&family)?,
            port: self.container_port,
            weight: 1,
            state,
            node: self.pod.spec.node_name.clone(),
            local: true,
            far: false,
            pod: Some(format!("{}/{}", metadata.namespace, metadata.name)),
        })
    }
}

/// A pod that ends keeps the connections that it has, while another has its place.
fn add_ending(service: &mut Service, ask: &Ask<'_>, family: IpFamily) {
    let Target::Backends(backends) = &mut service.target else { return };
    let ending = ask.backend(family, BackendState::Terminating);
    let ending = ending.filter(|ending| backends.iter().all(|known| known.address != ending.address));
    backends.extend(ending);
    backends.sort();
}

fn owner(pod: &Pod) -> ObjectRef {
    ObjectRef::new("Pod", &pod.metadata.namespace, &pod.metadata.name)
}

/// `hostIP`; 0.0.0.0 and :: are all addresses of their family. Loopback is good: the node's own processes come from there.
fn host_ip(written: &ContainerPort, field: &str, owner: &ObjectRef) -> Result<Option<IpAddr>, Box<Problem>> {
    let Some(text) = written.host_ip.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
    match text.parse::<IpAddr>() {
        Ok(address) if !address.is_multicast() => Ok(Some(address)),
        _ => {
            let problem = Problem::error(code::ADDRESS_INVALID, owner, "this is not an address of a node");
            Err(Box::new(
                problem.at(format!("{field}.hostIP"), text).expected("an address of the node, or none for all"),
            ))
        }
    }
}
