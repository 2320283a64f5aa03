//! IPv6 and the node: the front, hosts without it, hosts that have their default route from a router.

use std::net::{Ipv6Addr, SocketAddrV6};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use socket2::{Domain, Protocol, Socket, Type};
use weir_lab::{CLIENT6, Cluster, Netns, Port, Request, SOON, Service, eventually};

use crate::common::{greeted_by, problems, scenario, web};
use crate::ipv6::EXTERNAL6;

/// An Ingress for pods that serve IPv6 only, on both nodes, behind the node's own front and a VIP of it.
fn ingress(cluster: &mut Cluster) -> Result<()> {
    cluster.add_pod(0, "near", "web")?;
    cluster.add_pod(1, "far", "web")?;
    cluster.write_pods()?;
    let ports = [Port::tcp(80, 8080)];
    let web = Service { name: "web", app: "web", ports: &ports, families: &["IPv6"], ..Service::default() };
    cluster.write("web.yaml", &web.yaml())?;
    let vip = EXTERNAL6.to_string();
    let front = Service {
        name: "front",
        ports: &[Port::tcp(80, 80).at(31180)],
        external_ips: &[&vip],
        kind: Some("NodePort"),
        ..Service::default()
    };
    let front = front.yaml().replace("{app: }", "{app.kubernetes.io/name: weir}");
    cluster.write("front.yaml", &front)?;
    cluster.write(
        "ingress.yaml",
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\nspec:\n  \
         defaultBackend: {service: {name: web, port: {number: 80}}}\n",
    )
}

#[test]
#[ignore = "needs root"]
fn the_front_serves_clients_and_pods_of_ipv6() -> Result<()> {
    scenario(|cluster| {
        ingress(cluster)?;
        cluster.start_agents()?;
        let [first, second] = &cluster.nodes[..] else { anyhow::bail!("two nodes") };
        for to in [first.port6(80), second.port6(80), first.port6(31180), (EXTERNAL6, 80).into()] {
            let mut pods = std::collections::BTreeSet::new();
            for _ in 0..8 {
                let answer = Request::get("shop.test", "/a").send(&cluster.client, to)?;
                ensure!(answer.status == 200, "{to}: {} {}", answer.status, answer.text());
                let seen = answer.seen_header("x-forwarded-for")?;
                ensure!(seen == Some(CLIENT6.to_string()), "{to}: X-Forwarded-For is {seen:?}");
                ensure!(answer.field("peer")?.starts_with("[fd00:"), "{to}: {}", answer.text());
                pods.insert(answer.field("pod")?);
            }
            ensure!(pods.len() == 2, "{to}: only {pods:?}");
        }
        let answer = Request::get("shop.test", "/b").send(&cluster.client, first.port(80))?;
        ensure!(answer.status == 200, "a client of IPv4: {} {}", answer.status, answer.text());
        let agent = first.agent.as_ref().context("an agent")?;
        eventually("the access log to name the client and the pod", SOON, || {
            let log = agent.log()?;
            let is_line = |line: &str| line.starts_with(&format!("{CLIENT6} - - [")) && line.contains(" [fd00:244:");
            ensure!(log.lines().any(is_line), "no such line in {log}");
            Ok(())
        })?;
        eventually("listeners of both families", SOON, || {
            let status = first.api("status")?;
            let listeners = status["status"]["front"]["listeners"].as_u64();
            ensure!(listeners.is_some_and(|count| count > 0 && count % 2 == 0), "{listeners:?}");
            Ok(())
        })
    })
}

#[test]
#[ignore = "needs root"]
fn where_ipv6_is_off_ipv4_is_served_and_status_says_so() -> Result<()> {
    for interfaces in [&["eth0"][..], &["all", "default", "lo", "eth0", "cni0"]] {
        scenario(|cluster| {
            let first = &cluster.nodes[0];
            for interface in interfaces {
                first.netns.set_sysctl(&format!("net/ipv6/conf/{interface}/disable_ipv6"), "1")?;
            }
            web(cluster)?;
            cluster.start_agents()?;
            let first = &cluster.nodes[0];
            let pods = greeted_by(cluster, first.port(30070), 24)?;
            ensure!(pods.len() == 2, "{pods:?}");
            eventually("a Problem that says so", SOON, || {
                let problems = problems(first)?;
                let said = problems.iter().find(|problem| problem["code"] == "ipv6-off");
                let message = said.and_then(|problem| problem["message"].as_str()).unwrap_or_default();
                ensure!(message.contains("eth0"), "{problems:?}");
                ensure!(problems.iter().all(|problem| problem["severity"] != "error"), "{problems:?}");
                Ok(())
            })?;
            // The other node has IPv6 and says nothing of the kind.
            ensure!(problems(&cluster.nodes[1])?.iter().all(|problem| problem["code"] != "ipv6-off"));
            let first = &mut cluster.nodes[0];
            let pin_path = first.agent_options().pin_path.to_string_lossy().into_owned();
            first.end_agent(Signal::TERM)?;
            first.weir(&["unload", "--pin-path", &pin_path]).map(drop)
        })?;
    }
    Ok(())
}

/// Sends a router advertisement to all hosts on the switch (RFC 4861, section 4.2): a default router for half an hour.
fn advertise(wire: &Netns) -> Result<()> {
    wire.run(|| {
        let index = rustix::net::netdevice::name_to_index(Socket::new(Domain::IPV6, Type::DGRAM, None)?, "switch")?;
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        socket.set_multicast_hops_v6(255)?;
        socket.set_multicast_if_v6(index)?;
        let message = [134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
        let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        socket.send_to(&message, &SocketAddrV6::new(all_nodes, 0, 0, index).into())?;
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_default_route_from_a_router_survives_forwarding() -> Result<()> {
    scenario(|cluster| {
        let node = &cluster.nodes[0];
        let advertised = |what: &str| {
            eventually(what, SOON, || {
                advertise(&cluster.wire)?;
                let routes = node.netns.ip("-6 route show default")?;
                ensure!(routes.contains("proto ra"), "{routes}");
                Ok(())
            })
        };
        node.netns.ip("-6 route del default")?;
        for (sysctl, value) in [("all/forwarding", "0"), ("eth0/accept_ra", "1")] {
            node.netns.set_sysctl(&format!("net/ipv6/conf/{sysctl}"), value)?;
        }
        advertised("a route from an advertisement")?;
        web(cluster)?;
        cluster.start_agents()?;
        let node = &cluster.nodes[0];
        ensure!(node.netns.sysctl("net/ipv6/conf/all/forwarding")? == "1", "not forwarding");
        let routes = node.netns.ip("-6 route show default")?;
        ensure!(routes.contains("proto ra"), "the default route is gone: {routes}");
        node.netns.ip("-6 route del default")?;
        eventually("the next advertisement to count", SOON, || {
            advertise(&cluster.wire)?;
            let routes = node.netns.ip("-6 route show default")?;
            ensure!(routes.contains("proto ra"), "{routes}");
            Ok(())
        })?;
        eventually("both changes to be told", SOON, || {
            let told = problems(node)?;
            let messages: Vec<_> = told.iter().filter_map(|problem| problem["message"].as_str()).collect();
            for change in ["net.ipv6.conf.eth0.accept_ra = 2 (was 1)", "net.ipv6.conf.all.forwarding = 1"] {
                ensure!(messages.iter().any(|message| message.contains(change)), "no {change} in {messages:?}");
            }
            Ok(())
        })
    })
}
