//! More requests than an endpoint may have at once: the others are turned away at once, and all is well when they stop.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use weir_lab::{Request, SOON, eventually};

use crate::common::scenario;

#[path = "../bench/overload/backend.rs"]
mod backend;
#[path = "../bench/overload/load.rs"]
mod load;
#[path = "../bench/change/memory.rs"]
mod memory;
#[path = "../bench/overload/site.rs"]
mod site;

use backend::Backend;
use load::{HOST, Heard};

/// Requests at the endpoint: ten times what it can do is little for the front itself, so that the machine makes no difference.
const MOST: usize = 2;
/// So long each load comes.
const LENGTH: Duration = Duration::from_secs(3);
/// What 99 of 100 answers keep to: the backend's 20 ms, and what a machine takes that has better things to do.
const LATE: Duration = Duration::from_secs(1);
/// What the front may take more behind ten times as many requests as behind twice as many, of as many clients.
const ROOM: u64 = 4 << 20;

#[test]
#[ignore = "needs root"]
fn who_is_one_too_many_is_told_so_and_the_others_are_served() -> Result<()> {
    scenario(|cluster| {
        let pod = cluster.add_pod(0, "slow", "slow")?;
        let (address, _backend) = (pod.ip, Backend::start(&pod.netns)?);
        let annotations = format!("{{weir.io/max-connections: \"{MOST}\"}}");
        cluster.write("site.yaml", &site::manifests(address, &annotations))?;
        cluster.start_agents()?;
        let (node, front) = (&cluster.nodes[0], cluster.nodes[0].port(80));
        let ask = || Request::get(HOST, "/").send(&cluster.client, front).map(|answer| answer.status);
        eventually("the site to be served", SOON, || {
            let status = ask()?;
            ensure!(status == 200, "{status}");
            Ok(())
        })?;
        let capacity = cluster.client.run(|| load::capacity(front, MOST, LENGTH))?;
        let pid = node.processes("front")?[0];
        let mut before = None;
        for times in [2, 10] {
            let heard = cluster.client.run(|| load::offer(front, capacity * times, LENGTH))?;
            let (begun, status) = (Instant::now(), ask()?);
            println!("{times} times {capacity} a second: {}, then {status} after {:?}", told(&heard), begun.elapsed());
            ensure!(status == 200, "the next request is answered with {status}");
            check(&heard, capacity)?;
            let after = memory::own(pid)?;
            let before = *before.get_or_insert(after);
            println!("the front took {before} bytes, and takes {after}");
            ensure!(after < before + ROOM, "the front took {before} bytes, and takes {after}");
        }
        Ok(())
    })
}

fn told(heard: &Heard) -> String {
    let (served, shed) = (load::quantiles(&heard.served), load::quantiles(&heard.shed));
    format!(
        "{} served, half within {:?}, 99 % within {:?}; {} turned away, 99 % within {:?}",
        heard.served.len(),
        served.0,
        served.1,
        heard.shed.len(),
        shed.1
    )
}

/// Those who are turned away cost the others no more than half.
fn check(heard: &Heard, capacity: u64) -> Result<()> {
    let least = capacity * LENGTH.as_secs() / 2;
    ensure!(heard.served.len() as u64 > least, "fewer than {least} are served: {}", told(heard));
    ensure!(heard.shed.len() as u64 > least / 4, "hardly anybody is turned away: {}", told(heard));
    ensure!(load::quantiles(&heard.served).1 < LATE, "answers come late: {}", told(heard));
    Ok(())
}
