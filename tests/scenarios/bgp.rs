//! Addresses that routers are told of: agents with BIRDs beside them, and FRR as the router, which spreads flows over the nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use weir_lab::{Bird, Cluster, ClusterOptions, Crowd, Node, Router, SOON, ask_tcp, eventually, pods_and_nodes};

use crate::common::{metric, options, problems, scenario_with, workspace};

/// The addresses of the pool, which the Service is given.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
const ADDRESS6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x113, 0, 0, 0, 0, 0, 1));
const ROUTER: &str = "192.168.77.1";
/// Autonomous systems of the nodes, and of a router outside of theirs.
const NODES: u32 = 64_512;
const OUTSIDE: u32 = 64_513;
/// How many flows there are when a node dies.
const FLOWS: usize = 300;
/// Packets that were on their way to a dead node are sent again, with growing pauses.
const PATIENCE: Duration = Duration::from_secs(30);

fn pool_and_announcement(router: u32, bgp: &str, peer: &str) -> String {
    format!(
        "apiVersion: weir.io/v1alpha1\nkind: AddressPool\nmetadata: {{name: outer}}\n\
         spec: {{addresses: [203.0.113.1, 'fd00:113::1']}}\n---\n\
         apiVersion: weir.io/v1alpha1\nkind: Announcement\nmetadata: {{name: routers}}\n\
         spec: {{pools: [outer], bgp: {{localASN: {NODES}, peers: [{{address: {ROUTER}, asn: {router}{peer}}}, \
         {{address: 'fd00:77::1', asn: {router}{peer}}}]{bgp}}}}}\n"
    )
}

fn service(app: &str, metadata: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web{metadata}}}\n\
         spec: {{type: LoadBalancer, ipFamilyPolicy: RequireDualStack, selector: {{app: {app}}}, ports: [{{port: 7070}}]{spec}}}\n"
    )
}

/// Three nodes with a pod each, agents and BIRDs, and the router.
struct Rig {
    router: Router,
    birds: Vec<Option<Bird>>,
}

fn folder(cluster: &Cluster, node: usize) -> PathBuf {
    cluster.manifests().with_file_name(format!("bird-{node}"))
}

/// With the capabilities of the manifest.
fn start_bird(cluster: &Cluster, node: usize) -> Result<Bird> {
    let text = fs::read_to_string(workspace().join("deploy/bgp/bird.yaml"))?;
    let (_, added) = text.split_once("        add:\n").context("capabilities are added")?;
    let names: Vec<_> = added.lines().map_while(|line| line.strip_prefix("        - ")).collect();
    Bird::start(&cluster.nodes[node], &folder(cluster, node), &names)
}

impl Rig {
    fn start(cluster: &mut Cluster, asn: u32, bfd: bool) -> Result<Self> {
        for (node, name) in ["one", "two", "three"].into_iter().enumerate() {
            cluster.add_pod(node, name, "web")?;
        }
        cluster.write_pods()?;
        let router = Router::start(cluster, (asn, NODES), bfd)?;
        for node in 0..cluster.nodes.len() {
            let folder = folder(cluster, node).display().to_string();
            cluster.nodes[node].agent_options().arguments.extend(["--bird".to_owned(), folder]);
        }
        cluster.start_agents()?;
        let start = |node| start_bird(cluster, node).map(Some);
        let birds = (0..cluster.nodes.len()).map(start).collect::<Result<_>>()?;
        Ok(Self { router, birds })
    }
}

/// The nodes to which the router sends packets for an address.
fn next_hops(cluster: &Cluster, address: IpAddr) -> Result<BTreeSet<usize>> {
    let family = if address.is_ipv4() { "" } else { "-6 " };
    let text = cluster.wire.ip(&format!("{family}route show {address}"))?;
    let words: Vec<_> = text.split_whitespace().collect();
    let hops =
        words.windows(2).filter(|pair| pair[0] == "via").map(|pair| format!(" {}/", pair[1])).collect::<Vec<_>>();
    let mut found = BTreeSet::new();
    for (number, node) in cluster.nodes.iter().enumerate() {
        // by IPv6 it may be named by any of its link-local addresses
        let own = node.netns.ip("-o address show dev eth0")?;
        found.extend(hops.iter().any(|hop| own.contains(hop.as_str())).then_some(number));
    }
    Ok(found)
}

