//! Clients of a node whose sockets weir does not see, and pods that reach themselves.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weir_lab::{Cluster, Netns, SOON, ask_tcp, ask_udp, eventually};

use crate::common::{EXTERNAL, metric, scenario};
use crate::ipv6::EXTERNAL6;
use crate::sockets::{CLUSTER_IP, CLUSTER_IP6, dual_service, in_pod};

/// Cluster IPs of Services whose only pod is on this node, and on the other one.
const NEAR: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 96, 7, 8)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 8))];
const FAR: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 96, 7, 9)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 9))];

/// Asks over and over by threads of this process, which are in no node's control group.
fn seen_from(netns: &Netns, address: IpAddr, tcp: u16, udp: u16) -> Result<BTreeSet<String>> {
    let mut pods = BTreeSet::new();
    for number in 0..24 {
        let to = SocketAddr::from((address, tcp));
        pods.extend(ask_tcp(netns, to, None)?.split(' ').next().map(str::to_owned));
        let text = format!("datagram {number}");
        let answer = ask_udp(netns, (address, udp).into(), None, &text)?;
        ensure!(answer.ends_with(&text), "{answer}");
        pods.extend(answer.split(' ').next().map(str::to_owned));
    }
    Ok(pods)
}

fn pod<'a>(cluster: &'a Cluster, name: &str) -> Result<&'a Netns> {
    cluster.pods.iter().find(|pod| pod.name == name).map(|pod| &pod.netns).context("no such pod")
}

/// What else may be on the nodes of a cluster.
fn rules_and_strict_filters(cluster: &Cluster) -> Result<()> {
    for node in &cluster.nodes {
        node.add_invalid_rule()?;
        node.add_masquerade_rule()?;
        node.netns.set_sysctl("net/ipv4/conf/all/rp_filter", "1")?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn clients_that_no_hook_sees_are_caught_on_their_way_out() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(0, "machine", "client")?;
        cluster.add_pod(0, "near", "web")?;
        cluster.add_pod(1, "far", "web")?;
        cluster.write_pods()?;
        cluster.write("inside.yaml", &dual_service("web"))?;
        cluster.start_agents()?;
        let vips = [IpAddr::V4(CLUSTER_IP), IpAddr::V4(EXTERNAL), IpAddr::V6(CLUSTER_IP6), IpAddr::V6(EXTERNAL6)];
        let both: BTreeSet<String> = ["near", "far"].map(str::to_owned).into();
        for rules in [false, true] {
            if rules {
                rules_and_strict_filters(cluster)?;
            }
            for (name, netns) in
                [("a virtual machine", pod(cluster, "machine")?), ("the host", &cluster.nodes[0].netns)]
            {
                for address in vips {
                    let seen = seen_from(netns, address, 7070, 5353)
                        .with_context(|| format!("{name} to {address}, rules: {rules}"))?;
                    ensure!(seen == both, "{name} to {address}, rules: {rules}: {seen:?}");
                }
            }
        }
        Ok(())
    })
}

