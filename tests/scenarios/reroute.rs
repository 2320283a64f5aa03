//! Long-lived flows over three nodes behind a route with three equal ways: how many break when a node dies, and when one joins.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use weir_lab::{Cluster, ClusterOptions, Crowd, Port, SOON, Service, eventually, pods_and_nodes};

use crate::common::{EXTERNAL, options, scenario_with};
use crate::ipv6::EXTERNAL6;

/// How many flows of each family.
const FLOWS: usize = 1_000;
/// Packets that were on their way to a dead node are sent again, with growing pauses.
const PATIENCE: Duration = Duration::from_secs(60);

/// Flows that broke, or had to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Losses {
    /// Their pod was on the node that died.
    with_their_pod: usize,
    /// Others, when the node died and the router spread flows anew.
    died: usize,
    /// Others, when its pods went out of the rings.
    gone: usize,
    /// When a node joined, and the router spread flows anew.
    joined: usize,
    /// When pods on it came into the rings.
    grown: usize,
}

/// A Service `web` with an address of each family that forwards so, and a pod on each of three nodes.
fn on_three_nodes(cluster: &mut Cluster, forwarding: &str) -> Result<()> {
    for (node, name) in ["one", "two", "three"].into_iter().enumerate() {
        cluster.add_pod(node, name, "web")?;
    }
    cluster.write_pods()?;
    let (four, six) = (EXTERNAL.to_string(), EXTERNAL6.to_string());
    let service = Service {
        name: "web",
        app: "web",
        ports: &[Port::tcp(7070, 7070)],
        external_ips: &[&four, &six],
        families: &["IPv4", "IPv6"],
        ..Service::default()
    };
    let annotation = format!("namespace: default, annotations: {{weir.io/forwarding: {forwarding}}}}}");
    cluster.write("web.yaml", &service.yaml().replace("namespace: default}", &annotation))?;
    cluster.start_agents()?;
    cluster.spread(&[0, 1, 2])
}

/// The first nodes have so many backends in their ring.
fn have_backends(cluster: &Cluster, nodes: usize, backends: u64) -> Result<()> {
    for node in &cluster.nodes[..nodes] {
        eventually("the ring to have changed", SOON, || {
            let rows = node.rows("services")?;
            let row = rows.iter().find(|row| row["name"] == "web").context("no Service")?;
            let active = &row["backends"]["active"];
            ensure!(*active == backends, "{active} of {backends} backends on {}", node.name);
            Ok(())
        })?;
    }
    Ok(())
}

/// The last node dies; the router leaves it out, and later so does the cluster.
fn a_node_dies(cluster: &mut Cluster, crowds: &mut [Crowd; 2], losses: &mut [Losses; 2]) -> Result<()> {
    cluster.nodes[2].end_agent(Signal::KILL)?;
    cluster.nodes[2].netns.ip("link set eth0 down")?;
    cluster.spread(&[0, 1])?;
    for (crowd, losses) in crowds.iter_mut().zip(losses.iter_mut()) {
        losses.with_their_pod = crowd.leave("node-3");
        losses.died = crowd.exchange(PATIENCE);
    }
    cluster.write("cluster.yaml", &pods_and_nodes(&cluster.nodes[..2], &cluster.pods[..2]))?;
    // a dual-stack pod is a backend of each family
    have_backends(cluster, 2, 4)?;
    for (crowd, losses) in crowds.iter_mut().zip(losses) {
        losses.gone = crowd.exchange(PATIENCE);
    }
    Ok(())
}

/// A node joins that knows nothing; later it gets pods.
fn a_node_joins(cluster: &mut Cluster, crowds: &mut [Crowd; 2], losses: &mut [Losses; 2]) -> Result<()> {
    let pins = cluster.nodes[2].agent_options().pin_path.display().to_string();
    cluster.nodes[2].weir(&["unload", "--pin-path", &pins])?;
    bring_back(cluster)?;
    cluster.write("cluster.yaml", &pods_and_nodes(&cluster.nodes, &cluster.pods[..2]))?;
    cluster.nodes[2].start_agent()?;
    have_backends(cluster, 3, 4)?;
    cluster.spread(&[0, 1, 2])?;
    for (crowd, losses) in crowds.iter_mut().zip(losses.iter_mut()) {
        losses.joined = crowd.exchange(PATIENCE);
    }
    cluster.write_pods()?;
    have_backends(cluster, 3, 6)?;
    for (crowd, losses) in crowds.iter_mut().zip(losses) {
        losses.grown = crowd.exchange(PATIENCE);
    }
    Ok(())
}

/// A link that was down has lost its routes.
fn bring_back(cluster: &Cluster) -> Result<()> {
    cluster.nodes[2].netns.ip("link set eth0 up")?;
    cluster.reconnect(2)
}

fn losses(forwarding: &str) -> Result<[Losses; 2]> {
    let mut losses = [Losses::default(), Losses::default()];
    scenario_with(&ClusterOptions { nodes: 3, ..options()? }, |cluster| {
        on_three_nodes(cluster, forwarding)?;
        have_backends(cluster, 3, 6)?;
        let connect = |to: SocketAddr| Crowd::connect(&cluster.client, to, FLOWS);
        let mut crowds = [connect((EXTERNAL, 7070).into())?, connect((EXTERNAL6, 7070).into())?];
        for crowd in &mut crowds {
            let lost = crowd.exchange(PATIENCE);
            ensure!(lost == 0, "{lost} flows broke before anything happened");
        }
        a_node_dies(cluster, &mut crowds, &mut losses)?;
        a_node_joins(cluster, &mut crowds, &mut losses)
    })?;
    eprintln!("{forwarding}: of {FLOWS} flows of IPv4 and as many of IPv6 broke {losses:?}");
    Ok(losses)
}

#[test]
#[ignore = "needs root"]
fn dsr_loses_no_flow_whose_pod_lives() -> Result<()> {
    for losses in losses("dsr")? {
        let Losses { with_their_pod, died, gone, joined, grown } = losses;
        ensure!(with_their_pod > 0, "flows went to each node");
        ensure!(died + gone + joined + grown == 0, "flows broke although their pods live: {losses:?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn snat_loses_the_flows_that_come_by_another_node() -> Result<()> {
    for losses in losses("snat")? {
        // a router that spreads three ways anew over two moves a third of the flows at least
        ensure!(losses.died > 0 && losses.joined > 0, "the router moved no flow: {losses:?}");
    }
    Ok(())
}
