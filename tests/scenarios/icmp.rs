//! ICMP: a VIP that answers ping, errors that find their flow.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use weir_lab::{Capture, Cluster, Family, Netns, Port, Request, SOON, Service, eventually, ping};

use crate::common::{EXTERNAL, metric, scenario, vip, web};

/// The VIP whose pod is on the other node than the one that clients reach.
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 100, 100, 101);
/// The same of IPv6.
const OTHER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0x101);

fn event(cluster: &Cluster, node: usize, name: &str) -> Result<f64> {
    metric(&cluster.nodes[node], &format!("weir_packet_events_total{{event=\"{name}\"}}"))
}

/// Where [`OTHER`] is, in either family.
fn other(family: Family) -> IpAddr {
    family.of(OTHER.into(), OTHER6.into())
}

/// A pod on each node, each behind VIPs of its own: HTTP at port 80, and at UDP port 9 nothing listens.
fn one_pod_per_vip(cluster: &mut Cluster) -> Result<()> {
    for (node, (name, vips)) in
        [("near", Family::BOTH.map(vip)), ("far", Family::BOTH.map(other))].into_iter().enumerate()
    {
        cluster.add_pod(node, name, name)?;
        let (ports, families) = ([Port::tcp(80, 8080), Port::udp(9, 9999)], ["IPv4", "IPv6"]);
        let [four, six] = vips.map(|vip| vip.to_string());
        let external_ips = [&*four, &*six];
        let service =
            Service { name, app: name, ports: &ports, external_ips: &external_ips, kind: None, families: &families };
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
fn is_refused(from: &Netns, vip: IpAddr) -> Result<()> {
    from.run(|| {
        let socket = UdpSocket::bind(if vip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
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
            for (vip, family) in
                Family::BOTH.iter().flat_map(|family| [(vip(*family), family), (other(*family), family)])
            {
                let errors = family.of("icmp", "icmp6 and ip6[40] == 1");
                let capture = Capture::start(client, "eth0", errors)?;
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

/// The hops on the way to a UDP port, as traceroute finds them: who sends an error about each time to live, until the
/// destination says that nobody listens.
fn traceroute(from: &Netns, to: Ipv4Addr) -> Result<Vec<IpAddr>> {
    let capture = Capture::start(from, "eth0", "icmp")?;
    from.run(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        for ttl in 1..=4 {
            socket.set_ttl(ttl)?;
            socket.send_to(b"which way?", (to, 9))?;
            // the next probe only after the answer to this one, so that hops come in order
            socket.set_read_timeout(Some(Duration::from_millis(300)))?;
            let _ = socket.recv(&mut [0; 16]);
        }
        Ok(())
    })?;
    let packets = capture.stop()?;
    ensure!(packets.iter().all(|p| p.checksum_ok && p.header_checksum_ok), "{packets:?}");
    let mut hops: Vec<IpAddr> = packets.iter().map(|packet| packet.source).collect();
    hops.dedup();
    Ok(hops)
}

#[test]
#[ignore = "needs root"]
fn traceroute_shows_the_node_and_then_the_vip() -> Result<()> {
    scenario(|cluster| {
        one_pod_per_vip(cluster)?;
        let node = cluster.nodes[0].ip;
        // a pod on this node, and one on the other
        for vip in [EXTERNAL, OTHER] {
            eventually("the way to be seen", SOON, || {
                let hops = traceroute(&cluster.client, vip)?;
                ensure!(hops == [IpAddr::V4(node), IpAddr::V4(vip)], "the way to {vip}: {hops:?}");
                Ok(())
            })?;
        }
        ensure!(event(cluster, 0, "icmp_errors_sent")? >= 1.0, "the one to the other node is ours");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_client_learns_how_much_goes_to_a_backend() -> Result<()> {
    scenario(|cluster| {
        one_pod_per_vip(cluster)?;
        // the way from the first node to the pods of the second one is narrower than the client's
        let pods = cluster.nodes[1].pod_cidr();
        let to = cluster.nodes[1].ip;
        cluster.nodes[0].netns.ip(&format!("route replace {pods} via {to} mtu lock 1300"))?;
        let body = vec![b'u'; 300_000];
        let request = Request::post("x", "/", body);
        let response = request.send(&cluster.client, (OTHER, 80).into())?;
        ensure!(response.json()?["bodyBytes"] == 300_000, "upload: {}", response.text());
        eventually("the client to be told", SOON, || {
            let sent = event(cluster, 0, "icmp_errors_sent")?;
            ensure!(sent >= 1.0, "{sent} errors");
            Ok(())
        })?;
        let told = cluster.client.ip(&format!("route get {OTHER}"))?;
        ensure!(told.contains("mtu 1300"), "{told}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn an_error_finds_the_pod_by_way_of_another_node() -> Result<()> {
    scenario(|cluster| {
        one_pod_per_vip(cluster)?;
        let branch = cluster.branch(1_280)?;
        // The pod is on the first node, which sends its replies itself. Errors about them go to the second one, as if a
        // router on the way spread packets over the nodes.
        let (first, second) = (cluster.nodes[0].ip, cluster.nodes[1].ip);
        let router = &branch.router;
        router.ip("rule add ipproto icmp iif lo lookup 77")?;
        router.ip(&format!("route add {EXTERNAL}/32 via {second} table 77"))?;
        cluster.nodes[1].netns.ip("route replace 192.168.78.0/24 via 192.168.77.2")?;
        let large = Request::get("x", "/bytes/1000000").send(&branch.client, (EXTERNAL, 80).into())?;
        ensure!(large.body.len() == 1_000_000, "{} bytes by way of {first}", large.body.len());
        eventually("the second node to pass an error on", SOON, || {
            let passed = event(cluster, 1, "icmp_errors_by_ring")?;
            ensure!(passed >= 1.0, "{passed} errors");
            Ok(())
        })
    })
}
