//! What happens to the external interfaces of nodes: a second one, one that is made anew, one that somebody else uses.

use anyhow::{Context, Result};

use crate::cluster::{CLIENT, CLIENT6, Cluster};
use crate::netns::Netns;

/// The wire's address on its second network.
const ROUTER2: &str = "192.168.79.1";
/// The same of IPv6.
const ROUTER2_6: &str = "fd00:79::1";

impl Cluster {
    /// Gives a node a second external interface, `eth1`, on a network of its own (192.168.79.0/24, fd00:79::/64) behind the same router:
    /// what the node sends to the client and to other nodes' pods goes there, what they send to it comes by `eth0`.
    pub fn add_second_uplink(&mut self, node: usize) -> Result<()> {
        let host = self.nodes.get(node).with_context(|| format!("there is no node {node}"))?;
        let port = format!("{}-b", host.name);
        self.wire.ip(&format!("link add {port} type veth peer name eth1 netns {}", host.netns.name()))?;
        self.wire.ip(&format!("addr add {ROUTER2}/24 dev {port}"))?;
        self.wire.ip(&format!("addr add {ROUTER2_6}/64 dev {port}"))?;
        self.wire.ip(&format!("link set {port} up"))?;
        host.netns.shell("ethtool -K eth1 tx off tso off gso off")?;
        host.netns.ip(&format!("addr add 192.168.79.{}/24 dev eth1", 10 + host.number))?;
        host.netns.ip(&format!("addr add fd00:79::{}/64 dev eth1", 10 + host.number))?;
        host.netns.ip("link set eth1 up")?;
        host.netns.ip(&format!("route add {CLIENT}/32 via {ROUTER2}"))?;
        host.netns.ip(&format!("route add {CLIENT6}/128 via {ROUTER2_6}"))?;
        for other in self.nodes.iter().filter(|other| other.number != host.number) {
            host.netns.ip(&format!("route replace {} via {ROUTER2}", other.pod_cidr()))?;
            host.netns.ip(&format!("route replace {} via {ROUTER2_6}", other.pod_cidr6()))?;
            self.wire.ip(&format!("route add {} via {}", other.pod_cidr(), other.ip))?;
            self.wire.ip(&format!("route add {} via {}", other.pod_cidr6(), other.ip6))?;
        }
        // Packets that take one way there and another one back are no spoofed ones.
        for interface in ["all", "eth0", "eth1"] {
            host.netns.set_sysctl(&format!("net/ipv4/conf/{interface}/rp_filter"), "2")?;
        }
        self.lab.attach_pass(&self.wire, &port)
    }

    /// Takes a node's `eth0` away, with all that was on it.
    pub fn remove_uplink(&self, node: usize) -> Result<()> {
        let host = self.nodes.get(node).with_context(|| format!("there is no node {node}"))?;
        host.netns.ip("link del eth0").map(drop)
    }

    /// Gives a node a new `eth0` in place of one that was removed, with the same addresses and routes.
    pub fn replug_uplink(&mut self, node: usize) -> Result<()> {
        self.plug_again(node)?;
        let host = self.nodes.get(node).with_context(|| format!("there is no node {node}"))?;
        self.lab.attach_pass(&self.wire, &host.name)
    }

    /// Gives a node an `eth0` for tc alone: the switch's end of it has no XDP program, and so it takes large packets whole
    /// (drivers/net/veth.c, `veth_xdp_set`).
    pub fn whole_packets(&mut self, node: usize) -> Result<()> {
        self.remove_uplink(node)?;
        self.plug_again(node)
    }

    fn plug_again(&self, node: usize) -> Result<()> {
        let host = self.nodes.get(node).with_context(|| format!("there is no node {node}"))?;
        crate::cluster::plug(&self.wire, &host.name, &host.netns, (host.ip, host.ip6))?;
        self.reconnect(node)
    }

    /// Puts the client and a node behind two VLANs on the switch, one within the other: their packets have two tags on the
    /// wire, as from a customer's network that a provider carries.
    pub fn tag_client_and_node(&mut self, node: usize) -> Result<()> {
        let host = self.nodes.get(node).with_context(|| format!("there is no node {node}"))?;
        self.lab.attach_tags(&self.client, "eth0")?;
        self.lab.attach_tags(&host.netns, "eth0")?;
        // tags stand in the bytes of frames, as on a real wire; a veth hands them on beside the packet
        let in_bytes = |netns: &Netns, port: &str| {
            netns.shell(&format!("ethtool -K {port} txvlan off tx-vlan-stag-hw-insert off")).map(drop)
        };
        for port in self.nodes.iter().map(|node| node.name.as_str()).chain(["client"]) {
            in_bytes(&self.wire, port)?;
        }
        for netns in self.nodes.iter().map(|node| &node.netns).chain([&self.client]) {
            in_bytes(netns, "eth0")?;
        }
        Ok(())
    }

    /// Puts them behind one VLAN in place of two.
    pub fn tag_once(&mut self) -> Result<()> {
        self.lab.use_one_tag()
    }

    /// Counts whether the sums over whole packets that an interface of a node gives are right behind the node's programs.
    pub fn watch_sums(&mut self, node: usize, interface: &str) -> Result<()> {
        let host = self.nodes.get(node).with_context(|| format!("there is no node {node}"))?;
        self.lab.attach_sum(&host.netns, interface)
    }

    /// How many of them were right, wrong, or not given.
    pub fn sums(&self) -> Result<[u64; 3]> {
        self.lab.sums()
    }

    /// Puts an XDP program that is not weir's on an interface of a node.
    pub fn occupy(&mut self, node: usize, interface: &str) -> Result<()> {
        let host = self.nodes.get(node).with_context(|| format!("there is no node {node}"))?;
        self.lab.attach_pass(&host.netns, interface)
    }

    /// Makes every link take packets of `mtu` bytes. To be called once all pods are there.
    pub fn set_mtu(&self, mtu: u16) -> Result<()> {
        let set = |netns: &Netns, interface: &str| netns.ip(&format!("link set {interface} mtu {mtu}")).map(drop);
        for port in self.nodes.iter().map(|node| node.name.as_str()).chain(["client"]) {
            set(&self.wire, port)?;
        }
        set(&self.client, "eth0")?;
        for node in &self.nodes {
            set(&node.netns, "eth0")?;
        }
        for pod in &self.pods {
            set(&pod.netns, "eth0")?;
            let node = self.nodes.iter().find(|node| node.name == pod.node).context("a pod has a node")?;
            // The pods' ends of the bridge are named by the last number of their address, less ten.
            set(&node.netns, &format!("pod{}", pod.ip.octets()[3] - 10))?;
        }
        for node in &self.nodes {
            set(&node.netns, "cni0")?;
        }
        set(&self.wire, "switch")
    }

    /// Lets the client leave segmentation and checksums to its device, as veth does by default.
    pub fn offload_client(&self) -> Result<()> {
        offload(&self.client)
    }
}

fn offload(netns: &Netns) -> Result<()> {
    netns.shell("ethtool -K eth0 tx on tso on gso on").map(drop)
}