fn led_to(cluster: &Cluster, address: IpAddr, nodes: &[usize]) -> Result<()> {
    let wanted: BTreeSet<_> = nodes.iter().copied().collect();
    eventually("the router's table", SOON * 3, || {
        let found = next_hops(cluster, address)?;
        ensure!(found == wanted, "{address} leads to {found:?}, not to {wanted:?}");
        Ok(())
    })
}

fn answers(cluster: &Cluster) -> Result<()> {
    ask_tcp(&cluster.client, (ADDRESS, 7070).into(), None).map(drop)
}

fn on_three(run: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    scenario_with(&ClusterOptions { nodes: 3, ..options()? }, run)
}

/// Logs of BIRD for the report of a failure.
fn reported<T>(result: Result<T>, rig: &Rig) -> Result<T> {
    result.inspect_err(|_| rig.birds.iter().flatten().for_each(|bird| eprintln!("{}", bird.log())))
}

#[test]
#[ignore = "needs root"]
fn a_router_spreads_over_the_nodes_that_serve() -> Result<()> {
    on_three(|cluster| {
        let bgp = ", communities: ['64512:100', 'large:64512:1:2', no-export], localPreference: 250";
        cluster.write("pool.yaml", &pool_and_announcement(NODES, bgp, ""))?;
        cluster.write("web.yaml", &service("web", "", ""))?;
        let mut rig = Rig::start(cluster, NODES, false)?;
        let checked = spreads(cluster, &rig);
        reported(checked, &rig)?;
        let checked = outlives(cluster, &mut rig);
        reported(checked, &rig)
    })
}

fn spreads(cluster: &Cluster, rig: &Rig) -> Result<()> {
    led_to(cluster, ADDRESS, &[0, 1, 2])?;
    led_to(cluster, ADDRESS6, &[0, 1, 2])?;
    (0..24).try_for_each(|_| answers(cluster))?;
    let told = rig.router.ask(&format!("show bgp ipv4 unicast {ADDRESS}/32"))?;
    let paths = told["paths"].as_array().context("paths")?;
    ensure!(paths.len() == 3, "{told}");
    for path in paths {
        let marks = (&path["community"]["string"], &path["largeCommunity"]["string"], &path["locPrf"]);
        ensure!(marks == (&Value::from("64512:100 no-export"), &"64512:1:2".into(), &250.into()), "{path}");
    }
    for node in &cluster.nodes {
        eventually("sessions that are told of", SOON, || {
            let up = metric(node, &format!("weir_bgp_session_up{{peer=\"{ROUTER}\",asn=\"{NODES}\"}}"))?;
            ensure!((up, metric(node, "weir_bgp_networks")?, metric(node, "weir_bird_up")?) == (1.0, 2.0, 1.0), "{up}");
            Ok(())
        })?;
        well(node)?;
    }
    // no packet is looked up there, and the main table has nothing of it
    let main = cluster.nodes[0].netns.ip("route show")?;
    ensure!(!main.contains("203.0.113"), "{main}");
    // clients keep their address: only where a pod is
    cluster.write("web.yaml", &service("web", "", ", externalTrafficPolicy: Local"))?;
    cluster.write("cluster.yaml", &pods_and_nodes(&cluster.nodes, &cluster.pods[..2]))?;
    led_to(cluster, ADDRESS, &[0, 1])?;
    (0..24).try_for_each(|_| answers(cluster))?;
    // a node drains
    cluster.write("web.yaml", &service("web", "", ""))?;
    led_to(cluster, ADDRESS, &[0, 1, 2])?;
    let all = pods_and_nodes(&cluster.nodes, &cluster.pods);
    cluster.write("cluster.yaml", &all.replacen("spec: {podCIDR", "spec: {unschedulable: true, podCIDR", 1))?;
    led_to(cluster, ADDRESS, &[1, 2])?;
    cluster.write("cluster.yaml", &all)?;
    led_to(cluster, ADDRESS, &[0, 1, 2])
}

