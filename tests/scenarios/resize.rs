//! An agent that starts with other sizes of tables, and another range of ports for source NAT.

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use weir_lab::{Crowd, SOON, eventually};

use crate::common::{problems, scenario, web};

/// Before the agent ends, and while none runs.
const CONNECTIONS: [usize; 2] = [200, 50];

#[test]
#[ignore = "needs root"]
fn flows_go_on_in_tables_of_another_size_and_under_another_range_of_ports() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let to = cluster.nodes[0].port(30070);
        let mut crowds = vec![Crowd::connect(&cluster.client, to, CONNECTIONS[0])?];
        ensure!(crowds[0].exchange(SOON) == 0, "not all connections work");
        for (round, arguments) in [
            [
                "--max-flows",
                "20000",
                "--max-half-open-flows",
                "5000",
                "--max-services",
                "1000",
                "--snat-ports",
                "16000-17999",
            ],
            [
                "--max-flows",
                "5000",
                "--max-half-open-flows",
                "6000",
                "--max-services",
                "70000",
                "--snat-ports",
                "18000-20000",
            ],
        ]
        .into_iter()
        .enumerate()
        {
            cluster.nodes[0].end_agent(Signal::KILL)?;
            crowds.push(Crowd::connect(&cluster.client, to, CONNECTIONS[1])?);
            cluster.add_pod(round % 2, &format!("late-{round}"), "web")?;
            cluster.write_pods()?;
            let node = &mut cluster.nodes[0];
            node.agent_options().arguments = arguments.map(str::to_owned).to_vec();
            node.start_agent()?;
            crowds.push(Crowd::connect(&cluster.client, to, CONNECTIONS[1])?);
            let broken: usize = crowds.iter_mut().map(|crowd| crowd.exchange(SOON)).sum();
            ensure!(broken == 0, "{broken} connections broke with {arguments:?}");
            for pod in ["node-1", "node-2"] {
                ensure!(crowds[0].leads_to(pod), "no connection to {pod}: nothing is shown");
            }
        }
        eventually("it to be said", SOON, || {
            let said = problems(&cluster.nodes[0])?;
            let resized = said.iter().filter(|problem| problem["code"] == "map-resized").count();
            ensure!(resized > 0 && said.iter().all(|problem| problem["code"] != "map-recreated"), "{said:?}");
            Ok(())
        })
        .context("what status says of the sizes")
    })
}
