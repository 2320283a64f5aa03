//! The capabilities in the manifest: with one fewer, what the documentation says is missing.

use std::fs;
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use weir_lab::{Node, SOON, eventually};

use crate::common::{problems, scenario, workspace};

/// Where the manifest mounts the sysctls of the host.
pub(super) const SYSCTLS: &str = "/run/host/proc/sys/net";

/// Runs an agent as a container does it: with a read-only /proc/sys, with the host's elsewhere, and with no capabilities but
/// these. The folders are left: they are below /run, and empty.
pub(super) fn contained(capabilities: &[String]) -> Vec<String> {
    let only = capabilities.iter().fold("-all".to_owned(), |set, name| format!("{set},+{}", name.to_lowercase()));
    let script = format!(
        "mkdir -p {SYSCTLS} && mount --bind /proc/sys/net {SYSCTLS} && mount --bind /proc/sys /proc/sys && \
         mount -o remount,bind,ro /proc/sys && exec setpriv \"$@\""
    );
    let words = ["unshare", "--mount", "sh", "-c", &script, "setpriv", "--no-new-privs"];
    words.into_iter().map(str::to_owned).chain([format!("--bounding-set={only}")]).collect()
}

/// Those of the manifest but these.
fn without(missing: &[&str]) -> Result<Vec<String>> {
    let text = fs::read_to_string(workspace().join("deploy/kubernetes/daemonset.yaml"))?;
    let (_, added) = text.split_once("            add:\n").context("capabilities are added")?;
    let added = added.lines().map_while(|line| line.strip_prefix("            "));
    let all: Vec<_> = added.filter_map(|line| line.strip_prefix("- ").map(str::to_owned)).collect();
    let others: Vec<_> = all.iter().filter(|name| !missing.contains(&name.as_str())).cloned().collect();
    ensure!(others.len() + missing.len() == all.len(), "{missing:?} are not all in the manifest");
    Ok(contained(&others))
}

/// Starts an agent without some of them and looks until it is as it should be; then ends it.
fn lacking(node: &mut Node, missing: &[&str], mut is_missed: impl FnMut(&mut Node) -> Result<()>) -> Result<()> {
    node.agent_options().within = without(missing)?;
    node.spawn_agent()?;
    eventually("what is missing to be missed", SOON * 3, || is_missed(node))
        .with_context(|| format!("without {missing:?}"))?;
    node.end_agent(Signal::KILL)
}

fn has_ended(node: &mut Node) -> Result<()> {
    ensure!(node.agent.as_mut().context("just started")?.has_ended()?, "it runs");
    Ok(())
}

fn status(node: &Node) -> Result<Value> {
    Ok(node.api("status")?["status"].clone())
}

fn is_ready(node: &Node) -> Result<()> {
    ensure!(status(node)?["ready"] == true, "it is not ready");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn without_these_there_is_no_agent_or_no_front() -> Result<()> {
    scenario(|cluster| {
        let node = &mut cluster.nodes[0];
        for missing in [&["NET_ADMIN"][..], &["SYS_ADMIN", "BPF"], &["SYS_ADMIN", "PERFMON"]] {
            lacking(node, missing, has_ended)?;
        }
        for missing in ["SETUID", "SETGID"] {
            lacking(node, &[missing], |node| {
                if has_ended(node).is_ok() {
                    return Ok(());
                }
                let restarts = status(node)?["front"]["restarts"].as_u64().unwrap_or_default();
                ensure!(restarts > 0, "the front runs");
                Ok(())
            })?;
        }
        node.agent_options().within = without(&[])?;
        node.start_agent()
    })
}

#[test]
#[ignore = "needs root"]
fn without_sys_admin_the_agent_is_ready_all_the_same() -> Result<()> {
    scenario(|cluster| lacking(&mut cluster.nodes[0], &["SYS_ADMIN"], |node| is_ready(node)))
}

#[test]
#[ignore = "needs root"]
fn without_kill_two_fronts_stay() -> Result<()> {
    scenario(|cluster| {
        let node = &mut cluster.nodes[0];
        node.start_agent()?;
        node.end_agent(Signal::KILL)?;
        lacking(node, &["KILL"], |node| {
            is_ready(node)?;
            let log = node.agent.as_ref().context("it runs")?.log()?;
            ensure!(log.contains("could not be told to end"), "it does not say so");
            let fronts = node.processes("front")?;
            ensure!(fronts.len() == 2, "{fronts:?}");
            Ok(())
        })
    })
}

const LISTEN: &str = "import socket, time; there = socket.create_server(('', 80)); time.sleep(1000)";

/// A process of another user that listens where the front would.
struct Listener(Child);

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs root"]
fn without_these_nobody_is_named() -> Result<()> {
    scenario(|cluster| {
        let node = &mut cluster.nodes[0];
        node.netns.set_sysctl("net/ipv4/ip_unprivileged_port_start", "0")?;
        let mut server = node.netns.command("setpriv");
        server.args(["--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", LISTEN]);
        let server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let _server = Listener(server);
        let taken = |node: &mut Node| -> Result<String> {
            let told = problems(node)?;
            let taken = told.iter().find(|problem| problem["code"] == "front-port-taken");
            Ok(taken.with_context(|| format!("nothing says that the port is taken: {told:?}"))?["message"].to_string())
        };
        lacking(node, &[], |node| {
            let message = taken(node)?;
            ensure!(message.contains("python3"), "who listens is not named: {message}");
            Ok(())
        })?;
        for missing in ["SYS_PTRACE", "DAC_READ_SEARCH"] {
            lacking(node, &[missing], |node| {
                let message = taken(node)?;
                ensure!(!message.contains("python3"), "it is named all the same: {message}");
                Ok(())
            })?;
        }
        Ok(())
    })
}
