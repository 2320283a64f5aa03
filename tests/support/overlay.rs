//! An overlay network: pods of other nodes are reached through vxlan devices only, one for each family.

use anyhow::{Context, Result};

use crate::cluster::Cluster;
use crate::family::Family;
use crate::node::Node;

/// What vxlan over IPv6 leaves of 1,500 bytes; the pods have it, too, as every CNI sees to it.
const MTU: u16 = 1430;

impl Family {
    /// The tunnel, as flannel names it; a name with a dot, which pins write otherwise.
    pub fn tunnel(self) -> &'static str {
        self.of("flannel.1", "flannel-v6.1")
    }
}

impl Cluster {
    /// Replaces the routes between the pods of the nodes by ones through vxlan devices, as flannel does it: the device has
    /// the first address of the node's pods. To be called once all pods are there.
    pub fn make_overlay(&self) -> Result<()> {
        for node in &self.nodes {
            Family::BOTH.iter().try_for_each(|family| self.add_tunnel(node, *family))?;
            for interface in ["all", "default", "eth0", "cni0", Family::V4.tunnel()] {
                node.netns.set_sysctl(&format!("net/ipv4/conf/{interface}/rp_filter"), "1")?;
            }
        }
        for pod in &self.pods {
            pod.netns.ip(&format!("link set eth0 mtu {MTU}"))?;
        }
        Ok(())
    }

    /// Removes a node's tunnel and makes it anew.
    pub fn remake_tunnel(&self, node: &Node, family: Family) -> Result<()> {
        node.netns.ip(&format!("link del {}", family.tunnel()))?;
        self.add_tunnel(node, family)
    }

    fn add_tunnel(&self, node: &Node, family: Family) -> Result<()> {
        let (netns, ip, tunnel) = (&node.netns, family.node(node), family.tunnel());
        let id = family.of(1, 2);
        netns.ip(&format!("link add {tunnel} type vxlan id {id} local {ip} dev eth0 dstport 8472"))?;
        netns.ip(&format!("addr add {}/{} dev {tunnel}", first(node, family)?, family.of(32, 128)))?;
        netns.ip(&format!("link set {tunnel} mtu {MTU} up"))?;
        for other in self.nodes.iter().filter(|other| other.number != node.number) {
            let destination = family.node(other);
            netns.shell(&format!("bridge fdb append 00:00:00:00:00:00 dev {tunnel} dst {destination}"))?;
            let pods = family.of(other.pod_cidr(), other.pod_cidr6());
            // a gateway within the route that it replaces would be one by another device (`ip6_route_check_nh_onlink`)
            netns.ip(&format!("{} route flush exact {pods}", family.option()))?;
            netns.ip(&format!("route add {pods} via {} dev {tunnel} onlink", first(other, family)?))?;
        }
        Ok(())
    }
}

/// The first address of a node's pods.
fn first(node: &Node, family: Family) -> Result<String> {
    let cidr = family.of(node.pod_cidr(), node.pod_cidr6());
    cidr.split_once('/').map(|(first, _)| first.to_owned()).with_context(|| cidr.clone())
}
