//! Checksums on the wire, with transmit offload of the pods on and off: nobody else verifies them on a veth.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, SockAddr, Socket, Type};
use weir_lab::{CLIENT, Capture, ClusterOptions, Netns, Request, SOON, ask_udp, eventually};

use crate::common::{EXTERNAL, metric, options, scenario, scenario_with, web};
use crate::ipv6::{EXTERNAL6, dual};

fn checksums_are_right(pod_offload: bool) -> Result<()> {
    scenario_with(&ClusterOptions { pod_offload, ..options()? }, |cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let captures = cluster.nodes.iter().map(|node| Capture::start(&cluster.wire, &node.name, "ip"));
        let captures = captures.collect::<Result<Vec<_>>>()?;
        for to in [cluster.nodes[0].port(30080), cluster.nodes[1].port(30080), (EXTERNAL, 80).into()] {
            for _ in 0..8 {
                let response = Request::get("x", "/bytes/100000").send(&cluster.client, to)?;
                ensure!(response.body.len() == 100_000, "{to}: {} bytes", response.body.len());
                let udp = std::net::SocketAddr::new(to.ip(), if to.port() == 80 { 5353 } else { 30053 });
                ask_udp(&cluster.client, udp, None, "odd")?;
            }
        }
        for (node, capture) in cluster.nodes.iter().zip(captures) {
            let packets = capture.stop()?;
            for (protocol, ports) in [(6, [80, 30080]), (17, [5353, 30053])] {
                let to_client = packets.iter().filter(|p| p.destination == CLIENT && p.protocol == protocol);
                let replies = to_client.filter(|p| ports.contains(&p.ports.0)).count();
                // Half of them: what tcpdump has not yet seen when it is ended is lost.
                ensure!(replies >= 4, "{}: {replies} replies of protocol {protocol} seen", node.name);
            }
            let wrong: Vec<_> = packets.iter().filter(|p| !p.checksum_ok || !p.header_checksum_ok).take(3).collect();
            ensure!(wrong.is_empty(), "wrong checksums from {}: {wrong:?}", node.name);
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn right_with_transmit_offload_on() -> Result<()> {
    checksums_are_right(true)
}

#[test]
#[ignore = "needs root"]
fn right_with_transmit_offload_off() -> Result<()> {
    checksums_are_right(false)
}

/// Sends a packet that no router passes on: a datagram, or the first segment of a connection.
fn send_with_no_hops_left(from: &Netns, to: SocketAddr, kind: Type) -> Result<()> {
    from.run(|| {
        let socket = Socket::new(Domain::for_address(to), kind, None)?;
        match to {
            SocketAddr::V4(_) => socket.set_ttl_v4(1)?,
            SocketAddr::V6(_) => socket.set_unicast_hops_v6(1)?,
        }
        socket.set_nonblocking(true)?;
        let _ = socket.connect(&SockAddr::from(to)); // a connection is not made at once, and this one never
        if kind == Type::DGRAM {
            socket.send(b"who is there? nobody on this side of the router")?;
        }
        Ok(())
    })
}

/// The client leaves checksums to its device, so the node's program sees partial ones. What the node sends is completed in
/// software, as a device would do it.
#[test]
#[ignore = "needs root"]
fn own_errors_are_right_about_packets_with_partial_checksums() -> Result<()> {
    scenario(|cluster| {
        dual(cluster)?;
        cluster.nodes[0].agent_options().xdp = "off".to_owned();
        cluster.start_agents()?;
        cluster.client.shell("ethtool -K eth0 tx on")?;
        cluster.nodes[0].netns.shell("ethtool -K eth0 tx off")?;
        for (vip, filter) in [(IpAddr::V4(EXTERNAL), "icmp"), (IpAddr::V6(EXTERNAL6), "icmp6 and ip6[40] == 3")] {
            for (port, kind) in [(5353, Type::DGRAM), (7070, Type::STREAM)] {
                let sent = || metric(&cluster.nodes[0], "weir_packet_events_total{event=\"icmp_errors_sent\"}");
                let (capture, before) = (Capture::start(&cluster.client, "eth0", filter)?, sent()?);
                // the ring has a backend on each node, and the node's kernel answers for its own
                eventually("errors of ours", SOON, || {
                    for _ in 0..8 {
                        send_with_no_hops_left(&cluster.client, (vip, port).into(), kind)?;
                    }
                    let now = sent()?;
                    ensure!(now >= before + 4.0, "{now} after {before}");
                    Ok(())
                })
                .with_context(|| format!("{vip}, {kind:?}"))?;
                let packets = capture.stop()?;
                ensure!(packets.len() >= 4, "{vip}, {kind:?}: {packets:?}");
                let wrong: Vec<_> = packets.iter().filter(|p| !p.checksum_ok || !p.header_checksum_ok).collect();
                ensure!(wrong.is_empty(), "{vip}, {kind:?}: wrong checksums: {wrong:?}");
            }
        }
        Ok(())
    })
}

/// The same for the resets of a port that nobody has: a wrong one is no answer, and the client waits until its time is over.
#[test]
#[ignore = "needs root"]
fn resets_are_right_about_segments_with_partial_checksums() -> Result<()> {
    scenario(|cluster| {
        dual(cluster)?;
        cluster.nodes[0].agent_options().xdp = "off".to_owned();
        cluster.start_agents()?;
        cluster.client.shell("ethtool -K eth0 tx on")?;
        cluster.nodes[0].netns.shell("ethtool -K eth0 tx off")?;
        for vip in [IpAddr::V4(EXTERNAL), IpAddr::V6(EXTERNAL6)] {
            let filter = if vip.is_ipv4() { "tcp src port 9" } else { "ip6 and tcp src port 9" };
            let capture = Capture::start(&cluster.client, "eth0", filter)?;
            for _ in 0..4 {
                let error = cluster.client.run(|| Ok(TcpStream::connect_timeout(&(vip, 9).into(), SOON)?)).err();
                let kind = error.as_ref().and_then(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind);
                ensure!(kind == Some(io::ErrorKind::ConnectionRefused), "{vip}: {error:?}");
            }
            let packets = capture.stop()?;
            let wrong: Vec<_> = packets.iter().filter(|p| !p.checksum_ok || !p.header_checksum_ok).collect();
            ensure!(!packets.is_empty() && wrong.is_empty(), "{vip}: {} resets, wrong: {wrong:?}", packets.len());
        }
        Ok(())
    })
}
