//! `weir explain`: what it says is what then happens to a real client.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use weir_lab::{CLIENT, CLIENT6, Cluster, SOON, ask_tcp, eventually};

use crate::common::{EXTERNAL, scenario, web, web_service};
use crate::ipv6::{EXTERNAL6, dual};

/// Source ports that nobody else uses.
const PORTS: std::ops::Range<u16> = 7_200..7_216;

/// `weir explain --json` on the first node.
fn explain(cluster: &mut Cluster, arguments: &[&str]) -> Result<Value> {
    let node = &mut cluster.nodes[0];
    let pin_path = node.agent_options().pin_path.to_string_lossy().into_owned();
    let base = ["explain", "--json", "--pin-path", &pin_path];
    let told: Value = serde_json::from_str(&node.weir(&[&base[..], arguments].concat())?)?;
    Ok(told["explain"].clone())
}

/// Explains connections from some ports, then makes them: each reaches the backend that was named.
fn connections_fare_as_explained(cluster: &mut Cluster, ports: impl Iterator<Item = u16>) -> Result<()> {
    let to = cluster.nodes[0].port(30070);
    connections_to(cluster, to, CLIENT.into(), ports)
}

fn connections_to(
    cluster: &mut Cluster,
    to: SocketAddr,
    client: IpAddr,
    ports: impl Iterator<Item = u16>,
) -> Result<()> {
    let address = |pod: &weir_lab::Pod| if to.is_ipv4() { IpAddr::from(pod.ip) } else { pod.ip6.into() };
    let pods: Vec<_> = cluster.pods.iter().map(|pod| (pod.name.clone(), address(pod), pod.node.clone())).collect();
    let mut reached = std::collections::BTreeSet::new();
    for port in ports {
        let from = SocketAddr::new(client, port).to_string();
        let told = explain(cluster, &[&format!("tcp://{to}"), "--from", &from])?;
        ensure!(told["verdict"] == "forward" && told["from"] == from.as_str(), "{told}");
        let greeting = ask_tcp(&cluster.client, to, Some(port))?;
        let pod = greeting.split(' ').next().unwrap_or_default();
        let (_, address, home) = pods.iter().find(|(name, ..)| name == pod).context("an unknown pod")?;
        ensure!(told["backend"] == SocketAddr::new(*address, 7070).to_string(), "{pod} answered, but {told}");
        let hop = told["nextHop"].as_str().unwrap_or_default();
        ensure!(hop.ends_with(if home == &cluster.nodes[0].name { "dev cni0" } else { "dev eth0" }), "{told}");
        ensure!(told["node"].is_null() || told["node"] == home.as_str(), "{told}");
        reached.insert(pod.to_owned());
    }
    ensure!(reached.len() == 2, "only {reached:?} answered");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_client_reaches_the_backend_that_was_explained() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.write(
            "empty.yaml",
            &web_service("nobody")
                .replace("name: web,", "name: empty,")
                .replace("300", "301")
                .replace("10.100.100.100", "10.100.100.109"),
        )?;
        cluster.start_agents()?;
        let (first, rest) = (PORTS.take(8), PORTS.skip(8));
        connections_fare_as_explained(cluster, first)?;
        let told = explain(cluster, &[&format!("tcp://{EXTERNAL}:7070")])?;
        ensure!(told["verdict"] == "forward" && !told["node"].is_null(), "{told}");
        named(cluster)?;
        cluster.nodes[0].end_agent(Signal::KILL)?;
        connections_fare_as_explained(cluster, rest)
    })
}

#[test]
#[ignore = "needs root"]
fn a_client_of_ipv6_reaches_the_backend_that_was_explained() -> Result<()> {
    scenario(|cluster| {
        dual(cluster)?;
        cluster.start_agents()?;
        let (first, rest) = (PORTS.take(8), PORTS.skip(8));
        let to = cluster.nodes[0].port6(30070);
        connections_to(cluster, to, CLIENT6.into(), first)?;
        let bad = explain(cluster, &[&format!("tcp://{to}"), "--from", "[::1]:9"])?;
        ensure!(bad["verdict"] == "drop" && bad["reason"] == "bad_source", "{bad}");
        let udp = explain(cluster, &[&format!("udp://[{EXTERNAL6}]:5353")])?;
        ensure!(udp["verdict"] == "forward" && !udp["backend"].is_null(), "{udp}");
        cluster.nodes[0].end_agent(Signal::KILL)?;
        connections_to(cluster, to, CLIENT6.into(), rest)
    })
}

