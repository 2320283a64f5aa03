//! The front dies and comes back; layer 4 does not notice.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use weir_lab::{Cluster, Flow, Node, Request, eventually};

use crate::common::{add_seed, expect_pod, scenario, web};

fn cluster_with_ingress(cluster: &mut Cluster) -> Result<()> {
    cluster.add_pod(1, "tomcat", "tomcat-deploy")?;
    web(cluster)?;
    add_seed(cluster, "08-ingress-default-backend.yaml")?;
    cluster.start_agents()
}

fn front(node: &Node) -> Result<u32> {
    let pids = node.processes("front")?;
    ensure!(pids.len() == 1, "fronts on {}: {pids:?}", node.name);
    Ok(pids[0])
}

#[test]
#[ignore = "needs root"]
fn a_killed_front_is_back_at_once() -> Result<()> {
    scenario(|cluster| {
        cluster_with_ingress(cluster)?;
        let node = &cluster.nodes[0];
        let flow = Flow::start(&cluster.client, node.port(30070))?;
        let to = node.port(80);
        expect_pod(cluster, to, "any.test", "/", "tomcat", "/")?;
        let killed = front(node)?;
        kill_process(Pid::from_raw(killed.cast_signed()).context("a pid")?, Signal::KILL)?;
        let start = Instant::now();
        eventually("the front to be back", weir_lab::SOON, || expect_pod(cluster, to, "any.test", "/", "tomcat", "/"))?;
        println!("the front was back after {:?}", start.elapsed());
        ensure!(front(node)? != killed, "the killed front still runs");
        flow.goes_on(5)?;
        let report = flow.stop()?;
        ensure!(report.error.is_none(), "layer 4 noticed: {report:?}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn the_front_goes_on_without_its_agent_and_is_replaced_by_the_next() -> Result<()> {
    scenario(|cluster| {
        cluster_with_ingress(cluster)?;
        let old = front(&cluster.nodes[0])?;
        let to = cluster.nodes[0].port(80);
        cluster.nodes[0].end_agent(Signal::KILL)?;
        expect_pod(cluster, to, "any.test", "/orphaned", "tomcat", "/orphaned")?;
        cluster.nodes[0].start_agent()?;
        let cluster: &Cluster = cluster;
        expect_pod(cluster, to, "any.test", "/again", "tomcat", "/again")?;
        eventually("the old front to end", weir_lab::SOON, || {
            let fronts = cluster.nodes[0].processes("front")?;
            ensure!(fronts.len() == 1 && !fronts.contains(&old), "fronts: {fronts:?}, the old one is {old}");
            Ok(())
        })
    })
}

#[test]
#[ignore = "needs root"]
fn no_request_is_refused_while_the_agent_restarts() -> Result<()> {
    scenario(|cluster| {
        cluster_with_ingress(cluster)?;
        let to = cluster.nodes[0].port(80);
        let (client, nodes) = (&cluster.client, &mut cluster.nodes);
        let done = std::sync::atomic::AtomicBool::new(false);
        let answered = std::thread::scope(|scope| {
            let requests = scope.spawn(|| {
                let mut answered = 0_u32;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let response = Request::get("any.test", "/").send(client, to)?;
                    ensure!(response.status == 200, "{} {}", response.status, response.text());
                    answered += 1;
                }
                Ok(answered)
            });
            let restarted = nodes[0].end_agent(Signal::TERM).and_then(|()| nodes[0].start_agent());
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            let answered = requests.join().unwrap_or_else(|_| anyhow::bail!("panicked"));
            restarted.and(answered)
        })?;
        ensure!(answered > 0, "no request was made");
        expect_pod(cluster, to, "any.test", "/after", "tomcat", "/after")
    })
}

#[test]
#[ignore = "needs root"]
fn the_front_has_no_privileges() -> Result<()> {
    scenario(|cluster| {
        cluster_with_ingress(cluster)?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", front(&cluster.nodes[0])?))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map(|rest| rest.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap_or_default()
        };
        for (name, value) in [
            ("Uid:", "65534 65534 65534 65534"),
            ("Gid:", "65534 65534 65534 65534"),
            ("CapEff:", "0000000000000000"),
            ("CapPrm:", "0000000000000000"),
            ("NoNewPrivs:", "1"),
        ] {
            ensure!(field(name) == value, "{name} {}, expected {value}", field(name));
        }
        Ok(())
    })
}
