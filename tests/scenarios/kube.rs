//! Agents whose source is a real Kubernetes API server.
//!
//! These need what `cargo xtask setup-kube` builds; `./run test` leaves them out, and says so, where that is not to be had.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_lab::{Cluster, ControlPlane, Flow, SOON, eventually, kubernetes_programs};

use crate::common::{greeted_by, problems, scenario, web_service, workspace};

mod addresses;
mod beside;
mod capabilities;
mod chart;
mod done;
mod installed;
mod issued;
mod reviews;
mod rights;

/// Two nodes whose agents have the API server as their source, with the rights of the ServiceAccount that comes with weir.
fn with_kubernetes(run: impl FnOnce(&mut Cluster, &mut ControlPlane) -> Result<()>) -> Result<()> {
    scenario(|cluster| {
        let mut plane = ControlPlane::start(cluster, &kubernetes_programs()?)?;
        plane.apply(&fs::read_to_string(workspace().join("deploy/kubernetes/rbac.yaml"))?)?;
        install_own_kinds(&plane)?;
        plane.register_nodes(cluster)?;
        for node in &mut cluster.nodes {
            node.agent_options().kubeconfig = Some(plane.agent_kubeconfig()?);
        }
        run(cluster, &mut plane)
    })
}

/// Installs our own kinds. This kubectl asks the server what a definition may hold, and that one is too old for rules (CEL).
fn install_own_kinds(plane: &ControlPlane) -> Result<()> {
    let file = workspace().join("deploy/kubernetes/crds.yaml").display().to_string();
    plane.kubectl(&["apply", "--validate=false", "-f", &file])?;
    plane.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "-f", &file]).map(drop)
}

/// The Service `web` with a pod on each node, in the API server.
fn web(cluster: &mut Cluster, plane: &ControlPlane) -> Result<()> {
    cluster.add_pod(0, "near", "web")?;
    cluster.add_pod(1, "far", "web")?;
    cluster.pods.iter().try_for_each(|pod| plane.register_pod(pod))?;
    plane.apply(&web_service("web"))
}

/// Waits until both pods answer at a node port.
fn both_answer(cluster: &Cluster, node: usize) -> Result<()> {
    eventually("both pods to answer", SOON, || {
        let pods = greeted_by(cluster, cluster.nodes[node].port(30070), 16)?;
        ensure!(pods.len() == 2, "only {pods:?} answered");
        Ok(())
    })
}

/// The Services that an agent balances, but for that of the API server itself.
fn services(cluster: &Cluster, node: usize) -> Result<Vec<Value>> {
    let rows = cluster.nodes[node].rows("services")?;
    Ok(rows.into_iter().filter(|row| row["name"] != "kubernetes").collect())
}

fn has_problem(cluster: &Cluster, node: usize, code: &str) -> Result<bool> {
    Ok(problems(&cluster.nodes[node])?.iter().any(|problem| problem["code"] == code))
}

#[test]
#[ignore = "needs root"]
fn a_service_and_real_slices_are_served_until_they_are_deleted() -> Result<()> {
    with_kubernetes(|cluster, plane| {
        web(cluster, plane)?;
        cluster.start_agents()?;
        (0..2).try_for_each(|node| both_answer(cluster, node))?;
        plane.kubectl(&["delete", "pod", "far", "--grace-period=0", "--force"])?;
        eventually("the deleted pod to be left out", SOON, || {
            let pods = greeted_by(cluster, cluster.nodes[0].port(30070), 16)?;
            ensure!(pods.keys().all(|pod| pod == "near"), "{pods:?}");
            Ok(())
        })?;
        plane.kubectl(&["delete", "service", "web"])?;
        eventually("nothing to be balanced", SOON, || {
            (0..2).try_for_each(|node| {
                let rows = services(cluster, node)?;
                ensure!(rows.is_empty(), "{rows:?}");
                Ok(())
            })
        })
    })
}

#[test]
#[ignore = "needs root"]
fn an_outage_of_the_api_server_changes_no_traffic_and_is_caught_up_with() -> Result<()> {
    with_kubernetes(|cluster, plane| {
        web(cluster, plane)?;
        cluster.start_agents()?;
        (0..2).try_for_each(|node| both_answer(cluster, node))?;
        let flow = Flow::start(&cluster.client, cluster.nodes[0].port(30070))?;
        plane.stop_api()?;
        eventually("the outage to be noticed", SOON, || {
            ensure!(has_problem(cluster, 0, "api-unreachable")?, "no Problem says that the API server is away");
            Ok(())
        })?;
        ensure!(!has_problem(cluster, 0, "source-incomplete")?, "the source was complete before");

        // An agent that starts now has only its pins.
        cluster.nodes[1].end_agent(rustix::process::Signal::TERM)?;
        cluster.nodes[1].spawn_agent()?;
        eventually("the new agent to say what it lacks", SOON * 2, || {
            ensure!(has_problem(cluster, 1, "source-incomplete")?, "it does not say that it serves from its pins");
            ensure!(has_problem(cluster, 1, "api-unreachable")?, "it does not say that the API server is away");
            Ok(())
        })?;
        (0..2).try_for_each(|node| both_answer(cluster, node))?;
        flow.goes_on(5)?;

        // What changed while the server forgot who watched: its memory of changes is new.
        plane.start_api()?;
        plane.kubectl(&["patch", "service", "web", "--patch", r#"{"spec": {"externalIPs": ["10.100.100.101"]}}"#])?;
        for (node, here) in cluster.nodes.iter().enumerate() {
            eventually("the change to be seen", SOON * 2, || {
                let rows = here.rows("services")?;
                let moved = rows.iter().any(|row| row["frontends"].to_string().contains("10.100.100.101"));
                ensure!(moved, "{rows:?}");
                ensure!(!has_problem(cluster, node, "api-unreachable")?, "it still says that the API server is away");
                Ok(())
            })?;
        }
        cluster.wait_ready()?;
        flow.goes_on(5)?;
        let report = flow.stop()?;
        ensure!(report.error.is_none(), "the connection did not survive: {report:?}");
        (0..2).try_for_each(|node| both_answer(cluster, node))
    })
}

#[test]
#[ignore = "needs root"]
fn one_agent_writes_and_the_next_takes_over() -> Result<()> {
    with_kubernetes(|cluster, plane| {
        let holder = || {
            let lease = plane.kubectl(&["-n", "weir-system", "get", "lease", "weir", "-o", "json"])?;
            let lease: Value = serde_json::from_str(&lease)?;
            lease["spec"]["holderIdentity"].as_str().map(str::to_owned).context("nobody holds the Lease")
        };
        cluster.start_agents()?;
        let first = eventually("an agent to hold the Lease", SOON, holder)?;
        let index = cluster.nodes.iter().position(|node| node.name == first).context("a node holds it")?;
        cluster.nodes[index].end_agent(rustix::process::Signal::TERM)?;
        eventually("the other to take it", SOON, || {
            let second = holder()?;
            ensure!(second != first, "{first} still holds it");
            Ok(())
        })
    })
}
