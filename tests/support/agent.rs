use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::http::Request;
use crate::netns::Netns;
use crate::wait::{SOON, eventually};

/// A `weir agent` on a node.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    log: PathBuf,
}

/// How an agent is started.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// The program.
    pub weir: PathBuf,
    /// Folder of manifests.
    pub source: PathBuf,
    /// The login to an API server, which is the source then.
    pub kubeconfig: Option<PathBuf>,
    /// Node name.
    pub node: String,
    /// Pins, unique on this machine.
    pub pin_path: PathBuf,
    /// Where stderr and the access log go; a second start appends.
    pub log: PathBuf,
    /// `--xdp`: the lab's wires are veths, whose ends behave like cards.
    pub xdp: String,
    /// `--interface`.
    pub interfaces: Vec<String>,
    /// The control group of the node's processes and pods.
    pub cgroup: Option<PathBuf>,
    /// A program with arguments that starts the agent, which is its last arguments.
    pub within: Vec<String>,
    /// Further arguments.
    pub arguments: Vec<String>,
}

/// Where every agent answers, inside of its namespace.
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10254);

/// Loading takes seconds when the verifier is slow and the build is a debug build.
const START: Duration = Duration::from_secs(180);

impl Agent {
    /// Starts it in the node's namespace; does not wait.
    pub(crate) fn start(netns: &Netns, options: &AgentOptions) -> Result<Self> {
        let log = File::options().create(true).append(true).open(&options.log)?;
        let mut words = options.within.iter().map(std::ffi::OsString::from).chain([options.weir.clone().into()]);
        let child = netns
            .command(words.next().context("the program at least")?)
            .args(words)
            .arg("agent")
            .args(source(options))
            .args(["--node-name", &options.node, "--admin", &ADMIN.to_string(), "--xdp", &options.xdp])
            .args(options.interfaces.iter().flat_map(|interface| ["--interface", interface]))
            .arg("--pin-path")
            .arg(&options.pin_path)
            .args(sockets(options.cgroup.as_deref()))
            .args(&options.arguments)
            .stdin(Stdio::null())
            // Ctrl-C at the terminal is for the demo, which then ends its agents.
            .process_group(0)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", options.weir.display()))?;
        Ok(Self { child, log: options.log.clone() })
    }

    /// Waits until `/readyz` is 200.
    pub(crate) fn wait_ready(&mut self, netns: &Netns) -> Result<()> {
        eventually("the agent to be ready", START, || match self.child.try_wait()? {
            // Waiting longer would not help; the outer error says why it ended.
            Some(status) => Ok(Err(status)),
            None => {
                let response = Request::get("localhost", "/readyz").send(netns, ADMIN)?;
                ensure!(response.status == 200, "/readyz: {} {}", response.status, response.text());
                Ok(Ok(()))
            }
        })?
        .map_err(|status: ExitStatus| anyhow::anyhow!("the agent ended with {status}"))
        .with_context(|| self.log_tail())
    }

    /// Its process, which nsenter became.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        eventually("the agent to end", START, || self.child.try_wait()?.context("it still runs"))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("a process has a pid")?;
        kill_process(pid, signal).context("signalling the agent")
    }

    /// Sends it a signal and waits for its end.
    pub fn end(&mut self, signal: Signal) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.signal(signal)?;
        eventually("the agent to end", SOON, || self.child.try_wait()?.context("it still runs"))
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    /// All of its log.
    pub fn log(&self) -> Result<String> {
        fs::read_to_string(&self.log).with_context(|| self.log.display().to_string())
    }
}

fn source(options: &AgentOptions) -> Vec<std::ffi::OsString> {
    match &options.kubeconfig {
        Some(file) => vec!["--source".into(), "kube".into(), "--kubeconfig".into(), file.into()],
        None => vec!["--source".into(), format!("dir:{}", options.source.display()).into()],
    }
}

/// Never at the root of the hierarchy: that holds every process of this machine.
fn sockets(cgroup: Option<&Path>) -> Vec<std::ffi::OsString> {
    match cgroup {
        Some(cgroup) => vec!["--cgroup".into(), cgroup.into()],
        None => vec!["--no-socket-level".into()],
    }
}

impl Drop for Agent {
    /// At once: an orderly end lets the front finish its requests for seconds, and nobody waits for them any more.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    format!("{}:\n{}", log.display(), lines[lines.len().saturating_sub(40)..].join("\n"))
}

/// `/api/v1/NAME` of the agent in a namespace.
pub(crate) fn api(netns: &Netns, name: &str) -> Result<Value> {
    let response = get(&format!("/api/v1/{name}")).send(netns, ADMIN)?;
    ensure!(response.status == 200, "/api/v1/{name}: {} {}", response.status, response.text());
    response.json()
}

/// A page of the admin server, for example `/metrics`.
pub(crate) fn admin(netns: &Netns, path: &str) -> Result<String> {
    let response = get(path).send(netns, ADMIN)?;
    ensure!(response.status == 200, "{path}: {} {}", response.status, response.text());
    Ok(response.text())
}

/// What the maps say now, where the agent would answer from what it read up to a second ago.
fn get(path: &str) -> Request {
    Request::get("localhost", path).header("Cache-Control", "no-cache")
}