/// Backends on this node and, in a tunnel, on the other one. What is said of the ways agrees.
#[test]
#[ignore = "needs root"]
fn a_client_of_dsr_reaches_the_backend_that_was_explained() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        let dsr = "namespace: default, annotations: {weir.io/forwarding: dsr}}";
        cluster.write("web.yaml", &web_service("web").replace("namespace: default}", dsr))?;
        cluster.start_agents()?;
        let to = SocketAddr::from((EXTERNAL, 7070));
        connections_to(cluster, to, CLIENT.into(), PORTS)?;
        let far = cluster.nodes[1].ip.to_string();
        let mut tunnels = 0;
        for port in PORTS {
            let told = explain(cluster, &[&format!("tcp://{to}"), "--from", &format!("192.0.2.1:{port}")])?;
            let steps = told["steps"].as_array().cloned().unwrap_or_default();
            let step = |name: &str| steps.iter().find(|step| step["step"] == name);
            ensure!(step("forwarding").is_some_and(|step| step["result"] == "dsr"), "{told}");
            let elsewhere = told["node"] == "node-2";
            ensure!(step("tunnel").is_some_and(|step| step["result"] == "IPIP") == elsewhere, "{told}");
            ensure!(!elsewhere || step("node").is_some_and(|step| step["result"] == far.as_str()), "{told}");
            tunnels += u32::from(elsewhere);
        }
        ensure!(tunnels > 0 && tunnels < PORTS.len() as u32, "{tunnels} of {} in a tunnel", PORTS.len());
        eventually("the way by DSR to be listed", SOON, || {
            let status = cluster.nodes[0].api("status")?["status"].take();
            let ways = status["ways"].as_array().cloned().unwrap_or_default();
            // one backend of each of three ports
            let there = ways.iter().any(|way| way["way"] == "dsr" && way["device"] == "eth0" && way["backends"] == 3);
            ensure!(there, "{ways:?}");
            Ok(())
        })?;
        eventually("flows that came in a tunnel", SOON, || {
            ask_tcp(&cluster.client, to, None)?;
            let flows = cluster.nodes[1].rows("flows")?;
            ensure!(!flows.is_empty() && flows.iter().all(|flow| flow["mode"] == "dsr"), "{flows:?}");
            Ok(())
        })
    })
}

/// What becomes of packets that reach no backend, and of wrong questions.
fn named(cluster: &mut Cluster) -> Result<()> {
    let node = cluster.nodes[0].ip;
    let reject = explain(cluster, &[&format!("tcp://{node}:30170")])?;
    ensure!(
        reject["verdict"] == "reject" && reject["reason"] == "no_backend" && reject["backend"].is_null(),
        "{reject}"
    );
    let reject = explain(cluster, &[&format!("tcp://{EXTERNAL}:9")])?;
    ensure!(reject["verdict"] == "reject" && reject["reason"] == "no_port", "{reject}");
    let pass = explain(cluster, &[&format!("udp://{node}:9")])?;
    ensure!(pass["verdict"] == "pass" && pass["reason"].is_null(), "{pass}");
    let bad = explain(cluster, &[&format!("tcp://{node}:30070"), "--from", "127.0.0.1:9"])?;
    ensure!(bad["verdict"] == "drop" && bad["reason"] == "bad_source", "{bad}");
    let text = cluster.nodes[0].weir(&["explain", &format!("tcp://{node}:30070")])?;
    ensure!(text.contains("STEP") && text.contains("default/web:7070") && text.contains("verdict   forward"), "{text}");
    let wrong = |cluster: &mut Cluster, arguments: &[&str]| {
        explain(cluster, arguments).err().map(|error| format!("{error:#}")).unwrap_or_default()
    };
    ensure!(wrong(cluster, &["tcp://web:80"]).contains("TARGET 'tcp://web:80': expected tcp://IP:PORT"));
    ensure!(wrong(cluster, &["tcp://[::1]:80", "--from", "10.0.0.1"]).contains("an address of the target's family"));
    let target = format!("tcp://{node}:30070");
    ensure!(wrong(cluster, &[&target, "--interface", "nope0"]).contains("no such interface"));
    Ok(())
}
