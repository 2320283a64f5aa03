//! IPv6 and dual stack: the frontends of layer 4, with real clients.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::json;
use weir_lab::{
    CLIENT6, Capture, Cluster, ClusterOptions, Flow, Gateways6, Node, Port, Request, SOON, Service, ask_tcp, ask_udp,
    eventually, ping6,
};

use crate::common::{EXTERNAL, greeted_by, metric, options, problems, scenario, scenario_with};

/// The external address of the Services here.
pub(crate) const EXTERNAL6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0x100);
/// The address of a load balancer.
pub(crate) const BALANCER: Ipv4Addr = Ipv4Addr::new(10, 100, 200, 1);
/// The same of IPv6.
pub(crate) const BALANCER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x200, 0, 0, 0, 0, 1);

/// The Service of [`crate::common::web`] in both families, and one of type LoadBalancer with an address of each.
pub(crate) fn dual(cluster: &mut Cluster) -> Result<()> {
    cluster.add_pod(0, "near", "web")?;
    cluster.add_pod(1, "far", "web")?;
    cluster.write_pods()?;
    dual_services(cluster)
}

/// The Services of [`dual`] for pods of one's own.
pub(crate) fn dual_services(cluster: &Cluster) -> Result<()> {
    let ports = [Port::tcp(7070, 7070).at(30070), Port::tcp(80, 8080).at(30080), Port::udp(5353, 5353).at(30053)];
    let (four, six) = (EXTERNAL.to_string(), EXTERNAL6.to_string());
    let families = ["IPv4", "IPv6"];
    let web = Service {
        name: "web",
        app: "web",
        ports: &ports,
        external_ips: &[&four, &six],
        kind: Some("NodePort"),
        families: &families,
    };
    cluster.write("web.yaml", &web.yaml())?;
    let ports = [Port::tcp(7070, 7070), Port::udp(5353, 5353)];
    let balanced =
        Service { name: "balanced", app: "web", ports: &ports, kind: Some("LoadBalancer"), families: &families, ..web };
    let status = format!("status: {{loadBalancer: {{ingress: [{{ip: {BALANCER}}}, {{ip: \"{BALANCER6}\"}}]}}}}\n");
    cluster.write("balanced.yaml", &(balanced.yaml().replace(&format!("{:?}", [&four, &six]), "[]") + &status))
}

/// Connects and asks until both pods have answered, and checks whom they saw: the one on the entry node the client, the
/// other one that node.
fn both_pods_answer(cluster: &Cluster, entry: &Node, tcp: SocketAddr, udp: SocketAddr) -> Result<()> {
    let expected = |node: &str| if node == entry.name { CLIENT6 } else { entry.ip6 };
    for is_tcp in [true, false] {
        let mut seen = [false; 2];
        for attempt in 0..64 {
            let answer =
                if is_tcp { ask_tcp(&cluster.client, tcp, None) } else { ask_udp(&cluster.client, udp, None, "hello") };
            let answer = answer.with_context(|| format!("attempt {attempt} by {}", entry.name))?;
            let words: Vec<&str> = answer.split(' ').collect();
            let [pod, node, peer, ..] = words[..] else { bail!("an odd answer: {answer}") };
            let peer: SocketAddr = peer.parse().with_context(|| answer.clone())?;
            ensure!(peer.ip() == IpAddr::from(expected(node)), "{pod} on {node} saw {peer} by {}", entry.name);
            seen[usize::from(pod == "far")] = true;
            if seen == [true; 2] {
                break;
            }
        }
        ensure!(seen == [true; 2], "only one pod answered: {seen:?}, TCP {is_tcp}");
    }
    Ok(())
}