fn well(node: &Node) -> Result<()> {
    eventually("no Problem", SOON, || {
        let found = problems(node)?;
        ensure!(found.iter().all(|problem| problem["severity"] == "info"), "{found:?}");
        Ok(())
    })
}

/// Neither a new agent nor a new BIRD takes anything from the router.
fn outlives(cluster: &mut Cluster, rig: &mut Rig) -> Result<()> {
    let neighbour = IpAddr::from(cluster.nodes[0].ip);
    let dropped = rig.router.session(neighbour)?.1;
    let steady = |cluster: &Cluster| -> Result<()> {
        let found = next_hops(cluster, ADDRESS)?;
        ensure!(found.len() == 3, "the router was told to leave one out: {found:?}");
        Ok(())
    };
    cluster.nodes[0].end_agent(Signal::KILL)?;
    steady(cluster)?;
    while_spread(cluster, Node::start_agent)?;
    while_spread(cluster, |node| {
        let status = node.spawn_next_agent()?.wait()?;
        ensure!(status.success(), "the agent that was replaced ended with {status}");
        node.wait_ready()
    })?;
    steady(cluster)?;
    ensure!(rig.router.session(neighbour)? == (true, dropped), "the session was lost with the agent");
    // BIRD is killed: problems say so, routers wait for the next one
    rig.birds[0].take().context("a BIRD")?.kill()?;
    eventually("a Problem", SOON, || {
        let found = problems(&cluster.nodes[0])?;
        ensure!(found.iter().any(|problem| problem["code"] == "bird-unreachable"), "{found:?}");
        steady(cluster)
    })?;
    rig.birds[0] = Some(start_bird(cluster, 0)?);
    eventually("the session", SOON, || {
        steady(cluster)?;
        ensure!(rig.router.session(neighbour)? == (true, dropped + 1), "it is not there");
        Ok(())
    })?;
    well(&cluster.nodes[0])?;
    (0..24).try_for_each(|_| answers(cluster))?;
    steady(cluster)?;
    // nothing is left of routes when weir is
    cluster.nodes[0].end_agent(Signal::TERM)?;
    led_to(cluster, ADDRESS, &[1, 2])
}

/// Does something on the first node, while the router sends packets to all three.
fn while_spread(cluster: &mut Cluster, work: impl FnOnce(&mut Node) -> Result<()>) -> Result<()> {
    let mut nodes = std::mem::take(&mut cluster.nodes);
    let wire = &cluster.wire;
    let watched = watched(
        || work(nodes.first_mut().context("a node")?),
        || {
            let text = wire.ip(&format!("route show {ADDRESS}"))?;
            ensure!(text.matches("nexthop").count() == 3, "the router was told to leave one out: {text}");
            Ok(())
        },
    );
    cluster.nodes = nodes;
    watched
}

/// Looks again and again while something is done.
fn watched(work: impl FnOnce() -> Result<()>, look: impl Fn() -> Result<()> + Sync) -> Result<()> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let looking = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                look()?;
            }
            Ok(())
        });
        let worked = work();
        over.store(true, Ordering::Relaxed);
        worked.and(looking.join().ok().context("who looks panicked")?)
    })
}

