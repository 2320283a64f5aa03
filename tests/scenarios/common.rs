//! What the scenarios share.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_lab::{Binaries, Cluster, ClusterOptions, Family, Gateways6, Node, Port, Request, Service, ask_tcp, ask_udp};

use crate::ipv6::EXTERNAL6;

/// Start of every name that these tests use.
const PREFIX: &str = "wlab";

/// One cluster at a time: two cores are no more than one cluster needs.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The VIP of seed 01.
pub(crate) const EXTERNAL: Ipv4Addr = Ipv4Addr::new(10, 100, 100, 100);

/// The VIP of a family.
pub(crate) fn vip(family: Family) -> IpAddr {
    family.of(EXTERNAL.into(), EXTERNAL6.into())
}

/// TCP and UDP to the VIP reach both pods.
pub(crate) fn through_the_vip(cluster: &Cluster, family: Family) -> Result<()> {
    ensure!(greeted_by(cluster, (vip(family), 7070).into(), 24)?.len() == 2, "one of the pods never answered");
    for _ in 0..8 {
        ask_udp(&cluster.client, (vip(family), 5353).into(), None, "odd")?;
    }
    Ok(())
}

/// Runs a scenario on a fresh cluster of two nodes; a failure carries the agents' logs.
pub(crate) fn scenario(run: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    scenario_with(&options()?, run)
}

/// The same with options of one's own.
pub(crate) fn scenario_with(options: &ClusterOptions, run: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    // A scenario that panicked has cleaned up after itself.
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    weir_lab::sweep(PREFIX);
    let mut cluster = Cluster::new(options)?;
    run(&mut cluster).inspect_err(|_| eprintln!("{}", cluster.logs()))
}

/// Two nodes; pods leave checksums to their device, as pods do.
pub(crate) fn options() -> Result<ClusterOptions> {
    let binaries = Binaries {
        weir: program("WEIR_BINARY", "debug/weir")?,
        lab_object: program("WEIR_LAB_OBJECT", "bpf/bpfel-unknown-none/bpf/lab")?,
    };
    Ok(ClusterOptions {
        prefix: PREFIX.to_owned(),
        binaries,
        nodes: 2,
        pod_offload: true,
        gateways6: Gateways6::Routed,
    })
}

/// A finished program: from the environment, as `cargo xtask test` sets it, else where cargo leaves it.
fn program(variable: &str, built: &str) -> Result<PathBuf> {
    let target = workspace().join("target");
    let path = env::var_os(variable).map_or_else(|| target.join(built), PathBuf::from);
    path.canonicalize().with_context(|| format!("{}: run `./run test`, or set {variable}", path.display()))
}

pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where the seed manifests are.
pub(crate) fn seeds() -> PathBuf {
    workspace().join("examples/seeds")
}

/// Puts a seed manifest among those that the agents read.
pub(crate) fn add_seed(cluster: &Cluster, name: &str) -> Result<()> {
    let path = seeds().join(name);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    cluster.write(name, &text)
}

/// A Service `web` on both nodes: TCP at node port 30070, HTTP at 30080, UDP at 30053, and the same at [`EXTERNAL`].
pub(crate) fn web(cluster: &mut Cluster) -> Result<()> {
    cluster.add_pod(0, "near", "web")?;
    cluster.add_pod(1, "far", "web")?;
    cluster.write_pods()?;
    cluster.write("web.yaml", &web_service("web"))
}

/// The Service of [`web`] with a selector of one's own.
pub(crate) fn web_service(app: &str) -> String {
    let ports = [Port::tcp(7070, 7070).at(30070), Port::tcp(80, 8080).at(30080), Port::udp(5353, 5353).at(30053)];
    let external = EXTERNAL.to_string();
    Service {
        name: "web",
        app,
        ports: &ports,
        external_ips: &[&external],
        kind: Some("NodePort"),
        ..Service::default()
    }
    .yaml()
}

/// Connects `times` times and counts which pod answered; every attempt has to succeed.
pub(crate) fn greeted_by(cluster: &Cluster, to: SocketAddr, times: usize) -> Result<BTreeMap<String, usize>> {
    let mut pods = BTreeMap::new();
    for attempt in 0..times {
        let greeting = ask_tcp(&cluster.client, to, None).with_context(|| format!("attempt {attempt}"))?;
        let pod = greeting.split(' ').next().unwrap_or_default().to_owned();
        *pods.entry(pod).or_default() += 1;
    }
    Ok(pods)
}

/// Sends one GET and checks which pod answered, and which path it saw.
pub(crate) fn expect_pod(
    cluster: &Cluster,
    to: SocketAddr,
    host: &str,
    path: &str,
    pod: &str,
    seen: &str,
) -> Result<()> {
    let response =
        Request::get(host, path).send(&cluster.client, to).with_context(|| format!("{host}{path} at {to}"))?;
    let answer = (response.field("pod")?, response.field("path")?);
    ensure!(
        answer == (pod.to_owned(), seen.to_owned()),
        "{host}{path} at {to}: {} {}",
        response.status,
        response.text()
    );
    Ok(())
}

/// Sends one GET and checks the status.
pub(crate) fn expect_status(cluster: &Cluster, to: SocketAddr, host: &str, path: &str, status: u16) -> Result<String> {
    let response =
        Request::get(host, path).send(&cluster.client, to).with_context(|| format!("{host}{path} at {to}"))?;
    ensure!(response.status == status, "{host}{path} at {to}: {} {}", response.status, response.text());
    Ok(response.text())
}

/// The node port of a Service's port, as its agent lists it.
pub(crate) fn node_port(node: &Node, service: &str, port: u64) -> Result<u16> {
    let rows = node.rows("services")?;
    let row = rows.iter().find(|row| row["name"] == service && row["port"] == port);
    let frontends = row.and_then(|row| row["frontends"].as_array()).with_context(|| format!("no {service}:{port}"))?;
    let found = frontends.iter().find(|f| f["kind"] == "NodePort").and_then(|f| f["port"].as_u64());
    Ok(u16::try_from(found.with_context(|| format!("{service}:{port} has no node port"))?)?)
}

/// The value of a metric, by its name with labels; 0 where it is not listed.
pub(crate) fn metric(node: &Node, name: &str) -> Result<f64> {
    let text = node.admin("/metrics")?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(Ok(0.0), |value| value.trim().parse().with_context(|| format!("{name} {value}")))
}

/// The problems that the agent's status lists.
pub(crate) fn problems(node: &Node) -> Result<Vec<Value>> {
    let status = node.api("status")?;
    status["status"]["problems"].as_array().cloned().with_context(|| format!("no problems in {status}"))
}
