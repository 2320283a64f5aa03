//! Backends that are the nodes themselves: pods with `hostNetwork`, whose address is the node's own.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use weir_lab::{Cluster, Netns, Server, ServerOptions, ask_tcp, ask_udp, pods_and_nodes};

use crate::common::{EXTERNAL, scenario};
use crate::sockets::{CLUSTER_IP, answered, greeted, in_pod, on_host, service};

/// What is in one place of the network: a name and where it stands.
type Place<'a> = (&'static str, &'a Netns);

/// A server in the network namespace of each node, a Pod with `hostNetwork` for it, the Service, and a pod that is only a
/// client; agents run.
fn on_nodes(cluster: &mut Cluster) -> Result<Vec<Server>> {
    cluster.add_pod(0, "client", "client")?;
    let mut documents = pods_and_nodes(&cluster.nodes, &cluster.pods);
    for (node, name) in cluster.nodes.iter().zip(["one", "two"]) {
        documents += &format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: default, labels: {{app: web}}}}\n\
             spec: {{nodeName: {}, hostNetwork: true}}\n\
             status: {{phase: Running, podIP: {ip}, podIPs: [{{ip: {ip}}}], conditions: [{{type: Ready, status: \"True\"}}]}}\n",
            node.name,
            ip = node.ip
        );
    }
    cluster.write("pods.yaml", &documents)?;
    cluster.write("inside.yaml", &service("web"))?;
    let options = ServerOptions { http: vec![], tcp: vec![7070], udp: vec![5353], status: 200 };
    let start = |(node, name): (&weir_lab::Node, &str)| Server::start(&node.netns, name, &node.name, &options);
    let servers = cluster.nodes.iter().zip(["one", "two"]).map(start).collect::<Result<_>>()?;
    cluster.start_agents()?;
    Ok(servers)
}

fn both() -> BTreeSet<String> {
    ["one", "two"].map(str::to_owned).into()
}

/// Asks over and over by TCP and UDP, by threads that no hook sees, and gives who answered.
fn seen_from(netns: &Netns, address: Ipv4Addr, tcp: u16, udp: u16) -> Result<BTreeSet<String>> {
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
        let places = [(cluster.nodes[0].ip, 30070, 30053), (cluster.nodes[1].ip, 30070, 30053), (EXTERNAL, 7070, 5353)];
        for (address, tcp, udp) in places {
            let seen = seen_from(&cluster.client, address, tcp, udp).with_context(|| address.to_string())?;
            ensure!(seen == both(), "{address}: {seen:?}");
        }
        Ok(())
    })
}

/// A pod asks by TCP alone: a server of UDP on all addresses of the node answers a pod from that of the bridge, service or
/// not.
#[test]
#[ignore = "needs root"]
fn processes_and_pods_reach_their_own_node_through_its_service() -> Result<()> {
    scenario(|cluster| {
        let _servers = on_nodes(cluster)?;
        let places = [(CLUSTER_IP, 7070, 5353), (EXTERNAL, 7070, 5353), (cluster.nodes[0].ip, 30070, 30053)];
        let (mut host, mut pod) = (on_host(cluster)?, in_pod(cluster, "client")?);
        for (address, tcp, udp) in places {
            let seen = greeted(&mut host, (address, tcp).into(), 16).with_context(|| format!("host to {address}"))?;
            ensure!(seen == both(), "host to {address}: {seen:?}");
            let seen =
                answered(&mut host, (address, udp).into(), 8).with_context(|| format!("host to {address}/udp"))?;
            ensure!(seen == both(), "host to {address}/udp: {seen:?}");
            let seen = greeted(&mut pod, (address, tcp).into(), 16).with_context(|| format!("pod to {address}"))?;
            ensure!(seen == both(), "pod to {address}: {seen:?}");
        }
        Ok(())
    })
}

/// The node's own packets leave for the cluster IP, are turned round, and come in for the node.
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
                for address in [CLUSTER_IP, EXTERNAL] {
                    let seen = seen_from(netns, address, 7070, 5353)
                        .with_context(|| format!("{name} to {address}, rules: {rules}"))?;
                    ensure!(seen == both(), "{name} to {address}, rules: {rules}: {seen:?}");
                }
            }
        }
        Ok(())
    })
}
