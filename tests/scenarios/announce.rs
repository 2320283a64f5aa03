//! Addresses of pools that nodes announce to their neighbours: a client in the same network, which asks by ARP and neighbour
//! discovery as its kernel does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lb_userspace::announce::hello::SILENCE;
use rustix::process::Signal;
use weir_lab::{Cluster, Flow, SOON, ask_tcp, eventually, ping, ping6};

use crate::common::{metric, problems, scenario};

/// Addresses of the network that client and nodes are in: nothing but an announcement leads to them.
const POOL: &str = "
apiVersion: weir.io/v1alpha1
kind: AddressPool
metadata: {name: near}
spec: {addresses: [192.168.77.200-192.168.77.207, 'fd00:77::200-fd00:77::207']}
---
apiVersion: weir.io/v1alpha1
kind: Announcement
metadata: {name: neighbours}
spec: {pools: [near], l2: {}}
";

/// Services that are given an address of each family.
fn services(names: &[&str], more: &str) -> String {
    let one = |name: &&str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}{more}}}\n\
             spec: {{type: LoadBalancer, ipFamilyPolicy: RequireDualStack, selector: {{app: web}}, ports: [{{port: 7070}}]}}\n"
        )
    };
    names.iter().map(one).collect()
}

/// Every announced address with its owner, as a node sees it.
fn owners(cluster: &Cluster, node: usize) -> Result<BTreeMap<IpAddr, Option<String>>> {
    let rows = cluster.nodes[node].rows("services")?;
    let frontends = rows.iter().filter_map(|row| row["frontends"].as_array()).flatten();
    let balanced = frontends.filter(|row| row["kind"] == "LoadBalancer");
    let row = |row: &serde_json::Value| {
        let address = row["address"].as_str().context("an address")?.parse()?;
        Ok((address, row["announcedBy"].as_str().map(str::to_owned)))
    };
    balanced.map(row).collect()
}

/// All of so many addresses have an owner, about whom these nodes agree.
fn settled(cluster: &Cluster, nodes: &[usize], addresses: usize) -> Result<BTreeMap<IpAddr, String>> {
    eventually("owners that all agree about", SOON, || {
        let seen = nodes.iter().map(|node| owners(cluster, *node)).collect::<Result<BTreeSet<_>>>()?;
        ensure!(seen.len() == 1, "{seen:?}");
        let owners: BTreeMap<_, _> =
            seen.into_iter().flatten().filter_map(|(address, owner)| Some((address, owner?))).collect();
        ensure!(owners.len() == addresses, "{owners:?}");
        let names: BTreeSet<_> = nodes.iter().map(|node| cluster.nodes[*node].name.clone()).collect();
        ensure!(owners.values().all(|owner| names.contains(owner)), "{owners:?}");
        Ok(owners)
    })
}

fn answers(cluster: &Cluster, address: IpAddr) -> Result<()> {
    ask_tcp(&cluster.client, (address, 7070).into(), None).map(drop).with_context(|| address.to_string())
}

/// The hardware address that the client's kernel has for an address.
fn neighbour(cluster: &Cluster, address: IpAddr) -> Result<String> {
    let text = cluster.client.ip(&format!("neigh show {address}"))?;
    let mac = text.split_whitespace().skip_while(|word| *word != "lladdr").nth(1);
    mac.map(str::to_owned).with_context(|| format!("{address}: {text}"))
}

fn start(cluster: &mut Cluster, names: &[&str], more: &str) -> Result<()> {
    for node in 0..cluster.nodes.len() {
        cluster.add_pod(node, &format!("pod{node}"), "web")?;
    }
    cluster.write_pods()?;
    cluster.write("pool.yaml", POOL)?;
    cluster.write("web.yaml", &services(names, more))?;
    cluster.start_agents()
}

