//! Host ports: a port of the node leads to the pod that asks for it, and only where it asks.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use weir_lab::{CLIENT, CLIENT6, Cluster, Flow, Pod, SOON, ask_tcp, ask_udp, eventually};

use crate::common::{problems, scenario};
use crate::sockets::{in_pod, on_host};

/// The ports of the first pod: everywhere, at one address of each family, and for the node alone.
const PORTS: [&str; 5] = [
    "{containerPort: 7070, hostPort: 8081}",
    "{containerPort: 5353, hostPort: 8053, protocol: UDP}",
    "{containerPort: 7070, hostPort: 8082, hostIP: 192.168.77.11}",
    "{containerPort: 7070, hostPort: 8082, hostIP: 'fd00:77::11'}",
    "{containerPort: 7070, hostPort: 8083, hostIP: 127.0.0.1}",
];

/// A pod as a kubelet reports it.
fn manifest(pod: &Pod, ports: &[&str], ends: bool) -> String {
    let ends = if ends { ", deletionTimestamp: '2026-01-02T00:00:00Z'" } else { "" };
    let mut text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {}, labels: {{app: web}}{ends}}}\nspec:\n  nodeName: {}\n  containers:\n  - name: x\n    ports:\n",
        pod.name, pod.node
    );
    for port in ports {
        let _ = writeln!(text, "    - {port}");
    }
    let (ip, ip6) = (pod.ip, pod.ip6);
    let _ = writeln!(text, "status: {{phase: Running, podIP: {ip}, podIPs: [{{ip: {ip}}}, {{ip: '{ip6}'}}]}}");
    text
}

fn add(cluster: &mut Cluster, node: usize, name: &str, ports: &[&str]) -> Result<()> {
    let text = manifest(cluster.add_pod(node, name, "web")?, ports, false);
    cluster.write(&format!("{name}.yaml"), &text)
}

/// The pod answers, and sees the client.
fn expect(answer: &str, pod: &str, client: IpAddr) -> Result<()> {
    let words: Vec<_> = answer.split(' ').collect();
    let seen = words.get(2).and_then(|peer| peer.parse::<SocketAddr>().ok()).map(|peer| peer.ip());
    ensure!(words.first() == Some(&pod) && seen == Some(client), "{answer} instead of {pod} with {client}");
    Ok(())
}

fn refused(cluster: &Cluster, to: SocketAddr) -> Result<()> {
    match ask_tcp(&cluster.client, to, None) {
        Ok(answer) => bail!("{to}: answered by {answer}"),
        Err(_) => Ok(()),
    }
}

#[test]
#[ignore = "needs root"]
fn a_host_port_leads_to_its_pod_where_it_asks_for_it() -> Result<()> {
    scenario(|cluster| {
        add(cluster, 0, "near", &PORTS)?;
        add(cluster, 1, "far", &["{containerPort: 7070, hostPort: 9090}"])?;
        cluster.nodes[0].netns.ip("addr add 192.168.77.21/24 dev eth0")?;
        cluster.start_agents()?;
        let [first, second] = &cluster.nodes[..] else { bail!("two nodes") };
        let (client, client6) = (IpAddr::from(CLIENT), IpAddr::from(CLIENT6));
        for (at, client) in [
            (first.port(8081), client),
            (first.port6(8081), client6),
            ((Ipv4Addr::new(192, 168, 77, 21), 8081).into(), client),
            (first.port(8082), client),
            (first.port6(8082), client6),
        ] {
            expect(&ask_tcp(&cluster.client, at, None)?, "near", client).with_context(|| at.to_string())?;
        }
        for (at, client) in [(first.port(8053), client), (first.port6(8053), client6)] {
            expect(&ask_udp(&cluster.client, at, None, "who")?, "near", client).with_context(|| at.to_string())?;
        }
        expect(&ask_tcp(&cluster.client, second.port(9090), None)?, "far", client)?;
        for to in [
            second.port(8081),
            second.port6(8081),
            (Ipv4Addr::new(192, 168, 77, 21), 8082).into(),
            first.port(8083),
            first.port(9090),
        ] {
            refused(cluster, to)?;
        }
        let row = first.rows("services")?.into_iter().find(|row| row["name"] == "pod/near" && row["port"] == 8081);
        let row = row.context("the host port is not listed")?;
        ensure!(row["type"] == "HostPort" && row["frontends"][0]["kind"] == "HostPort", "{row}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn processes_and_pods_of_the_node_reach_host_ports_and_only_the_nodes_own_on_loopback() -> Result<()> {
    scenario(|cluster| {
        add(cluster, 0, "near", &PORTS)?;
        add(cluster, 0, "other", &[])?;
        add(cluster, 1, "far", &["{containerPort: 7070, hostPort: 9090}"])?;
        cluster.start_agents()?;
        let mut host = on_host(cluster)?;
        let mut pod = in_pod(cluster, "other")?;
        let greeted = |process: &mut weir_lab::Process, to: SocketAddr| {
            process.connect("tcp", "c", to).with_context(|| to.to_string())?;
            process.receive("c")
        };
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let loopback6 = |port| SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        let node = &cluster.nodes[0];
        for to in [loopback(8081), loopback6(8081), loopback(8083), node.port(8081), node.port6(8081)] {
            let greeting = greeted(&mut host, to)?;
            ensure!(greeting.starts_with("near "), "{to}: {greeting}");
        }
        for to in [node.port(8081), node.port6(8081), node.port(8082)] {
            let greeting = greeted(&mut pod, to)?;
            ensure!(greeting.starts_with("near "), "{to}: {greeting}");
        }
        let greeting = greeted(&mut pod, cluster.nodes[1].port(9090))?;
        ensure!(greeting.starts_with("far "), "{greeting}");
        for to in [loopback(8081), loopback6(8081), loopback(8083)] {
            ensure!(greeted(&mut pod, to).is_err(), "a pod's loopback {to} leads out of it");
        }
        ensure!(greeted(&mut host, loopback6(8083)).is_err(), "hostIP 127.0.0.1 answers on ::1");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn one_pod_follows_another_and_connections_stay_until_it_is_gone() -> Result<()> {
    const PORT: [&str; 1] = ["{containerPort: 7070, hostPort: 8081}"];
    scenario(|cluster| {
        add(cluster, 0, "old", &PORT)?;
        cluster.start_agents()?;
        let at = cluster.nodes[0].port(8081);
        let flow = Flow::start(&cluster.client, at)?;
        flow.goes_on(5)?;
        let text = manifest(&cluster.pods[0], &PORT, true);
        cluster.write("old.yaml", &text)?;
        add(cluster, 0, "new", &PORT)?;
        eventually("the new pod to answer", SOON, || {
            expect(&ask_tcp(&cluster.client, at, None)?, "new", CLIENT.into())
        })?;
        flow.goes_on(20)?;
        ensure!(flow.stop()?.error.is_none(), "the connection to the old pod ended");
        // two at a time that both stay: one of them is told
        add(cluster, 0, "third", &PORT)?;
        eventually("the conflict to be told", SOON, || {
            let said = problems(&cluster.nodes[0])?;
            ensure!(said.iter().any(|problem| problem["code"] == "host-port-conflict"), "{said:?}");
            Ok(())
        })?;
        for name in ["old", "new", "third"] {
            cluster.remove(&format!("{name}.yaml"))?;
        }
        eventually("the port to be nobody's", SOON, || refused(cluster, at))
    })
}
