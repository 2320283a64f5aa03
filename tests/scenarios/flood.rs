//! Floods of forged first segments.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use weir_lab::{Cluster, Crowd, Echo, Port, SOON, Segment, Service, eventually, raise_file_limit, send_raw_all};

use crate::common::{EXTERNAL, metric, problems, scenario};

/// Connections that move data all the time, where this process may open so many files.
const FLOWS: u64 = 10_000;
/// Files beside both ends of them.
const OTHER_FILES: u64 = 1_000;
/// More than the table of half-open flows holds.
const FLOOD: u32 = 50_000;
const HALF_OPEN: u32 = 16_384;
const PORT: u16 = 7071;
/// First of the forged sources, all of which are in one network of these many bits.
const FORGED: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 0);
const FORGED_BITS: u8 = 13;

/// What becomes of the flood.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// There is a limit on connections that nobody goes on with.
    Limited,
    /// Its sources are denied.
    Denied,
    /// All of it begins flows.
    Served,
}

/// A Service with one pod, whose server takes very many connections, on a node that tracks connections.
fn serve(cluster: &mut Cluster) -> Result<Echo> {
    let pod = cluster.add_pod(0, "near", "web")?;
    let echo = Echo::start(&pod.netns, (Ipv4Addr::UNSPECIFIED, PORT).into(), &pod.name, &pod.node)?;
    cluster.write_pods()?;
    let ports = [Port::tcp(PORT, PORT)];
    let external = EXTERNAL.to_string();
    let service = Service { name: "web", app: "web", ports: &ports, external_ips: &[&external], ..Service::default() };
    cluster.write("web.yaml", &service.yaml())?;
    let node = &mut cluster.nodes[0];
    node.add_invalid_rule()?; // has the kernel track connections
    node.agent_options().arguments.extend(["--max-half-open-flows".to_owned(), HALF_OPEN.to_string()]);
    cluster.start_agents()?;
    Ok(echo)
}

/// An agent that does with the flood what is wanted takes the place of the one that runs.
fn restart(cluster: &mut Cluster, fate: Fate) -> Result<()> {
    let denied = cluster.manifests().with_file_name("denied");
    std::fs::write(&denied, format!("{FORGED}/{FORGED_BITS}\n"))?;
    let more = match fate {
        Fate::Limited => return Ok(()),
        Fate::Denied => ["--deny-list".to_owned(), denied.to_string_lossy().into_owned()],
        Fate::Served => ["--syn-limit".to_owned(), "0".to_owned()],
    };
    let node = &mut cluster.nodes[0];
    node.end_agent(Signal::TERM)?;
    let arguments = &mut node.agent_options().arguments;
    arguments.retain(|argument| argument != "--deny-list" && !denied.ends_with(argument));
    arguments.extend(more);
    node.start_agent()
}

/// First segments to the VIP, each from a client of its own.
fn forged(to: SocketAddr) -> impl Iterator<Item = Segment> + Send {
    let first = FORGED.to_bits();
    (0..FLOOD).filter_map(move |n| Segment::tcp((Ipv4Addr::from_bits(first + n), 40_000).into(), to, 0x02, 5).ok())
}

/// Lets the crowd move data while the flood comes; tells how fast both were.
fn flood(cluster: &Cluster, crowd: &mut Crowd, to: SocketAddr, fate: Fate) -> Result<()> {
    let (begun, mut rounds, mut broken) = (Instant::now(), 0, 0);
    let sent = thread::scope(|scope| {
        let flood = scope.spawn(|| send_raw_all(&cluster.client, forged(to)).map(|()| begun.elapsed()));
        while rounds < 2 || !flood.is_finished() {
            broken += crowd.exchange(SOON * 4);
            rounds += 1;
        }
        flood.join().map_err(|_| anyhow::anyhow!("the sender panicked"))
    })??;
    let rate = |count: f64, time: Duration| count / time.as_secs_f64().max(0.001);
    let (segments, lines) =
        (rate(f64::from(FLOOD), sent), rate(f64::from(rounds) * crowd.len() as f64, begun.elapsed()));
    eprintln!(
        "{fate:?}: {segments:.0} first segments a second, {lines:.0} lines a second of {} connections",
        crowd.len()
    );
    ensure!(broken == 0, "{fate:?}: the flood broke {broken} flows");
    Ok(())
}

