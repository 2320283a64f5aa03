//! Tunnels between nodes: both families, without XDP, with a traffic policy, and what strangers send in them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use weir_lab::{CLIENT, Capture, Cluster, Flow, Netns, Port, Request, SOON, Segment, Service, ask_tcp, ask_udp};
use weir_lab::{eventually, send_raw};

use crate::common::{EXTERNAL, greeted_by, metric, scenario};
use crate::dsr::far_service;
use crate::ipv6::EXTERNAL6;

/// The addresses of the Service.
const VIPS: [IpAddr; 2] = [IpAddr::V4(EXTERNAL), IpAddr::V6(EXTERNAL6)];

fn event(cluster: &Cluster, node: usize, name: &str) -> Result<f64> {
    metric(&cluster.nodes[node], &format!("weir_packet_events_total{{event=\"{name}\"}}"))
}

/// A Service of both families that forwards by DSR.
pub(crate) fn dual_dsr(cluster: &Cluster) -> Result<()> {
    let [four, six] = VIPS.map(|vip| vip.to_string());
    let ports = [Port::tcp(7070, 7070).at(30070), Port::tcp(80, 8080), Port::udp(5353, 5353)];
    let (families, external_ips) = (["IPv4", "IPv6"], [&*four, &*six]);
    let service = Service {
        name: "web",
        app: "web",
        ports: &ports,
        external_ips: &external_ips,
        kind: Some("NodePort"),
        families: &families,
    };
    let yaml = service.yaml();
    let annotated = yaml.replace("namespace: default}", "namespace: default, annotations: {weir.io/forwarding: dsr}}");
    ensure!(annotated != yaml, "{yaml}");
    cluster.write("web.yaml", &annotated)
}

/// Its only pod is on the second node; clients come by the first.
pub(crate) fn far_pod(cluster: &mut Cluster) -> Result<()> {
    cluster.add_pod(1, "far", "web")?;
    cluster.write_pods()?;
    dual_dsr(cluster)
}

