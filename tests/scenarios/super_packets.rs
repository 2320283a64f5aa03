//! Datagrams that stay together in one large packet until somebody has to see them singly (UDP_SEGMENT).

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use weir_lab::{Capture, Cluster, Family, SOON, eventually};

use crate::common::{scenario, vip};
use crate::tunnels::far_pod;

/// Sends datagrams of the third argument's length, nine and a half at once, and tells what comes back within the fourth
/// argument's seconds.
const CLIENT: &str = "
import socket, sys
UDP, SEGMENT = 17, 103
at, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family = socket.AF_INET6 if ':' in at else socket.AF_INET
client = socket.socket(family, socket.SOCK_DGRAM)
client.settimeout(float(sys.argv[4]))
client.setsockopt(UDP, SEGMENT, size)
client.connect((at, port))
client.send(b'x' * (size * 9 + size // 2))
print(*sorted(client.recv(65536).count(b'x') for _ in range(10)))
";

fn send_at_once(cluster: &Cluster, to: SocketAddr, size: usize, seconds: u32) -> Result<String> {
    let arguments = [to.ip().to_string(), to.port().to_string(), size.to_string(), seconds.to_string()];
    let output = cluster.client.command("python3").args(["-c", CLIENT]).args(arguments).output().context("python3")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn lengths(capture: &Capture) -> Result<Vec<usize>> {
    Ok(capture.so_far()?.iter().map(|packet| packet.length).collect())
}

/// The only pod is on the second node, and the client comes by the first, on tc. With `whole` the large packet leaves the
/// first node as it is; else that one's kernel takes it apart, in its tunnel.
fn through_a_tunnel(whole: bool) -> Result<()> {
    scenario(|cluster| {
        far_pod(cluster)?;
        cluster.client.shell("ethtool -K eth0 tx on tso on gso on tx-udp-segmentation on")?;
        if whole {
            cluster.whole_packets(0)?;
        }
        for node in &mut cluster.nodes {
            node.agent_options().xdp = "off".to_owned();
            // where it is off, tcpdump cuts large packets off
            node.netns.shell("ethtool -K eth0 tx on gso on")?;
        }
        cluster.start_agents()?;
        Family::BOTH.iter().try_for_each(|family| in_one_of(cluster, *family, whole))
    })
}

fn in_one_of(cluster: &Cluster, family: Family, whole: bool) -> Result<()> {
    const SIZE: usize = 1000;
    const LINK: usize = 1500;
    let to = SocketAddr::from((vip(family), 5353));
    let headers = family.header() + 8;
    let first = Capture::start(&cluster.nodes[0].netns, "eth0", &format!("udp and dst host {}", to.ip()))?;
    let second = Capture::start(&cluster.nodes[1].netns, "eth0", family.of("ip proto 4", "ip6 proto 41"))?;
    let came = send_at_once(cluster, to, SIZE, 10)?;
    let expected: Vec<_> = std::iter::once(SIZE / 2).chain([SIZE; 9]).map(|length| length.to_string()).collect();
    ensure!(came == expected.join(" "), "the pod's answers: {came}");
    eventually("the packets to be recorded", SOON, || {
        let (first, second) = (lengths(&first)?, lengths(&second)?);
        ensure!(first == [9 * SIZE + SIZE / 2 + headers], "to the first node: {first:?}");
        let of_tunnels = if whole { second == [first[0] + family.header()] } else { second.len() == 10 };
        ensure!(of_tunnels, "in tunnels: {second:?}");
        Ok(())
    })?;
    // with another header these are larger than the link takes: the client is told, and its kernel refuses them
    let large = LINK - headers - family.header() / 2;
    eventually("the client to learn of what goes", SOON, || {
        let told = send_at_once(cluster, to, large, 1).unwrap_or_else(|error| error.to_string());
        ensure!(told.contains("Message too long") || told.contains("Invalid argument"), "{family:?}: {told}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn datagrams_that_stay_together_go_through_a_tunnel_as_one() -> Result<()> {
    through_a_tunnel(true)
}

#[test]
#[ignore = "needs root"]
fn datagrams_that_are_taken_apart_on_the_way_go_through_a_tunnel() -> Result<()> {
    through_a_tunnel(false)
}