/// Nobody listens at the target port of UDP: the pod says so, and the client is told.
#[test]
#[ignore = "needs root"]
fn clients_that_no_hook_sees_are_told_of_a_closed_port() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(0, "machine", "client")?;
        cluster.add_pod(0, "near", "near")?;
        cluster.add_pod(1, "far", "far")?;
        cluster.write_pods()?;
        for (name, [four, six]) in [("near", NEAR), ("far", FAR)] {
            let service = dual_service(name)
                .replace("name: inside", &format!("name: {name}"))
                .replace(&CLUSTER_IP.to_string(), &four.to_string())
                .replace(&CLUSTER_IP6.to_string(), &six.to_string())
                .replace(&format!("  externalIPs: [{EXTERNAL}, \"{EXTERNAL6}\"]\n"), "")
                .replace(", nodePort: 30070", "")
                .replace(", nodePort: 30053", "")
                .replace("port: 5353,", "port: 5353, targetPort: 5354,");
            cluster.write(&format!("{name}.yaml"), &service)?;
        }
        cluster.start_agents()?;
        for address in [NEAR, FAR].concat() {
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            eventually("the client to be told", SOON, || {
                pod(cluster, "machine")?.run(|| {
                    let socket = UdpSocket::bind(any)?;
                    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
                    socket.connect((address, 5353))?;
                    socket.send(b"hello")?;
                    let told = socket.recv(&mut [0; 64]).err().map(|error| error.kind());
                    ensure!(told == Some(ErrorKind::ConnectionRefused), "{address}: {told:?}");
                    Ok(())
                })
            })?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_pod_reaches_itself_through_its_own_service() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(0, "near", "web")?;
        cluster.write_pods()?;
        cluster.write("inside.yaml", &dual_service("web"))?;
        cluster.start_agents()?;
        let only: BTreeSet<String> = ["near".to_owned()].into();
        let mut process = in_pod(cluster, "near")?;
        for vip in [IpAddr::V4(CLUSTER_IP), IpAddr::V6(CLUSTER_IP6)] {
            process.connect("tcp", "c", (vip, 7070).into())?;
            ensure!(process.receive("c")?.starts_with("near "), "{vip}: at its socket");
            process.connect("udp", "u", (vip, 5353).into())?;
            process.send("u", "hello")?;
            ensure!(process.receive("u")?.starts_with("near "), "{vip}: at its socket, UDP");
        }
        // no hook sees these threads: by the cluster IP on the way out, and by the node port of the other node
        for rules in [false, true] {
            if rules {
                rules_and_strict_filters(cluster)?;
            }
            let (netns, other) = (pod(cluster, "near")?, &cluster.nodes[1]);
            for (address, tcp, udp) in [
                (IpAddr::V4(CLUSTER_IP), 7070, 5353),
                (IpAddr::V4(other.ip), 30070, 30053),
                (IpAddr::V6(CLUSTER_IP6), 7070, 5353),
                (IpAddr::V6(other.ip6), 30070, 30053),
            ] {
                let seen = seen_from(netns, address, tcp, udp).with_context(|| format!("{address}, rules: {rules}"))?;
                ensure!(seen == only, "{address}, rules: {rules}: {seen:?}");
            }
        }
        Ok(())
    })
}

/// A TCP connection and a datagram from threads of this process: both are refused, at once.
fn expect_refused(netns: &Netns, address: IpAddr) -> Result<()> {
    let refused = |what: &str, error: std::io::Result<()>| {
        let kind = error.err().map(|error| error.kind());
        ensure!(kind == Some(ErrorKind::ConnectionRefused), "{what} to {address}: {kind:?}");
        Ok(())
    };
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    netns.run(|| {
        refused("TCP", TcpStream::connect_timeout(&(address, 7070).into(), Duration::from_secs(3)).map(drop))?;
        let socket = UdpSocket::bind(any)?;
        socket.set_read_timeout(Some(Duration::from_secs(3)))?;
        socket.connect((address, 5353))?;
        socket.send(b"hello")?;
        refused("UDP", socket.recv(&mut [0; 64]).map(drop))
    })
}

#[test]
#[ignore = "needs root"]
fn clients_that_no_hook_sees_are_refused_where_nobody_is() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(0, "machine", "client")?;
        cluster.write_pods()?;
        cluster.write("inside.yaml", &dual_service("nobody"))?;
        cluster.start_agents()?;
        for rules in [false, true] {
            if rules {
                rules_and_strict_filters(cluster)?;
            }
            for netns in [pod(cluster, "machine")?, &cluster.nodes[0].netns] {
                for address in [IpAddr::V4(CLUSTER_IP), IpAddr::V4(EXTERNAL), CLUSTER_IP6.into(), EXTERNAL6.into()] {
                    expect_refused(netns, address).with_context(|| format!("rules: {rules}"))?;
                }
            }
        }
        eventually("the refusals to be counted", SOON, || {
            let drops = metric(&cluster.nodes[0], "weir_drops_total{reason=\"no_backend\"}")?;
            ensure!(drops >= 32.0, "{drops}");
            Ok(())
        })
    })
}
