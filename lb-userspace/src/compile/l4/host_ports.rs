//! Host ports of pods: on an address of the node, or on all of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::{Node, problems};
use super::{Claim, Claims};
use crate::model::{DesiredState, Frontend, Problem, Service, ServiceKey, ServiceType, TrafficPolicy};
use crate::tables::{FrontendKey, IpFamily};

/// Where the node's own processes, and nobody else, reach host ports too.
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

impl Claims {
    /// Host ports, where no frontend of a Service is in their way. Those of one address come before those of all.
    pub(super) fn add_host_ports(&mut self, desired: &DesiredState, node: &Node, problems: &mut Vec<Problem>) {
        let services = desired.services.values().filter(|service| service.service_type == ServiceType::HostPort);
        let ports = services.flat_map(|service| service.frontends.iter().map(move |frontend| (service, frontend)));
        let (some, all): (Vec<_>, Vec<_>) = ports.partition(|(_, frontend)| frontend.address.is_some());
        for (service, frontend) in some.into_iter().chain(all) {
            self.add_host_port(service, frontend, node, problems);
        }
    }

    fn add_host_port(&mut self, service: &Service, frontend: &Frontend, node: &Node, problems: &mut Vec<Problem>) {
        let mut holders = BTreeMap::<ServiceKey, FrontendKey>::new();
        let addresses: Vec<IpAddr> = match frontend.address {
            // whoever may ask for host ports may not have what is for others
            Some(address) if !address.is_loopback() && !node.own_addresses.contains(&address) => {
                return problems.push(problems::host_port_elsewhere(&service.key, address));
            }
            Some(address) => vec![address],
            None => node.node_addresses.iter().copied().chain(LOOPBACK).collect(),
        };
        for address in addresses.into_iter().filter(|address| service.families.contains(&IpFamily::of(*address))) {
            let key = FrontendKey { address, port: frontend.port, protocol: service.key.protocol, inside: false };
            match self.holder(&key) {
                None => {
                    let claim = Claim::of((service.key.clone(), IpFamily::of(address), TrafficPolicy::Cluster));
                    self.insert(key, Claim { cluster: address.is_loopback(), host_port: true, ..claim });
                }
                Some(claim) => drop(holders.entry(claim.owner.0.clone()).or_insert(key)),
            }
        }
        problems.extend(holders.iter().map(|(holder, at)| problems::host_port_taken(&service.key, holder, at)));
    }
}
