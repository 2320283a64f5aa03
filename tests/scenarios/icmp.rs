//! ICMP: a VIP that answers ping, errors that find their flow.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use weir_lab::{Capture, Cluster, Netns, Port, Request, SOON, Service, eventually, ping};

use crate::common::{EXTERNAL, metric, scenario, web};

/// The VIP whose pod is on the other node than the one that clients reach.
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 100, 100, 101);

fn event(cluster: &Cluster, node: usize, name: &str) -> Result<f64> {
    metric(&cluster.nodes[node], &format!("weir_packet_events_total{{event=\"{name}\"}}"))
}

/// A pod on each node, each behind a VIP of its own: HTTP at port 80, and at UDP port 9 nothing listens.
fn one_pod_per_vip(cluster: &mut Cluster) -> Result<()> {
    for (node, (name, vip)) in [("near", EXTERNAL), ("far", OTHER)].into_iter().enumerate() {
        cluster.add_pod(node, name, name)?;
        let ports = [Port::tcp(80, 8080), Port::udp(9, 9999)];
        let service =
            Service { name, app: name, ports: &ports, external_ips: &[&vip.to_string()], kind: None, families: &[] };
        cluster.write(&format!("{name}.yaml"), &service.yaml())?;
    }
    cluster.write_pods()?;
    cluster.start_agents()
}

#[test]
#[ignore = "needs root"]
fn a_vip_answers_ping_while_it_has_a_frontend() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        for size in [0, 1, 56, 1_400] {
            ping(&cluster.client, EXTERNAL, &vec![0xa5; size], SOON)?;
        }
        // The node's own address is the kernel's.
        ping(&cluster.client, cluster.nodes[0].ip, b"node", SOON)?;
        ping(&cluster.client, EXTERNAL, b"last", SOON)?;
        eventually("five answers", SOON, || {
            let answers = (event(cluster, 0, "echo_replies")?, event(cluster, 1, "echo_replies")?);
            ensure!(answers == (5.0, 0.0), "by the two nodes: {answers:?}");
            Ok(())
        })?;
        cluster.remove("web.yaml")?;
        eventually("the VIP to fall silent", SOON, || {
            match ping(&cluster.client, EXTERNAL, b"gone", Duration::from_millis(300)) {
                Ok(()) => bail!("it still answers"),
                Err(_) => Ok(()),
            }
        })
    })
}

#[test]
#[ignore = "needs root"]
fn path_mtu_discovery_reaches_pods_on_both_nodes() -> Result<()> {
    scenario(|cluster| {
        one_pod_per_vip(cluster)?;
        let branch = cluster.branch(1_280)?;
        for vip in [EXTERNAL, OTHER] {
            let before = event(cluster, 0, "icmp_errors")?;
            let large = Request::get("x", "/bytes/1000000").send(&branch.client, (vip, 80).into())?;
            ensure!(large.body.len() == 1_000_000, "{vip}: {} bytes", large.body.len());
            eventually("a router to say that a packet is too big", SOON, || {
                let after = event(cluster, 0, "icmp_errors")?;
                ensure!(after > before, "{vip}: {after} errors as before");
                Ok(())
            })?;
        }
        Ok(())
    })
}

/// Sends to a UDP port where nothing listens, until the socket is told so.
fn is_refused(from: &Netns, vip: Ipv4Addr) -> Result<()> {
    from.run(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((vip, 9))?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        eventually(&format!("{vip} to refuse"), SOON, || {
            socket.send(b"anybody there?")?;
            match socket.recv(&mut [0; 16]) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
                other => bail!("{other:?}"),
            }
        })
    })
}

#[test]
#[ignore = "needs root"]
fn a_closed_port_of_a_pod_is_unreachable_at_the_vip() -> Result<()> {
    scenario(|cluster| {
        one_pod_per_vip(cluster)?;
        let branch = cluster.branch(1_500)?;
        for client in [&cluster.client, &branch.client] {
            for vip in [EXTERNAL, OTHER] {
                let capture = Capture::start(client, "eth0", "icmp")?;
                is_refused(client, vip)?;
                let packets = capture.stop()?;
                ensure!(!packets.is_empty(), "{vip}: nothing captured");
                ensure!(packets.iter().all(|packet| packet.source == vip), "{vip}: {packets:?}");
                ensure!(packets.iter().all(|p| p.checksum_ok && p.header_checksum_ok), "{vip}: {packets:?}");
            }
        }
        Ok(())
    })
}
