//! `weir flows`: what is connected, to whom, and how.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use weir_lab::{CLIENT, CLIENT6, Cluster, Flow, Node, SOON, eventually};

use crate::common::{scenario, web};
use crate::ipv6::dual;

/// Source ports that nobody else uses.
const FIRST_PORT: u16 = 7_100;
const FLOWS: u16 = 12;

/// `weir flows --json` on a node, with what it says on stderr left out.
fn flows(node: &mut Node, filters: &[&str]) -> Result<Value> {
    let pin_path = node.agent_options().pin_path.to_string_lossy().into_owned();
    let base = ["flows", "--json", "--pin-path", &pin_path];
    Ok(serde_json::from_str(&node.weir(&[&base[..], filters].concat())?)?)
}

fn row_of(listing: &Value, port: u16, six: bool) -> Result<Value> {
    let client = SocketAddr::new(if six { CLIENT6.into() } else { CLIENT.into() }, port).to_string();
    let rows = listing["flows"].as_array().context("no rows")?;
    rows.iter().find(|row| row["client"] == client.as_str()).cloned().with_context(|| format!("{client} in {listing}"))
}

/// Every flow is listed with the backend that its client sees, whichever node that is on.
fn rows_are_true(cluster: &mut Cluster, open: &[(u16, Flow)], service: &Value, six: bool) -> Result<()> {
    let address = |pod: &weir_lab::Pod| if six { IpAddr::from(pod.ip6) } else { pod.ip.into() };
    let pods: Vec<_> = cluster.pods.iter().map(|pod| (pod.name.clone(), address(pod), pod.node.clone())).collect();
    let node = &mut cluster.nodes[0];
    let frontend = if six { node.port6(30070) } else { node.port(30070) }.to_string();
    let own = if six { format!("[{}]:", node.ip6) } else { format!("{}:", node.ip) };
    let listing = flows(node, &[])?;
    for (port, flow) in open {
        let row = row_of(&listing, *port, six)?;
        let (_, address, home) = pods.iter().find(|(name, ..)| name == flow.pod()).context("an unknown pod")?;
        ensure!(row["backend"] == SocketAddr::new(*address, 7070).to_string(), "{} answered: {row}", flow.pod());
        ensure!(row["frontend"] == frontend.as_str() && row["protocol"] == "TCP", "{row}");
        ensure!(row["state"] == "established" && row["idleSeconds"].as_u64() < Some(30), "{row}");
        ensure!(row["packets"].is_null() && &row["service"] == service, "{row}");
        let local = home == &node.name;
        ensure!(row["mode"] == if local { "local" } else { "snat" }, "{row}");
        let snat = row["snat"].as_str().unwrap_or_default();
        ensure!(local == row["snat"].is_null() && (local || snat.starts_with(&own)), "{row}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn live_connections_are_listed_with_and_without_an_agent() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let to = cluster.nodes[0].port(30070);
        let start = |port| Ok((port, Flow::start_from(&cluster.client, to, port)?));
        let open = (FIRST_PORT..FIRST_PORT + FLOWS).map(start).collect::<Result<Vec<_>>>()?;
        goes_on_at_both(&open)?;
        rows_are_true(cluster, &open, &"default/web:7070".into(), false)?;
        narrowed(&mut cluster.nodes[0])?;
        cluster.nodes[0].end_agent(Signal::KILL)?;
        rows_are_true(cluster, &open, &Value::Null, false)?;
        let mut ended = Vec::new();
        for (port, flow) in open {
            ensure!(flow.stop()?.error.is_none(), "a flow was disturbed");
            ended.push(port);
        }
        eventually("closed connections to be listed as closed", SOON, || {
            let closed = flows(&mut cluster.nodes[0], &["--state", "closed"])?;
            ended.iter().try_for_each(|port| row_of(&closed, *port, false).map(drop))
        })
    })
}

fn goes_on_at_both(open: &[(u16, Flow)]) -> Result<()> {
    open.iter().try_for_each(|(_, flow)| flow.goes_on(3))?;
    ensure!(open.iter().any(|(_, flow)| flow.pod() == "near") && open.iter().any(|(_, flow)| flow.pod() == "far"));
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn connections_of_ipv6_are_listed_with_and_without_an_agent() -> Result<()> {
    scenario(|cluster| {
        dual(cluster)?;
        cluster.start_agents()?;
        let to = cluster.nodes[0].port6(30070);
        let start = |port| Ok((port, Flow::start_from(&cluster.client, to, port)?));
        let open = (FIRST_PORT..FIRST_PORT + FLOWS).map(start).collect::<Result<Vec<_>>>()?;
        goes_on_at_both(&open)?;
        rows_are_true(cluster, &open, &"default/web:7070".into(), true)?;
        let of_client = flows(&mut cluster.nodes[0], &["--client", &format!("[{CLIENT6}]:{FIRST_PORT}")])?;
        ensure!(of_client["total"] == 1, "{of_client}");
        cluster.nodes[0].end_agent(Signal::KILL)?;
        rows_are_true(cluster, &open, &Value::Null, true)
    })
}

/// Filters and the bound.
fn narrowed(node: &mut Node) -> Result<()> {
    let count = |listing: &Value| listing["flows"].as_array().map_or(0, Vec::len);
    let bounded = flows(node, &["--limit", "3"])?;
    ensure!(count(&bounded) == 3 && bounded["truncated"] == true, "{bounded}");
    let many = flows(node, &["--limit", "200001"]).err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(many.contains("--limit '200001': expected a number of rows from 1 to 200000"), "{many}");
    let one = flows(node, &["--client", &format!("{CLIENT}:{FIRST_PORT}")])?;
    ensure!(count(&one) == 1 && one["truncated"] == false && one["total"] == 1, "{one}");
    let of_service = flows(node, &["--service", "default/web:7070"])?;
    ensure!(count(&of_service) >= usize::from(FLOWS), "{of_service}");
    ensure!(count(&flows(node, &["--service", "default/other"])?) == 0);
    let table = node.weir(&["flows", "--backend", "10.244.2.0/24"])?;
    ensure!(table.contains("snat") && !table.contains("10.244.1."), "{table}");
    let wrong = node.weir(&["flows", "--state", "open"]).err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(wrong.contains("--state 'open': expected one of half-open"), "{wrong}");
    Ok(())
}
