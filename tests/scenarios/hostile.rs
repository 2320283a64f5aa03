//! Malformed packets: never forwarded, counted by reason.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use weir_lab::{CLIENT, Capture, Cluster, Flow, Segment, ask_tcp, eventually, send_raw, send_raw_all};

use crate::common::{greeted_by, metric, scenario, web};

/// Where hostile packets come from; no honest client uses it.
const SOURCE_PORT: u16 = 666;

fn drops(cluster: &Cluster, reason: &str) -> Result<f64> {
    metric(&cluster.nodes[0], &format!("weir_drops_total{{reason=\"{reason}\"}}"))
}

/// Packets that no pipeline should forward, with the reason for which they are dropped.
fn hostile(to: SocketAddr, to_udp: SocketAddr) -> Result<Vec<(&'static str, Segment)>> {
    const SYN: u8 = 0x02;
    let from = SocketAddr::from((CLIENT, SOURCE_PORT));
    let tcp = |flags, data_offset| Segment::tcp(from, to, flags, data_offset);
    let cut = Segment { payload: tcp(SYN, 5)?.payload[..12].to_vec(), ..tcp(SYN, 5)? };
    Ok(vec![
        ("bad_transport_header", tcp(SYN, 4)?),
        ("bad_transport_header", tcp(SYN, 15)?),
        ("bad_transport_header", cut),
        ("bad_transport_header", Segment::udp(from, to_udp, 7, b"hello")?),
        ("bad_transport_header", Segment::udp(from, to_udp, 1400, b"hello")?),
        ("bad_tcp_flags", tcp(0, 5)?),
        ("bad_tcp_flags", tcp(SYN | 0x01, 5)?),
        ("bad_tcp_flags", tcp(SYN | 0x04, 5)?),
        ("bad_source", Segment::tcp(SocketAddr::from(([255, 255, 255, 255], SOURCE_PORT)), to, SYN, 5)?),
        ("bad_source", Segment::tcp(SocketAddr::from(([224, 0, 0, 1], SOURCE_PORT)), to, SYN, 5)?),
    ])
}

#[test]
#[ignore = "needs root"]
fn malformed_packets_are_counted_and_go_nowhere() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let node = &cluster.nodes[0];
        let filter = format!(
            "src port {SOURCE_PORT} or src net 224.0.0.0/3 or (dst host 10.244.1.10 and ip[6:2] & 0x1fff != 0)"
        );
        let captures = [
            Capture::start(&cluster.pods[0].netns, "eth0", &filter)?,
            Capture::start(&cluster.pods[1].netns, "eth0", &filter)?,
        ];
        for (reason, packet) in hostile(node.port(30070), node.port(30053))? {
            let before = drops(cluster, reason)?;
            send_raw(&cluster.client, &packet)?;
            eventually(&format!("{reason} to count {packet:?}"), weir_lab::SOON, || {
                let now = drops(cluster, reason)?;
                ensure!(now > before, "{now} as before");
                Ok(())
            })?;
        }
        greeted_by(cluster, node.port(30070), 8)?;
        for capture in captures {
            let seen = capture.stop()?;
            ensure!(seen.is_empty(), "forwarded: {seen:?}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_service_without_backends_is_counted() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.write(
            "empty.yaml",
            &crate::common::web_service("nobody")
                .replace("name: web,", "name: empty,")
                .replace("300", "301")
                .replace("10.100.100.100", "10.100.100.109"),
        )?;
        cluster.start_agents()?;
        let before = drops(cluster, "no_backend")?;
        ensure!(ask_tcp(&cluster.client, cluster.nodes[0].port(30170), None).is_err(), "somebody answered");
        ensure!(drops(cluster, "no_backend")? > before, "not counted");
        greeted_by(cluster, cluster.nodes[0].port(30070), 2).map(drop)
    })
}

#[test]
#[ignore = "needs root"]
fn options_and_low_ttl_are_forwarded_or_answered_as_they_should() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(1, "far", "web")?;
        cluster.write_pods()?;
        cluster.write("web.yaml", &crate::common::web_service("web"))?;
        cluster.start_agents()?;
        let from = SocketAddr::from((CLIENT, SOURCE_PORT));
        let capture = Capture::start(&cluster.pods[0].netns, "eth0", "tcp")?;
        let syn = Segment::tcp(from, cluster.nodes[0].port(30070), 0x02, 5)?;
        // No-operation and end of list (RFC 791, 3.1).
        send_raw(&cluster.client, &Segment { options: vec![1, 1, 1, 0], ..syn.clone() })?;
        let before = drops(cluster, "ttl_exceeded")?;
        send_raw(&cluster.client, &Segment { ttl: 1, ..syn })?;
        eventually("the TTL to be counted", weir_lab::SOON, || {
            ensure!(drops(cluster, "ttl_exceeded")? > before, "not counted");
            Ok(())
        })?;
        let seen = capture.stop()?;
        let with_options = seen.iter().filter(|p| p.ports.1 == 7070 && p.length == 44).count();
        ensure!(with_options >= 1 && seen.iter().all(|p| p.checksum_ok && p.header_checksum_ok), "{seen:?}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_flood_of_first_packets_does_not_push_out_proven_flows() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let to = cluster.nodes[0].port(30070);
        let flows = (0..8).map(|_| Flow::start(&cluster.client, to)).collect::<Result<Vec<_>>>()?;
        flows.iter().try_for_each(|flow| flow.goes_on(3))?;
        // More than the table of half-open flows holds, each from a client of its own.
        let spoofed = (0..100_000_u32).map_while(|n| {
            let from = SocketAddr::from((Ipv4Addr::from_bits(Ipv4Addr::new(10, 200, 0, 0).to_bits() + n), SOURCE_PORT));
            Segment::tcp(from, to, 0x02, 5).ok()
        });
        send_raw_all(&cluster.client, spoofed)?;
        flows.iter().try_for_each(|flow| flow.goes_on(3))?;
        for flow in flows {
            let report = flow.stop()?;
            ensure!(report.error.is_none(), "the flood broke a flow: {report:?}");
        }
        greeted_by(cluster, to, 8).map(drop)
    })
}
