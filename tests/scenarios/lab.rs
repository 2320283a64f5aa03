//! The bench itself: what the other scenarios rely on, without weir.

use std::time::Duration;

use anyhow::{Result, ensure};
use weir_lab::{CLIENT6, Capture, ClusterOptions, Flow, Gateways6, Request, ask_udp, ping6};

use crate::common::{options, scenario, scenario_with};

#[test]
#[ignore = "needs root"]
fn a_client_reaches_pods_over_the_wire_with_complete_checksums() -> Result<()> {
    scenario(|cluster| {
        let near = cluster.add_pod(0, "near", "web")?.ip;
        let far = cluster.add_pod(1, "far", "web")?.ip;
        let capture = Capture::start(&cluster.wire, "node-2", "ip")?;
        for (ip, pod, node) in [(near, "near", "node-1"), (far, "far", "node-2")] {
            let answer = Request::get("x.test", "/path?q=1").send(&cluster.client, (ip, 8080).into())?;
            ensure!(answer.field("pod")? == pod && answer.field("node")? == node, "{}", answer.text());
            ensure!(answer.field("path")? == "/path?q=1", "{}", answer.text());
            ensure!(ask_udp(&cluster.client, (ip, 5353).into(), None, "hello")?.ends_with("hello"), "no echo");
        }
        let flow = Flow::start(&cluster.client, (far, 7070).into())?;
        flow.goes_on(10)?;
        let report = flow.stop()?;
        ensure!(report.error.is_none() && report.exchanged >= 10, "{report:?}");
        let packets = capture.stop()?;
        ensure!(packets.iter().any(|p| p.source == far && p.protocol == 17), "no UDP from {far}: {packets:?}");
        ensure!(packets.iter().all(|p| p.checksum_ok && p.header_checksum_ok), "a wrong checksum in {packets:?}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_stopped_pod_closes_its_connections() -> Result<()> {
    scenario(|cluster| {
        let ip = cluster.add_pod(0, "near", "web")?.ip;
        let flow = Flow::start(&cluster.client, (ip, 7070).into())?;
        flow.goes_on(3)?;
        drop(cluster.pods[0].server.take());
        weir_lab::eventually("the flow to end", weir_lab::SOON, || {
            ensure!(flow.has_ended(), "it goes on");
            Ok(())
        })?;
        ensure!(flow.stop()?.error.is_some(), "the flow did not notice");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn the_same_over_ipv6_whatever_the_gateways_are_called() -> Result<()> {
    for gateways6 in [Gateways6::Routed, Gateways6::LinkLocal] {
        scenario_with(&ClusterOptions { gateways6, ..options()? }, |cluster| {
            let near = cluster.add_pod(0, "near", "web")?.ip6;
            let far = cluster.add_pod(1, "far", "web")?.ip6;
            let capture = Capture::start(&cluster.wire, "node-2", "ip6")?;
            for (ip, pod) in [(near, "near"), (far, "far")] {
                ping6(&cluster.client, ip, b"are you there", Duration::from_secs(3))?;
                let answer = Request::get("x.test", "/").send(&cluster.client, (ip, 8080).into())?;
                ensure!(answer.field("pod")? == pod, "{}", answer.text());
                ensure!(answer.field("peer")?.starts_with(&format!("[{CLIENT6}]:")), "{}", answer.text());
                ensure!(ask_udp(&cluster.client, (ip, 5353).into(), None, "hello")?.ends_with("hello"), "no echo");
            }
            let flow = Flow::start(&cluster.client, (far, 7070).into())?;
            flow.goes_on(10)?;
            let report = flow.stop()?;
            ensure!(report.error.is_none(), "{report:?}");
            let packets = capture.stop()?;
            ensure!(packets.iter().any(|p| p.source == far && p.protocol == 17), "no UDP from {far}: {packets:?}");
            ensure!(packets.iter().all(|p| p.checksum_ok), "a wrong checksum in {packets:?}");
            Ok(())
        })?;
    }
    Ok(())
}
