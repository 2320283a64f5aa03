//! One node with the real agent and front, and what is changed there.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_lab::{Binaries, Cluster, ClusterOptions, Gateways6, Request, Response, Session};

use crate::client::Tally;
use crate::{manifests, memory};

/// Start of every name.
const PREFIX: &str = "wbch";
/// A change that takes longer is not coming.
const LOST: Duration = Duration::from_secs(30);
/// Between two changes: the agent has its pass behind it, as it would in a cluster where a few things change a second.
const PAUSE: Duration = Duration::from_millis(500);
/// The host whose rules change.
const HOST: &str = "changing.example.com";

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    NewRoute,
    Route,
    Endpoint,
    Annotation,
    Secret,
    Setting,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] =
        [Kind::NewRoute, Kind::Route, Kind::Endpoint, Kind::Annotation, Kind::Secret, Kind::Setting];

    /// In a few words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::NewRoute => "an Ingress is added",
            Kind::Route => "an Ingress leads to another Service",
            Kind::Endpoint => "a Service has another endpoint",
            Kind::Annotation => "an Ingress has another annotation",
            Kind::Secret => "a Secret has another user",
            Kind::Setting => "a key of the ConfigMap changes",
        }
    }
}

/// The times of changes of one kind.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) times: Vec<Duration>,
    pub(crate) asked: usize,
    pub(crate) failed: usize,
}

/// What the processes take, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) front: u64,
    pub(crate) agent: u64,
}

pub(crate) struct Site {
    cluster: Cluster,
    front: SocketAddr,
    pods: [Ipv4Addr; 2],
    ingresses: usize,
}

impl Site {
    /// A node whose agent knows two Services, `one` and `two`.
    pub(crate) fn start() -> Result<Self> {
        weir_lab::sweep(PREFIX);
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
        let program =
            |variable: &str, built: &str| env::var_os(variable).map_or_else(|| target.join(built), PathBuf::from);
        let mut cluster = Cluster::new(&ClusterOptions {
            prefix: PREFIX.to_owned(),
            binaries: Binaries {
                weir: program("WEIR_BINARY", "release/weir"),
                lab_object: program("WEIR_LAB_OBJECT", "bpf/bpfel-unknown-none/bpf/lab"),
            },
            nodes: 1,
            pod_offload: true,
            gateways6: Gateways6::Routed,
        })?;
        let one = cluster.add_pod(0, "one", "one")?.ip;
        let two = cluster.add_pod(0, "two", "two")?.ip;
        cluster.write("one.yaml", &manifests::service("one", one))?;
        cluster.write("two.yaml", &manifests::service("two", two))?;
        cluster.write("service.yaml", &manifests::service("changing", one))?;
        cluster.write("changing.yaml", &manifests::ingress("changing", HOST, "one", ""))?;
        cluster.write("settings.yaml", &manifests::settings("use-forwarded-headers", "false"))?;
        cluster.nodes[0].agent_options().arguments = vec!["--configmap".to_owned(), "default/settings".to_owned()];
        cluster.start_agents()?;
        let front = cluster.nodes[0].port(80);
        Ok(Site { cluster, front, pods: [one, two], ingresses: 0 })
    }

    /// Adds the crowd; gives the time until the last of it is served.
    pub(crate) fn load(&mut self, ingresses: usize, shared: usize) -> Result<Duration> {
        let files = manifests::crowd(ingresses, shared, self.pods[0]);
        let begun = Instant::now();
        files.iter().try_for_each(|(name, text)| self.cluster.write(name, text))?;
        self.ingresses = ingresses;
        for number in [0, ingresses / 2, ingresses - 1] {
            self.until(&manifests::host(number), Duration::from_secs(300), |answer| answer.status == 200)?;
        }
        let took = begun.elapsed();
        // What was held for the whole of it is given back.
        thread::sleep(Duration::from_secs(3));
        Ok(took)
    }

