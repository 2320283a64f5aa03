//! Source NAT with fewer ports than clients.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weir_lab::{Cluster, SOON, eventually};

use crate::common::{metric, problems, scenario, web_service};

/// As many as there are connections at a time.
const PORTS: [u16; 2] = [15_000, 15_003];
/// For a connection that may be refused by silence; a SYN comes again after a second, and after three.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connection that its pod has greeted.
fn connect(cluster: &Cluster, to: SocketAddr) -> Result<TcpStream> {
    let stream = cluster.client.run(|| TcpStream::connect_timeout(&to, PATIENCE).context("connecting"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.peek(&mut [0]).context("waiting for the greeting")?;
    Ok(stream)
}

fn said(cluster: &Cluster) -> Result<bool> {
    Ok(problems(&cluster.nodes[0])?
        .iter()
        .any(|problem| problem["code"] == "snat-exhausted" && problem["name"] == "web"))
}

/// What the Service has counted: by `weir services` and by the metric.
fn counted(cluster: &Cluster) -> Result<(u64, f64)> {
    let rows = cluster.nodes[0].rows("services")?;
    let row = rows.iter().find(|row| row["name"] == "web" && row["port"] == 7070).context("no row of web")?;
    let labels = "namespace=\"default\",name=\"web\",port=\"7070\",protocol=\"TCP\"";
    let metric = metric(&cluster.nodes[0], &format!("weir_service_snat_exhausted_total{{{labels}}}"))?;
    Ok((row["counters"]["snatExhausted"].as_u64().with_context(|| row.to_string())?, metric))
}

#[test]
#[ignore = "needs root"]
fn clients_without_a_port_are_counted_and_told_of_and_get_one_when_others_end() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(1, "far", "web")?;
        cluster.write_pods()?;
        cluster.write("web.yaml", &web_service("web"))?;
        let [first, last] = PORTS;
        cluster.nodes[0].agent_options().arguments.extend(["--snat-ports".to_owned(), format!("{first}-{last}")]);
        cluster.start_agents()?;
        let to = cluster.nodes[0].port(30070);
        let held: Result<Vec<_>> = (first..=last).map(|_| connect(cluster, to)).collect();
        let held = held?;
        ensure!(!said(cluster)?, "it is said before it happens");
        ensure!(connect(cluster, to).is_err(), "one more than there are ports");
        eventually("the Service to count it", SOON, || {
            let (listed, metric) = counted(cluster)?;
            ensure!(listed >= 1 && metric >= 1.0, "{listed} {metric}");
            Ok(())
        })?;
        eventually("it to be said", SOON, || {
            ensure!(said(cluster)?, "not yet");
            Ok(())
        })?;
        // what has come and is not read makes a reset of the end
        drop(held);
        eventually("a port to come back", SOON * 2, || connect(cluster, to).map(drop))?;
        eventually("it to be taken back", SOON * 4, || {
            ensure!(!said(cluster)?, "still said");
            Ok(())
        })
    })
}
