//! Services that forward by DSR: tunnels between the nodes, replies straight from the second one.

use anyhow::{Context, Result, ensure};
use weir_lab::{Capture, Cluster, Family, Flow, Packet, Request, SOON, ask_tcp, ask_udp, eventually};

use crate::common::{EXTERNAL, scenario, vip, web_service};
use crate::tunnels::far_pod;

/// A Service that forwards by DSR, with its only pod on the second node; clients come by the first. Rules of others and
/// strict filters are in place.
pub(crate) fn far_service(cluster: &mut Cluster) -> Result<()> {
    far_pod(cluster)?;
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
        Family::BOTH.iter().try_for_each(|family| replies_leave_straight(cluster, *family))
    })
}

fn replies_leave_straight(cluster: &Cluster, family: Family) -> Result<()> {
    let (first, vip) = (&cluster.nodes[0], vip(family));
    let replies = format!("src host {} or src host {vip}", family.pod(&cluster.pods[0]));
    let capture = Capture::start(&first.netns, "eth0", &replies)?;
    let seen = Capture::start(&cluster.client, "eth0", &format!("src host {vip}"))?;
    let greeting = ask_tcp(&cluster.client, (vip, 7070).into(), None)?;
    ensure!(greeting.contains(&family.client().to_string()), "the pod sees the client's own address: {greeting}");
    for _ in 0..8 {
        ask_udp(&cluster.client, (vip, 5353).into(), None, "hello")?;
    }
    let length = 2_000_000;
    let down = Request::get("x", &format!("/bytes/{length}")).send(&cluster.client, (vip, 80).into())?;
    ensure!(down.body.len() == length, "{} of {length} bytes came down", down.body.len());
    let up = Request::post("x", "/", vec![b'u'; length]).send(&cluster.client, (vip, 80).into())?;
    ensure!(up.json()?["bodyBytes"] == length, "upload: {}", up.text());
    let flow = Flow::start(&cluster.client, (vip, 7070).into())?;
    flow.goes_on(20)?;
    ensure!(flow.stop()?.error.is_none(), "a flow broke");
    ensure!(capture.stop()?.is_empty(), "{family:?}: replies came back through the first node");
    let replies = seen.stop()?;
    ensure!(!replies.is_empty() && replies.iter().all(|packet| packet.checksum_ok), "{family:?}: replies from the VIP");
    room_for_the_tunnel(&replies, family)
}

/// What the client may send fits into 1,500 bytes with another header and one of TCP.
fn room_for_the_tunnel(replies: &[Packet], family: Family) -> Result<()> {
    let room = u16::try_from(1_500 - 2 * family.header() - 20)?;
    let asked: Vec<u16> = replies.iter().filter_map(|packet| packet.mss).collect();
    ensure!(!asked.is_empty() && asked.iter().all(|mss| *mss == room), "{family:?}: {asked:?} instead of {room}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn what_does_not_fit_into_the_tunnel_is_told() -> Result<()> {
    scenario(|cluster| {
        far_service(cluster)?;
        cluster.start_agents()?;
        for family in Family::BOTH {
            let vip = vip(family);
            let too_big = family.of("icmp[0] == 3 and icmp[1] == 4", "icmp6 and ip6[40] == 2");
            let errors = Capture::start(&cluster.client, "eth0", too_big)?;
            // Fits into the link, but not with another header: the first is answered with the size that does, later ones
            // come through, in parts.
            let text = "x".repeat(1_500 - family.header() - 10);
            eventually("a large datagram to come through", SOON, || {
                let answer = ask_udp(&cluster.client, (vip, 5353).into(), None, &text)?;
                ensure!(answer.ends_with(&text), "{} bytes came back", answer.len());
                Ok(())
            })?;
            let told = eventually("the error to be recorded", SOON, || {
                let told = errors.so_far()?;
                ensure!(!told.is_empty(), "none");
                Ok(told)
            })?;
            let right = |error: &Packet| error.source == vip && error.checksum_ok && error.header_checksum_ok;
            ensure!(told.iter().all(right), "{family:?}: {told:?}");
            let route = cluster.client.ip(&format!("route get {vip}"))?;
            ensure!(route.contains(&format!("mtu {}", 1_500 - family.header())), "{family:?}: {route}");
        }
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
