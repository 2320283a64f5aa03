//! All seeds as they are, by kubectl, in a cluster with a real control plane.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use weir_lab::{Cluster, ControlPlane, SOON, ServerOptions, eventually};

use super::{services, with_kubernetes};
use crate::common::{EXTERNAL, expect_pod, expect_status, greeted_by, seeds};

/// The pods behind the seeds: namespace, node, name, label.
const PODS: [(&str, usize, &str, (&str, &str)); 9] = [
    ("default", 0, "driver-a", ("app", "spark-driver-pod")),
    ("default", 1, "driver-b", ("app", "spark-driver-pod")),
    ("kube-system", 0, "spark-driver-pod-1", ("app", "spark-driver-pod-1")),
    ("kube-system", 1, "spark-driver-pod-2", ("app", "spark-driver-pod-2")),
    ("default", 0, "demo-a", ("app", "clusteripdemo")),
    ("default", 1, "webapp-b", ("app", "webapp")),
    ("default", 1, "lagou", ("run", "pod-lagou")),
    ("default", 1, "tomcat", ("app", "tomcat-deploy")),
    ("rook-ceph", 1, "dashboard", ("app", "rook-ceph-mgr")),
];

fn pods(cluster: &mut Cluster, plane: &ControlPlane) -> Result<()> {
    for namespace in ["ingress-nginx", "rook-ceph"] {
        plane.kubectl(&["create", "namespace", namespace])?;
    }
    for (namespace, node, name, label) in PODS {
        let mut servers = ServerOptions::default();
        if name == "lagou" {
            servers.http = vec![443];
        }
        cluster.add_pod_in(namespace, node, name, &[label], &servers)?;
    }
    let missing = ServerOptions { status: 404, ..ServerOptions::default() };
    cluster.add_pod_in("kube-system", 0, "fallback", &[("k8s-app", "default-http-backend")], &missing)?;
    cluster.pods.iter().try_for_each(|pod| plane.register_pod(pod))
}

/// What the comments of the seeds say, as a client outside sees it.
fn all_behave(cluster: &Cluster) -> Result<()> {
    let drivers = greeted_by(cluster, (EXTERNAL, 7070).into(), 24)?;
    ensure!(drivers.len() == 2, "not both drivers answer at {EXTERNAL}: {drivers:?}");
    for node in &cluster.nodes {
        expect_pod(cluster, node.port(30088), "x", "/", "demo-a", "/")?;
        expect_pod(cluster, node.port(30081), "x", "/", "webapp-b", "/")?;
        expect_pod(cluster, node.port(30080), "x", "/", "lagou", "/")?;
    }
    let mut fronts: Vec<SocketAddr> = cluster.nodes.iter().flat_map(|node| [node.port(80), node.port(31188)]).collect();
    fronts.push(([10, 1, 33, 159], 80).into());
    for front in fronts {
        expect_pod(
            cluster,
            front,
            "any.test",
            "/service/s1/static/table.js",
            "spark-driver-pod-1",
            "/static/table.js",
        )?;
        expect_pod(cluster, front, "any.test", "/service/s2/", "spark-driver-pod-2", "/")?;
        expect_status(cluster, front, "s1.bar.com", "/", 503)?;
        expect_pod(cluster, front, "k8s-ceph-dashboard.calmkart.com", "/", "dashboard", "/")?;
        expect_pod(cluster, front, "any.test", "/what/ever", "tomcat", "/what/ever")?;
    }
    Ok(())
}

/// `kubectl get` as a user types it.
fn addresses_are_shown(plane: &ControlPlane) -> Result<()> {
    let table = plane.kubectl(&["get", "svc,ingress", "--all-namespaces"])?;
    for ingress in ["ingress-dashboard", "nginx-ingress-test", "rook-ceph-ingress", "nginx-ingress-tomcat"] {
        let start = format!("ingress.extensions/{ingress} ");
        let other = format!("ingress.networking.k8s.io/{ingress} ");
        let row = table.lines().find(|line| line.contains(&start) || line.contains(&other));
        let row = row.with_context(|| format!("{ingress} is not listed: {table}"))?;
        // The Service that selects the front is the published one.
        ensure!(row.contains("10.1.33.159"), "no address: {row}");
    }
    let external = table.lines().find(|line| line.contains("service/spark-driver ")).context("spark-driver")?;
    ensure!(external.contains(&EXTERNAL.to_string()), "{external}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn the_seeds_as_they_are_by_kubectl() -> Result<()> {
    with_kubernetes(|cluster, plane| {
        pods(cluster, plane)?;
        for node in &mut cluster.nodes {
            for label in ["app.kubernetes.io/name=ingress-nginx", "app.kubernetes.io/part-of=ingress-nginx"] {
                node.agent_options().arguments.extend(["--front-label".to_owned(), label.to_owned()]);
            }
        }
        cluster.start_agents()?;
        let folder = seeds().display().to_string();
        plane.kubectl(&["apply", "-f", &folder])?;
        eventually("every seed to behave", SOON * 2, || all_behave(cluster))?;
        eventually("kubectl to show the addresses", SOON, || addresses_are_shown(plane))?;
        plane.kubectl(&["delete", "-f", &folder, "--wait=false"])?;
        eventually("nothing to be left", SOON * 2, || {
            for (index, node) in cluster.nodes.iter().enumerate() {
                let (services, routes) = (services(cluster, index)?, node.rows("routes")?);
                ensure!(services.is_empty() && routes.is_empty(), "{services:?} {routes:?}");
            }
            Ok(())
        })
    })
}
