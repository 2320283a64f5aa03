use std::net::Ipv4Addr;

use anyhow::{Context, Result};

use crate::cluster::{Cluster, plug};
use crate::netns::Netns;

/// A client behind a router of its own, whose link carries smaller packets than the others.
///
/// ```text
///  client ── eth0 ── office ─ router ── eth0 ─── switch
///  192.168.78.100   .78.1    (mtu)     192.168.77.2
/// ```
#[derive(Debug)]
pub struct Branch {
    /// The client. Its own interface takes 1,500 bytes, so it offers servers a segment size that does not fit its link.
    pub client: Netns,
    /// The router.
    pub router: Netns,
}

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 2);
const SUBNET: &str = "192.168.78.0/24";

impl Branch {
    pub(crate) fn new(cluster: &Cluster, mtu: u16) -> Result<Self> {
        let name = cluster.wire.name().trim_end_matches("-wire");
        let (router, client) =
            (Netns::create(format!("{name}-branch"))?, Netns::create(format!("{name}-branch-client"))?);
        plug(&cluster.wire, "branch", &router, ROUTER)?;
        let first = cluster.nodes.first().context("no node")?;
        router.ip(&format!("route add default via {}", first.ip))?;
        router.ip(&format!("link add office type veth peer name eth0 netns {}", client.name()))?;
        router.ip("addr add 192.168.78.1/24 dev office")?;
        router.ip(&format!("link set office mtu {mtu} up"))?;
        router.set_sysctl("net/ipv4/ip_forward", "1")?;
        client.shell("ethtool -K eth0 tx off tso off gso off")?;
        client.ip("addr add 192.168.78.100/24 dev eth0")?;
        client.ip("link set eth0 up")?;
        client.ip("route add default via 192.168.78.1")?;
        for node in &cluster.nodes {
            node.netns.ip(&format!("route add {SUBNET} via {ROUTER}"))?;
        }
        Ok(Self { client, router })
    }
}