    /// What the processes take now.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let node = &self.cluster.nodes[0];
        let one = |word: &str| {
            let pids = node.processes(word)?;
            pids.first().copied().with_context(|| format!("no process weir {word}"))
        };
        Ok(Memory { front: memory::own(one("front")?)?, agent: memory::own(one("agent")?)? })
    }

    /// Makes changes of a kind, one after the other, while clients ask for what does not change.
    pub(crate) fn measure(&mut self, kind: Kind, changes: usize) -> Result<Row> {
        let hosts: Vec<_> = (0..self.ingresses.min(50)).map(|n| manifests::host(n * self.ingresses / 50)).collect();
        let (tally, front) = (Tally::default(), self.front);
        let times = self.cluster.client.run(|| {
            thread::scope(|scope| {
                for session in [Session::keeping(front), Session::fresh(front)] {
                    scope.spawn(|| tally.keep_asking(session, &hosts));
                }
                let times = (0..changes).map(|change| self.change(kind, change)).collect::<Result<Vec<_>>>();
                tally.end();
                times
            })
        })?;
        Ok(Row { times, asked: tally.asked.into_inner(), failed: tally.failed.into_inner() })
    }

    /// Makes one change and asks until it is met. In the namespace of the client.
    fn change(&self, kind: Kind, change: usize) -> Result<Duration> {
        thread::sleep(PAUSE);
        let odd = change.is_multiple_of(2);
        let (service, pod) = if odd { ("two", self.pods[1]) } else { ("one", self.pods[0]) };
        let new = format!("new-{change}.example.com");
        let (file, text, host) = match kind {
            Kind::NewRoute => (
                format!("new-{change}.yaml"),
                manifests::ingress(&format!("new-{change}"), &new, "one", ""),
                new.as_str(),
            ),
            Kind::Route => ("changing.yaml".to_owned(), manifests::ingress("changing", HOST, service, ""), HOST),
            Kind::Endpoint => ("service.yaml".to_owned(), manifests::service("changing", pod), HOST),
            Kind::Annotation => {
                let annotation = format!(
                    "nginx.ingress.kubernetes.io/proxy-body-size: {change}k\n    nginx.ingress.kubernetes.io/upstream-vhost: change-{change}"
                );
                ("changing.yaml".to_owned(), manifests::ingress("changing", HOST, "one", &annotation), HOST)
            }
            Kind::Secret => ("users.yaml".to_owned(), manifests::users(if odd { "ann" } else { "bob" }), HOST),
            Kind::Setting => (
                "settings.yaml".to_owned(),
                manifests::settings("use-forwarded-headers", if odd { "true" } else { "false" }),
                HOST,
            ),
        };
        if kind == Kind::Endpoint && change == 0 {
            self.cluster.write("changing.yaml", &manifests::ingress("changing", HOST, "changing", ""))?;
            self.until_here(HOST, LOST, |answer| answer.text().contains("\"one\""))?;
            thread::sleep(PAUSE);
        }
        if kind == Kind::Secret && change == 0 {
            self.cluster.write("users.yaml", &manifests::users("bob"))?;
            self.cluster.write("changing.yaml", &manifests::ingress("changing", HOST, "one", manifests::ASKS_USERS))?;
            self.until_here(HOST, LOST, |answer| answer.status == 401)?;
            thread::sleep(PAUSE);
        }
        if kind == Kind::Setting && change == 0 {
            self.cluster.write("changing.yaml", &manifests::ingress("changing", HOST, "one", ""))?;
            self.until_here(HOST, LOST, |answer| answer.status == 200)?;
            thread::sleep(PAUSE);
        }
        let met = |answer: &Response| match kind {
            Kind::NewRoute => answer.status == 200,
            Kind::Route | Kind::Endpoint => {
                answer.text().contains(&format!("\"pod\":\"{}\"", if odd { "two" } else { "one" }))
            }
            Kind::Annotation => answer.text().contains(&format!("change-{change}\"")),
            Kind::Secret => (answer.status == 200) == odd,
            Kind::Setting => answer.text().contains("203.0.113.7") == odd,
        };
        let begun = Instant::now();
        self.cluster.write(&file, &text)?;
        self.until_here(host, LOST, met)?;
        Ok(begun.elapsed())
    }

    fn until(&self, host: &str, patience: Duration, met: impl Fn(&Response) -> bool + Send) -> Result<()> {
        self.cluster.client.run(|| self.until_here(host, patience, met))
    }

    /// Asks until the answer is the one wanted.
    fn until_here(&self, host: &str, patience: Duration, met: impl Fn(&Response) -> bool) -> Result<()> {
        let (mut session, begun) = (Session::keeping(self.front), Instant::now());
        // As a proxy would tell of a client: what the front makes of that is a setting.
        let request = Request::get(host, "/").header("X-Forwarded-For", "203.0.113.7");
        // `ann:pw`, where somebody asks.
        let request = request.header("Authorization", "Basic YW5uOnB3");
        loop {
            let answer = session.send(&request)?;
            if met(&answer) {
                return Ok(());
            }
            ensure!(begun.elapsed() < patience, "{host}: {answer:?}");
            thread::sleep(Duration::from_micros(200));
        }
    }
}
