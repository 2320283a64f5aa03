//! `weir top`: rates of what really goes on.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use weir_lab::{CLIENT, Flow, Node, SOON, Segment, eventually, send_raw};

use crate::common::{scenario, web};

/// Source ports that nobody else uses.
const FIRST_PORT: u16 = 7_300;
/// Where hostile packets come from.
const SOURCE_PORT: u16 = 668;

/// One measurement over a second.
fn top(node: &mut Node, arguments: &[&str]) -> Result<Value> {
    let pin_path = node.agent_options().pin_path.to_string_lossy().into_owned();
    let base = ["top", "--once", "--json", "--interval", "1", "--pin-path", &pin_path];
    let told: Value = serde_json::from_str(&node.weir(&[&base[..], arguments].concat())?)?;
    Ok(told["top"].clone())
}

fn rate(row: &Value, of: &str) -> f64 {
    row[of].as_f64().unwrap_or_default()
}

#[test]
#[ignore = "needs root"]
fn rates_of_live_traffic_are_told_with_and_without_an_agent() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let to = cluster.nodes[0].port(30070);
        let start = |port| Flow::start_from(&cluster.client, to, port);
        let flows = (FIRST_PORT..FIRST_PORT + 4).map(start).collect::<Result<Vec<_>>>()?;
        flows.iter().try_for_each(|flow| flow.goes_on(3))?;
        let node = &mut cluster.nodes[0];
        eventually("the Service that is used to come first", SOON, || {
            let told = top(node, &[])?;
            let first = told["services"].get(0).context("no services")?;
            ensure!(first["name"] == "web" && first["port"] == 7070, "{told}");
            ensure!(rate(first, "packetsPerSecond") > 0.0 && rate(first, "bytesPerSecond") > 0.0, "{told}");
            ensure!(rate(&told["backends"][0], "packetsPerSecond") > 0.0, "{told}");
            ensure!(!told["front"].is_null() && told["node"] == "node-1", "{told}");
            // the window of a reading begins up to a second before it was asked for
            ensure!((0.9..30.0).contains(&rate(&told, "seconds")), "{told}");
            Ok(())
        })?;
        let text = node.weir(&["top", "--once", "--interval", "1", "--sort", "bytes"])?;
        ensure!(text.contains("default/web") && text.contains("sorted by bytes"), "{text}");
        let wrong = node.weir(&["top", "--sort", "size"]).err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(wrong.contains("--sort 'size': expected one of packets, bytes, flows, name"), "{wrong}");
        node.end_agent(Signal::KILL)?;
        let told = top(node, &["--limit", "1"])?;
        ensure!(told["services"].as_array().map(Vec::len) == Some(1) && told["truncated"] == true, "{told}");
        ensure!(rate(&told["services"][0], "packetsPerSecond") > 0.0 && told["front"].is_null(), "{told}");
        for flow in flows {
            ensure!(flow.stop()?.error.is_none(), "a flow was disturbed");
        }
        Ok(())
    })
}

/// Live, as JSON: one object a line, until interrupted.
#[test]
#[ignore = "needs root"]
fn drops_show_up_while_they_happen() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let hostile = Segment::tcp(SocketAddr::from((CLIENT, SOURCE_PORT)), cluster.nodes[0].port(30070), 0, 5)?;
        let node = &cluster.nodes[0];
        let mut command = node.netns.command(node.binary());
        let mut child = command.args(["top", "--json", "--interval", "1"]).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("no stdout")?;
        let (lines, printed) = mpsc::channel();
        let reader = BufReader::new(stdout);
        thread::spawn(move || reader.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        let seen = eventually("a drop in a measurement", SOON, || {
            send_raw(&cluster.client, &hostile)?;
            let line = printed.try_recv().context("nothing printed yet")?;
            let told: Value = serde_json::from_str(&line)?;
            let row = told["top"]["drops"].get(0).context("no drops")?;
            ensure!(row["reason"] == "bad_tcp_flags" && rate(row, "packetsPerSecond") > 0.0, "{told}");
            Ok(())
        });
        child.kill()?;
        child.wait()?;
        seen
    })
}
