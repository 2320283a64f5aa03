use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::agent::{self, Agent, AgentOptions};
use crate::cluster::{CLUSTER_CIDR, CLUSTER_CIDR6};
use crate::control_group::ControlGroup;
use crate::family::Family;
use crate::netns::Netns;
use crate::rules;

/// A node: its namespace with `eth0` to the switch and the bridge `cni0` to its pods, and its agent.
#[derive(Debug)]
pub struct Node {
    /// Node name.
    pub name: String,
    /// Its address on the switch.
    pub ip: Ipv4Addr,
    /// The same of IPv6.
    pub ip6: Ipv6Addr,
    /// Its agent, while there is one. Ends before the namespace does: fields are dropped in this order.
    pub agent: Option<Agent>,
    /// Its network namespace.
    pub netns: Netns,
    /// Stands for the machine: its processes and those of its pods are in here. `None` where there is no cgroup v2.
    pub group: Option<ControlGroup>,
    pub(crate) options: AgentOptions,
    pub(crate) number: u8,
}

impl Node {
    /// The pods' addresses on this node.
    pub fn pod_cidr(&self) -> String {
        format!("10.244.{}.0/24", self.number)
    }

    /// The same of IPv6.
    pub fn pod_cidr6(&self) -> String {
        format!("{}/64", self.pod_address6(0))
    }

    /// An address of the pods' network on this node; 1 is the node's own.
    pub(crate) fn pod_address6(&self, host: u8) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x244, 0, u16::from(self.number), 0, 0, 0, u16::from(host))
    }

    /// A port of the node's own address.
    pub fn port(&self, port: u16) -> SocketAddr {
        SocketAddr::from((self.ip, port))
    }

    /// The same of IPv6.
    pub fn port6(&self, port: u16) -> SocketAddr {
        SocketAddr::from((self.ip6, port))
    }

    /// The same of either family.
    pub fn port_of(&self, family: Family, port: u16) -> SocketAddr {
        SocketAddr::from((family.node(self), port))
    }

    /// Starts an agent and waits until it is ready.
    pub fn start_agent(&mut self) -> Result<()> {
        self.spawn_agent()?;
        self.wait_ready()
    }

    /// Starts an agent and does not wait.
    pub fn spawn_agent(&mut self) -> Result<()> {
        ensure!(self.agent.is_none(), "node {} has an agent", self.name);
        self.agent = Some(Agent::start(&self.netns, &self.options)?);
        Ok(())
    }

    /// Starts another agent while the first one runs, as an upgrade does it, and does not wait. Gives the first one back.
    pub fn spawn_next_agent(&mut self) -> Result<Agent> {
        let next = Agent::start(&self.netns, &self.options)?;
        self.agent.replace(next).with_context(|| format!("node {} has no agent", self.name))
    }

    /// Waits until the agent is ready.
    pub fn wait_ready(&mut self) -> Result<()> {
        let agent = self.agent.as_mut().with_context(|| format!("node {} has no agent", self.name))?;
        agent.wait_ready(&self.netns).with_context(|| format!("on node {}", self.name))
    }

    /// Ends the agent with a signal; asked to terminate, it has to end with success.
    pub fn end_agent(&mut self, signal: Signal) -> Result<()> {
        let mut agent = self.agent.take().with_context(|| format!("node {} has no agent", self.name))?;
        let status = agent.end(signal)?;
        ensure!(signal != Signal::TERM || status.success(), "the agent of {} ended with {status}", self.name);
        Ok(())
    }

    /// How its agent is started.
    pub fn agent_options(&mut self) -> &mut AgentOptions {
        &mut self.options
    }

    /// `/api/v1/NAME` of its agent.
    pub fn api(&self, name: &str) -> Result<Value> {
        agent::api(&self.netns, name)
    }

    /// The rows of `/api/v1/NAME`.
    pub fn rows(&self, name: &str) -> Result<Vec<Value>> {
        let mut object = self.api(name)?;
        match object[name].take() {
            Value::Array(rows) => Ok(rows),
            other => anyhow::bail!("/api/v1/{name} has no rows: {other}"),
        }
    }

    /// A page of its agent's admin server.
    pub fn admin(&self, path: &str) -> Result<String> {
        agent::admin(&self.netns, path)
    }

    /// The program `weir`, for commands that go on.
    pub fn binary(&self) -> &std::path::Path {
        &self.options.weir
    }

    /// Runs a command of weir on this node and gives what it prints.
    pub fn weir(&self, arguments: &[&str]) -> Result<String> {
        crate::command::run(self.netns.command(&self.options.weir).args(arguments))
    }

    /// Processes in the node's namespace whose command line has `word` as an argument.
    pub fn processes(&self, word: &str) -> Result<Vec<u32>> {
        let pids = crate::command::ip(&format!("netns pids {}", self.netns.name()))?;
        let has_word = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes())
        };
        Ok(pids.lines().filter_map(|line| line.trim().parse().ok()).filter(has_word).collect())
    }

    /// Puts kube-proxy's rule against INVALID packets in place.
    pub fn add_invalid_rule(&self) -> Result<()> {
        rules::kube_proxy_invalid(&self.netns)
    }

    /// Puts a CNI's MASQUERADE rule in place.
    pub fn add_masquerade_rule(&self) -> Result<()> {
        rules::cni_masquerade(&self.netns, "iptables", &self.pod_cidr(), CLUSTER_CIDR)?;
        rules::cni_masquerade(&self.netns, "ip6tables", &self.pod_cidr6(), CLUSTER_CIDR6)
    }

    /// Makes its neighbour table empty.
    pub fn flush_neighbours(&self) -> Result<()> {
        self.netns.ip("neigh flush all")?;
        self.netns.ip("-6 neigh flush all").map(drop)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.agent.take());
        // A front outlives its agent on purpose; here it has to go too, or the pins and the namespace stay.
        crate::sweep::end_processes(self.netns.name());
        let pins: &PathBuf = &self.options.pin_path;
        let run = pins.to_string_lossy().trim_start_matches('/').replace('/', "-");
        let _ = fs::remove_dir_all(pins);
        let _ = fs::remove_dir_all(PathBuf::from("/run/weir").join(run));
    }
}
