//! WebSockets over a hand-over: the old front carries them on for as long as it may.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use weir_lab::{Cluster, SOON, eventually};

use crate::common::scenario;
use crate::traffic::sockets::Open;
use crate::traffic::{Site, Target, site};

/// What the ConfigMap gives requests when a front is replaced.
const DRAIN: Duration = Duration::from_secs(4);
/// A front accepts for so long before that.
const ACCEPTS: Duration = Duration::from_secs(3);

fn settings() -> String {
    let data = format!("worker-shutdown-timeout: \"{}s\"", DRAIN.as_secs());
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{{data}}}\n")
}

fn served(cluster: &mut Cluster) -> Result<(Site, Target)> {
    let site = Site::new(cluster)?;
    cluster.write("settings.yaml", &settings())?;
    cluster.nodes[0].agent_options().arguments = vec!["--configmap".to_owned(), "default/settings".to_owned()];
    cluster.start_agents()?;
    let target = site.target(cluster)?;
    site::served(cluster, &target)?;
    Ok((site, target))
}

#[test]
#[ignore = "needs root"]
fn sockets_go_on_until_they_end_or_the_drain_does() -> Result<()> {
    scenario(|cluster| {
        let (_site, target) = served(cluster)?;
        let client = cluster.client.run(|| Ok((Open::new(&target)?, Open::new(&target)?)))?;
        let (mut short, mut long) = client;
        short.talk()?;
        long.talk()?;
        let old = cluster.nodes[0].processes("front")?;
        let mut first = cluster.nodes[0].spawn_next_agent()?;
        // The next one serves, and the first front drains from now on.
        eventually("the next agent's front to serve", SOON * 4, || {
            let fronts = cluster.nodes[0].processes("front")?;
            ensure!(fronts.iter().any(|front| !old.contains(front)), "fronts: {fronts:?}");
            Ok(())
        })?;
        cluster.nodes[0].wait_ready()?;
        let begun = Instant::now();
        short.talk()?;
        short.close()?;
        let mut last = begun;
        let error = loop {
            match long.talk() {
                Ok(()) => last = Instant::now(),
                Err(error) => break error,
            }
            ensure!(begun.elapsed() < SOON, "it goes on and on");
        };
        let lasted = last - begun;
        println!("the WebSocket went on for {lasted:?} after the next front served: {error:#}");
        // The drain may have begun a moment before that was seen.
        let least = DRAIN;
        ensure!(lasted > least && lasted < ACCEPTS + DRAIN + Duration::from_secs(5), "it lasted {lasted:?}: {error:#}");
        let status = first.wait()?;
        ensure!(status.success(), "the first agent ended with {status}: {}", first.log_tail());
        cluster.client.run(|| Open::new(&target)?.close())
    })
}
