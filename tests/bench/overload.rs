//! What the front does with two and ten times as many requests as its one endpoint may have at once (`weir.io/max-connections`): who is served, who is turned away,
//! how long either takes, what memory it takes, and how soon all is well again. Called by `cargo xtask bench overload`; needs
//! root.

#[path = "overload/backend.rs"]
mod backend;
#[path = "overload/load.rs"]
mod load;
#[path = "change/memory.rs"]
mod memory;
#[path = "overload/site.rs"]
mod site;

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_lab::{Binaries, Cluster, ClusterOptions, Gateways6, Request, SOON, Session, eventually};

use backend::Backend;
use load::{HOST, Heard};

/// Start of every name.
const PREFIX: &str = "wbov";
/// Requests at the endpoint.
const MOST: usize = 16;
/// Of a measurement.
const SECONDS: u64 = 10;
/// Answers without a break, behind which all is well.
const WELL: usize = 100;

fn main() -> ExitCode {
    if !weir_lab::is_root() {
        eprintln!("bench overload starts an agent, which loads programs into the kernel: run it as root");
        return ExitCode::from(77);
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    println!(
        "| offered a second | asked | served | median ms | 99 % ms | turned away | 99 % ms | memory, MB | well again after ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    measure()
}

fn measure() -> Result<()> {
    let mut cluster = cluster()?;
    let pod = cluster.add_pod(0, "slow", "slow")?;
    let (address, _backend) = (pod.ip, Backend::start(&pod.netns)?);
    let annotations = format!("{{weir.io/max-connections: \"{MOST}\"}}");
    cluster.write("site.yaml", &site::manifests(address, &annotations))?;
    cluster.start_agents()?;
    let (front, pid) = (cluster.nodes[0].port(80), one(&cluster.nodes[0].processes("front")?)?);
    eventually("the site to be served", SOON, || well(&cluster, front, 1).map(drop))?;
    let capacity = cluster.client.run(|| load::capacity(front, MOST, Duration::from_secs(SECONDS)))?;
    let mut offers = vec![capacity / 2, capacity * 2, capacity * 10];
    // Once more what it can bear: overload has left nothing behind.
    offers.push(capacity / 2);
    for offered in offers {
        let (heard, memory) =
            watched(pid, || cluster.client.run(|| load::offer(front, offered, Duration::from_secs(SECONDS))))?;
        let well = well(&cluster, front, WELL)?;
        tell(offered, &heard, memory, well);
    }
    Ok(())
}

fn tell(offered: u64, heard: &Heard, memory: u64, well: Duration) {
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let (served, shed) = (load::quantiles(&heard.served), load::quantiles(&heard.shed));
    println!(
        "| {offered} | {} | {} | {:.1} | {:.1} | {} | {:.1} | {:.1} | {:.1} |",
        (heard.served.len() + heard.shed.len()) as u64 / SECONDS,
        heard.served.len() as u64 / SECONDS,
        ms(served.0),
        ms(served.1),
        heard.shed.len() as u64 / SECONDS,
        ms(shed.1),
        memory as f64 / 1e6,
        ms(well)
    );
}

/// Runs something, and gives the most memory that the process had meanwhile.
fn watched<T: Send>(pid: u32, run: impl FnOnce() -> Result<T> + Send) -> Result<(T, u64)> {
    thread::scope(|scope| {
        let running = scope.spawn(run);
        let mut most = 0;
        while !running.is_finished() {
            most = most.max(memory::own(pid)?);
            thread::sleep(Duration::from_millis(200));
        }
        let ran = running.join().unwrap_or_else(|_| anyhow::bail!("panicked"))?;
        Ok((ran, most))
    })
}

/// The time until so many requests were answered without a break.
fn well(cluster: &Cluster, front: SocketAddr, times: usize) -> Result<Duration> {
    cluster.client.run(|| {
        let (begun, mut session, request) = (Instant::now(), Session::keeping(front), Request::get(HOST, "/"));
        let (mut first, mut row) = (begun.elapsed(), 0);
        while row < times {
            ensure!(begun.elapsed() < SOON, "it is not well after {SOON:?}");
            let answer = session.send(&request)?;
            (first, row) = match (answer.status, row) {
                (200, 0) => (begun.elapsed(), 1),
                (200, _) => (first, row + 1),
                _ => (first, 0),
            };
        }
        Ok(first)
    })
}

fn cluster() -> Result<Cluster> {
    weir_lab::sweep(PREFIX);
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let program = |variable: &str, built: &str| env::var_os(variable).map_or_else(|| target.join(built), PathBuf::from);
    Cluster::new(&ClusterOptions {
        prefix: PREFIX.to_owned(),
        binaries: Binaries {
            weir: program("WEIR_BINARY", "release/weir"),
            lab_object: program("WEIR_LAB_OBJECT", "bpf/bpfel-unknown-none/bpf/lab"),
        },
        nodes: 1,
        pod_offload: true,
        gateways6: Gateways6::Routed,
    })
}

fn one(pids: &[u32]) -> Result<u32> {
    pids.first().copied().context("no front runs")
}
