//! The agent ends and comes back while traffic flows: the packet path does not need it.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use weir_lab::{Cluster, Flow, SOON, ask_tcp, ask_udp, eventually};

use crate::common::{EXTERNAL, greeted_by, problems, scenario, web, web_service};

/// Flows through each node to each pod.
fn flows(cluster: &Cluster) -> Result<Vec<Flow>> {
    let targets = cluster.nodes.iter().flat_map(|node| std::iter::repeat_n(node.port(30070), 6));
    let flows = targets.map(|to| Flow::start(&cluster.client, to)).collect::<Result<Vec<_>>>()?;
    for pod in ["near", "far"] {
        ensure!(flows.iter().any(|flow| flow.pod() == pod), "no flow to {pod}");
    }
    Ok(flows)
}

fn all_undisturbed(flows: Vec<Flow>) -> Result<()> {
    for flow in flows {
        flow.goes_on(5)?;
        let report = flow.stop()?;
        ensure!(report.error.is_none(), "a flow broke: {report:?}");
        ensure!(report.longest_gap < SOON, "a flow paused: {report:?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn packets_go_on_when_the_agent_is_killed() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let flows = flows(cluster)?;
        for node in &mut cluster.nodes {
            node.end_agent(Signal::KILL)?;
        }
        flows.iter().try_for_each(|flow| flow.goes_on(20))?;
        for node in &cluster.nodes {
            let pods = greeted_by(cluster, node.port(30070), 24).context("new connections without an agent")?;
            ensure!(pods.len() == 2, "{pods:?}");
            ask_udp(&cluster.client, node.port(30053), None, "without an agent")?;
        }
        all_undisturbed(flows)
    })
}

#[test]
#[ignore = "needs root"]
fn a_restart_loses_no_flow() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let flows = flows(cluster)?;
        let ids = ids(cluster)?;
        for signal in [Signal::KILL, Signal::TERM] {
            for node in &mut cluster.nodes {
                node.end_agent(signal)?;
                node.start_agent().with_context(|| format!("again after {signal:?}"))?;
            }
            flows.iter().try_for_each(|flow| flow.goes_on(10))?;
        }
        ensure!(ids == self::ids(cluster)?, "ids of services or backends changed");
        all_undisturbed(flows)
    })
}

/// Ids that stand in flows, and so must be the same after a restart.
fn ids(cluster: &Cluster) -> Result<Vec<(String, serde_json::Value)>> {
    let mut ids = Vec::new();
    for node in &cluster.nodes {
        ids.extend(
            node.rows("services")?
                .into_iter()
                .map(|row| (format!("{}:{}", row["name"], row["port"]), row["id"].clone())),
        );
        ids.extend(
            node.rows("backends")?
                .into_iter()
                .map(|row| (format!("{}:{}", row["address"], row["port"]), row["id"].clone())),
        );
    }
    ids.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(ids)
}

#[test]
#[ignore = "needs root"]
fn what_changed_while_no_agent_ran_is_made_good() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        cluster.nodes[0].end_agent(Signal::KILL)?;
        cluster.remove("web.yaml")?;
        cluster.write("other.yaml", &crate::common::web_service("web").replace("30070", "30071"))?;
        cluster.nodes[0].start_agent()?;
        let pods = greeted_by(cluster, cluster.nodes[0].port(30071), 24)?;
        ensure!(pods.len() == 2, "at the new node port: {pods:?}");
        ensure!(ask_tcp(&cluster.client, cluster.nodes[0].port(30070), None).is_err(), "the old one answers");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn what_a_broken_file_asked_for_outlives_a_restart_and_goes_when_it_is_mended() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        let other = web_service("web").replace("name: web", "name: other").replace("300", "301");
        cluster.write("other.yaml", &other.replace(&EXTERNAL.to_string(), "10.100.100.101"))?;
        cluster.start_agents()?;
        let (to, other) = (cluster.nodes[0].port(30070), cluster.nodes[0].port(30170));
        cluster.write("web.yaml", "kind: Service\n  bad: [indent\n")?;
        cluster.nodes[0].end_agent(Signal::KILL)?;
        cluster.nodes[0].start_agent()?;
        ensure!(greeted_by(cluster, to, 16)?.len() == 2, "not both pods answer");
        let kept = || -> Result<Vec<serde_json::Value>> {
            Ok(problems(&cluster.nodes[0])?.into_iter().filter(|p| p["code"] == "services-kept").collect())
        };
        let told = kept()?;
        let message = told.first().and_then(|problem| problem["message"].as_str()).unwrap_or_default();
        ensure!(message.contains("web.yaml"), "the file is not named: {told:?}");

        // What this agent has read goes as usual.
        greeted_by(cluster, other, 1)?;
        cluster.remove("other.yaml")?;
        eventually("the other Service to be gone", SOON, || {
            ensure!(ask_tcp(&cluster.client, other, None).is_err(), "it answers");
            Ok(())
        })?;
        greeted_by(cluster, to, 1)?;

        cluster.write("web.yaml", "# the Service is gone\n")?;
        eventually("the mended file's Service to be gone", SOON, || {
            ensure!(ask_tcp(&cluster.client, to, None).is_err(), "it answers");
            Ok(())
        })?;
        // It is published at the end of the pass, after the grace period of the deletions.
        eventually("the Problem to be gone", SOON, || {
            let kept = kept()?;
            ensure!(kept.is_empty(), "it stays: {kept:?}");
            Ok(())
        })
    })
}

#[test]
#[ignore = "needs root"]
fn unload_takes_everything_away_and_refuses_while_an_agent_runs() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let node = &mut cluster.nodes[0];
        let pins = node.agent_options().pin_path.clone();
        let pin_path = pins.to_string_lossy().into_owned();
        let unload = ["unload", "--pin-path", &pin_path];
        ensure!(node.weir(&unload).is_err(), "unload went ahead under a running agent");
        node.end_agent(Signal::TERM)?;
        node.weir(&unload)?;
        ensure!(
            !pins.join("prog").exists() && !pins.join("link").exists() && !pins.join("map").exists(),
            "pins are left"
        );
        let link = node.netns.ip("-d link show dev eth0")?;
        ensure!(!link.contains("prog/xdp"), "a program is left: {link}");
        let rules = node.netns.ip("rule show")?;
        ensure!(!rules.contains("fwmark"), "a rule is left: {rules}");
        let reserved = node.netns.sysctl("net/ipv4/ip_local_reserved_ports")?;
        ensure!(reserved.is_empty(), "reserved ports are left: {reserved}");
        let nothing = node.weir(&unload).context("unload of nothing is a success")?;
        ensure!(nothing.contains(&format!("nothing is loaded at {pin_path}")), "{nothing}");
        node.start_agent().context("after unload")?;
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn unload_ends_a_front_that_outlived_its_agent() -> Result<()> {
    scenario(|cluster| {
        let node = &mut cluster.nodes[0];
        let pin_path = node.agent_options().pin_path.to_string_lossy().into_owned();
        node.start_agent()?;
        node.end_agent(Signal::KILL)?;
        let fronts = node.processes("front")?;
        ensure!(fronts.len() == 1, "the front did not outlive its agent: {fronts:?}");
        let removed = node.weir(&["unload", "--pin-path", &pin_path])?;
        ensure!(removed.contains(&format!("removed front, process {}", fronts[0])), "{removed}");
        ensure!(node.processes("front")?.is_empty(), "the front runs on");
        let run_dir = std::path::Path::new("/run/weir").join(pin_path.trim_start_matches('/').replace('/', "-"));
        ensure!(!run_dir.exists(), "{} is left", run_dir.display());
        Ok(())
    })
}
