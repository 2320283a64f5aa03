//! Backends that are the nodes themselves: pods with `hostNetwork`, whose address is the node's own.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use weir_lab::{Cluster, Netns, Node, Server, ServerOptions, ask_tcp, ask_udp, pods_and_nodes};

use crate::common::{EXTERNAL, scenario};
use crate::ipv6::EXTERNAL6;
use crate::sockets::{CLUSTER_IP, CLUSTER_IP6, answered, dual_service, greeted, in_pod, on_host};

/// What is in one place of the network: a name and where it stands.
type Place<'a> = (&'static str, &'a Netns);

/// Both families of the Service's own addresses and of its external ones.
const VIPS: [IpAddr; 4] =
    [IpAddr::V4(CLUSTER_IP), IpAddr::V6(CLUSTER_IP6), IpAddr::V4(EXTERNAL), IpAddr::V6(EXTERNAL6)];

/// A server in the network namespace of each node, a Pod with `hostNetwork` for it, the Service, and a pod that is only a
/// client; agents run. The servers listen on the node's addresses one by one: one of UDP that listens on all of them
/// answers a pod of its node from the bridge's address, with or without a Service.
fn on_nodes(cluster: &mut Cluster) -> Result<Vec<Server>> {
    cluster.add_pod(0, "client", "client")?;
    let mut documents = pods_and_nodes(&cluster.nodes, &cluster.pods);
    for (node, name) in cluster.nodes.iter().zip(["one", "two"]) {
        documents += &format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: default, labels: {{app: web}}}}\n\
             spec: {{nodeName: {}, hostNetwork: true}}\n\
             status: {{phase: Running, podIP: {ip}, podIPs: [{{ip: {ip}}}, {{ip: \"{ip6}\"}}], \
             conditions: [{{type: Ready, status: \"True\"}}]}}\n",
            node.name,
            ip = node.ip,
            ip6 = node.ip6
        );
    }
    cluster.write("pods.yaml", &documents)?;
    cluster.write("inside.yaml", &dual_service("web"))?;
    let start = |(node, name): (&Node, &str)| {
        let at = vec![node.ip.into(), node.ip6.into()];
        let options = ServerOptions { http: vec![], tcp: vec![7070], udp: vec![5353], at, status: 200 };
        Server::start(&node.netns, name, &node.name, &options)
    };
    let servers = cluster.nodes.iter().zip(["one", "two"]).map(start).collect::<Result<_>>()?;
    cluster.start_agents()?;
    Ok(servers)
}

fn both() -> BTreeSet<String> {
    ["one", "two"].map(str::to_owned).into()
}

/// A node's addresses with the node ports, then those of the Service with its ports: TCP and UDP.
fn everywhere(nodes: &[Node]) -> Vec<(IpAddr, u16, u16)> {
    let own = nodes.iter().flat_map(|node| [IpAddr::V4(node.ip), IpAddr::V6(node.ip6)]);
    own.map(|address| (address, 30070, 30053)).chain(VIPS.map(|vip| (vip, 7070, 5353))).collect()
}

/// Asks over and over by TCP and UDP, by threads that no hook sees, and gives who answered.
fn seen_from(netns: &Netns, address: IpAddr, tcp: u16, udp: u16) -> Result<BTreeSet<String>> {
    let mut seen = BTreeSet::new();
    for number in 0..16 {
        let greeting = ask_tcp(netns, (address, tcp).into(), None).with_context(|| format!("connection {number}"))?;
        let text = format!("datagram {number}");
        let answer = ask_udp(netns, (address, udp).into(), None, &text).with_context(|| text.clone())?;
        ensure!(answer.ends_with(&text), "{answer}");
        seen.extend([greeting, answer].iter().filter_map(|line| line.split(' ').next().map(str::to_owned)));
    }
    Ok(seen)
}

#[test]
#[ignore = "needs root"]
fn the_nodes_themselves_answer_clients_from_outside() -> Result<()> {
    scenario(|cluster| {
        let _servers = on_nodes(cluster)?;
        let is_inside = |address: IpAddr| address == IpAddr::V4(CLUSTER_IP) || address == IpAddr::V6(CLUSTER_IP6);
        for (address, tcp, udp) in everywhere(&cluster.nodes) {
            if is_inside(address) {
                continue;
            }
            let seen = seen_from(&cluster.client, address, tcp, udp).with_context(|| address.to_string())?;
            ensure!(seen == both(), "{address}: {seen:?}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn processes_and_pods_reach_their_own_node_through_its_service() -> Result<()> {
    scenario(|cluster| {
        let _servers = on_nodes(cluster)?;
        for (name, mut process) in [("host", on_host(cluster)?), ("pod", in_pod(cluster, "client")?)] {
            for (address, tcp, udp) in everywhere(&cluster.nodes[..1]) {
                let (tcp, udp) = (SocketAddr::from((address, tcp)), SocketAddr::from((address, udp)));
                let seen = greeted(&mut process, tcp, 16).with_context(|| format!("{name} to {tcp}"))?;
                ensure!(seen == both(), "{name} to {tcp}: {seen:?}");
                let seen = answered(&mut process, udp, 8).with_context(|| format!("{name} to {udp}/udp"))?;
                ensure!(seen == both(), "{name} to {udp}/udp: {seen:?}");
            }
        }
        Ok(())
    })
}

/// The node's own packets leave for the VIP, are turned round, and come in for the node.
#[test]
#[ignore = "needs root"]
fn clients_that_no_hook_sees_reach_their_own_node_through_its_service() -> Result<()> {
    scenario(|cluster| {
        let _servers = on_nodes(cluster)?;
        let pod = cluster.pods.iter().find(|pod| pod.name == "client").context("no such pod")?;
        let places: [Place<'_>; 2] = [("the host", &cluster.nodes[0].netns), ("a pod", &pod.netns)];
        for rules in [false, true] {
            if rules {
                cluster.nodes.iter().try_for_each(|node| node.add_invalid_rule())?;
                cluster.nodes.iter().try_for_each(|node| node.add_masquerade_rule())?;
            }
            for (name, netns) in places {
                for address in VIPS {
                    let seen = seen_from(netns, address, 7070, 5353)
                        .with_context(|| format!("{name} to {address}, rules: {rules}"))?;
                    ensure!(seen == both(), "{name} to {address}, rules: {rules}: {seen:?}");
                }
            }
        }
        Ok(())
    })
}
