//! What `kubectl apply -k deploy/kubernetes` makes of a cluster.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use weir_lab::{ControlPlane, SOON, eventually};

use super::capabilities::{SYSCTLS, contained};
use super::{both_answer, web, with_kubernetes};
use crate::common::{problems, workspace};

/// The container of the agents, as the API server has it.
fn container(plane: &ControlPlane) -> Result<Value> {
    let text = plane.kubectl(&["-n", "weir-system", "get", "daemonset", "weir", "-o", "json"])?;
    let object: Value = serde_json::from_str(&text)?;
    Ok(object["spec"]["template"]["spec"]["containers"][0].clone())
}

fn capabilities(container: &Value) -> Result<Vec<String>> {
    let context = &container["securityContext"]["capabilities"];
    ensure!(context["drop"] == serde_json::json!(["ALL"]), "{context}");
    let names = context["add"].as_array().context("capabilities are added")?.iter();
    Ok(names.filter_map(|name| name.as_str().map(str::to_owned)).collect())
}

#[test]
#[ignore = "needs root"]
fn the_manifests_are_taken_and_an_agent_in_such_a_container_lacks_nothing() -> Result<()> {
    with_kubernetes(|cluster, plane| {
        let folder = |name: &str| workspace().join("deploy/kubernetes").join(name).display().to_string();
        // As docs/kubernetes.md says of servers before 1.25.
        plane.kubectl(&["apply", "--validate=false", "-k", &folder("")])?;
        plane.kubectl(&["apply", "-k", &folder("webhook")])?;
        plane.kubectl(&["delete", "-k", &folder("webhook")])?;
        web(cluster, plane)?;
        let container = container(plane)?;
        let within = contained(&capabilities(&container)?);
        let mounts = container["volumeMounts"].to_string();
        ensure!(mounts.contains(SYSCTLS), "{mounts}");
        let given = container["args"].as_array().context("arguments")?.iter().filter_map(Value::as_str);
        // The lab has its own name and login, and an address for the admin API that it knows.
        let own = ["agent", "--source", "--node-name", "--admin"];
        let flags: Vec<_> = given.filter(|flag| !own.contains(&flag.split('=').next().unwrap_or(flag))).collect();
        ensure!(flags.iter().any(|flag| flag.starts_with("--metrics=")), "{flags:?}");
        for node in &mut cluster.nodes {
            let options = node.agent_options();
            options.within.clone_from(&within);
            options.arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
            // What only the agent itself would set.
            node.netns.set_sysctl("net/ipv4/conf/all/send_redirects", "1")?;
        }
        cluster.start_agents()?;
        for node in 0..2 {
            both_answer(cluster, node)?;
            let redirects = cluster.nodes[node].netns.sysctl("net/ipv4/conf/all/send_redirects")?;
            ensure!(redirects == "0", "a sysctl was not set");
            eventually("status to be complete", SOON, || {
                let status = cluster.nodes[node].api("status")?;
                ensure!(status["status"]["socketLevel"]["closesSockets"] != false, "{status}");
                let bad: Vec<_> =
                    problems(&cluster.nodes[node])?.into_iter().filter(|p| p["severity"] != "info").collect();
                ensure!(bad.is_empty(), "{bad:?}");
                Ok(())
            })?;
            // From outside: the metrics, and nothing else.
            let at = format!("http://{}:9254", cluster.nodes[node].ip);
            let text = cluster.client.shell(&format!("curl --silent --fail --max-time 20 {at}/metrics"))?;
            ensure!(text.contains("weir_ready"), "{text}");
            let other = cluster.client.shell(&format!("curl --silent --fail --max-time 20 {at}/api/v1/status"));
            ensure!(other.is_err(), "the admin API answers others");
        }
        // A front that outlived its agent belongs to another user; the next agent ends it.
        cluster.nodes[0].end_agent(Signal::KILL)?;
        cluster.nodes[0].start_agent()?;
        both_answer(cluster, 0)?;
        eventually("one front to be left", SOON * 2, || {
            let fronts = cluster.nodes[0].processes("front")?;
            ensure!(fronts.len() == 1, "{fronts:?}");
            Ok(())
        })
    })
}

#[test]
#[ignore = "needs root"]
fn a_node_is_drained_by_a_label() -> Result<()> {
    with_kubernetes(|cluster, plane| {
        web(cluster, plane)?;
        plane.apply(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: shop}\nspec:\n  defaultBackend: \
             {service: {name: web, port: {number: 80}}}\n",
        )?;
        cluster.start_agents()?;
        let shows = |expected: &[usize]| {
            eventually("the addresses of the Ingress", SOON, || {
                let path = "jsonpath={.status.loadBalancer.ingress[*].ip}";
                let text = plane.kubectl(&["get", "ingress", "shop", "-o", path])?;
                let mut found: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
                found.sort();
                let wanted: Vec<_> = expected.iter().map(|node| cluster.nodes[*node].ip.to_string()).collect();
                ensure!(found == wanted, "{found:?}, not {wanted:?}");
                Ok(())
            })
        };
        shows(&[0, 1])?;
        let label = "node.kubernetes.io/exclude-from-external-load-balancers";
        plane.kubectl(&["label", "node", &cluster.nodes[1].name, &format!("{label}=")])?;
        shows(&[0])?;
        // Who still comes is still served.
        both_answer(cluster, 1)?;
        plane.kubectl(&["label", "node", &cluster.nodes[1].name, &format!("{label}-")])?;
        shows(&[0, 1])
    })
}