fn everything_answers(cluster: &Cluster) -> Result<()> {
    for node in &cluster.nodes {
        both_pods_answer(cluster, node, node.port6(30070), node.port6(30053))?;
    }
    // The client's default route leads to the first node.
    for vip in [EXTERNAL6, BALANCER6] {
        both_pods_answer(cluster, &cluster.nodes[0], (vip, 7070).into(), (vip, 5353).into())?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn every_kind_of_frontend_answers_over_ipv6() -> Result<()> {
    for gateways6 in [Gateways6::Routed, Gateways6::LinkLocal] {
        for pod_offload in [true, false] {
            scenario_with(&ClusterOptions { gateways6, pod_offload, ..options()? }, |cluster| {
                dual(cluster)?;
                cluster.start_agents()?;
                let at_client = Capture::start(&cluster.client, "eth0", "ip6 and (tcp or udp)")?;
                let at_node = Capture::start(&cluster.wire, "node-1", "ip6 and (tcp or udp)")?;
                everything_answers(cluster)?;
                for packets in [at_client.stop()?, at_node.stop()?] {
                    ensure!(!packets.is_empty(), "nothing was captured");
                    let wrong: Vec<_> = packets.iter().filter(|packet| !packet.checksum_ok).collect();
                    ensure!(wrong.is_empty(), "wrong checksums: {wrong:?}");
                }
                Ok(())
            })
            .with_context(|| format!("{gateways6:?}, offload {pod_offload}"))?;
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_dual_stack_service_answers_in_both_families_and_counts_both() -> Result<()> {
    scenario(|cluster| {
        dual(cluster)?;
        cluster.start_agents()?;
        let node = &cluster.nodes[0];
        for to in [node.port(30070), node.port6(30070), (EXTERNAL, 7070).into(), (EXTERNAL6, 7070).into()] {
            let pods = greeted_by(cluster, to, 24)?;
            ensure!(pods.len() == 2, "{to}: {pods:?}");
        }
        eventually("96 flows to be counted", SOON, || {
            let rows = node.rows("services")?;
            let row = rows.iter().find(|row| row["name"] == "web" && row["port"] == 7070).context("no row of web")?;
            let flows = |counted: &serde_json::Value| counted["counters"]["newFlows"].as_u64();
            let families: Vec<_> = row["families"].as_array().context("no families")?.iter().map(flows).collect();
            ensure!(flows(row) == Some(96) && families == [Some(48), Some(48)], "{row}");
            Ok(())
        })?;
        let backends = node.rows("backends")?;
        let of = |address: &str| {
            let row = backends.iter().find(|row| row["address"] == address && row["port"] == 7070);
            row.map(|row| row["counters"]["newFlows"].clone()).with_context(|| format!("no backend {address}"))
        };
        let far = &cluster.pods[1];
        ensure!(of(&far.ip6.to_string())? != json!(0) && of(&far.ip.to_string())? != json!(0), "{backends:?}");
        ensure!(problems(node)?.iter().all(|problem| problem["code"] != "not-yet"));
        Ok(())
    })
}

/// The ids that stand in flows, of both families.
fn ids(cluster: &Cluster) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for node in &cluster.nodes {
        for row in node.rows("services")? {
            for family in row["families"].as_array().into_iter().flatten() {
                ids.push(format!("{}:{} {} {}", row["name"], row["port"], family["family"], family["id"]));
            }
        }
        let backends = node.rows("backends")?;
        ids.extend(backends.iter().map(|row| format!("{}:{} {}", row["address"], row["port"], row["id"])));
    }
    ids.sort();
    Ok(ids)
}

#[test]
#[ignore = "needs root"]
fn a_restart_keeps_flows_and_ids_of_ipv6() -> Result<()> {
    scenario(|cluster| {
        dual(cluster)?;
        cluster.start_agents()?;
        let to = [cluster.nodes[0].port6(30070), cluster.nodes[1].port6(30070), (EXTERNAL6, 7070).into()];
        let flows = to.iter().flat_map(|to| std::iter::repeat_n(*to, 5));
        let flows = flows.map(|to| Flow::start(&cluster.client, to)).collect::<Result<Vec<_>>>()?;
        for pod in ["near", "far"] {
            ensure!(flows.iter().any(|flow| flow.pod() == pod), "no flow to {pod}");
        }
        let before = ids(cluster)?;
        for signal in [Signal::KILL, Signal::TERM] {
            for node in &mut cluster.nodes {
                node.end_agent(signal)?;
            }
            flows.iter().try_for_each(|flow| flow.goes_on(5)).context("without an agent")?;
            cluster.start_agents()?;
            flows.iter().try_for_each(|flow| flow.goes_on(5))?;
        }
        ensure!(before == ids(cluster)?, "ids changed: {before:?}");
        for flow in flows {
            let report = flow.stop()?;
            ensure!(report.error.is_none(), "a flow broke: {report:?}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_flushed_link_local_next_hop_loses_nothing() -> Result<()> {
    scenario_with(&ClusterOptions { gateways6: Gateways6::LinkLocal, ..options()? }, |cluster| {
        dual(cluster)?;
        cluster.start_agents()?;
        for attempt in 0..8 {
            for node in &cluster.nodes {
                node.flush_neighbours()?;
            }
            // One datagram, no second try: if the first packet is lost, this fails.
            for node in &cluster.nodes {
                let to = node.port6(30053);
                ask_udp(&cluster.client, to, None, "once").with_context(|| format!("attempt {attempt} at {to}"))?;
            }
        }
        let first = &cluster.nodes[0];
        eventually("the next hops to be kept resolved", SOON, || {
            let neighbours = first.netns.ip("-6 neigh show dev eth0")?;
            // The switch, which the default route names, and the other node.
            for hop in ["fe80::1 ", "fe80::12 "] {
                let is_kept = |line: &str| line.starts_with(hop) && line.contains("managed");
                ensure!(neighbours.lines().any(is_kept), "{hop}is not kept: {neighbours}");
            }
            Ok(())
        })
    })
}

#[test]
#[ignore = "needs root"]
fn path_mtu_discovery_of_ipv6_reaches_pods_on_both_nodes() -> Result<()> {
    const OTHER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0x101);
    scenario(|cluster| {
        for (node, (name, vip)) in [("near", EXTERNAL6), ("far", OTHER6)].into_iter().enumerate() {
            cluster.add_pod(node, name, name)?;
            let vip = vip.to_string();
            let ports = [Port::tcp(80, 8080)];
            let service = Service { name, app: name, ports: &ports, external_ips: &[&vip], ..Service::default() };
            cluster.write(&format!("{name}.yaml"), &service.yaml())?;
        }
        cluster.write_pods()?;
        cluster.start_agents()?;
        let errors = || metric(&cluster.nodes[0], "weir_packet_events_total{event=\"icmp_errors\"}");
        // The smallest link that carries IPv6 (RFC 8200, section 5) is one of 1,280 bytes.
        let branch = cluster.branch(1_280)?;
        for vip in [EXTERNAL6, OTHER6] {
            let before = errors()?;
            let large = Request::get("x", "/bytes/1000000").send(&branch.client, (vip, 80).into())?;
            ensure!(large.body.len() == 1_000_000, "{vip}: {} bytes", large.body.len());
            eventually("a router to say that a packet is too big", SOON, || {
                let after = errors()?;
                ensure!(after > before, "{vip}: {after} errors as before");
                Ok(())
            })?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_vip_answers_ping6_while_it_has_a_frontend() -> Result<()> {
    scenario(|cluster| {
        dual(cluster)?;
        cluster.start_agents()?;
        for size in [0, 1, 56, 1_400] {
            ping6(&cluster.client, EXTERNAL6, &vec![0xa5; size], SOON)?;
        }
        ping6(&cluster.client, cluster.nodes[0].ip6, b"node", SOON)?;
        cluster.remove("web.yaml")?;
        eventually("the VIP to fall silent", SOON, || {
            match ping6(&cluster.client, EXTERNAL6, b"gone", Duration::from_millis(300)) {
                Ok(()) => bail!("it still answers"),
                Err(_) => Ok(()),
            }
        })
    })
}

#[test]
#[ignore = "needs root"]
fn rules_of_others_and_bulk_do_no_harm_to_ipv6() -> Result<()> {
    scenario(|cluster| {
        dual(cluster)?;
        for node in &cluster.nodes {
            node.add_invalid_rule()?;
            node.add_masquerade_rule()?;
        }
        cluster.start_agents()?;
        everything_answers(cluster)?;
        for node in &cluster.nodes {
            let length = 2_000_000;
            for _ in 0..4 {
                let down = Request::get("x", &format!("/bytes/{length}")).send(&cluster.client, node.port6(30080))?;
                ensure!(down.body.len() == length, "{} of {length} bytes came down", down.body.len());
                let up = Request::post("x", "/", vec![b'u'; length]).send(&cluster.client, node.port6(30080))?;
                ensure!(up.json()?["bodyBytes"] == length, "upload: {}", up.text());
            }
        }
        Ok(())
    })
}
