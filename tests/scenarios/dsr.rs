//! Services that forward by DSR: tunnels between the nodes, replies straight from the second one.

use anyhow::{Context, Result, ensure};
use weir_lab::{Capture, Cluster, Flow, Request, SOON, ask_tcp, ask_udp, eventually};

use crate::common::{EXTERNAL, scenario, web_service};

/// A Service that forwards by DSR, with its only pod on the second node; clients come by the first.
fn far_service(cluster: &mut Cluster) -> Result<()> {
    cluster.add_pod(1, "far", "web")?;
    cluster.write_pods()?;
    let yaml = web_service("web")
        .replace("namespace: default}", "namespace: default, annotations: {weir.io/forwarding: dsr}}");
    cluster.write("web.yaml", &yaml)?;
    for node in &cluster.nodes {
        node.add_invalid_rule()?;
        node.add_masquerade_rule()?;
        for interface in ["all", "default", "eth0", "cni0"] {
            node.netns.set_sysctl(&format!("net/ipv4/conf/{interface}/rp_filter"), "1")?;
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn replies_leave_straight_from_the_backends_node() -> Result<()> {
    scenario(|cluster| {
        far_service(cluster)?;
        cluster.start_agents()?;
        let first = &cluster.nodes[0];
        let capture = Capture::start(&first.netns, "eth0", &format!("src host {}", cluster.pods[0].ip))?;
        let seen = Capture::start(&cluster.client, "eth0", &format!("src host {EXTERNAL}"))?;
        let greeting = ask_tcp(&cluster.client, (EXTERNAL, 7070).into(), None)?;
        ensure!(greeting.contains("192.168.77.100"), "the pod sees the client's own address: {greeting}");
        for _ in 0..8 {
            ask_udp(&cluster.client, (EXTERNAL, 5353).into(), None, "hello")?;
        }
        let length = 2_000_000;
        let down = Request::get("x", &format!("/bytes/{length}")).send(&cluster.client, (EXTERNAL, 80).into())?;
        ensure!(down.body.len() == length, "{} of {length} bytes came down", down.body.len());
        let up = Request::post("x", "/", vec![b'u'; length]).send(&cluster.client, (EXTERNAL, 80).into())?;
        ensure!(up.json()?["bodyBytes"] == length, "upload: {}", up.text());
        let flow = Flow::start(&cluster.client, (EXTERNAL, 7070).into())?;
        flow.goes_on(20)?;
        ensure!(flow.stop()?.error.is_none(), "a flow broke");
        ensure!(capture.stop()?.is_empty(), "replies came back through the first node");
        let replies = seen.stop()?;
        ensure!(!replies.is_empty() && replies.iter().all(|packet| packet.checksum_ok), "replies from the VIP");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn what_does_not_fit_into_the_tunnel_is_told() -> Result<()> {
    scenario(|cluster| {
        far_service(cluster)?;
        cluster.start_agents()?;
        // larger than what fits with another header: the first is answered with the size that does, later ones come through
        let text = "x".repeat(1470);
        eventually("a large datagram to come through", SOON, || {
            let answer = ask_udp(&cluster.client, (EXTERNAL, 5353).into(), None, &text)?;
            ensure!(answer.ends_with(&text), "{} bytes came back", answer.len());
            Ok(())
        })
    })
}

#[test]
#[ignore = "needs root"]
fn a_flow_outlives_the_node_that_it_came_by() -> Result<()> {
    scenario(|cluster| {
        far_service(cluster)?;
        cluster.start_agents()?;
        let flow = Flow::start(&cluster.client, (EXTERNAL, 7070).into())?;
        flow.goes_on(10)?;
        // as a router does when a node dies: the flow comes by the other one, which is its backend's own
        let second = cluster.nodes[1].ip;
        cluster.client.ip(&format!("route replace default via {second}"))?;
        flow.goes_on(10).context("after the first node was left out")?;
        let first = cluster.nodes[0].ip;
        cluster.client.ip(&format!("route replace default via {first}"))?;
        flow.goes_on(10).context("after it came back")?;
        ensure!(flow.stop()?.error.is_none(), "the flow broke");
        Ok(())
    })
}

/// How packets of the Service are sent on, and why, as the agent of the first node says it.
fn forwards(cluster: &Cluster, how: &str, why: &str) -> Result<()> {
    let rows = cluster.nodes[0].rows("services")?;
    let row = rows.iter().find(|row| row["name"] == "web" && row["port"] == 7070).context("no web:7070")?;
    let because = row["forwardingReason"].as_str().is_some_and(|reason| reason.starts_with(why));
    ensure!(row["forwarding"] == how && because, "{row}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_flag_makes_it_the_default_and_an_annotation_an_exception() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(1, "far", "web")?;
        cluster.write_pods()?;
        cluster.write("web.yaml", &web_service("web"))?;
        for node in &mut cluster.nodes {
            node.agent_options().arguments.extend(["--forwarding", "dsr"].map(str::to_owned));
        }
        cluster.start_agents()?;
        let greeting = ask_tcp(&cluster.client, (EXTERNAL, 7070).into(), None)?;
        ensure!(greeting.contains(&weir_lab::CLIENT.to_string()), "the pod sees another client: {greeting}");
        forwards(cluster, "dsr", "--forwarding")?;
        let exception = web_service("web")
            .replace("namespace: default}", "namespace: default, annotations: {weir.io/forwarding: snat}}");
        cluster.write("web.yaml", &exception)?;
        eventually("the pod to see the first node", SOON, || {
            let greeting = ask_tcp(&cluster.client, (EXTERNAL, 7070).into(), None)?;
            ensure!(greeting.contains(&cluster.nodes[0].ip.to_string()), "{greeting}");
            forwards(cluster, "snat", "annotation weir.io/forwarding")
        })
    })
}
