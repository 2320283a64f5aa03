//! Uplinks that are made of other devices: bonds, VLAN devices, bridges. Where the kernel has no module for them, the test
//! says so; `cargo xtask kernels` runs it where it has.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use weir_lab::{Cluster, Node, Port, SOON, Service, ask_tcp, ask_udp, eventually};

use crate::common::{greeted_by, scenario, web};

/// Whether the kernel can make a device of this kind; says so if not.
fn can_make(cluster: &Cluster, kind: &str) -> bool {
    let made = cluster.wire.ip(&format!("link add probe0 {kind}"));
    let _ = cluster.wire.ip("link del probe0");
    if let Err(error) = &made {
        eprintln!("{error:#}");
        println!("\nskipped: needs devices of kind `{kind}`");
    }
    made.is_ok()
}

/// How an interface is used, as the agent of a node says it.
fn mode(node: &Node, name: &str) -> Result<String> {
    let status = node.api("status")?;
    let rows = status["status"]["interfaces"].as_array().cloned().unwrap_or_default();
    let row = rows.into_iter().find(|row| row["name"] == name).with_context(|| format!("no {name} in {status}"))?;
    Ok(row["mode"].as_str().unwrap_or_default().to_owned())
}

/// Puts a device between `eth0` of the first node and what `eth0` had.
fn move_addresses(node: &Node, to: &str) -> Result<()> {
    node.netns.ip("addr flush dev eth0")?;
    node.netns.ip(&format!("link set {to} up"))?;
    node.netns.ip(&format!("addr add {}/24 dev {to}", node.ip))?;
    node.netns.ip("route replace default via 192.168.77.1")?;
    node.netns.ip("route replace 10.244.2.0/24 via 192.168.77.12").map(drop)
}

