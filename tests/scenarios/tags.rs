//! Clients whose packets have VLAN tags that nobody on the first node takes off.

use std::net::UdpSocket;

use anyhow::{Context, Result, ensure};
use weir_lab::{Capture, Cluster, Flow, Port, SOON, Service, ask_tcp, ask_udp, eventually};

use crate::common::{EXTERNAL, scenario};

/// The only backend is on the second node, behind the same two VLANs as the client; the first node forwards between them.
fn between_vlans(cluster: &mut Cluster, xdp: &str) -> Result<()> {
    cluster.add_pod(1, "far", "web")?;
    cluster.write_pods()?;
    let ports = [Port::tcp(7070, 7070).at(30070), Port::udp(5353, 5353).at(30053)];
    let families = ["IPv4", "IPv6"];
    let web = Service {
        name: "web",
        app: "web",
        ports: &ports,
        external_ips: &[],
        kind: Some("NodePort"),
        families: &families,
    };
    cluster.write("web.yaml", &web.yaml())?;
    let external = EXTERNAL.to_string();
    let dsr = Service { name: "dsr", ports: &[Port::udp(53, 5353)], external_ips: &[&external], kind: None, ..web };
    let annotated = "namespace: default, annotations: {weir.io/forwarding: dsr}}";
    cluster.write("dsr.yaml", &dsr.yaml().replace("namespace: default}", annotated))?;
    cluster.tag_client_and_node(1)?;
    cluster.nodes[0].agent_options().xdp = xdp.to_owned();
    cluster.nodes[0].start_agent()
}

fn tags_stay(xdp: &str) -> Result<()> {
    scenario(|cluster| {
        between_vlans(cluster, xdp)?;
        go_there_and_back(cluster).context("two tags")?;
        what_does_not_fit_is_told(cluster)?;
        cluster.tag_once()?;
        go_there_and_back(cluster).context("one tag")
    })
}

fn go_there_and_back(cluster: &Cluster) -> Result<()> {
    let node = &cluster.nodes[0];
    let lost = [&cluster.nodes[1].netns, &cluster.client]
        .map(|netns| Capture::start(netns, "eth0", "not vlan and (udp or tcp)"));
    // nothing repeats a datagram: the packets that resolve their neighbours arrive as well, with their tags
    for (tcp, udp) in [(node.port(30070), node.port(30053)), (node.port6(30070), node.port6(30053))] {
        for _ in 0..2 {
            node.flush_neighbours()?;
            let answer = ask_udp(&cluster.client, udp, None, "hello")?;
            ensure!(answer.ends_with("hello"), "{answer}");
        }
        node.flush_neighbours()?;
        ask_tcp(&cluster.client, tcp, None).with_context(|| tcp.to_string())?;
        let flow = Flow::start(&cluster.client, tcp)?;
        flow.goes_on(20)?;
        ensure!(flow.stop()?.error.is_none(), "the flow broke");
    }
    for capture in lost {
        let seen = capture?.stop()?;
        ensure!(seen.is_empty(), "without tags: {seen:?}");
    }
    Ok(())
}

/// The answer has both tags, or the client would not see it.
fn what_does_not_fit_is_told(cluster: &Cluster) -> Result<()> {
    // 1,492 bytes with their headers, of which 1,480 fit into the tunnel; a veth takes no 1,500 with two tags
    let large = [b'x'; 1_464];
    eventually("the client to learn what fits into the tunnel", SOON, || {
        cluster.client.run(|| {
            // fails once the client knows
            let _ = UdpSocket::bind("0.0.0.0:0")?.send_to(&large, (EXTERNAL, 53));
            Ok(())
        })?;
        let told = cluster.client.ip(&format!("route get {EXTERNAL}"))?;
        ensure!(told.contains("mtu 1480"), "{told}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn tags_stay_under_xdp_and_while_neighbours_are_resolved() -> Result<()> {
    tags_stay("native")
}

#[test]
#[ignore = "needs root"]
fn tags_stay_on_tc_and_while_neighbours_are_resolved() -> Result<()> {
    tags_stay("off")
}
