//! Mixed traffic while routes, endpoints and certificates change every second and other clients misbehave: nobody who asks
//! properly is let down, and neither memory nor descriptors grow.

mod changes;
mod misbehave;
mod series;

use std::env;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use weir_lab::{Cluster, SOON, eventually};

use crate::common::{problems, scenario};
use crate::traffic::{Kind, Site, Tally, site, while_asked};
use changes::Changes;
use misbehave::Rabble;
use series::{Processes, Series};

/// In a run of all tests; `cargo xtask soak` asks for an hour.
const USUAL: Duration = Duration::from_secs(30);
/// Asks for so many seconds instead.
const VARIABLE: &str = "WEIR_SOAK_SECONDS";
/// Between two changes of everything.
const CHANGE: Duration = Duration::from_secs(1);
/// Between two lines about how it goes.
const TELL: Duration = Duration::from_secs(30);
/// Descriptors more than before all traffic that may still be open some time after it: connections to backends that wait
/// for the next request.
const LEFT: u64 = 8;

/// A hundred or two connections a second, on one of two cores: this is about time, not about speed.
const CLIENTS: [(Kind, Duration); 11] = [
    (Kind::Kept, Duration::from_millis(5)),
    (Kind::Fresh, Duration::from_millis(20)),
    (Kind::Post, Duration::from_millis(10)),
    (Kind::KeptTls, Duration::from_millis(10)),
    (Kind::FreshTls, Duration::from_millis(50)),
    (Kind::Http2, Duration::from_millis(10)),
    (Kind::Socket, Duration::from_millis(50)),
    (Kind::KeptSocket, Duration::from_millis(20)),
    (Kind::Tcp, Duration::from_millis(20)),
    (Kind::Flow, Duration::from_millis(20)),
    (Kind::Udp, Duration::from_millis(20)),
];

/// Short times, so that all of them pass often.
const SETTINGS: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {client-header-timeout: \"5\", client-body-timeout: \"5\", keep-alive: \"5\", upstream-keepalive-timeout: \"5\"}
";

#[test]
#[ignore = "needs root"]
fn nothing_grows_while_everything_changes_and_clients_misbehave() -> Result<()> {
    let length = env::var(VARIABLE).ok().and_then(|text| text.parse().ok()).map_or(USUAL, Duration::from_secs);
    scenario(|cluster| {
        let site = Site::new(cluster)?;
        cluster.write("settings.yaml", SETTINGS)?;
        cluster.nodes[0].agent_options().arguments = vec!["--configmap".to_owned(), "default/settings".to_owned()];
        cluster.start_agents()?;
        let target = site.target(cluster)?;
        let mut changes = Changes::new(cluster, &site, &target)?;
        site::served(cluster, &target)?;
        let processes = Processes::of(&cluster.nodes[0])?;
        let idle = processes.look()?;
        let (tally, mut series) = (Tally::default(), Series::new(length));
        let misbehaved = while_asked(&tally, &target, &CLIENTS, &cluster.client, || {
            let rabble = Rabble::start(&cluster.client, &target)?;
            let soaked = soak(&mut changes, &processes, &mut series, &tally, length);
            let misbehaved = rabble.end();
            soaked.and(misbehaved)
        })?;
        println!("{changes}, {misbehaved} misbehaved\n{tally}{series}");
        println!("{}", dropped(cluster)?);
        tally.check()?;
        series.check()?;
        all_let_go(cluster, &processes, idle.front.descriptors)
    })
}

/// Changes everything once a second, and looks what the processes take.
fn soak(
    changes: &mut Changes<'_>,
    processes: &Processes,
    series: &mut Series,
    tally: &Tally,
    length: Duration,
) -> Result<()> {
    let (begun, mut told) = (Instant::now(), Duration::ZERO);
    while begun.elapsed() < length {
        let next = Instant::now() + CHANGE;
        changes.make()?;
        series.add(begun.elapsed(), processes.look()?);
        tally.check()?;
        if begun.elapsed() >= told + TELL {
            told = begun.elapsed();
            println!("after {} s: {changes}, {} answered; {}", told.as_secs(), tally.answered(), series.last());
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// What each node's programs dropped, and why.
fn dropped(cluster: &Cluster) -> Result<String> {
    let of = |node: &weir_lab::Node| {
        let text = node.admin("/metrics")?;
        let lines = text.lines().filter(|line| line.starts_with("weir_drops_total") && !line.ends_with(" 0"));
        Ok(format!("{}: {:?}", node.name, lines.collect::<Vec<_>>()))
    };
    Ok(cluster.nodes.iter().map(of).collect::<Result<Vec<_>>>()?.join("\n"))
}

/// Some time after the last client has gone the front has nothing more open than before the first one came.
fn all_let_go(cluster: &Cluster, processes: &Processes, before: u64) -> Result<()> {
    eventually("the front to let go of its sockets", SOON * 2, || {
        let now = processes.look()?.front.descriptors;
        ensure!(now <= before + LEFT, "{now} descriptors are open, and {before} were before all traffic");
        Ok(())
    })?;
    let front = cluster.nodes[0].processes("front")?;
    ensure!(front == [processes.front], "the front was replaced: {front:?}");
    let mut problems = problems(&cluster.nodes[0])?;
    problems.retain(|problem| problem["severity"] != "info");
    ensure!(problems.is_empty(), "{problems:?}");
    Ok(())
}
