//! What the comments of the seeds say, as clients see it.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_lab::{Cluster, ControlPlane, Request};

use super::super::services;
use crate::common::{EXTERNAL, expect_pod, expect_status, greeted_by, node_port, problems};
use crate::sockets::on_host;

/// Where the Service of 06 answers once it has an address.
pub(super) const POOLED: Ipv4Addr = Ipv4Addr::new(10, 100, 100, 6);
/// More than the front takes by default, and less than 13 allows.
const LARGE: usize = 2 << 20;

/// All of them; the front's at each place where it answers.
pub(super) fn all_behave(cluster: &Cluster, plane: &ControlPlane) -> Result<()> {
    external_ip(cluster)?;
    cluster_ip(cluster, plane)?;
    node_ports(cluster)?;
    external_name_is_not_balanced(cluster)?;
    host_port(cluster)?;
    streams(cluster)?;
    for front in fronts(cluster, 80, 31188) {
        paths_and_hosts(cluster, front)?;
        settings(cluster, front)?;
    }
    for front in fronts(cluster, 443, 31443) {
        https(cluster, front)?;
    }
    mistakes_are_told(cluster)
}

/// 09: node ports of the Service that selects the front, its external IP, and the nodes themselves.
fn fronts(cluster: &Cluster, port: u16, node_port: u16) -> Vec<SocketAddr> {
    let of_nodes = cluster.nodes.iter().flat_map(|node| [node.port(port), node.port(node_port)]);
    of_nodes.chain([([10, 1, 33, 159], port).into()]).collect()
}

/// 01.
fn external_ip(cluster: &Cluster) -> Result<()> {
    let drivers = greeted_by(cluster, (EXTERNAL, 7070).into(), 24)?;
    ensure!(drivers.len() == 2, "not both drivers answer at {EXTERNAL}: {drivers:?}");
    let allocated = node_port(&cluster.nodes[0], "spark-driver", 4040)?;
    let places = cluster.nodes.iter().map(|node| node.port(allocated)).chain([(EXTERNAL, 4040).into()]);
    for place in places {
        let pod = Request::get("x", "/").send(&cluster.client, place)?.field("pod")?;
        ensure!(pod.starts_with("driver-"), "{pod} answers at {place}");
    }
    Ok(())
}

/// 04: all three replicas, from inside; from outside none.
fn cluster_ip(cluster: &Cluster, plane: &ControlPlane) -> Result<()> {
    let address = plane.kubectl(&["get", "service", "clusterip-svc", "-o", "jsonpath={.spec.clusterIP}"])?;
    let to = SocketAddr::new(address.trim().parse().with_context(|| address.clone())?, 8080);
    let mut process = on_host(cluster)?;
    // Nobody but a backend accepts it.
    process.connect("tcp", "c", to)?;
    ensure!(process.peer("c")? == to, "{:?}", process.peer("c"));
    let rows = services(cluster, 0)?;
    let row = rows.iter().find(|row| row["name"] == "clusterip-svc").context("clusterip-svc")?;
    ensure!(row["backends"]["active"] == 3, "not three replicas: {row}");
    let cluster_only = row["frontends"].as_array().context("frontends")?.iter().all(|f| f["kind"] == "ClusterIP");
    ensure!(cluster_only, "{row}");
    let outside = Request::get("x", "/").send(&cluster.client, cluster.nodes[0].port(8080));
    ensure!(outside.is_err(), "8080 of the node answers");
    Ok(())
}

/// 05, and the node port of 06.
fn node_ports(cluster: &Cluster) -> Result<()> {
    for node in &cluster.nodes {
        let demo = Request::get("x", "/").send(&cluster.client, node.port(30088))?.field("pod")?;
        ensure!(demo.starts_with("demo-"), "{demo} answers at 30088");
        expect_pod(cluster, node.port(30081), "x", "/", "webapp", "/")?;
        expect_pod(cluster, node.port(30080), "x", "/", "lagou", "/")?;
    }
    Ok(())
}

/// 07, at layer 4.
fn external_name_is_not_balanced(cluster: &Cluster) -> Result<()> {
    let rows = services(cluster, 0)?;
    ensure!(rows.iter().all(|row| row["name"] != "service-external"), "{rows:?}");
    Ok(())
}

