//! The seed manifests whose traffic stays at layer 4.

use std::fs;

use anyhow::{Result, ensure};
use weir_lab::{ServerOptions, ask_tcp};

use crate::common::{EXTERNAL, add_seed, expect_pod, greeted_by, node_port, problems, scenario, seeds};

#[test]
#[ignore = "needs root"]
fn seed_01_nodeport_and_external_ip() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(0, "driver-a", "spark-driver-pod")?;
        cluster.add_pod(1, "driver-b", "spark-driver-pod")?;
        cluster.write_pods()?;
        add_seed(cluster, "01-nodeport-externalips.yaml")?;
        cluster.start_agents()?;
        let pods = greeted_by(cluster, (EXTERNAL, 7070).into(), 24)?;
        ensure!(pods.len() == 2, "not both pods answer at {EXTERNAL}:7070: {pods:?}");
        for node in &cluster.nodes {
            let allocated = node_port(node, "spark-driver", 7070)?;
            ensure!((30000..=32767).contains(&allocated), "{allocated}");
            ensure!(allocated == node_port(&cluster.nodes[0], "spark-driver", 7070)?, "nodes differ");
            ensure!(greeted_by(cluster, node.port(allocated), 24)?.len() == 2, "not both pods at {allocated}");
        }
        let response = weir_lab::Request::get("x", "/").send(&cluster.client, (EXTERNAL, 4040).into())?;
        ensure!(response.field("pod")?.starts_with("driver-"), "{}", response.text());
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn seed_04_cluster_ip_is_listed_and_not_reachable_from_outside() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(0, "demo-a", "clusteripdemo")?;
        cluster.write_pods()?;
        add_seed(cluster, "04-clusterip.yaml")?;
        cluster.start_agents()?;
        let rows = cluster.nodes[0].rows("services")?;
        let row = rows.iter().find(|row| row["name"] == "clusterip-svc");
        ensure!(row.is_some_and(|row| row["type"] == "ClusterIP" && row["backends"]["active"] == 1), "{rows:?}");
        let table = cluster.nodes[0].weir(&["services"])?;
        ensure!(table.contains("clusterip-svc"), "{table}");
        ensure!(ask_tcp(&cluster.client, cluster.nodes[0].port(8080), None).is_err(), "8080 of the node answers");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn seed_05_fixed_node_ports() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(0, "demo-a", "clusteripdemo")?;
        cluster.add_pod(1, "webapp-b", "webapp")?;
        cluster.write_pods()?;
        add_seed(cluster, "05-nodeport-fixed.yaml")?;
        cluster.start_agents()?;
        for node in &cluster.nodes {
            expect_pod(cluster, node.port(30088), "x", "/", "demo-a", "/")?;
            expect_pod(cluster, node.port(30081), "x", "/", "webapp-b", "/")?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn seed_06_node_port_of_a_load_balancer_without_a_pool() -> Result<()> {
    scenario(|cluster| {
        let servers = ServerOptions { http: vec![443], ..ServerOptions::default() };
        cluster.add_pod_in("default", 1, "lagou", &[("run", "pod-lagou")], &servers)?;
        cluster.write_pods()?;
        add_seed(cluster, "06-loadbalancer.yaml")?;
        cluster.start_agents()?;
        for node in &cluster.nodes {
            expect_pod(cluster, node.port(30080), "x", "/", "lagou", "/")?;
        }
        let problems = problems(&cluster.nodes[0])?;
        let about = problems.iter().find(|p| p["name"] == "service-lagou" && p["severity"] == "info");
        ensure!(about.is_some(), "no info that there is no pool: {problems:?}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn seed_11_a_host_port() -> Result<()> {
    scenario(|cluster| {
        let pod = cluster.add_pod(0, "webapp", "webapp")?;
        // what scheduler and kubelet add
        let (node, ip) = (pod.node.clone(), pod.ip);
        let seed = fs::read_to_string(seeds().join("11-hostport.yaml"))?;
        cluster.write("11.yaml", &format!("{seed}\n  nodeName: {node}\nstatus: {{podIP: {ip}}}\n"))?;
        cluster.start_agents()?;
        expect_pod(cluster, cluster.nodes[0].port(8081), "x", "/", "webapp", "/")?;
        ensure!(ask_tcp(&cluster.client, cluster.nodes[1].port(8081), None).is_err(), "8081 of the other node answers");
        Ok(())
    })
}