#[test]
#[ignore = "needs root"]
fn a_client_of_the_network_reaches_addresses_that_are_on_no_interface() -> Result<()> {
    scenario(|cluster| {
        start(cluster, &["a", "b", "c", "d"], "")?;
        let owners = settled(cluster, &[0, 1], 8)?;
        let names: BTreeSet<_> = owners.values().collect();
        ensure!(names.len() == 2, "one node has them all: {owners:?}");
        for (address, owner) in &owners {
            eventually("an answer", SOON, || answers(cluster, *address))?;
            let node = cluster.nodes.iter().find(|node| node.name == *owner).context("an owner")?;
            let mac = node.netns.mac("eth0")?;
            let told = neighbour(cluster, *address)?;
            ensure!(told == mac, "{address} is at {told}, and {owner} at {mac}");
        }
        let own = |node: usize| metric(&cluster.nodes[node], "weir_announced_addresses");
        eventually("both to count theirs", SOON, || {
            let (a, b) = (own(0)?, own(1)?);
            ensure!(a + b == 8.0 && a > 0.0 && b > 0.0, "{a} and {b}");
            Ok(())
        })?;
        cluster.write("pool.yaml", "")?;
        eventually("nobody to have them", SOON, || {
            ensure!(own(0)? == 0.0 && own(1)? == 0.0, "{} and {}", own(0)?, own(1)?);
            Ok(())
        })
    })
}

/// Pings an address again and again while something is done; gives the longest time without an answer. At the end there has to
/// be one.
fn longest_silence(cluster: &Cluster, address: IpAddr, work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let over = AtomicBool::new(false);
    let ping = |number: u32| match address {
        IpAddr::V4(to) => ping(&cluster.client, to, &number.to_be_bytes(), PATIENCE),
        IpAddr::V6(to) => ping6(&cluster.client, to, &number.to_be_bytes(), PATIENCE),
    };
    thread::scope(|scope| {
        let pinging = scope.spawn(|| {
            let (mut longest, mut last, mut number) = (Duration::ZERO, Instant::now(), 0);
            loop {
                let answered = ping(number).is_ok();
                number += 1;
                longest = longest.max(last.elapsed());
                match answered {
                    true if over.load(Ordering::Relaxed) => return longest,
                    true => last = Instant::now(),
                    false if last.elapsed() > SOON => return Duration::MAX,
                    false => {}
                }
            }
        });
        let ended = work();
        over.store(true, Ordering::Relaxed);
        let longest = pinging.join().ok().context("the client panicked")?;
        ended?;
        ensure!(longest < Duration::MAX, "{address} is silent for good");
        Ok(longest)
    })
}

/// How long one ping waits.
const PATIENCE: Duration = Duration::from_millis(20);

/// The owner of the first address of a family, and that address.
fn first(cluster: &Cluster, owners: &BTreeMap<IpAddr, String>, v4: bool) -> Result<(usize, IpAddr)> {
    let (address, owner) = owners.iter().find(|(address, _)| address.is_ipv4() == v4).context("an address")?;
    let node = cluster.nodes.iter().position(|node| node.name == *owner).context("an owner")?;
    Ok((node, *address))
}

