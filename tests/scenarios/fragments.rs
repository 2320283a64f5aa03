//! Datagrams larger than a packet.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use weir_lab::{Family, SOON, Segment, ask_udp, eventually, send_raw};

use crate::common::{EXTERNAL, metric, scenario, vip, web};
use crate::ipv6::dual;

#[test]
#[ignore = "needs root"]
fn large_datagrams_to_pods_on_both_nodes_and_back() -> Result<()> {
    scenario(|cluster| {
        dual(cluster)?;
        cluster.start_agents()?;
        let text = "0123456789abcdef".repeat(250);
        let [first, second] = &cluster.nodes[..] else { anyhow::bail!("two nodes") };
        let places = |family| [first.port_of(family, 30053), second.port_of(family, 30053), (vip(family), 5353).into()];
        for to in Family::BOTH.into_iter().flat_map(places) {
            let mut pods = BTreeSet::new();
            for _ in 0..24 {
                let answer = ask_udp(&cluster.client, to, None, &text)?;
                ensure!(answer.ends_with(&text), "{to}: {} bytes came back", answer.len());
                pods.insert(answer.split(' ').next().unwrap_or_default().to_owned());
            }
            ensure!(pods.len() == 2, "{to}: only {pods:?}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_later_fragment_without_its_first_is_counted() -> Result<()> {
    const EARLY: &str = "weir_drops_total{reason=\"fragment_early\"}";
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let datagram = Segment::udp((weir_lab::CLIENT, 4_000).into(), (EXTERNAL, 5353).into(), 200, &[0; 192])?;
        send_raw(&cluster.client, &Segment { fragment: 100, ..datagram })?;
        eventually("the fragment to be counted", SOON, || {
            ensure!(metric(&cluster.nodes[0], EARLY)? == 1.0, "not counted");
            Ok(())
        })
    })
}
