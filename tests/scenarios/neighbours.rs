//! What else lives on a node: other programs' rules, strict filters, an empty neighbour table.

use anyhow::{Context, Result, ensure};
use weir_lab::{Cluster, Family, Flow, ask_tcp, ask_udp};

use crate::common::{EXTERNAL, greeted_by, scenario, web, web_service};

/// TCP and UDP by every way, and a flow with bulk in both directions.
pub(crate) fn everything_works(cluster: &Cluster) -> Result<()> {
    everything_works_in(cluster, Family::V4)
}

/// The same in a family.
pub(crate) fn everything_works_in(cluster: &Cluster, family: Family) -> Result<()> {
    for node in &cluster.nodes {
        let pods = greeted_by(cluster, node.port_of(family, 30070), 24)?;
        ensure!(pods.len() == 2, "{}: {pods:?}", node.name);
        for _ in 0..8 {
            ask_udp(&cluster.client, node.port_of(family, 30053), None, "hello")?;
        }
        let length = 2_000_000;
        for _ in 0..4 {
            let request = weir_lab::Request::get("x", &format!("/bytes/{length}"));
            let response = request.send(&cluster.client, node.port_of(family, 30080))?;
            ensure!(response.body.len() == length, "{} of {length} bytes came down", response.body.len());
            let upload = weir_lab::Request::post("x", "/", vec![b'u'; length]);
            let response = upload.send(&cluster.client, node.port_of(family, 30080))?;
            ensure!(response.json()?["bodyBytes"] == length, "upload: {}", response.text());
        }
        let flow = Flow::start(&cluster.client, node.port_of(family, 30070))?;
        flow.goes_on(20)?;
        ensure!(flow.stop()?.error.is_none(), "a flow broke");
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn bulk_both_ways() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        everything_works(cluster)
    })
}

#[test]
#[ignore = "needs root"]
fn kube_proxys_invalid_rule_and_a_masquerade_rule() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        for node in &cluster.nodes {
            node.add_invalid_rule()?;
            node.add_masquerade_rule()?;
        }
        cluster.start_agents()?;
        everything_works(cluster)
    })
}

#[test]
#[ignore = "needs root"]
fn strict_reverse_path_filter() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        for node in &cluster.nodes {
            for interface in ["all", "default", "eth0", "cni0"] {
                node.netns.set_sysctl(&format!("net/ipv4/conf/{interface}/rp_filter"), "1")?;
            }
        }
        cluster.start_agents()?;
        everything_works(cluster)
    })
}

#[test]
#[ignore = "needs root"]
fn an_empty_neighbour_table_loses_nothing() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        for attempt in 0..8 {
            for node in &cluster.nodes {
                node.flush_neighbours()?;
            }
            // One datagram, no second try: if the first packet is lost, this fails.
            for node in &cluster.nodes {
                let to = node.port(30053);
                ask_udp(&cluster.client, to, None, "once").with_context(|| format!("attempt {attempt} at {to}"))?;
            }
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn two_vips_to_one_pod_from_one_source_port() -> Result<()> {
    const OTHER: &str = "10.100.100.101";
    for node in [0, 1] {
        scenario(|cluster| {
            cluster.add_pod(node, "only", "web")?;
            cluster.write_pods()?;
            cluster.write("one.yaml", &web_service("web"))?;
            let ports = [weir_lab::Port::tcp(7070, 7070), weir_lab::Port::udp(5353, 5353)];
            let other = weir_lab::Service {
                name: "other",
                app: "web",
                ports: &ports,
                external_ips: &[OTHER],
                kind: None,
                families: &[],
            };
            cluster.write("two.yaml", &other.yaml())?;
            cluster.start_agents()?;
            let (one, two) = (EXTERNAL, OTHER.parse()?);
            for port in [40001, 40002, 40003] {
                // The first must still be open when the second one comes.
                let first = Flow::start_from(&cluster.client, (one, 7070).into(), port)?;
                let second = Flow::start_from(&cluster.client, (two, 7070).into(), port)?;
                first.goes_on(5)?;
                second.goes_on(5)?;
                for flow in [first, second] {
                    let report = flow.stop()?;
                    ensure!(report.error.is_none(), "from port {port}: {report:?}");
                }
                let ask = |vip, text: &str| ask_udp(&cluster.client, (vip, 5353).into(), Some(port), text);
                ensure!(ask(one, "first")?.ends_with("first") && ask(two, "second")?.ends_with("second"), "UDP");
            }
            ask_tcp(&cluster.client, (two, 7070).into(), None).map(drop)
        })?;
    }
    Ok(())
}
