//! `weir drops`: malformed packets show up with what their headers say, and counters outlive the agent.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use weir_lab::{CLIENT, CLIENT6, Cluster, SOON, Segment, Segment6, eventually, send_raw, send_raw6};

use crate::common::scenario;
use crate::ipv6::dual;

/// Where hostile packets come from; no honest client uses it.
const SOURCE_PORT: u16 = 667;

fn drops(cluster: &mut Cluster) -> Result<Value> {
    let node = &mut cluster.nodes[0];
    let pin_path = node.agent_options().pin_path.to_string_lossy().into_owned();
    Ok(serde_json::from_str(&node.weir(&["drops", "--json", "--pin-path", &pin_path])?)?)
}

/// A TCP segment with flags that no stack sends.
fn hostile(cluster: &Cluster) -> Result<Segment> {
    Segment::tcp(SocketAddr::from((CLIENT, SOURCE_PORT)), cluster.nodes[0].port(30070), 0, 5)
}

fn count(listing: &Value) -> u64 {
    let rows = listing["drops"].as_array().into_iter().flatten();
    rows.filter(|row| row["reason"] == "bad_tcp_flags").filter_map(|row| row["packets"].as_u64()).sum()
}

#[test]
#[ignore = "needs root"]
fn a_malformed_packet_is_sampled_and_counted() -> Result<()> {
    scenario(|cluster| {
        dual(cluster)?;
        cluster.start_agents()?;
        let packet = hostile(cluster)?;
        send_raw(&cluster.client, &packet)?;
        let to = cluster.nodes[0].port(30070);
        sampled(cluster, SocketAddr::from((CLIENT, SOURCE_PORT)), to)?;
        let (from6, to6) = (SocketAddr::from((CLIENT6, SOURCE_PORT)), cluster.nodes[0].port6(30070));
        send_raw6(&cluster.client, &Segment6::tcp(from6, to6, 0)?)?;
        sampled(cluster, from6, to6)?;
        followed(cluster, &packet)?;
        cluster.nodes[0].end_agent(Signal::KILL)?;
        let before = count(&drops(cluster)?);
        send_raw(&cluster.client, &packet)?;
        eventually("the packet to be counted without an agent", SOON, || {
            let listing = drops(cluster)?;
            ensure!(count(&listing) > before, "{listing}");
            ensure!(listing["samples"] == serde_json::json!([]) && listing["sampled"] == false, "{listing}");
            Ok(())
        })
    })
}

/// A packet between these is among the samples, with what its headers say.
fn sampled(cluster: &mut Cluster, from: SocketAddr, to: SocketAddr) -> Result<()> {
    let (from, to) = (from.to_string(), to.to_string());
    eventually("the packet to be sampled", SOON, || {
        let listing = drops(cluster)?;
        let samples = listing["samples"].as_array().context("no samples")?;
        let found = samples.iter().find(|sample| sample["source"] == from.as_str());
        let sample = found.with_context(|| listing.to_string())?;
        ensure!(sample["reason"] == "bad_tcp_flags" && sample["protocol"] == "TCP", "{sample}");
        ensure!(sample["destination"] == to.as_str() && sample["interface"] == "eth0", "{sample}");
        ensure!(sample["length"].as_u64() >= Some(54) && sample["hook"] == "xdp", "{sample}");
        ensure!(count(&listing) >= 1 && listing["sampled"] == true, "{listing}");
        Ok(())
    })?;
    let table = cluster.nodes[0].weir(&["drops"])?;
    ensure!(table.contains("bad_tcp_flags") && table.contains(&from), "{table}");
    Ok(())
}

/// `--follow` prints what comes, and nothing that was there before.
fn followed(cluster: &Cluster, packet: &Segment) -> Result<()> {
    let node = &cluster.nodes[0];
    let mut command = node.netns.command(node.binary());
    let mut child = command.args(["drops", "--follow", "--json"]).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("no stdout")?;
    let (lines, printed) = mpsc::channel();
    thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
    let seen = eventually("a sample to be followed", SOON, || {
        send_raw(&cluster.client, packet)?;
        printed.try_recv().context("nothing printed yet")
    });
    let _ = child.kill();
    let _ = child.wait();
    let sample: Value = serde_json::from_str(&seen?)?;
    ensure!(sample["reason"] == "bad_tcp_flags" && sample["number"].as_u64() > Some(1), "{sample}");
    Ok(())
}