#[test]
#[ignore = "needs root"]
fn a_node_that_ends_is_left_before_anything_stops() -> Result<()> {
    on_three(|cluster| {
        cluster.write("pool.yaml", &pool_and_announcement(OUTSIDE, "", ""))?;
        cluster.write("web.yaml", &service("web", ", annotations: {weir.io/forwarding: dsr}", ""))?;
        let rig = Rig::start(cluster, OUTSIDE, false)?;
        led_to(cluster, ADDRESS, &[0, 1, 2])?;
        let attempts = AtomicUsize::new(0);
        let flows = Crowd::connect(&cluster.client, (ADDRESS, 7070).into(), 60)?;
        let mut leaving = std::mem::take(&mut cluster.nodes);
        let client = &cluster.client;
        let ended = watched(
            || leaving[2].end_agent(Signal::TERM),
            || {
                attempts.fetch_add(1, Ordering::Relaxed);
                ask_tcp(client, (ADDRESS, 7070).into(), None).map(drop)
            },
        );
        cluster.nodes = leaving;
        reported(ended, &rig)?;
        let found = next_hops(cluster, ADDRESS)?;
        ensure!(found == BTreeSet::from([0, 1]), "the router still sends packets there: {found:?}");
        let log = fs::read_to_string(&cluster.nodes[2].agent_options().log)?;
        let (withdrawn, ending) = (log.find("routers are told that nothing leads here"), log.find("the front drains"));
        ensure!(withdrawn.is_some() && withdrawn < ending, "the front drained first: {log}");
        let (mut flows, attempts) = (flows, attempts.into_inner());
        let lost = flows.exchange(PATIENCE);
        eprintln!("measured: planned end, {attempts} connection attempts, none lost; of 60 flows (DSR) {lost} lost");
        ensure!(attempts > 20 && lost == 0, "{attempts} attempts, {lost} flows lost");
        Ok(())
    })
}

/// What was lost when a node died.
#[derive(Debug, Default)]
struct Losses {
    /// Until the router left the node out.
    noticed: Duration,
    /// Flows whose pod was on the node.
    with_their_pod: usize,
    /// Others.
    others: usize,
}

fn a_node_dies(forwarding: &str) -> Result<Losses> {
    let mut losses = Losses::default();
    on_three(|cluster| {
        cluster.write("pool.yaml", &pool_and_announcement(OUTSIDE, "", ", bfd: {}"))?;
        cluster
            .write("web.yaml", &service("web", &format!(", annotations: {{weir.io/forwarding: {forwarding}}}"), ""))?;
        let rig = Rig::start(cluster, OUTSIDE, true)?;
        let seen = || -> Result<()> {
            let peers = rig.router.ask("show bfd peers")?;
            let up = |peer: &&Value| peer["status"] == "up";
            let count = peers.as_array().map_or(0, |peers| peers.iter().filter(up).count());
            ensure!(count == 6, "{peers}");
            Ok(())
        };
        let ready = led_to(cluster, ADDRESS, &[0, 1, 2]).and_then(|()| eventually("BFD", SOON, seen));
        reported(ready, &rig)?;
        let mut crowd = Crowd::connect(&cluster.client, (ADDRESS, 7070).into(), FLOWS)?;
        ensure!(crowd.exchange(PATIENCE) == 0, "flows broke before anything happened");
        cluster.nodes[2].netns.ip("link set eth0 down")?;
        let died = Instant::now();
        led_to(cluster, ADDRESS, &[0, 1])?;
        losses.noticed = died.elapsed();
        losses.with_their_pod = crowd.leave("node-3");
        losses.others = crowd.exchange(PATIENCE);
        // who comes now is served by those that live, once the cluster knows
        cluster.write("cluster.yaml", &pods_and_nodes(&cluster.nodes[..2], &cluster.pods[..2]))?;
        eventually("new connections", SOON, || (0..12).try_for_each(|_| answers(cluster)))
    })?;
    eprintln!("measured: {forwarding}, node dead, of {FLOWS} flows {losses:?}");
    Ok(losses)
}

#[test]
#[ignore = "needs root"]
fn a_dead_node_is_left_when_bfd_misses_it() -> Result<()> {
    let losses: BTreeMap<_, _> =
        ["dsr", "snat"].into_iter().map(|way| Ok((way, a_node_dies(way)?))).collect::<Result<_>>()?;
    for found in losses.values() {
        ensure!(found.noticed < Duration::from_secs(3) && found.with_their_pod > 0, "{losses:?}");
    }
    ensure!(losses["dsr"].others == 0, "flows broke although their pods live: {losses:?}");
    ensure!(losses["snat"].others > 0, "the router moved no flow: {losses:?}");
    Ok(())
}
