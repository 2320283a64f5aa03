//! The next agent starts while the first one runs, as an upgrade does it: nothing that clients do is disturbed.

mod crowded;
mod sockets;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use weir_lab::{Cluster, Flow, Netns, Node, Request, SOON, eventually};

use crate::common::{add_seed, scenario, web};

/// Flows at layer 4 to both pods, and a route of the front.
fn served(cluster: &mut Cluster) -> Result<Vec<Flow>> {
    cluster.add_pod(1, "tomcat", "tomcat-deploy")?;
    web(cluster)?;
    add_seed(cluster, "08-ingress-default-backend.yaml")?;
    cluster.start_agents()?;
    (0..6).map(|_| Flow::start(&cluster.client, cluster.nodes[0].port(30070))).collect()
}

/// New connections at both layers, one after the other, until told: each has to be answered.
fn ask_until(done: &AtomicBool, client: &Netns, node: &NodeAddresses) -> Result<u32> {
    let mut asked = 0;
    while !done.load(Ordering::Relaxed) {
        let response = Request::get("any.test", "/").send(client, node.http)?;
        ensure!(response.status == 200, "{} {}", response.status, response.text());
        weir_lab::ask_tcp(client, node.tcp, None)?;
        asked += 1;
    }
    Ok(asked)
}

struct NodeAddresses {
    http: std::net::SocketAddr,
    tcp: std::net::SocketAddr,
}

/// Runs something on the first node while clients ask; every one of them is answered.
fn while_asked(cluster: &mut Cluster, run: impl FnOnce(&mut Node) -> Result<()>) -> Result<()> {
    let addresses = NodeAddresses { http: cluster.nodes[0].port(80), tcp: cluster.nodes[0].port(30070) };
    let (client, node) = (&cluster.client, &mut cluster.nodes[0]);
    let done = AtomicBool::new(false);
    let asked = thread::scope(|scope| {
        let asking = scope.spawn(|| ask_until(&done, client, &addresses));
        let ran = run(node);
        done.store(true, Ordering::Relaxed);
        let asked = asking.join().unwrap_or_else(|_| anyhow::bail!("panicked"));
        ran.and(asked)
    })?;
    ensure!(asked > 0, "nobody asked");
    Ok(())
}

fn undisturbed(flows: Vec<Flow>) -> Result<()> {
    for flow in flows {
        flow.goes_on(5)?;
        let report = flow.stop()?;
        ensure!(report.error.is_none(), "a flow broke: {report:?}");
    }
    Ok(())
}

fn lock_holder(node: &mut Node) -> Result<u32> {
    let pins = node.agent_options().pin_path.to_string_lossy().trim_start_matches('/').replace('/', "-");
    let text = fs::read_to_string(PathBuf::from("/run/weir").join(pins).join("lock"))?;
    text.trim().parse().context("a pid")
}

/// What programs are attached, by name and id.
fn programs(node: &Node) -> Result<Value> {
    Ok(node.api("status")?["status"]["interfaces"].clone())
}

#[test]
#[ignore = "needs root"]
fn the_next_agent_takes_over_and_the_first_ends_and_no_client_notices() -> Result<()> {
    scenario(|cluster| {
        let flows = served(cluster)?;
        let before = programs(&cluster.nodes[0])?;
        let front = cluster.nodes[0].processes("front")?;
        while_asked(cluster, |node| {
            let mut first = node.spawn_next_agent()?;
            let status = first.wait()?;
            ensure!(status.success(), "the first agent ended with {status}: {}", first.log_tail());
            node.wait_ready()?;
            let (holder, pid) = (lock_holder(node)?, node.agent.as_ref().context("it runs")?.pid());
            ensure!(holder == pid, "process {holder} holds the lock, and {pid} is the agent");
            Ok(())
        })?;
        let node = &cluster.nodes[0];
        ensure!(programs(node)? != before, "the programs are still those of the first agent");
        let fronts = node.processes("front")?;
        ensure!(fronts.len() == 1 && fronts != front, "fronts: {fronts:?}; that of the first was {front:?}");
        undisturbed(flows)
    })
}

