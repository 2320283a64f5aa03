//! Checksums on the wire, with transmit offload of the pods on and off: nobody else verifies them on a veth.

use anyhow::{Result, ensure};
use weir_lab::{CLIENT, Capture, ClusterOptions, Request, ask_udp};

use crate::common::{EXTERNAL, options, scenario_with, web};

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
