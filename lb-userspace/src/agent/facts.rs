//! What the agent finds out about its node: its name, its interfaces and their addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::error::AgentError;
use super::node::{self, Taken};
use crate::compile::{self, Limits};
use crate::config::{Config, MAX_SYN_LIMIT};
use crate::dataplane::{self, addresses};
use crate::tables::Settings;

/// What the agent finds out about its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// `--node-name`, or the host name in lower case, as the kubelet takes it.
    pub(super) name: String,
    /// `--node-ip`, or the addresses of the external interfaces.
    pub(super) node_ips: Vec<IpAddr>,
    /// All addresses of the node.
    addresses: BTreeSet<IpAddr>,
    /// Where NodePorts and the front answer.
    pub(super) nodeport_addresses: BTreeSet<IpAddr>,
    /// The smallest MTU of the external interfaces; 0 if it is not known.
    pub(super) mtu: u16,
}

impl Facts {
    /// Asks the kernel.
    pub(super) fn find(config: &Config) -> Result<Self, AgentError> {
        let node_ips = match config.node_ips.as_slice() {
            [] => node::reachable(addresses::of_uplinks(&config.interfaces)?, &[]).into_iter().collect(),
            given => given.to_vec(),
        };
        let own: BTreeSet<IpAddr> = addresses::of_node()?.into_iter().collect();
        let nodeport_addresses = node::reachable(own.iter().copied(), &config.nodeport_addresses);
        let mtu = addresses::smallest_mtu(&config.interfaces)?;
        Ok(Self { name: name(config), node_ips, addresses: own, nodeport_addresses, mtu })
    }

    /// What compilation needs to know of the node; on addresses that are `taken` somebody else has the front's port.
    pub(super) fn node(&self, config: &Config, taken: &Taken) -> compile::Node {
        let free = |taken| self.nodeport_addresses.difference(taken).copied().collect();
        compile::Node {
            own_addresses: self.addresses.clone(),
            node_addresses: self.nodeport_addresses.clone(),
            front_addresses: free(&taken.http),
            tls_addresses: free(&taken.https),
            settings: Settings {
                snat_ports: config.snat_ports,
                node_ports: None,
                snat_address4: config.snat_address4,
                snat_address6: config.snat_address6,
                front_mark: config.fwmark,
                node_address4: None,
                node_address6: None,
                tunnel_mtu: self.mtu,
                syn_limit: config.syn_limit.unwrap_or_else(of_conntrack),
                ..Settings::default()
            },
            http_port: config.manifests.http_port,
            https_port: config.manifests.https_port,
            external_cluster_ips: config.external_cluster_ips,
            source_ranges_everywhere: config.source_ranges_everywhere,
            denied: None,
            limits: Limits { services: config.sizes.services, backends: config.sizes.backends },
        }
    }

    /// Settings of the data plane.
    pub(super) fn dataplane_config(&self, config: &Config) -> dataplane::Config {
        dataplane::Config {
            pin_path: config.pin_path.clone(),
            interfaces: config.interfaces.clone(),
            xdp: config.xdp,
            node_ips: self.node_ips.clone(),
            snat_ports: config.snat_ports,
            cgroup: config.cgroup.clone(),
            loopback_node_ports: node::on_loopback(&config.nodeport_addresses),
            fwmark: config.fwmark,
            table: config.table,
            sizes: config.sizes,
        }
    }
}

/// Unproven connections per second that keep a table of tracked connections of the kernel's free by more than half, if each is kept
/// for two minutes; no limit where the kernel tracks none.
fn of_conntrack() -> u32 {
    dataplane::conntrack().map_or(0, |conntrack| (conntrack.capacity / 1_000).clamp(1, u64::from(MAX_SYN_LIMIT)) as u32)
}

fn name(config: &Config) -> String {
    let host_name = || rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    config.manifests.node_name.clone().unwrap_or_else(host_name)
}
