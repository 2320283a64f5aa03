//! Counters of both nodes, once a second, under a little traffic, until Ctrl-C.

use std::io::{IsTerminal, stdout};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use weir_lab::{Cluster, Node, Request, ask_tcp, ask_udp};

use super::interrupt::Interrupt;

pub(super) fn run(cluster: &Cluster, interrupt: &Interrupt) -> Result<()> {
    println!("\nlive counters; Ctrl-C ends");
    thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            while !interrupt.raised() {
                traffic(cluster);
                thread::sleep(Duration::from_millis(50));
            }
        });
        let shown = counters(cluster, interrupt);
        let _ = traffic.join();
        shown
    })?;
    println!("\nremoving the cluster");
    Ok(())
}

/// A request that fails is seen in the counters; the round before has checked that they work.
fn traffic(cluster: &Cluster) {
    let client = &cluster.client;
    for node in &cluster.nodes {
        let _ = Request::get("web.example.com", "/").send(client, node.port(30080));
    }
    let _ = Request::get("web.example.com", "/").send(client, ([10, 1, 33, 159], 80).into());
    let _ = ask_tcp(client, ([10, 100, 100, 100], 7070).into(), None);
    let _ = ask_udp(client, ([10, 100, 100, 100], 5353).into(), None, "hello");
}

fn counters(cluster: &Cluster, interrupt: &Interrupt) -> Result<()> {
    while !interrupt.raised() {
        let mut text = String::new();
        for node in &cluster.nodes {
            text.push_str(&table(node)?);
        }
        // Home and clear, so that the table stays in its place.
        let start = if stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        println!("{start}{text}");
        for _ in 0..10 {
            if !interrupt.raised() {
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
    Ok(())
}

fn table(node: &Node) -> Result<String> {
    let mut text = format!("{}\n  {:<24} {:>10} {:>12} {:>10}\n", node.name, "SERVICE", "PACKETS", "BYTES", "FLOWS");
    for row in node.rows("services")? {
        let counter = |name: &str| row["counters"][name].as_u64();
        let word = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        if let (Some(packets), Some(bytes), Some(flows)) = (counter("packets"), counter("bytes"), counter("newFlows")) {
            let name =
                format!("{}:{}", word("name"), row["port"].as_u64().map_or_else(Default::default, |p| p.to_string()));
            text.push_str(&format!("  {name:<24} {packets:>10} {bytes:>12} {flows:>10}\n"));
        }
    }
    let status: Value = node.api("status")?;
    let ready = if status["status"]["ready"] == true || status["ready"] == true { "ready" } else { "not ready" };
    text.push_str(&format!("  {ready}\n\n"));
    Ok(text)
}
