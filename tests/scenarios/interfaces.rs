//! Which interfaces are attached to, and how: by XDP or by tc, one or several, there from the start or made anew.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_lab::{Capture, Cluster, ClusterOptions, Family, Node, Packet, SOON, ask_tcp, ask_udp, eventually};

use crate::common::{metric, options, problems, scenario, scenario_with, through_the_vip, web};
use crate::ipv6::dual;
use crate::neighbours::{everything_works, everything_works_in};

/// The row of an interface in the status of a node's agent.
fn interface(node: &Node, name: &str) -> Result<Value> {
    let status = node.api("status")?;
    let rows = status["status"]["interfaces"].as_array().cloned().unwrap_or_default();
    rows.into_iter().find(|row| row["name"] == name).with_context(|| format!("no {name} in {status}"))
}

fn expect_mode(node: &Node, name: &str, mode: &str) -> Result<Value> {
    let row = interface(node, name)?;
    ensure!(row["mode"] == mode, "{name} of {}: {row}", node.name);
    Ok(row)
}

/// The Problems with a code.
fn expect_problem(node: &Node, code: &str) -> Result<String> {
    eventually("a Problem", SOON, || {
        let found = problems(node)?;
        let found = found.iter().find(|problem| problem["code"] == code).with_context(|| format!("{found:?}"))?;
        Ok(found["message"].as_str().unwrap_or_default().to_owned())
    })
}

#[test]
#[ignore = "needs root"]
fn another_xdp_program_stays_and_tc_takes_the_packets() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.occupy(0, "eth0")?;
        cluster.start_agents()?;
        let node = &cluster.nodes[0];
        let row = expect_mode(node, "eth0", "tc")?;
        ensure!(row["reason"].as_str().is_some_and(|reason| reason.contains("lab_pass (id ")), "{row}");
        expect_mode(&cluster.nodes[1], "eth0", "native")?;
        let message = expect_problem(node, "xdp-foreign")?;
        ensure!(message.contains("eth0") && message.contains("lab_pass (id "), "{message}");
        let text = node.weir(&["status"])?;
        ensure!(text.contains("\neth0: held by XDP program lab_pass (id "), "{text}");
        everything_works(cluster)?;
        let link = cluster.nodes[0].netns.ip("-d link show dev eth0")?;
        ensure!(link.contains("lab_pass"), "the other program is gone: {link}");
        Ok(())
    })
}

/// The client leaves checksums and segmentation to its device, so the companion sees large packets with partial checksums.
/// The nodes' own devices complete them (`complete`), so that a wrong one is on the wire and in nobody's way to be seen; or
/// nobody ever does, as on a node that is a container.
fn tc_alone(complete: bool) -> Result<()> {
    scenario_with(&ClusterOptions { pod_offload: true, ..options()? }, |cluster| {
        dual(cluster)?;
        cluster.offload_client()?;
        for node in &mut cluster.nodes {
            // what a user of a cluster in containers gets
            node.agent_options().xdp = "auto".to_owned();
            if complete {
                node.netns.shell("ethtool -K pod0 tx off")?;
            } else {
                node.netns.shell("ethtool -K eth0 tx on tso on gso on")?;
            }
        }
        cluster.start_agents()?;
        for node in &cluster.nodes {
            let row = expect_mode(node, "eth0", "tc")?;
            ensure!(row["kind"] == "veth" && row["tc"].is_string(), "{row}");
            expect_problem(node, "xdp-not-used")?;
            let link = node.netns.ip("-d link show dev eth0")?;
            ensure!(!link.contains("prog/xdp"), "{link}");
        }
        Family::BOTH.iter().try_for_each(|family| tc_alone_in(cluster, *family, complete))
    })
}

fn tc_alone_in(cluster: &Cluster, family: Family, complete: bool) -> Result<()> {
    let replies = |node: &Node| metric(node, "weir_packet_events_total{event=\"replies\"}");
    let before = cluster.nodes.iter().map(replies).collect::<Result<Vec<_>>>()?;
    let captures = cluster.nodes.iter().map(|node| Capture::start(&cluster.wire, &node.name, family.ip()));
    let captures = captures.collect::<Result<Vec<_>>>()?;
    everything_works_in(cluster, family)?;
    through_the_vip(cluster, family)?;
    for ((node, capture), before) in cluster.nodes.iter().zip(captures).zip(before) {
        let packets = capture.stop()?;
        ensure!(packets.len() > 500, "{}, {family:?}: only {} packets", node.name, packets.len());
        ensure!(!complete || wrong(&packets).is_empty(), "from {}: {:?}", node.name, wrong(&packets));
        eventually("replies turned back to be counted", SOON, || {
            let now = replies(node)?;
            ensure!(now > before, "{}, {family:?}: {now} as before", node.name);
            Ok(())
        })?;
    }
    Ok(())
}

