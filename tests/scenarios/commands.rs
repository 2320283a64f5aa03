//! What weir says of itself, and what it refuses.

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::common::{scenario, seeds, web};

#[test]
#[ignore = "needs root"]
fn status_shows_native_xdp_with_instruction_counts() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let node = &cluster.nodes[0];
        let status = &node.api("status")?["status"];
        ensure!(status["ready"] == true && status["node"] == "node-1", "{status}");
        let interface = &status["interfaces"][0];
        ensure!(interface["name"] == "eth0" && interface["mode"] == "native", "{interface}");
        let programs = interface["programs"].as_array().cloned().unwrap_or_default();
        ensure!(!programs.is_empty() && programs.iter().all(|p| p["instructions"].as_u64() > Some(0)), "{programs:?}");
        let link = node.netns.ip("-d link show dev eth0")?;
        ensure!(link.contains(" xdp ") || link.contains("prog/xdp"), "ip does not show native XDP: {link}");
        let mut start = node.agent.as_ref().map(|agent| agent.log()).transpose()?.unwrap_or_default();
        start.truncate(4000);
        ensure!(
            start.contains("kernel") && start.contains("native"),
            "the start does not tell kernel and mode: {start}"
        );
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn tables_are_the_same_with_and_without_an_agent() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let node = &mut cluster.nodes[0];
        let pin_path = node.agent_options().pin_path.to_string_lossy().into_owned();
        for command in ["services", "backends", "routes", "status"] {
            let asked = node.weir(&[command, "--json"])?;
            let asked: serde_json::Value = serde_json::from_str(&asked)?;
            ensure!(asked.get(command).is_some(), "{command} --json has no key {command}: {asked}");
            ensure!(!node.weir(&[command])?.trim().is_empty(), "{command} prints nothing");
        }
        node.end_agent(Signal::TERM)?;
        for command in ["services", "backends", "status"] {
            let read = node.weir(&[command, "--json", "--pin-path", &pin_path])?;
            let read: serde_json::Value = serde_json::from_str(&read)?;
            ensure!(read.get(command).is_some(), "{command} from the pins: {read}");
        }
        Ok(())
    })
}

/// Holds the lock of a run directory as something that is no agent, and so is not asked to leave.
fn hold(run_dir: &std::path::Path) -> Result<std::fs::File> {
    std::fs::create_dir_all(run_dir)?;
    std::fs::write(run_dir.join("lock"), format!("{}\n", std::process::id()))?;
    let file = std::fs::File::open(run_dir.join("lock"))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

#[test]
#[ignore = "needs root"]
fn who_holds_the_lock_and_a_foreign_program_are_named() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let node = &mut cluster.nodes[0];
        let pin_path = node.agent_options().pin_path.to_string_lossy().into_owned();
        let source = format!("dir:{}", node.agent_options().source.display());
        let base = [
            "agent",
            "--source",
            &source,
            "--interface",
            "eth0",
            "--node-name",
            "node-1",
            "--admin",
            "127.0.0.1:10255",
        ];
        let other = format!("{pin_path}-other");
        let run_dir = std::path::Path::new("/run/weir").join(other.trim_start_matches('/').replace('/', "-"));
        let held = hold(&run_dir)?;
        let refused = node.weir(&[&base[..], &["--pin-path", &other]].concat());
        let message = refused.err().map(|error| format!("{error:#}")).unwrap_or_default();
        drop(held);
        std::fs::remove_dir_all(&run_dir)?;
        let pid = format!("held by process {} ", std::process::id());
        ensure!(message.contains(&pid), "who holds the pins is not named: {message}");
        let foreign = node.weir(&[&base[..], &["--pin-path", &other]].concat());
        let message = foreign.err().map(|error| format!("{error:#}")).unwrap_or_default();
        let _ = std::fs::remove_dir_all(&other);
        ensure!(!run_dir.exists(), "the refused agent left {}", run_dir.display());
        ensure!(message.contains("eth0") && message.contains("weir_xdp"), "the holder is not named: {message}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_dry_run_touches_nothing() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        let node = &mut cluster.nodes[0];
        let pins = node.agent_options().pin_path.clone();
        let (pin_path, source) =
            (pins.to_string_lossy().into_owned(), format!("dir:{}", node.agent_options().source.display()));
        let arguments = ["agent", "--dry-run", "--source", &source, "--interface", "eth0", "--node-name", "node-1"];
        let plan = node.weir(&[&arguments[..], &["--pin-path", &pin_path]].concat())?;
        ensure!(plan.contains("30070") && plan.contains("10.244.1.10"), "{plan}");
        ensure!(!pins.join("map").exists(), "a dry run left maps");
        ensure!(!node.netns.ip("-d link show dev eth0")?.contains("prog/xdp"), "a dry run attached");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn check_of_the_seeds_warns_exactly_where_it_should() -> Result<()> {
    scenario(|cluster| {
        let path = seeds().canonicalize()?.display().to_string();
        let output = cluster.nodes[0].weir(&["check", "--json", &path])?;
        let json: serde_json::Value = serde_json::from_str(&output)?;
        let problems = json["check"].as_array().cloned().unwrap_or_default();
        let of = |severity: &str| -> Vec<String> {
            let rows = problems.iter().filter(|p| p["severity"] == severity);
            let mut names: Vec<_> = rows.map(|p| p["name"].as_str().unwrap_or_default().to_owned()).collect();
            names.sort();
            names
        };
        ensure!(of("error").is_empty(), "{:?}", of("error"));
        let warnings = ["ingress-dashboard-hosts", "ingress-dashboard-hosts", "nginx-ingress-tomcat", "udp-services"];
        ensure!(of("warning") == warnings, "{:?}", of("warning"));
        ensure!(of("info").contains(&"service-lagou".to_owned()), "{:?}", of("info"));
        Ok(())
    })
}
