//! One node, and what is measured there.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_lab::{Binaries, Cluster, ClusterOptions, Gateways6, ask_tcp, cpu_time};

use crate::{maps, memory, objects};

/// Start of every name.
const PREFIX: &str = "wbst";
const NODE_PORT: u16 = 30_070;
/// How often the endpoint changes.
const CHANGES: usize = 60;
/// Between two changes.
const PAUSE: Duration = Duration::from_millis(300);
/// A change that takes longer is not coming.
const LOST: Duration = Duration::from_secs(30);
/// Lines of a ring for ten backends: 1,009 slots of 4 bytes.
const LINES: usize = 64;

/// What a node takes, in bytes and time.
pub(crate) struct Figures {
    pub(crate) ready: Duration,
    pub(crate) cpu: Duration,
    pub(crate) agent: u64,
    pub(crate) maps: u64,
}

pub(crate) struct Site {
    cluster: Cluster,
    pods: [Ipv4Addr; 2],
    ready: Duration,
    cpu: Duration,
}

impl Site {
    /// A node that has so many Services when its agent starts, with maps for `room` of them.
    pub(crate) fn start(services: usize, room: usize) -> Result<Self> {
        weir_lab::sweep(PREFIX);
        let mut cluster = Cluster::new(&options())?;
        let pods = [cluster.add_pod(0, "one", "one")?.ip, cluster.add_pod(0, "two", "two")?.ip];
        objects::crowd(services).try_for_each(|(name, text)| cluster.write(&name, &text))?;
        cluster.write("changing.yaml", &objects::changing(NODE_PORT, pods[0]))?;
        cluster.nodes[0].agent_options().arguments = [
            ("max-services", room + 1_000),
            ("max-frontends", room * 2 + 1_000),
            ("max-backends", room * crate::ENDPOINTS + 1_000),
            ("max-ring-lines", room * LINES + 65_536),
        ]
        .map(|(flag, number)| format!("--{flag}={number}"))
        .to_vec();
        let begun = Instant::now();
        cluster.start_agents()?;
        let ready = begun.elapsed();
        let mut site = Self { cluster, pods, ready, cpu: Duration::ZERO };
        site.until(0)?;
        site.cpu = cpu_time(site.agent()?)?;
        Ok(site)
    }

    /// What it takes now.
    pub(crate) fn figures(&self) -> Result<Figures> {
        // What was held for the start alone is given back.
        thread::sleep(Duration::from_secs(3));
        let agent = self.agent()?;
        Ok(Figures { ready: self.ready, cpu: self.cpu, agent: memory::own(agent)?, maps: maps::memory(agent)? })
    }

    /// Changes the endpoint again and again; the ms from the manifest to the first connection that meets the change, sorted.
    pub(crate) fn changes(&mut self) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        for change in 1..=CHANGES {
            thread::sleep(PAUSE);
            let text = objects::changing(NODE_PORT, self.pods[change % 2]);
            let begun = Instant::now();
            self.cluster.write("changing.yaml", &text)?;
            self.until(change % 2)?;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        times.sort_by(f64::total_cmp);
        Ok(times)
    }

    fn agent(&self) -> Result<u32> {
        Ok(self.cluster.nodes[0].agent.as_ref().context("it runs")?.pid())
    }

    /// Connects until the pod answers.
    fn until(&self, pod: usize) -> Result<()> {
        let to = SocketAddr::from((self.cluster.nodes[0].ip, NODE_PORT));
        let begun = Instant::now();
        loop {
            let answer = ask_tcp(&self.cluster.client, to, None)?;
            if answer.starts_with(["one", "two"][pod]) {
                return Ok(());
            }
            ensure!(begun.elapsed() < LOST, "{to} answers {answer}");
            thread::sleep(Duration::from_micros(200));
        }
    }
}

fn options() -> ClusterOptions {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let program = |variable: &str, built: &str| env::var_os(variable).map_or_else(|| target.join(built), PathBuf::from);
    ClusterOptions {
        prefix: PREFIX.to_owned(),
        binaries: Binaries {
            weir: program("WEIR_BINARY", "release/weir"),
            lab_object: program("WEIR_LAB_OBJECT", "bpf/bpfel-unknown-none/bpf/lab"),
        },
        nodes: 1,
        pod_offload: true,
        gateways6: Gateways6::Routed,
    }
}
