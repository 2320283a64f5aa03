//! Balance, and edits under traffic.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use weir_lab::{Flow, ask_udp, eventually};

use crate::common::{EXTERNAL, greeted_by, scenario, web, web_service};

#[test]
#[ignore = "needs root"]
fn connections_spread_evenly_over_pods() -> Result<()> {
    scenario(|cluster| {
        for (number, node) in [0, 1, 0, 1].into_iter().enumerate() {
            cluster.add_pod(node, &format!("pod-{number}"), "web")?;
        }
        cluster.write_pods()?;
        cluster.write("web.yaml", &web_service("web"))?;
        cluster.start_agents()?;
        for node in &cluster.nodes {
            let pods = greeted_by(cluster, node.port(30070), 400)?;
            // 100 each are expected; five standard deviations of a binomial are 43.
            ensure!(pods.len() == 4 && pods.values().all(|n| (57..=143).contains(n)), "{pods:?}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_backend_comes_and_goes_under_traffic() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let to = cluster.nodes[0].port(30070);
        let flows = (0..8).map(|_| Flow::start(&cluster.client, to)).collect::<Result<Vec<_>>>()?;

        cluster.add_pod(1, "third", "web")?;
        cluster.write_pods()?;
        let start = Instant::now();
        eventually("the new pod to be used", weir_lab::SOON, || {
            let pods = greeted_by(cluster, to, 8)?;
            ensure!(pods.contains_key("third"), "{pods:?}");
            Ok(())
        })?;
        println!("the edit was in force after {:?}", start.elapsed());
        flows.iter().try_for_each(|flow| flow.goes_on(5))?;

        // Out of the manifests: new connections avoid it, those to the others are not disturbed.
        let gone = cluster.pods.iter().position(|pod| pod.name == "far").map(|at| cluster.pods.remove(at));
        cluster.write_pods()?;
        let address = gone.as_ref().map(|pod| pod.ip.to_string()).context("there is a pod `far`")?;
        eventually("the removed pod to be gone", weir_lab::SOON, || {
            let rows = cluster.nodes[0].rows("backends")?;
            ensure!(rows.iter().all(|row| row["address"] != address.as_str()), "{rows:?}");
            Ok(())
        })?;
        let pods = greeted_by(cluster, to, 24)?;
        ensure!(!pods.contains_key("far") && pods.len() == 2, "{pods:?}");
        for flow in flows.into_iter().filter(|flow| flow.pod() != "far") {
            flow.goes_on(5)?;
            let pod = flow.pod().to_owned();
            let report = flow.stop()?;
            ensure!(report.error.is_none(), "a flow to {pod} broke: {report:?}");
        }
        drop(gone);
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_removed_service_stops_answering_and_an_added_one_starts() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let to = cluster.nodes[1].port(30070);
        greeted_by(cluster, to, 2)?;
        cluster.remove("web.yaml")?;
        eventually("the node port to be closed", weir_lab::SOON, || {
            ensure!(greeted_by(cluster, to, 1).is_err(), "it still answers");
            Ok(())
        })?;
        cluster.write("web.yaml", &web_service("web"))?;
        eventually("the node port to be open again", weir_lab::SOON, || greeted_by(cluster, to, 1).map(drop))
    })
}

#[test]
#[ignore = "needs root"]
fn udp_reaches_pods_on_both_nodes_and_comes_back_from_the_vip() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        for to in [cluster.nodes[0].port(30053), cluster.nodes[1].port(30053), (EXTERNAL, 5353).into()] {
            let mut pods = std::collections::BTreeSet::new();
            for number in 0..24 {
                // The socket is connected, so an answer from another address than the VIP would not arrive.
                let answer = ask_udp(&cluster.client, to, None, &format!("datagram {number}"))?;
                ensure!(answer.ends_with(&format!("datagram {number}")), "{answer}");
                pods.extend(answer.split(' ').next().map(str::to_owned));
            }
            ensure!(pods.len() == 2, "{to}: {pods:?}");
        }
        Ok(())
    })
}
