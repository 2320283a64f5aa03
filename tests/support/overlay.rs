//! An overlay network: pods of other nodes are reached through a vxlan device only.

use anyhow::Result;

use crate::cluster::Cluster;
use crate::node::Node;

/// As flannel names it; a name with a dot, which pins write otherwise.
const TUNNEL: &str = "flannel.1";
/// What vxlan leaves of 1,500 bytes; the pods have it, too, as every CNI sees to it.
const MTU: u16 = 1450;

impl Cluster {
    /// Replaces the routes between the pods of the nodes by ones through a vxlan device, as flannel does it: the device has
    /// the first address of the node's pods. To be called once all pods are there.
    pub fn make_overlay(&self) -> Result<()> {
        for node in &self.nodes {
            self.add_tunnel(node)?;
            for interface in ["all", "default", "eth0", "cni0", TUNNEL] {
                node.netns.set_sysctl(&format!("net/ipv4/conf/{interface}/rp_filter"), "1")?;
            }
        }
        self.pods.iter().try_for_each(|pod| pod.netns.ip(&format!("link set eth0 mtu {MTU}")).map(drop))
    }

    /// Removes a node's tunnel and makes it anew.
    pub fn remake_tunnel(&self, node: &Node) -> Result<()> {
        node.netns.ip(&format!("link del {TUNNEL}"))?;
        self.add_tunnel(node)
    }

    fn add_tunnel(&self, node: &Node) -> Result<()> {
        let (netns, ip) = (&node.netns, node.ip);
        netns.ip(&format!("link add {TUNNEL} type vxlan id 1 local {ip} dev eth0 dstport 8472"))?;
        netns.ip(&format!("addr add 10.244.{}.0/32 dev {TUNNEL}", node.number))?;
        netns.ip(&format!("link set {TUNNEL} mtu {MTU} up"))?;
        for other in self.nodes.iter().filter(|other| other.number != node.number) {
            netns.shell(&format!("bridge fdb append 00:00:00:00:00:00 dev {TUNNEL} dst {}", other.ip))?;
            let hop = format!("via 10.244.{}.0 dev {TUNNEL} onlink", other.number);
            netns.ip(&format!("route replace {} {hop}", other.pod_cidr()))?;
        }
        Ok(())
    }
}
