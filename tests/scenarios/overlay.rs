//! Backends behind the tunnels of an overlay network: pods of other nodes are reached by vxlan only, every reverse path
//! filter is strict, and kube-proxy's and a CNI's rules are in place.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use weir_lab::{Capture, Cluster, ClusterOptions, Flow, Node, SOON, ask_udp, eventually};

use crate::common::{EXTERNAL, greeted_by, options, scenario_with, web};
use crate::neighbours::everything_works;

fn overlay(xdp: &str, run: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    scenario_with(&ClusterOptions { pod_offload: true, ..options()? }, |cluster| {
        web(cluster)?;
        cluster.make_overlay()?;
        for node in &mut cluster.nodes {
            node.add_invalid_rule()?;
            node.add_masquerade_rule()?;
            node.agent_options().xdp = xdp.to_owned();
        }
        cluster.start_agents()?;
        run(cluster)
    })
}

/// The way of the backends on the other node is the tunnel.
fn expect_tunnel(node: &Node) -> Result<()> {
    eventually("the way by the tunnel", SOON, || {
        let status = node.api("status")?;
        let ways = status["status"]["ways"].as_array().cloned().unwrap_or_default();
        let is_tunnel = |way: &Value| way["way"] == "tunnel" && way["device"] == "flannel.1" && way["kind"] == "vxlan";
        let way = ways.iter().find(|way| is_tunnel(way)).with_context(|| format!("{ways:?}"))?;
        let reason = way["reason"].as_str().unwrap_or_default();
        ensure!(way["backends"] == 1 && reason.contains("no external interface"), "{way}");
        Ok(())
    })
}

fn bulk_and_datagrams(cluster: &Cluster) -> Result<()> {
    for node in &cluster.nodes {
        expect_tunnel(node)?;
        let text = node.weir(&["status"])?;
        ensure!(text.contains("tunnel  flannel.1"), "{text}");
    }
    let captures = cluster.nodes.iter().map(|node| Capture::start(&cluster.wire, &node.name, "ip"));
    let captures = captures.collect::<Result<Vec<_>>>()?;
    everything_works(cluster)?;
    ensure!(greeted_by(cluster, (EXTERNAL, 7070).into(), 16)?.len() == 2, "one of the pods never answered");
    for _ in 0..8 {
        ask_udp(&cluster.client, (EXTERNAL, 5353).into(), None, "odd")?;
    }
    for (node, capture) in cluster.nodes.iter().zip(captures) {
        let packets = capture.stop()?;
        let is_pod = |address: std::net::IpAddr| address.to_string().starts_with("10.244.");
        let outside = packets.iter().filter(|p| is_pod(p.source) || is_pod(p.destination)).count();
        ensure!(outside == 0, "{outside} packets of {} went past the tunnel", node.name);
        let inside = packets.iter().filter(|p| p.protocol == 17 && p.ports.1 == 8472).count();
        ensure!(inside > 100, "only {inside} packets of {} in the tunnel", node.name);
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn bulk_both_ways_through_a_vxlan() -> Result<()> {
    overlay("native", |cluster| bulk_and_datagrams(cluster))
}

#[test]
#[ignore = "needs root"]
fn the_same_by_tc_alone_with_the_clients_offloads() -> Result<()> {
    overlay("off", |cluster| {
        cluster.offload_client()?;
        bulk_and_datagrams(cluster)
    })
}

#[test]
#[ignore = "needs root"]
fn a_restart_of_the_agent_breaks_no_flow_through_the_tunnel() -> Result<()> {
    overlay("native", |cluster| {
        // Enough of them that some are with the pod on the other node.
        let flows: Vec<Flow> =
            (0..24).map(|_| Flow::start(&cluster.client, cluster.nodes[0].port(30070))).collect::<Result<_>>()?;
        ensure!(flows.iter().any(|flow| flow.pod() == "far"), "no flow goes through the tunnel");
        for signal in [Signal::TERM, Signal::KILL] {
            cluster.nodes[0].end_agent(signal)?;
            // Neither known flows nor new ones need the agent.
            flows.iter().try_for_each(|flow| flow.goes_on(5))?;
            ensure!(greeted_by(cluster, cluster.nodes[0].port(30070), 16)?.len() == 2, "new flows without an agent");
            cluster.nodes[0].start_agent()?;
            flows.iter().try_for_each(|flow| flow.goes_on(5))?;
            expect_tunnel(&cluster.nodes[0])?;
        }
        for flow in flows {
            let report = flow.stop()?;
            ensure!(report.error.is_none(), "{report:?}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_tunnel_that_is_made_anew_gets_the_program_again() -> Result<()> {
    overlay("native", |cluster| {
        everything_works(cluster)?;
        cluster.remake_tunnel(&cluster.nodes[0])?;
        eventually("both pods to answer", SOON, || {
            let pods = greeted_by(cluster, cluster.nodes[0].port(30070), 24)?;
            ensure!(pods.len() == 2, "{pods:?}");
            Ok(())
        })?;
        expect_tunnel(&cluster.nodes[0])?;
        everything_works(cluster)
    })
}