#[test]
#[ignore = "needs root"]
fn the_addresses_of_a_dead_node_go_to_another() -> Result<()> {
    for v4 in [true, false] {
        scenario(|cluster| {
            start(cluster, &["a", "b", "c"], "")?;
            let owners = settled(cluster, &[0, 1], 6)?;
            let (owner, address) = first(cluster, &owners, v4)?;
            eventually("an answer", SOON, || answers(cluster, address))?;
            let other = 1 - owner;
            let port = cluster.nodes[owner].name.clone();
            let silence = longest_silence(cluster, address, || {
                cluster.wire.ip(&format!("link set {port} down"))?;
                settled(cluster, &[other], 6).map(drop)
            })?;
            eprintln!("measured: node gone, {address} silent for {silence:?}");
            let mac = cluster.nodes[other].netns.mac("eth0")?;
            eventually("the client to know", SOON, || {
                let told = neighbour(cluster, address)?;
                ensure!(told == mac, "{told}");
                Ok(())
            })?;
            // and it shares them again when it is back
            cluster.wire.ip(&format!("link set {port} up"))?;
            settled(cluster, &[0, 1], 6).map(drop)
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_node_whose_agent_was_killed_falls_silent() -> Result<()> {
    scenario(|cluster| {
        start(cluster, &["a", "b", "c"], "")?;
        let owners = settled(cluster, &[0, 1], 6)?;
        let (owner, address) = first(cluster, &owners, true)?;
        cluster.nodes[owner].end_agent(Signal::KILL)?;
        settled(cluster, &[1 - owner], 6)?;
        let mac = cluster.nodes[1 - owner].netns.mac("eth0")?;
        // asked anew, the programs that the killed agent has left would answer as well
        eventually("only the other one to answer", SOON, || {
            for _ in 0..20 {
                cluster.client.ip("neigh flush dev eth0")?;
                answers(cluster, address)?;
                let told = neighbour(cluster, address)?;
                ensure!(told == mac, "{told}");
            }
            Ok(())
        })?;
        cluster.nodes[owner].start_agent()?;
        settled(cluster, &[0, 1], 6)?;
        // one that hung takes nothing before it has listened again
        let hung = &mut cluster.nodes[owner];
        let (name, log) = (hung.name.clone(), hung.agent_options().log.clone());
        let before = std::fs::read_to_string(&log)?.len();
        hung.agent.as_ref().context("it runs")?.signal(Signal::STOP)?;
        let stopped = Instant::now();
        settled(cluster, &[1 - owner], 6)?;
        eventually("that to have taken longer than others wait", SOON, || {
            ensure!(stopped.elapsed() > SILENCE, "it has not");
            Ok(())
        })?;
        cluster.nodes[owner].agent.as_ref().context("it runs")?.signal(Signal::CONT)?;
        settled(cluster, &[0, 1], 6)?;
        let said = std::fs::read_to_string(&log)?.split_off(before);
        ensure!(said.contains("nodes that announce addresses"), "it has not decided again: {said}");
        ensure!(!said.contains(&format!("nodes=\"{name}\"")), "it believed to be alone: {said}");
        ensure!(!said.contains("another station has an address of ours"), "it took what others had: {said}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_planned_end_loses_no_connection() -> Result<()> {
    scenario(|cluster| {
        start(cluster, &["a", "b", "c"], ", annotations: {weir.io/forwarding: dsr}")?;
        let owners = settled(cluster, &[0, 1], 6)?;
        let (owner, address) = first(cluster, &owners, true)?;
        eventually("an answer", SOON, || answers(cluster, address))?;
        let flows: Vec<_> =
            (0..8).map(|_| Flow::start(&cluster.client, (address, 7070).into())).collect::<Result<_>>()?;
        flows.iter().try_for_each(|flow| flow.goes_on(5))?;
        let mut leaving = std::mem::take(&mut cluster.nodes).into_iter().enumerate().collect::<Vec<_>>();
        let silence = longest_silence(cluster, address, || leaving[owner].1.end_agent(Signal::TERM));
        cluster.nodes = leaving.drain(..).map(|(_, node)| node).collect();
        let silence = silence?;
        let log = std::fs::read_to_string(&cluster.nodes[owner].agent_options().log)?;
        ensure!(log.contains("addresses are left to other nodes"), "it just ended: {log}");
        settled(cluster, &[1 - owner], 6)?;
        flows.iter().try_for_each(|flow| flow.goes_on(20))?;
        let mut gap = Duration::ZERO;
        for flow in flows {
            let report = flow.stop()?;
            ensure!(report.error.is_none(), "{report:?}");
            gap = gap.max(report.longest_gap);
        }
        eprintln!("measured: planned, {address} silent for {silence:?}, longest gap of a connection {gap:?}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn nodes_that_could_not_hear_each_other_share_again() -> Result<()> {
    scenario(|cluster| {
        let ports: Vec<_> = cluster.nodes.iter().map(|node| node.name.clone()).collect();
        let isolate = |cluster: &Cluster, how: &str| {
            let set = |port: &String| cluster.wire.ip(&format!("link set {port} type bridge_slave isolated {how}"));
            ports.iter().try_for_each(|port| set(port).map(drop))
        };
        // both reach the client, and neither the other
        isolate(cluster, "on")?;
        start(cluster, &["a", "b", "c"], "")?;
        let own = |cluster: &Cluster, node: usize| metric(&cluster.nodes[node], "weir_announced_addresses");
        eventually("each to have them all", SOON, || {
            let (a, b) = (own(cluster, 0)?, own(cluster, 1)?);
            ensure!((a, b) == (6.0, 6.0), "{a} and {b}");
            Ok(())
        })?;
        isolate(cluster, "off")?;
        let owners = settled(cluster, &[0, 1], 6)?;
        eventually("each address to be one node's", SOON, || {
            let (a, b) = (own(cluster, 0)?, own(cluster, 1)?);
            ensure!(a + b == 6.0 && a > 0.0 && b > 0.0, "{a} and {b}");
            Ok(())
        })?;
        for (address, owner) in &owners {
            let node = cluster.nodes.iter().find(|node| node.name == *owner).context("an owner")?;
            let mac = node.netns.mac("eth0")?;
            cluster.client.ip("neigh flush dev eth0")?;
            eventually("an answer", SOON, || answers(cluster, *address))?;
            let told = neighbour(cluster, *address)?;
            ensure!(told == mac, "{address} is at {told}, and {owner} at {mac}");
        }
        Ok(())
    })
}

/// Says to everybody that the switch has the address: it asks for a node's under that name.
fn claim(cluster: &Cluster, address: IpAddr) -> Result<()> {
    cluster.wire.ip("neigh flush all")?;
    cluster.wire.run(|| {
        let socket = UdpSocket::bind((address, 0))?;
        cluster.nodes.iter().try_for_each(|node| socket.send_to(b"x", (node.ip, 9)).map(drop))?;
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn of_two_stations_with_an_address_one_falls_silent() -> Result<()> {
    scenario(|cluster| {
        start(cluster, &["a"], "")?;
        let owners = settled(cluster, &[0, 1], 2)?;
        let (owner, address) = first(cluster, &owners, true)?;
        eventually("an answer", SOON, || answers(cluster, address))?;
        let rivals = || metric(&cluster.nodes[owner], "weir_announced_rivals_total");
        ensure!(rivals()? == 0.0, "somebody was heard");
        let contested = || -> Result<bool> {
            let found = problems(&cluster.nodes[owner])?;
            Ok(found.iter().any(|problem| problem["code"] == "address-contested"))
        };
        // a machine that somebody gave the address, with a hardware address lower than any of the nodes
        let links = cluster.wire.ip("-o link show type bridge")?;
        let bridge = links.split([':', '@']).nth(1).context("a bridge")?.trim().to_owned();
        cluster.wire.ip(&format!("link set {bridge} address 00:00:00:00:77:01"))?;
        cluster.wire.ip(&format!("address add {address}/24 dev {bridge}"))?;
        eventually("the node to hear it and to say so", SOON, || {
            claim(cluster, address)?;
            ensure!(contested()? && rivals()? > 0.0, "{:?}", rivals()?);
            Ok(())
        })?;
        eventually("only the other station to answer", SOON, || {
            for _ in 0..10 {
                cluster.client.ip("neigh flush dev eth0")?;
                let _ = ask_tcp(&cluster.client, (address, 7070).into(), None); // nobody listens there
                let told = neighbour(cluster, address)?;
                ensure!(told == "00:00:00:00:77:01", "{told}");
            }
            Ok(())
        })?;
        cluster.wire.ip(&format!("address del {address}/24 dev {bridge}"))?;
        eventually("the node to take it again", SOON, || {
            answers(cluster, address)?;
            ensure!(!contested()?, "it still says so");
            Ok(())
        })
    })
}

#[test]
#[ignore = "needs root"]
fn where_clients_keep_their_address_a_node_with_a_backend_announces() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(0, "near", "web")?;
        cluster.add_pod(1, "far", "other")?;
        cluster.write_pods()?;
        cluster.write("pool.yaml", POOL)?;
        let local =
            services(&["a", "b"], "").replace("type: LoadBalancer", "type: LoadBalancer, externalTrafficPolicy: Local");
        cluster.write("web.yaml", &local)?;
        cluster.start_agents()?;
        let owners = settled(cluster, &[0, 1], 4)?;
        let node = |number: usize| cluster.nodes[number].name.clone();
        ensure!(owners.values().all(|owner| *owner == node(0)), "{owners:?}");
        for address in owners.keys() {
            eventually("an answer", SOON, || answers(cluster, *address))?;
        }
        cluster.write("web.yaml", &local.replace("app: web", "app: other"))?;
        eventually("the other node to announce", SOON, || {
            let owners = settled(cluster, &[0, 1], 4)?;
            ensure!(owners.values().all(|owner| *owner == node(1)), "{owners:?}");
            owners.keys().try_for_each(|address| answers(cluster, *address))
        })
    })
}
