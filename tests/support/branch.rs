use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};

use crate::cluster::{Cluster, forward, plug};
use crate::netns::Netns;

/// A client behind a router of its own, whose link carries smaller packets than the others.
///
/// ```text
///  client ── eth0 ── office ─ router ── eth0 ─── switch
///  192.168.78.100   .78.1    (mtu)     192.168.77.2
///  fd00:78::100     ::1                fd00:77::2
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
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 2);
const SUBNET6: &str = "fd00:78::/64";

impl Branch {
    pub(crate) fn new(cluster: &Cluster, mtu: u16) -> Result<Self> {
        let name = cluster.wire.name().trim_end_matches("-wire");
        let (router, client) =
            (Netns::create(format!("{name}-branch"))?, Netns::create(format!("{name}-branch-client"))?);
        plug(&cluster.wire, "branch", &router, (ROUTER, ROUTER6))?;
        let first = cluster.nodes.first().context("no node")?;
        router.ip(&format!("route add default via {}", first.ip))?;
        router.ip(&format!("route add default via {}", first.ip6))?;
        router.ip(&format!("link add office type veth peer name eth0 netns {}", client.name()))?;
        router.ip("addr add 192.168.78.1/24 dev office")?;
        router.ip("addr add fd00:78::1/64 dev office")?;
        router.ip(&format!("link set office mtu {mtu} up"))?;
        forward(&router)?;
        client.shell("ethtool -K eth0 tx off tso off gso off")?;
        client.ip("addr add 192.168.78.100/24 dev eth0")?;
        client.ip("addr add fd00:78::100/64 dev eth0")?;
        client.ip("link set eth0 up")?;
        client.ip("route add default via 192.168.78.1")?;
        client.ip("route add default via fd00:78::1")?;
        for node in &cluster.nodes {
            node.netns.ip(&format!("route add {SUBNET} via {ROUTER}"))?;
            node.netns.ip(&format!("route add {SUBNET6} via {ROUTER6}"))?;
        }
        Ok(Self { client, router })
    }
}
