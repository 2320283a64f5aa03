//! How an agent does in a large cluster: time to ready, memory, processor time and bytes read at its start, and while
//! endpoints change all the time, with a real API server. Called by `cargo xtask bench kube`; needs root.

#[path = "kube/figures.rs"]
mod figures;
#[path = "kube/objects.rs"]
mod objects;
#[path = "kube/probe.rs"]
mod probe;
#[path = "kube/writer.rs"]
mod writer;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_lab::{Binaries, Cluster, ClusterOptions, ControlPlane, Gateways6, Node, eventually, kubernetes_programs};

use figures::{Usage, logged, received};
use probe::Probe;
use writer::Writer;

/// For all that is expected to happen; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is measured; each can be set by a variable of the environment.
struct Size {
    services: usize,
    ingresses: usize,
    /// Changes in a second.
    rate: usize,
    /// For how many seconds.
    seconds: usize,
}

fn main() -> ExitCode {
    if !weir_lab::is_root() {
        eprintln!("bench kube makes network namespaces and loads programs into the kernel: run it as root");
        return ExitCode::from(77);
    }
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let size = Size {
        services: number("WEIR_BENCH_SERVICES", 10_000),
        ingresses: number("WEIR_BENCH_INGRESSES", 5_000),
        rate: number("WEIR_BENCH_RATE", 1_000),
        seconds: number("WEIR_BENCH_SECONDS", 30),
    };
    match bench(&size) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(size: &Size) -> Result<()> {
    weir_lab::sweep("wbench");
    let mut cluster = Cluster::new(&options()?)?;
    let plane = ControlPlane::start_without_controllers(&cluster, &kubernetes_programs()?)?;
    let writer = Writer { kubeconfig: plane.admin_kubeconfig()? };
    plane.apply(&std::fs::read_to_string(workspace().join("deploy/kubernetes/rbac.yaml"))?)?;
    plane.apply(&std::fs::read_to_string(workspace().join("deploy/kubernetes/ingressclass.yaml"))?)?;
    plane.register_nodes(&cluster)?;
    fill(&plane, &writer, size)?;
    let probe = Probe::new(&mut cluster, &plane)?;
    let options = cluster.nodes[0].agent_options();
    options.kubeconfig = Some(plane.agent_kubeconfig()?);
    // A ring for ten backends has 1,009 slots, which is 64 lines.
    options.arguments.push(format!("--max-ring-lines={}", size.services * 64 + 65_536));
    println!("| | time | memory now / at most (MiB) | CPU | read |\n|---|---|---|---|---|");
    start(&mut cluster.nodes[0])?;
    settle(&cluster.nodes[0])?;
    row("the statuses of all Ingresses written", &cluster.nodes[0], None, 0)?;
    changes(&cluster, &plane, &writer, &probe, size)
}

/// Puts everything into the API server.
fn fill(plane: &ControlPlane, writer: &Writer, size: &Size) -> Result<()> {
    let kinds = [
        ("Services", objects::resource("", "v1", "Service"), size.services),
        ("EndpointSlices", objects::resource("discovery.k8s.io", "v1beta1", "EndpointSlice"), size.services),
        ("Ingresses", objects::resource("networking.k8s.io", "v1", "Ingress"), size.ingresses),
    ];
    for (name, resource, count) in kinds {
        let objects = (0..count).map(|number| match name {
            "Services" => objects::service(number),
            "EndpointSlices" => objects::slice(number, 0),
            _ => objects::ingress(number, size.services),
        });
        let took = plane.netns().run(|| writer.create(&resource, objects))?;
        eprintln!("{count} {name} written in {took:.1?}");
    }
    Ok(())
}

/// From the start of the process until it is ready.
fn start(node: &mut Node) -> Result<()> {
    let (before, begun) = (received(node)?, Instant::now());
    node.start_agent()?;
    let ready = begun.elapsed();
    let log = node.agent.as_ref().context("it runs")?.log()?;
    let lists = logged(&log, "everything was read once")?;
    let after = logged(&log, " ready")? - lists;
    eprintln!("ready {after:.2} s after the lists had arrived");
    row("from its start until it is ready", node, Some(ready), before)?;
    println!("| of that, after the lists had arrived | {after:.2} s | | | |");
    Ok(())
}

/// Waits until the agent has told all Ingresses their addresses, and has nothing more to do.
fn settle(node: &Node) -> Result<()> {
    let mut last = Duration::ZERO;
    let mut still = Instant::now();
    eventually("the agent to have nothing to do", PATIENCE * 4, || {
        let now = usage(node)?.0.cpu;
        // It looks after its maps all the time, and a little of that is no work.
        if now.saturating_sub(last) > Duration::from_millis(50) {
            (last, still) = (now, Instant::now());
        }
        ensure!(still.elapsed() > Duration::from_secs(5), "it is busy");
        Ok(())
    })
}

/// While endpoints change all the time.
fn changes(cluster: &Cluster, plane: &ControlPlane, writer: &Writer, probe: &Probe, size: &Size) -> Result<()> {
    let node = &cluster.nodes[0];
    let (before, bytes) = (usage(node)?, received(node)?);
    let time = Duration::from_secs(size.seconds as u64);
    let (changed, delays) = std::thread::scope(|scope| {
        let writing = scope.spawn(|| plane.netns().run(|| writer.change(size.services, size.rate, time)));
        let mut delays = Vec::new();
        while !writing.is_finished() {
            delays.push(probe.delay(cluster, plane)?);
        }
        let changed = writing.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        anyhow::Ok((changed, delays))
    })?;
    let after = usage(node)?;
    let seconds = changed.took.as_secs_f64();
    let share = |before: Usage, after: Usage| 100.0 * (after.cpu - before.cpu).as_secs_f64() / seconds;
    let rate = changed.made as f64 / seconds;
    println!(
        "| {rate:.0} changes a second, for {seconds:.0} s | | agent {} / {}, front {} / {} | agent {:.0} %, front {:.0} % of a processor | {:.0} KiB/s |",
        after.0.resident,
        after.0.peak,
        after.1.resident,
        after.1.peak,
        share(before.0, after.0),
        share(before.1, after.1),
        (received(node)? - bytes) as f64 / 1024.0 / seconds,
    );
    let mut delays = delays;
    delays.sort();
    let (middle, most) = (delays[delays.len() / 2], delays[delays.len() - 1]);
    println!(
        "| from the answer to a change until connections follow it, meanwhile: median, longest of {} | {middle:.2?}, {most:.2?} | | | |",
        delays.len()
    );
    Ok(())
}

/// Of the agent and of its front.
fn usage(node: &Node) -> Result<(Usage, Usage)> {
    let agent = node.agent.as_ref().context("it runs")?.pid();
    let front = node.processes("front")?.first().copied();
    Ok((Usage::of(agent)?, front.map_or(Ok(Usage::default()), Usage::of)?))
}

fn row(what: &str, node: &Node, time: Option<Duration>, bytes_before: u64) -> Result<()> {
    let (agent, front) = usage(node)?;
    let time = time.map_or(String::new(), |time| format!("{:.1} s", time.as_secs_f64()));
    println!(
        "| {what} | {time} | agent {} / {}, front {} / {} | agent {:.1} s, front {:.1} s | {:.1} MiB |",
        agent.resident,
        agent.peak,
        front.resident,
        front.peak,
        agent.cpu.as_secs_f64(),
        front.cpu.as_secs_f64(),
        (received(node)? - bytes_before) as f64 / 1_048_576.0,
    );
    Ok(())
}

fn options() -> Result<ClusterOptions> {
    let program = |variable: &str, built: &str| {
        let path = std::env::var_os(variable).map_or_else(|| workspace().join("target").join(built), PathBuf::from);
        path.canonicalize().with_context(|| format!("{}: call it by `cargo xtask bench kube`", path.display()))
    };
    Ok(ClusterOptions {
        prefix: "wbench".to_owned(),
        binaries: Binaries {
            weir: program("WEIR_BINARY", "release/weir")?,
            lab_object: program("WEIR_LAB_OBJECT", "bpf/bpfel-unknown-none/bpf/lab")?,
        },
        nodes: 1,
        pod_offload: true,
        gateways6: Gateways6::Routed,
    })
}

fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