/// The node port answers from both pods, over TCP and UDP.
fn works(cluster: &Cluster) -> Result<()> {
    let node = &cluster.nodes[0];
    let pods = greeted_by(cluster, node.port(30070), 16)?;
    ensure!(pods.len() == 2, "{pods:?}");
    for _ in 0..8 {
        ask_udp(&cluster.client, node.port(30053), None, "hello")?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_bond_as_uplink_goes_on_when_one_of_its_ports_fails() -> Result<()> {
    scenario(|cluster| {
        if !can_make(cluster, "type bond mode active-backup") {
            return Ok(());
        }
        web(cluster)?;
        let node = &cluster.nodes[0];
        // a second cable to the switch, and both in a bond
        cluster.wire.ip(&format!("link add cable2 type veth peer name eth1 netns {}", node.netns.name()))?;
        cluster.wire.ip("link set cable2 master switch up")?;
        node.netns.shell("ethtool -K eth1 tx off tso off gso off")?;
        node.netns.ip("link add bond0 type bond mode active-backup miimon 50")?;
        for port in ["eth0", "eth1"] {
            node.netns.ip(&format!("addr flush dev {port}"))?;
            node.netns.ip(&format!("link set {port} down"))?;
            node.netns.ip(&format!("link set {port} master bond0"))?;
        }
        move_addresses(node, "bond0")?;
        let options = cluster.nodes[0].agent_options();
        options.interfaces = vec!["bond0".to_owned()];
        options.xdp = "off".to_owned();
        cluster.start_agents()?;
        ensure!(mode(&cluster.nodes[0], "bond0")? == "tc", "bond0 is not used");
        works(cluster)?;
        cluster.wire.ip(&format!("link set {} down", cluster.nodes[0].name))?;
        eventually("the other port to take over", SOON, || works(cluster))
    })
}

#[test]
#[ignore = "needs root"]
fn a_vlan_device_as_uplink_answers_with_tags() -> Result<()> {
    scenario(|cluster| {
        if !can_make(cluster, "link switch type vlan id 7") {
            return Ok(());
        }
        web(cluster)?;
        // all stations speak in VLAN 7
        for netns in cluster.nodes.iter().map(|node| &node.netns).chain([&cluster.client]) {
            netns.ip("link add link eth0 name vlan7 type vlan id 7")?;
            netns.ip("link set vlan7 up")?;
        }
        for node in &cluster.nodes {
            node.netns.ip("addr flush dev eth0")?;
            node.netns.ip(&format!("addr add {}/24 dev vlan7", node.ip))?;
        }
        cluster.client.ip("addr flush dev eth0")?;
        cluster.client.ip(&format!("addr add {}/24 dev vlan7", weir_lab::CLIENT))?;
        let [first, second] = [cluster.nodes[0].ip, cluster.nodes[1].ip];
        cluster.nodes[0].netns.ip(&format!("route replace 10.244.2.0/24 via {second}"))?;
        cluster.nodes[1].netns.ip(&format!("route replace 10.244.1.0/24 via {first}"))?;
        for node in &mut cluster.nodes {
            let options = node.agent_options();
            options.interfaces = vec!["vlan7".to_owned()];
            options.xdp = "auto".to_owned();
        }
        cluster.start_agents()?;
        ensure!(mode(&cluster.nodes[0], "vlan7")? == "tc", "vlan7 is not used");
        works(cluster)
    })
}

#[test]
#[ignore = "needs root"]
fn a_bridge_as_uplink_is_used_in_place_of_its_port() -> Result<()> {
    scenario(|cluster| {
        if !can_make(cluster, "type bridge") {
            return Ok(());
        }
        web(cluster)?;
        let node = &cluster.nodes[0];
        node.netns.ip("link add br0 type bridge")?;
        node.netns.ip("link set eth0 master br0")?;
        move_addresses(node, "br0")?;
        let options = cluster.nodes[0].agent_options();
        // the port is named, its bridge is meant
        options.interfaces = vec!["eth0".to_owned()];
        options.xdp = "auto".to_owned();
        cluster.start_agents()?;
        ensure!(mode(&cluster.nodes[0], "br0")? == "tc", "br0 is not used");
        works(cluster)
    })
}

/// A GRE tunnel with checksums gives the kernel a sum over each packet inside, as some cards do (`gre_parse_header`). The
/// companion rewrites packets, and the sum has to follow.
#[test]
#[ignore = "needs root"]
fn sums_over_whole_packets_follow_what_the_companion_writes() -> Result<()> {
    const KIND: &str = "type gretap csum";
    scenario(|cluster| {
        if !can_make(cluster, &format!("{KIND} remote 192.0.2.1 local 192.0.2.2")) {
            return Ok(());
        }
        cluster.add_pod(0, "near", "web")?;
        cluster.write_pods()?;
        let ports = [Port::tcp(7070, 7070).at(30070), Port::udp(5353, 5353).at(30053)];
        let families = ["IPv4", "IPv6"];
        let kind = Some("NodePort");
        let web = Service { name: "web", app: "web", ports: &ports, external_ips: &[], kind, families: &families };
        cluster.write("web.yaml", &web.yaml())?;
        let (node, client) = (cluster.nodes[0].ip, weir_lab::CLIENT);
        for (netns, local, remote, host) in
            [(&cluster.nodes[0].netns, node, client, 11), (&cluster.client, client, node, 100)]
        {
            netns.ip(&format!("link add gre9 {KIND} remote {remote} local {local}"))?;
            netns.ip(&format!("addr add 192.168.80.{host}/24 dev gre9"))?;
            netns.ip(&format!("addr add fd00:80::{host}/64 dev gre9 nodad"))?;
            netns.ip("link set gre9 up")?;
            netns.shell("ethtool -K gre9 tx off tso off gso off")?;
        }
        let options = cluster.nodes[0].agent_options();
        options.interfaces = vec!["gre9".to_owned()];
        options.xdp = "off".to_owned();
        cluster.nodes[0].start_agent()?;
        cluster.watch_sums(0, "gre9")?;
        for address in ["192.168.80.11", "fd00:80::11"] {
            let at = |port| SocketAddr::new(address.parse().unwrap_or(IpAddr::V4(node)), port);
            let [before, ..] = cluster.sums()?;
            eventually("the node to answer", SOON, || ask_tcp(&cluster.client, at(30070), None))?;
            for _ in 0..4 {
                ask_udp(&cluster.client, at(30053), None, "hello")?;
            }
            let [right, wrong, none] = cluster.sums()?;
            ensure!(right >= before + 8 && wrong == 0, "{address}: {right} right, {wrong} wrong, {none} without");
        }
        Ok(())
    })
}
