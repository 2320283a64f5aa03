//! Backends behind the tunnels of an overlay network: pods of other nodes are reached by vxlan only, every reverse path
//! filter is strict, and kube-proxy's and a CNI's rules are in place.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use weir_lab::{Capture, Cluster, ClusterOptions, Family, Flow, Node, SOON, eventually};

use crate::common::{greeted_by, options, scenario_with, through_the_vip};
use crate::ipv6::dual;
use crate::neighbours::everything_works_in;
use crate::tunnels;

fn overlay(xdp: &str, run: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    overlay_with(dual, xdp, run)
}

/// The same with Services of one's own.
fn overlay_with(
    services: impl FnOnce(&mut Cluster) -> Result<()>,
    xdp: &str,
    run: impl FnOnce(&mut Cluster) -> Result<()>,
) -> Result<()> {
    scenario_with(&ClusterOptions { pod_offload: true, ..options()? }, |cluster| {
        services(cluster)?;
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
fn expect_tunnel(node: &Node, family: Family) -> Result<()> {
    eventually("the way by the tunnel", SOON, || {
        let status = node.api("status")?;
        let ways = status["status"]["ways"].as_array().cloned().unwrap_or_default();
        let device = family.tunnel();
        let is_tunnel = |way: &Value| way["way"] == "tunnel" && way["device"] == device && way["kind"] == "vxlan";
        let way = ways.iter().find(|way| is_tunnel(way)).with_context(|| format!("{ways:?}"))?;
        let reason = way["reason"].as_str().unwrap_or_default();
        ensure!(way["backends"] == 1 && reason.contains("no external interface"), "{way}");
        Ok(())
    })
}

fn bulk_and_datagrams(cluster: &Cluster) -> Result<()> {
    Family::BOTH.iter().try_for_each(|family| bulk_and_datagrams_in(cluster, *family))
}

fn bulk_and_datagrams_in(cluster: &Cluster, family: Family) -> Result<()> {
    for node in &cluster.nodes {
        expect_tunnel(node, family)?;
        let text = node.weir(&["status"])?;
        ensure!(text.contains(&format!("tunnel  {}", family.tunnel())), "{text}");
    }
    let captures = cluster.nodes.iter().map(|node| Capture::start(&cluster.wire, &node.name, family.ip()));
    let captures = captures.collect::<Result<Vec<_>>>()?;
    everything_works_in(cluster, family)?;
    through_the_vip(cluster, family)?;
    for (node, capture) in cluster.nodes.iter().zip(captures) {
        let packets = capture.stop()?;
        let is_pod = |address: IpAddr| address.to_string().starts_with(family.of("10.244.", "fd00:244:"));
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
        let mut flows = Vec::new();
        for family in Family::BOTH {
            let to = cluster.nodes[0].port_of(family, 30070);
            let more = (0..16).map(|_| Flow::start(&cluster.client, to)).collect::<Result<Vec<_>>>()?;
            ensure!(more.iter().any(|flow| flow.pod() == "far"), "no flow goes through the tunnel of {family:?}");
            flows.extend(more);
        }
        for signal in [Signal::TERM, Signal::KILL] {
            cluster.nodes[0].end_agent(signal)?;
            // Neither known flows nor new ones need the agent.
            flows.iter().try_for_each(|flow| flow.goes_on(5))?;
            for family in Family::BOTH {
                let pods = greeted_by(cluster, cluster.nodes[0].port_of(family, 30070), 24)?;
                ensure!(pods.len() == 2, "new flows without an agent: {pods:?}");
            }
            cluster.nodes[0].start_agent()?;
            flows.iter().try_for_each(|flow| flow.goes_on(5))?;
            Family::BOTH.iter().try_for_each(|family| expect_tunnel(&cluster.nodes[0], *family))?;
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
        for family in Family::BOTH {
            everything_works_in(cluster, family)?;
            cluster.remake_tunnel(&cluster.nodes[0], family)?;
            eventually("both pods to answer", SOON, || {
                let pods = greeted_by(cluster, cluster.nodes[0].port_of(family, 30070), 24)?;
                ensure!(pods.len() == 2, "{pods:?}");
                Ok(())
            })?;
            expect_tunnel(&cluster.nodes[0], family)?;
            everything_works_in(cluster, family)?;
        }
        Ok(())
    })
}

/// DSR needs no tunnel of the CNI: packets go from node to node in its own, and to the pod there.
#[test]
#[ignore = "needs root"]
fn dsr_goes_past_an_overlay() -> Result<()> {
    for xdp in ["native", "off"] {
        overlay_with(tunnels::far_pod, xdp, |cluster| {
            let overlay = Capture::start(&cluster.wire, "node-1", "udp dst port 8472")?;
            tunnels::works(cluster)?;
            let seen = overlay.stop()?;
            // the nodes look for each other's tunnels, which says nothing of pods
            ensure!(seen.iter().all(|packet| packet.length < 200), "through the overlay: {seen:?}");
            Ok(())
        })
        .with_context(|| format!("--xdp {xdp}"))?;
    }
    Ok(())
}
