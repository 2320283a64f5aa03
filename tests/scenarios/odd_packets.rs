//! Odd and right: IP options, extension headers, datagrams without a checksum. They come from a real client, by XDP at the first
//! node and by tc at the second, and go to pods on both.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use weir_lab::{Capture, Cluster, Family, Packet, SOON, Segment, Segment6, answer_to, eventually, send_raw, send_raw6};

use crate::common::{metric, scenario};
use crate::ipv6::dual;

/// First of the ports that the client sends from.
const PORT: u16 = 5_200;
/// Two no-operations, and the end of the list (RFC 791, section 3.1).
const OPTIONS: [u8; 4] = [1, 1, 0, 0];
/// Hop-by-hop options of eight bytes, all padding, then destination options of 24 with one for experiments that whoever does not
/// know it skips (RFC 8200, sections 4.2, 4.3 and 4.6, RFC 4727, section 3.3), then UDP.
const HEADERS: [u8; 32] =
    [60, 0, 1, 4, 0, 0, 0, 0, 17, 2, 0x1e, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20];

/// What is odd about a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Odd {
    Options,
    NoChecksum,
}

/// Sends such a datagram from a port.
fn send(cluster: &Cluster, odd: Odd, from: SocketAddr, to: SocketAddr) -> Result<()> {
    let data = b"odd";
    if to.is_ipv4() {
        let mut packet = Segment::udp(from, to, 11, data)?;
        match odd {
            Odd::Options => packet.options = OPTIONS.to_vec(),
            Odd::NoChecksum => packet.payload[6..8].fill(0),
        }
        return send_raw(&cluster.client, &packet);
    }
    let mut packet = Segment6::udp(from, to, data)?;
    match odd {
        Odd::Options => (packet.next, packet.headers) = (0, HEADERS.to_vec()),
        Odd::NoChecksum => packet.payload[6..8].fill(0),
    }
    send_raw6(&cluster.client, &packet)
}

/// Both pods answer such datagrams by a node, and see them as they were sent.
fn both_pods_get_it(cluster: &Cluster, odd: Odd, family: Family, entry: usize) -> Result<()> {
    let to = cluster.nodes[entry].port_of(family, 30053);
    // tcpdump finds no ports behind extension headers
    let filter = family.of("udp dst port 5353", "ip6[6] == 0 or udp dst port 5353");
    let captures = [0, 1].map(|pod: usize| Capture::start(&cluster.pods[pod].netns, "eth0", filter));
    let captures = captures.into_iter().collect::<Result<Vec<_>>>()?;
    let mut answered = BTreeSet::new();
    for port in PORT..PORT + 64 {
        let from = SocketAddr::new(family.client(), port);
        let answer = answer_to(&cluster.client, port, to, || send(cluster, odd, from, to))?;
        ensure!(answer.ends_with(" odd"), "{answer}");
        answered.extend(answer.split(' ').next().map(str::to_owned));
        if answered.len() == 2 {
            break;
        }
    }
    ensure!(answered.len() == 2, "only {answered:?} answered");
    for (capture, pod) in captures.iter().zip(&cluster.pods) {
        let at: IpAddr = family.pod(pod);
        eventually("the packet to be captured", SOON, || {
            let seen = capture.so_far()?;
            let here: Vec<&Packet> = seen.iter().filter(|packet| packet.destination == at).collect();
            ensure!(!here.is_empty() && here.iter().all(|packet| is_as_sent(packet, odd, family)), "{seen:?}");
            Ok(())
        })?;
    }
    Ok(())
}

fn is_as_sent(packet: &Packet, odd: Odd, family: Family) -> bool {
    let options: &[u8] = if odd == Odd::Options { family.of(&OPTIONS, &HEADERS) } else { &[] };
    let right = packet.header_checksum_ok && packet.checksum_ok && packet.protocol == 17 && packet.ports.1 == 5353;
    right && packet.options == options && packet.unchecked == (odd == Odd::NoChecksum)
}

/// RFC 8200, section 8.1: IPv6 has no datagrams without a checksum.
fn is_dropped_and_counted(cluster: &Cluster, entry: usize) -> Result<()> {
    const DROPS: &str = "weir_drops_total{reason=\"udp_zero_checksum\"}";
    let node = &cluster.nodes[entry];
    let before = metric(node, DROPS)?;
    let from = SocketAddr::new(Family::V6.client(), PORT);
    send(cluster, Odd::NoChecksum, from, node.port6(30053))?;
    eventually("the drop to be counted", SOON, || {
        let now = metric(node, DROPS)?;
        ensure!(now >= before + 1.0, "{now} as before");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn options_and_missing_checksums_reach_pods_on_both_nodes_as_they_were_sent() -> Result<()> {
    scenario(|cluster| {
        dual(cluster)?;
        cluster.nodes[1].agent_options().xdp = "off".to_owned();
        cluster.start_agents()?;
        for entry in [0, 1] {
            for (odd, family) in [(Odd::Options, Family::V4), (Odd::Options, Family::V6), (Odd::NoChecksum, Family::V4)]
            {
                both_pods_get_it(cluster, odd, family, entry)
                    .with_context(|| format!("{odd:?}, {family:?}, by node {entry}"))?;
            }
            is_dropped_and_counted(cluster, entry)?;
        }
        Ok(())
    })
}