fn drops(cluster: &Cluster, reason: &str) -> Result<f64> {
    metric(&cluster.nodes[0], &format!("weir_drops_total{{reason=\"{reason}\"}}"))
}

/// What the flood did to the node.
fn look_at_the_node(cluster: &Cluster, flows: usize, fate: Fate, limited: f64) -> Result<()> {
    let half_open = || -> Result<u64> {
        let maps = cluster.nodes[0].api("status")?["status"]["maps"].clone();
        let map = maps.as_array().into_iter().flatten().find(|map| map["name"] == "HALF_FLOWS4").cloned();
        map.context("no HALF_FLOWS4")?["entries"].as_u64().context("not counted")
    };
    eventually("the flood to be counted", SOON, || {
        match fate {
            // the devices lose what comes faster than it is taken
            Fate::Denied => ensure!(drops(cluster, "denied")? > f64::from(FLOOD) / 10.0, "not denied"),
            Fate::Limited => {
                ensure!(drops(cluster, "syn_limited")? > f64::from(FLOOD) / 10.0, "not limited");
                ensure!(
                    problems(&cluster.nodes[0])?.iter().any(|problem| problem["code"] == "syn-limited"),
                    "not said"
                );
            }
            Fate::Served => {
                ensure!(drops(cluster, "syn_limited")? == limited, "limited");
                let held = half_open()?;
                // lists of free entries by CPU keep some of it empty
                ensure!(held > u64::from(HALF_OPEN) * 3 / 4, "{held} half-open flows: the table is not full");
            }
        }
        let [entries, capacity] =
            ["weir_conntrack_entries", "weir_conntrack_capacity"].map(|name| metric(&cluster.nodes[0], name));
        let (entries, capacity) = (entries?, capacity?);
        ensure!(entries >= flows as f64, "the node tracks no connections");
        if fate != Fate::Served {
            ensure!(entries < capacity / 2.0, "{entries} of {capacity} tracked connections");
        }
        eprintln!("{fate:?}: {entries} of {capacity} tracked connections");
        Ok(())
    })
}

/// Who comes now gets through, too: at once, or with the first segment that is sent again.
fn greet(cluster: &Cluster, to: SocketAddr) -> Result<()> {
    for attempt in 0..4 {
        let greeted = cluster.client.run(|| {
            let stream = TcpStream::connect_timeout(&to, SOON).with_context(|| format!("attempt {attempt}"))?;
            stream.set_read_timeout(Some(SOON))?;
            Ok(stream.peek(&mut [0])?)
        });
        ensure!(greeted? == 1, "no greeting");
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn ten_thousand_flows_move_data_while_a_flood_comes_to_the_same_address() -> Result<()> {
    let files = raise_file_limit(2 * FLOWS + OTHER_FILES)?;
    let flows = usize::try_from(FLOWS.min(files.saturating_sub(OTHER_FILES) / 2))?;
    scenario(|cluster| {
        let _echo = serve(cluster)?;
        let to = SocketAddr::from((EXTERNAL, PORT));
        let mut crowd = Crowd::connect(&cluster.client, to, flows)?;
        ensure!(crowd.exchange(SOON * 4) == 0, "not all connections work before the flood");
        for fate in [Fate::Limited, Fate::Denied, Fate::Served] {
            restart(cluster, fate)?;
            let limited = drops(cluster, "syn_limited")?;
            flood(cluster, &mut crowd, to, fate)?;
            look_at_the_node(cluster, flows, fate, limited).with_context(|| format!("{fate:?}"))?;
            if fate != Fate::Served {
                greet(cluster, to).with_context(|| format!("{fate:?}"))?;
            }
        }
        ensure!(crowd.exchange(SOON * 4) == 0, "not all connections work after the floods");
        Ok(())
    })
}