/// Some packets whose checksums are wrong.
fn wrong(packets: &[Packet]) -> Vec<&Packet> {
    packets.iter().filter(|packet| !packet.checksum_ok || !packet.header_checksum_ok).take(3).collect()
}

#[test]
#[ignore = "needs root"]
fn tc_alone_with_checksums_completed_by_the_node() -> Result<()> {
    tc_alone(true)
}

#[test]
#[ignore = "needs root"]
fn tc_alone_with_offloads_everywhere() -> Result<()> {
    tc_alone(false)
}

/// Requests come by `eth0`; replies, and packets to the other node's pods, leave by `eth1`.
fn two_uplinks(xdp: &str) -> Result<()> {
    scenario(|cluster| {
        dual(cluster)?;
        cluster.add_second_uplink(0)?;
        let options = cluster.nodes[0].agent_options();
        options.xdp = xdp.to_owned();
        options.interfaces.push("eth1".to_owned());
        cluster.start_agents()?;
        let node = &cluster.nodes[0];
        let mode = if xdp == "native" { "native" } else { "tc" };
        for name in ["eth0", "eth1"] {
            expect_mode(node, name, mode)?;
        }
        for family in Family::BOTH {
            let captures = ["node-1", "node-1-b"].map(|port| Capture::start(&cluster.wire, port, "tcp"));
            let [first, second] = captures;
            let (first, second) = (first?, second?);
            everything_works_in(cluster, family)?;
            through_the_vip(cluster, family)?;
            let to_client =
                |packets: &[Packet]| packets.iter().filter(|packet| packet.destination == family.client()).count();
            let (first, second) = (to_client(&first.stop()?), to_client(&second.stop()?));
            ensure!(second > 200, "{family:?}: only {second} packets for the client left by the second uplink");
            ensure!(first == 0, "{family:?}: {first} packets for the client left by the first uplink");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn requests_by_one_uplink_and_replies_by_another() -> Result<()> {
    two_uplinks("native")
}

#[test]
#[ignore = "needs root"]
fn requests_by_one_uplink_and_replies_by_another_without_xdp() -> Result<()> {
    two_uplinks("off")
}

#[test]
#[ignore = "needs root"]
fn an_uplink_that_is_made_anew_gets_the_programs_again() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        everything_works(cluster)?;
        let before = expect_mode(&cluster.nodes[0], "eth0", "native")?["index"].clone();
        cluster.remove_uplink(0)?;
        eventually("the interface to be gone", SOON, || {
            let row = interface(&cluster.nodes[0], "eth0")?;
            ensure!(row["mode"].is_null() && row["reason"] == "the interface is gone", "{row}");
            Ok(())
        })?;
        cluster.replug_uplink(0)?;
        eventually("the new interface", SOON, || {
            let row = expect_mode(&cluster.nodes[0], "eth0", "native")?;
            ensure!(row["index"] != before, "{row}");
            ask_tcp(&cluster.client, cluster.nodes[0].port(30070), None)
        })?;
        everything_works(cluster)
    })
}

/// Links of 9,000 bytes: XDP sees packets in several buffers, and sends them on as they are.
#[test]
#[ignore = "needs root"]
fn jumbo_frames_go_through_native_xdp() -> Result<()> {
    scenario(|cluster| {
        dual(cluster)?;
        cluster.set_mtu(9_000)?;
        cluster.start_agents()?;
        Family::BOTH.iter().try_for_each(|family| jumbo_frames(cluster, *family))
    })
}

fn jumbo_frames(cluster: &Cluster, family: Family) -> Result<()> {
    let captures = cluster.nodes.iter().map(|node| Capture::start(&cluster.wire, &node.name, family.ip()));
    let captures = captures.collect::<Result<Vec<_>>>()?;
    everything_works_in(cluster, family)?;
    through_the_vip(cluster, family)?;
    for node in &cluster.nodes {
        expect_mode(node, "eth0", "native")?;
        for _ in 0..8 {
            let text = "j".repeat(8_000);
            let answer = ask_udp(&cluster.client, node.port_of(family, 30053), None, &text)?;
            ensure!(answer.ends_with(&text), "{} bytes came back", answer.len());
        }
    }
    for (node, capture) in cluster.nodes.iter().zip(captures) {
        let packets = capture.stop()?;
        // Requests that were sent on to the other node, and replies to the client.
        for to_client in [true, false] {
            let there = |p: &&Packet| (p.destination == family.client()) == to_client && p.length > 8_000;
            let large = packets.iter().filter(there).count();
            ensure!(large > 20, "{}, {family:?}: {large} large packets (to the client: {to_client})", node.name);
        }
        ensure!(wrong(&packets).is_empty(), "from {}: {:?}", node.name, wrong(&packets));
    }
    Ok(())
}
