//! Clients of many kinds ask without a pause while one agent after the other takes over.

use std::env;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use weir_lab::Node;

use crate::common::scenario;
use crate::traffic::{Kind, Site, Tally, site, while_asked};

/// Answers in a run of all tests; `cargo xtask soak` asks for the whole 100,000.
const ANSWERS: u64 = 20_000;
/// Asks for another number.
const VARIABLE: &str = "WEIR_HAND_OVER_ANSWERS";
/// Hand-overs at least.
const LEAST: u32 = 2;
/// So many connections a second leave ports for those that follow: each is held for a minute after its end.
const PAUSE: Duration = Duration::from_millis(3);

const CLIENTS: [(Kind, Duration); 10] = [
    (Kind::Kept, Duration::ZERO),
    (Kind::Kept, Duration::ZERO),
    (Kind::Post, Duration::ZERO),
    (Kind::Fresh, PAUSE),
    (Kind::KeptTls, Duration::ZERO),
    (Kind::FreshTls, PAUSE),
    (Kind::Http2, Duration::ZERO),
    (Kind::Socket, PAUSE),
    (Kind::Tcp, PAUSE),
    (Kind::Flow, PAUSE),
];

#[test]
#[ignore = "needs root"]
fn nobody_in_a_crowd_notices_hand_overs() -> Result<()> {
    let wanted = env::var(VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(ANSWERS);
    scenario(|cluster| {
        let site = Site::new(cluster)?;
        cluster.start_agents()?;
        let target = site.target(cluster)?;
        site::served(cluster, &target)?;
        let (tally, begun) = (Tally::default(), Instant::now());
        let (client, node) = (&cluster.client, &mut cluster.nodes[0]);
        let made = while_asked(&tally, &target, &CLIENTS, client, || {
            let mut made = 0;
            while made < LEAST || tally.answered() < wanted {
                hand_over(node)?;
                made += 1;
                let (answered, failed) = (tally.answered(), tally.failed());
                println!("{:?}: {made} hand-overs, {answered} answered, {failed} failed", begun.elapsed());
                tally.check()?;
            }
            Ok(made)
        })?;
        println!("{made} hand-overs\n{tally}");
        tally.check()?;
        ensure!(tally.answered() >= wanted, "only {} were answered", tally.answered());
        Ok(())
    })
}

/// Starts the next agent, and waits until the one before has ended, and its front with it.
fn hand_over(node: &mut Node) -> Result<()> {
    let mut first = node.spawn_next_agent()?;
    let status = first.wait()?;
    ensure!(status.success(), "the first agent ended with {status}: {}", first.log_tail());
    node.wait_ready()
}
