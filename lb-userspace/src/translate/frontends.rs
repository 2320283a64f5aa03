//! Where clients of a Service arrive.

use std::net::IpAddr;

use super::port::{self, Port};
use super::service::NodePort;
use super::{Settings, address, families, node_ports};
use crate::model::problem::code;
use crate::model::{Frontend, FrontendKind, IpFamily, ObjectRef, Problem, ServiceType};
use crate::pools;
use crate::source::kinds::{LoadBalancerIngress, Service};

/// An address of a Service; every port of the Service has a frontend on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vip {
    kind: FrontendKind,
    address: IpAddr,
}

impl Vip {
    /// Its kind.
    pub(super) const fn kind(&self) -> FrontendKind {
        self.kind
    }

    /// The address.
    pub(super) const fn address(&self) -> IpAddr {
        self.address
    }

    /// The frontend of a port.
    pub(super) fn with_port(self, port: u16) -> Frontend {
        Frontend { kind: self.kind, address: Some(self.address), port }
    }
}

/// All addresses of a Service in its families, each once. A headless one has none.
pub(super) fn addresses(
    object: &Service,
    service_type: ServiceType,
    families: &[IpFamily],
    (settings, owner): (&Settings, &ObjectRef),
    problems: &mut Vec<Problem>,
) -> Vec<Vip> {
    if object.is_headless() {
        return Vec::new();
    }
    let mut written = cluster_ips(object);
    written.extend(external_ips(object, (settings, owner), problems));
    if service_type == ServiceType::LoadBalancer {
        written.extend(load_balancer_ips(object, (settings, owner), problems));
    }
    let mut vips: Vec<Vip> = Vec::new();
    for (kind, field, text) in written {
        match address::routable(text) {
            Ok(address) if vips.iter().any(|vip| vip.address == address) => {}
            Ok(address) if families::is_other(address, families, owner, &field, problems) => {}
            Ok(address) => vips.push(Vip { kind, address }),
            Err(fault) => {
                let problem = Problem::error(code::ADDRESS_INVALID, owner, fault);
                problems.push(problem.at(field, text).expected(address::EXPECTED));
            }
        }
    }
    vips.sort_by_key(|vip| (vip.kind, vip.address));
    vips
}

type Written<'a> = (FrontendKind, String, &'a str);

/// `clusterIPs` repeats `clusterIP`.
fn cluster_ips(object: &Service) -> Vec<Written<'_>> {
    let several = object.spec.cluster_ips.iter().enumerate();
    let several = several.map(|(i, ip)| (FrontendKind::ClusterIP, format!("spec.clusterIPs[{i}]"), ip));
    let single = object.spec.cluster_ip.iter().filter(|_| object.spec.cluster_ips.is_empty());
    let single = single.map(|ip| (FrontendKind::ClusterIP, "spec.clusterIP".to_owned(), ip));
    let written = several.chain(single).filter(|(_, _, ip)| !ip.is_empty());
    written.map(|(kind, field, ip)| (kind, field, ip.as_str())).collect()
}

/// Anybody who may make a Service may ask for any address there, also one that is somebody else's (CVE-2020-8554). With
/// `--external-ips-from-pools` those count that are in a pool which is for the Service.
fn external_ips<'a>(
    object: &'a Service,
    (settings, owner): (&Settings, &ObjectRef),
    problems: &mut Vec<Problem>,
) -> Vec<Written<'a>> {
    let (pools, metadata) = (&settings.pools, &object.metadata);
    let is_granted =
        |ip: IpAddr| pools.of(ip).is_some_and(|pool| pools.admits(pool, &metadata.namespace, &metadata.labels));
    let mut granted = Vec::new();
    for (i, text) in object.spec.external_ips.iter().enumerate() {
        let field = format!("spec.externalIPs[{i}]");
        // What is no address is said later.
        if settings.external_ips_from_pools && text.parse().is_ok_and(|ip| !is_granted(ip)) {
            let what = "the Service may not use this address: it is in no pool that is for it";
            let problem = Problem::error(code::EXTERNAL_IP_DENIED, owner, what).at(field, text);
            problems.push(problem.expected("an address of an AddressPool whose selectors choose the Service"));
        } else {
            granted.push((FrontendKind::ExternalIP, field, text.as_str()));
        }
    }
    granted
}

fn load_balancer_ips<'a>(
    object: &'a Service,
    (settings, owner): (&Settings, &ObjectRef),
    problems: &mut Vec<Problem>,
) -> Vec<Written<'a>> {
    let status = object.status.load_balancer.ingress.iter().enumerate();
    let given = status.filter_map(|(i, ingress)| {
        let field = format!("status.loadBalancer.ingress[{i}].ip");
        Some((FrontendKind::LoadBalancer, field, own_address(ingress)?.as_str()))
    });
    let given: Vec<_> = given.collect();
    if !object.status.load_balancer.ingress.is_empty() {
        return given;
    }
    // of another class: its own controller gives it an address, and then it is ours to balance like any other; out of a pool:
    // whoever gives says in the status whether it has what it asks for
    if !is_of_our_class(object, settings) || !settings.pools.is_empty() {
        return given;
    }
    let (field, asked) = pools::asked_addresses(object).unwrap_or_default();
    let asked: Vec<_> = asked.into_iter().map(|ip| (FrontendKind::LoadBalancer, field.clone(), ip)).collect();
    if asked.is_empty() {
        let what = "the Service has no address yet, and there is no pool to take one from; its node ports work";
        let problem = Problem::info(code::LOAD_BALANCER_NO_POOL, owner, what);
        problems
            .push(problem.at_field("status.loadBalancer.ingress").expected("an address there, or spec.loadBalancerIP"));
    }
    asked
}

/// Its address is ours to give: the class says so, or there is none.
pub(crate) fn is_of_our_class(object: &Service, settings: &Settings) -> bool {
    object.spec.load_balancer_class.as_ref().is_none_or(|class| *class == settings.load_balancer_class)
}

fn own_address(ingress: &LoadBalancerIngress) -> Option<&String> {
    ingress.ip.as_ref().filter(|_| ingress.ip_mode.as_deref() != Some("Proxy"))
}

/// What a port asks for as node port.
pub(super) fn node_port(
    object: &Service,
    service_type: ServiceType,
    port: &Port<'_>,
    owner: &ObjectRef,
    problems: &mut Vec<Problem>,
) -> NodePort {
    let written = port.raw.node_port.filter(|number| *number != 0);
    let allowed = match service_type {
        ServiceType::NodePort => true,
        ServiceType::LoadBalancer => object.spec.allocate_load_balancer_node_ports != Some(false) || written.is_some(),
        ServiceType::ClusterIP | ServiceType::ExternalName | ServiceType::HostPort => false,
    };
    match written {
        None if allowed && !object.is_headless() => NodePort::Any,
        None => NodePort::No,
        Some(number) if !allowed || object.is_headless() => {
            let problem = Problem::error(code::NODE_PORT_UNUSED, owner, "this Service has no node ports");
            problems.push(problem.at(port.field("nodePort"), number).expected("spec.type NodePort or LoadBalancer"));
            NodePort::No
        }
        Some(number) => match port::number(number).filter(|number| node_ports::RANGE.contains(number)) {
            Some(number) => NodePort::Fixed(number),
            None => {
                let problem = Problem::error(code::NODE_PORT_OUT_OF_RANGE, owner, "this cannot be a node port");
                let expected = format!("{}-{}", node_ports::RANGE.start(), node_ports::RANGE.end());
                problems.push(problem.at(port.field("nodePort"), number).expected(expected));
                NodePort::No
            }
        },
    }
}