/// TCP, UDP and bulk both ways; the pod sees the client.
pub(crate) fn works(cluster: &Cluster) -> Result<()> {
    const BULK: usize = 1_000_000;
    for vip in VIPS {
        let client = if vip.is_ipv4() { CLIENT.to_string() } else { format!("[{}]", weir_lab::CLIENT6) };
        let greeting = ask_tcp(&cluster.client, (vip, 7070).into(), None)?;
        ensure!(greeting.contains(&client), "{vip}: the pod sees another client: {greeting}");
        let answer = ask_udp(&cluster.client, (vip, 5353).into(), None, "hello")?;
        ensure!(answer.contains(&client), "{vip}: {answer}");
        let down = Request::get("x", &format!("/bytes/{BULK}")).send(&cluster.client, (vip, 80).into())?;
        ensure!(down.body.len() == BULK, "{vip}: {} of {BULK} bytes came down", down.body.len());
        let up = Request::post("x", "/", vec![b'u'; BULK]).send(&cluster.client, (vip, 80).into())?;
        ensure!(up.json()?["bodyBytes"] == BULK, "{vip}: upload: {}", up.text());
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn both_families_go_through_tunnels_with_and_without_xdp() -> Result<()> {
    for xdp in ["native", "off"] {
        scenario(|cluster| {
            far_pod(cluster)?;
            for node in &mut cluster.nodes {
                node.agent_options().xdp = xdp.to_owned();
            }
            cluster.start_agents()?;
            works(cluster)?;
            eventually("packets in tunnels to be counted", SOON, || {
                let counted = (event(cluster, 0, "tunnelled")?, event(cluster, 1, "untunnelled")?);
                ensure!(counted.0 > 100.0 && counted.1 > 100.0, "{counted:?}");
                Ok(())
            })
        })
        .with_context(|| format!("--xdp {xdp}"))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_flow_of_either_family_outlives_the_node_that_it_came_by() -> Result<()> {
    scenario(|cluster| {
        far_service(cluster)?;
        cluster.start_agents()?;
        let flows = VIPS.map(|vip| Flow::start(&cluster.client, (vip, 7070).into()));
        let flows = flows.into_iter().collect::<Result<Vec<_>>>()?;
        flows.iter().try_for_each(|flow| flow.goes_on(10))?;
        // as a router does when a node dies: they come by the other one, which is their backend's own, and back
        for node in [1, 0] {
            let node = &cluster.nodes[node];
            cluster.client.ip(&format!("route replace default via {}", node.ip))?;
            cluster.client.ip(&format!("-6 route replace default via {}", node.ip6))?;
            flows.iter().try_for_each(|flow| flow.goes_on(10)).with_context(|| format!("by way of {}", node.name))?;
        }
        for flow in flows {
            let report = flow.stop()?;
            ensure!(report.error.is_none(), "a flow broke: {report:?}");
        }
        Ok(())
    })
}

/// With externalTrafficPolicy Local a node has only its own backends: nothing is sent in tunnels.
#[test]
#[ignore = "needs root"]
fn a_local_traffic_policy_needs_no_tunnel() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(0, "near", "web")?;
        far_pod(cluster)?;
        let path = cluster.manifests().join("web.yaml");
        let yaml = std::fs::read_to_string(path)?;
        cluster.write("web.yaml", &yaml.replace("spec:\n", "spec:\n  externalTrafficPolicy: Local\n"))?;
        cluster.start_agents()?;
        for (node, pod) in [(0, "near"), (1, "far")] {
            let seen = greeted_by(cluster, cluster.nodes[node].port(30070), 12)?;
            ensure!(seen.len() == 1 && seen.contains_key(pod), "by node {node}: {seen:?}");
            let greeting = ask_tcp(&cluster.client, cluster.nodes[node].port(30070), None)?;
            ensure!(greeting.contains(&CLIENT.to_string()), "by node {node}: {greeting}");
        }
        works(cluster)?;
        eventually("flows to be counted", SOON, || {
            let rows = cluster.nodes[0].rows("services")?;
            let flows: u64 = rows.iter().filter_map(|row| row["counters"]["newFlows"].as_u64()).sum();
            ensure!(flows > 12, "{flows} flows");
            Ok(())
        })?;
        for node in 0..2 {
            ensure!(event(cluster, node, "tunnelled")? == 0.0, "node {node} sent packets in a tunnel");
        }
        Ok(())
    })
}

/// An IPv4 packet with right checksums around a payload.
fn packet(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap_or(u16::MAX);
    let mut bytes = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes.extend(source.octets());
    bytes.extend(destination.octets());
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    bytes[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn tunnelled(source: Ipv4Addr, destination: Ipv4Addr, inner: Vec<u8>) -> Segment {
    Segment { source, destination, protocol: 4, ttl: 64, fragment: 0x4000, options: vec![], payload: inner }
}

/// From a port that nobody else uses.
const SOURCE_PORT: u16 = 667;

/// A first segment of TCP as a client sends it, whole.
fn first_segment(to: SocketAddr) -> Result<Vec<u8>> {
    const SYN: u8 = 0x02;
    let segment = Segment::tcp(SocketAddr::from((CLIENT, SOURCE_PORT)), to, SYN, 5)?;
    Ok(packet(segment.source, segment.destination, 6, &segment.payload))
}

#[test]
#[ignore = "needs root"]
fn strangers_get_nothing_into_a_node_by_a_tunnel() -> Result<()> {
    scenario(|cluster| {
        far_pod(cluster)?;
        cluster.start_agents()?;
        let (first, second) = (cluster.nodes[0].ip, cluster.nodes[1].ip);
        let inner = first_segment((EXTERNAL, 7070).into())?;
        let capture = Capture::start(&cluster.pods[0].netns, "eth0", &format!("src port {SOURCE_PORT} or ip proto 4"))?;
        let dropped = |from: &Netns, segment: &Segment, reason: &str| {
            let drops = || metric(&cluster.nodes[1], &format!("weir_drops_total{{reason=\"{reason}\"}}"));
            let before = drops()?;
            send_raw(from, segment)?;
            eventually(&format!("{reason} to be counted"), SOON, || {
                let now = drops()?;
                ensure!(now > before, "{now} as before");
                Ok(())
            })
        };
        let unknown = first_segment((EXTERNAL, 7071).into())?;
        dropped(&cluster.client, &tunnelled(CLIENT, second, inner.clone()), "tunnel_source")?;
        dropped(&cluster.nodes[0].netns, &tunnelled(first, second, unknown), "tunnel_frontend")?;
        // a tunnel in a tunnel is not ours, and the kernel has no use for it
        let nested = packet(first, second, 4, &inner);
        send_raw(&cluster.nodes[0].netns, &tunnelled(first, second, nested))?;
        // what came before has been seen by the time a client is served
        ask_tcp(&cluster.client, (EXTERNAL, 7070).into(), None)?;
        let seen = capture.stop()?;
        ensure!(seen.is_empty(), "a pod got {seen:?}");
        // the same from the other node to the frontend is what tunnels are for
        let capture = Capture::start(&cluster.pods[0].netns, "eth0", &format!("src port {SOURCE_PORT}"))?;
        eventually("a packet in a tunnel of a node to reach the pod", SOON, || {
            let before = event(cluster, 1, "untunnelled")?;
            send_raw(&cluster.nodes[0].netns, &tunnelled(first, second, inner.clone()))?;
            eventually("it to be counted", SOON, || {
                ensure!(event(cluster, 1, "untunnelled")? > before, "not yet");
                Ok(())
            })
        })?;
        let seen = capture.stop()?;
        ensure!(!seen.is_empty(), "the pod got nothing");
        Ok(())
    })
}

/// XDP takes no tags off, so it leaves a tagged packet that is to go on in a tunnel to the companion. That one of a tunnel
/// goes on once more is marked in the outer header, or nodes whose rings disagree would send it to and fro.
#[test]
#[ignore = "needs root"]
fn what_xdp_leaves_to_tc_is_still_known_to_have_come_in_a_tunnel() -> Result<()> {
    scenario(|cluster| {
        far_pod(cluster)?;
        // whatever the second node sends has two tags
        cluster.tag_client_and_node(1)?;
        cluster.nodes[0].agent_options().xdp = "native".to_owned();
        cluster.nodes[0].start_agent()?;
        let [first, second] = [&cluster.nodes[0], &cluster.nodes[1]];
        let again = Capture::start(&cluster.wire, &first.name, "ip proto 4 and ip[4:2] & 1 = 1")?;
        let others = Capture::start(&cluster.wire, &first.name, "ip proto 4 and ip[4:2] & 1 = 0")?;
        let inner = first_segment((EXTERNAL, 7070).into())?;
        for _ in 0..4 {
            send_raw(&second.netns, &tunnelled(second.ip, first.ip, inner.clone()))?;
        }
        eventually("the packets to go on", SOON, || {
            let (again, others) = (again.so_far()?, others.so_far()?);
            ensure!(again.len() == 4, "{} with the mark, {} without", again.len(), others.len());
            Ok(())
        })?;
        eventually("the hand-over to be counted", SOON, || {
            let counted = event(cluster, 0, "handed_over")?;
            ensure!(counted >= 4.0, "{counted}");
            Ok(())
        })?;
        let others = others.stop()?;
        ensure!(others.is_empty(), "without the mark: {others:?}");
        Ok(())
    })
}