#[test]
#[ignore = "needs root"]
fn an_agent_that_stands_by_goes_on_when_the_next_one_dies() -> Result<()> {
    scenario(|cluster| {
        for node in &mut cluster.nodes {
            node.agent_options().arguments.extend(["--when-replaced", "stand-by"].map(str::to_owned));
        }
        let flows = served(cluster)?;
        while_asked(cluster, |node| {
            let mut first = node.spawn_next_agent()?;
            let pid = node.agent.as_ref().context("it runs")?.pid();
            eventually("the next one to have taken over", SOON * 4, || {
                ensure!(lock_holder(node)? == pid, "it has not");
                let fronts = node.processes("front")?;
                ensure!(fronts.len() == 1, "the first front still runs: {fronts:?}");
                Ok(())
            })?;
            node.wait_ready()?;
            ensure!(!first.has_ended()?, "the first one has ended: {}", first.log_tail());
            node.end_agent(Signal::KILL)?;
            // The same process is an agent again.
            node.agent = Some(first);
            let pid = node.agent.as_ref().context("just put there")?.pid();
            eventually("the first one to go on", SOON * 4, || {
                ensure!(lock_holder(node)? == pid, "it does not");
                Ok(())
            })?;
            node.wait_ready()
        })?;
        undisturbed(flows)?;
        cluster.nodes[0].end_agent(Signal::TERM)
    })
}

#[test]
#[ignore = "needs root"]
fn whoever_stands_by_ends_when_told() -> Result<()> {
    scenario(|cluster| {
        cluster.nodes[0].agent_options().arguments.extend(["--when-replaced", "stand-by"].map(str::to_owned));
        cluster.nodes[0].start_agent()?;
        let mut first = cluster.nodes[0].spawn_next_agent()?;
        let pid = cluster.nodes[0].agent.as_ref().context("it runs")?.pid();
        eventually("the next one to have taken over", SOON * 4, || {
            ensure!(lock_holder(&mut cluster.nodes[0])? == pid, "it has not");
            Ok(())
        })?;
        cluster.nodes[0].wait_ready()?;
        let status = first.end(Signal::TERM)?;
        ensure!(status.success(), "it ended with {status}");
        ensure!(!cluster.nodes[0].agent.as_mut().context("it runs")?.has_ended()?, "and the next one with it");
        Ok(())
    })
}

/// Both signals wait for the agent when it goes on, so that half the time it hears first of the one that has it retire.
#[test]
#[ignore = "needs root"]
fn who_is_told_to_end_while_another_takes_over_ends() -> Result<()> {
    scenario(|cluster| {
        let node = &mut cluster.nodes[0];
        node.agent_options().arguments.extend(["--when-replaced", "stand-by"].map(str::to_owned));
        for _ in 0..4 {
            node.start_agent()?;
            let pid = node.agent.as_ref().context("it runs")?.pid();
            node.agent.as_ref().context("it runs")?.signal(Signal::STOP)?;
            let mut first = node.spawn_next_agent()?;
            eventually("the next one to ask", SOON * 4, || waits_for(pid, Signal::USR2))?;
            first.signal(Signal::TERM)?;
            first.signal(Signal::CONT)?;
            let status = first.wait()?;
            ensure!(status.success(), "it ended with {status}: {}", first.log_tail());
            node.wait_ready()?;
            node.end_agent(Signal::TERM)?;
        }
        Ok(())
    })
}

/// A signal has come to a process that has not looked yet (proc(5), "ShdPnd").
fn waits_for(pid: u32, signal: Signal) -> Result<()> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mask = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).context("no ShdPnd")?;
    let mask = u64::from_str_radix(mask.trim(), 16)?;
    ensure!(mask & (1 << (signal.as_raw() - 1)) != 0, "no {signal:?} among {mask:x}");
    Ok(())
}