/// 11: on the node where the pod runs, and on no other.
fn host_port(cluster: &Cluster) -> Result<()> {
    expect_pod(cluster, cluster.nodes[1].port(8081), "x", "/", "webapp", "/")?;
    let elsewhere = Request::get("x", "/").send(&cluster.client, cluster.nodes[0].port(8081));
    ensure!(elsewhere.is_err(), "8081 of a node without the pod answers");
    Ok(())
}

/// 13: port 9000 leads to tomcat-svc:8080.
fn streams(cluster: &Cluster) -> Result<()> {
    cluster.nodes.iter().try_for_each(|node| expect_pod(cluster, node.port(9000), "x", "/", "tomcat", "/"))
}

/// 02, 03, 07, 08 and 10.
fn paths_and_hosts(cluster: &Cluster, front: SocketAddr) -> Result<()> {
    let get = |host, path, pod, seen| expect_pod(cluster, front, host, path, pod, seen);
    get("any.test", "/service/s1/", "spark-driver-pod-1", "/")?;
    get("any.test", "/service/s1/static/table.js", "spark-driver-pod-1", "/static/table.js")?;
    get("any.test", "/service/s2/", "spark-driver-pod-2", "/")?;
    for host in ["s1.bar.com", "s2.bar.com", "ingress-tomcat.lagou.com"] {
        expect_status(cluster, front, host, "/", 503)?;
    }
    get("outside.test", "/", "outside", "/")?;
    get("any.test", "/what/ever", "tomcat", "/what/ever")?;
    get("k8s-ceph-dashboard.calmkart.com", "/", "dashboard", "/")
}

/// 13: bodies of up to 50 MiB.
fn settings(cluster: &Cluster, front: SocketAddr) -> Result<()> {
    let answer = Request::post("any.test", "/upload", vec![b'x'; LARGE]).send(&cluster.client, front)?;
    ensure!(answer.status == 200, "{LARGE} bytes: {} {}", answer.status, answer.text());
    let head = b"POST /upload HTTP/1.1\r\nHost: any.test\r\nContent-Length: 60000000\r\n\r\n";
    let answer = Request::send_raw(&cluster.client, front, head)?;
    ensure!(answer.status == 413, "60 MB: {} {}", answer.status, answer.text());
    Ok(())
}

/// 09: HTTPS with the certificate that the front makes itself; 10 has a host and no redirect.
fn https(cluster: &Cluster, front: SocketAddr) -> Result<()> {
    let mut curl = cluster.client.command("curl");
    curl.args(["--silent", "--show-error", "--insecure", "--max-time", "20", "--connect-to", &format!("::{front}")]);
    let output = curl.arg("https://k8s-ceph-dashboard.calmkart.com/").output()?;
    let answer: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{front}: {}", String::from_utf8_lossy(&output.stderr)))?;
    ensure!(answer["pod"] == "dashboard", "{answer}");
    Ok(())
}

/// 03 names the missing port, 10 and 13 the missing Services, 06 that there is no pool.
fn mistakes_are_told(cluster: &Cluster) -> Result<()> {
    let problems = problems(&cluster.nodes[0])?;
    let said = [
        ("warning", "ingress-dashboard-hosts", "spark-driver-1"),
        ("warning", "ingress-dashboard-hosts", "spark-driver-2"),
        ("warning", "nginx-ingress-tomcat", "nodeporttomcat-svc"),
        ("warning", "udp-services", "kube-dns"),
        ("info", "service-lagou", "pool"),
    ];
    for (severity, name, word) in said {
        let says = |problem: &&Value| {
            let message = problem["message"].as_str().unwrap_or_default();
            problem["severity"] == severity && problem["name"] == name && message.contains(word)
        };
        problems.iter().find(says).with_context(|| format!("no {severity} about {name}: {problems:?}"))?;
    }
    Ok(())
}

/// 12: what no Ingress wants goes to the default backend.
pub(super) fn default_backend_answers(cluster: &Cluster) -> Result<()> {
    for front in fronts(cluster, 80, 31188) {
        let body = expect_status(cluster, front, "any.test", "/", 404)?;
        ensure!(body.contains("fallback"), "not the default backend's answer: {body}");
        expect_status(cluster, front, "any.test", "/healthz", 200)?;
    }
    Ok(())
}
