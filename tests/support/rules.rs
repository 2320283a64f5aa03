//! What other programs put on a node, and what weir has to live with.

use anyhow::Result;

use crate::netns::Netns;

/// kube-proxy's rule against packets that conntrack cannot place.
pub(crate) fn kube_proxy_invalid(netns: &Netns) -> Result<()> {
    netns.shell("iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP")?;
    netns.shell("ip6tables -A FORWARD -m conntrack --ctstate INVALID -j DROP").map(drop)
}

/// A CNI's rule that hides pods behind the node, for all that leaves the pod network.
pub(crate) fn cni_masquerade(netns: &Netns, tables: &str, pod_cidr: &str, cluster_cidr: &str) -> Result<()> {
    netns.shell(&format!("{tables} -t nat -A POSTROUTING -s {pod_cidr} ! -d {cluster_cidr} -j MASQUERADE")).map(drop)
}
