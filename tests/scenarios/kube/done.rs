//! All seeds as they are, by kubectl, in a cluster with a real control plane.

mod behaviour;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_lab::{Cluster, ControlPlane, NameServer, Pod, SOON, Server, ServerOptions, eventually};

use super::{services, with_kubernetes};
use crate::common::{EXTERNAL, expect_pod, seeds};
use behaviour::{POOLED, all_behave, default_backend_answers};

/// Pods that somebody made behind the seeds: namespace, node, name, label.
const PODS: [(&str, usize, &str, (&str, &str)); 7] = [
    ("default", 0, "driver-a", ("app", "spark-driver-pod")),
    ("default", 1, "driver-b", ("app", "spark-driver-pod")),
    ("kube-system", 0, "spark-driver-pod-1", ("app", "spark-driver-pod-1")),
    ("kube-system", 1, "spark-driver-pod-2", ("app", "spark-driver-pod-2")),
    ("default", 1, "lagou", ("run", "pod-lagou")),
    ("default", 1, "tomcat", ("app", "tomcat-deploy")),
    ("rook-ceph", 1, "dashboard", ("app", "rook-ceph-mgr")),
];
/// Where the containers of the seeds' own pods run: those of the Deployment of 04, and the pod of 11.
const CONTAINERS: [(usize, &str); 4] = [(0, "demo-a"), (1, "demo-b"), (1, "demo-c"), (1, "webapp")];
/// The seeds do not say how the agents are started; their comments do.
const FLAGS: [&str; 6] = [
    "--front-label=app.kubernetes.io/name=ingress-nginx",
    "--front-label=app.kubernetes.io/part-of=ingress-nginx",
    "--default-backend-service=kube-system/default-http-backend",
    "--configmap=kube-system/nginx-configuration",
    "--tcp-services-configmap=ingress-nginx/tcp-services",
    "--udp-services-configmap=ingress-nginx/udp-services",
];
/// What the Service of 06 gets its address from.
const POOL: &str = "
apiVersion: weir.io/v1alpha1
kind: AddressPool
metadata: {name: one}
spec: {addresses: [ADDRESS]}
";
/// An Ingress that names the Service of 07.
const OUTSIDE: &str = r"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: outside}
spec:
  rules:
  - host: outside.test
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: service-external, port: {number: 80}}}}
";

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
    cluster.pods.iter().try_for_each(|pod| plane.register_pod(pod))?;
    for (node, name) in CONTAINERS {
        cluster.add_pod_in("default", node, name, &[], &ServerOptions::default())?;
    }
    Ok(())
}

/// What scheduler and kubelets do once the objects are there.
fn run_containers(cluster: &Cluster, plane: &ControlPlane) -> Result<()> {
    let named = |name: &str| cluster.pods.iter().find(|pod| pod.name == name).context("one of CONTAINERS");
    let replicas = eventually("the replicas of the Deployment", SOON, || {
        let list = plane.kubectl(&["get", "pods", "-l", "app=clusteripdemo", "-o", "name"])?;
        let names: Vec<_> = list.lines().filter_map(|line| line.strip_prefix("pod/").map(str::to_owned)).collect();
        ensure!(names.len() == 3, "{names:?}");
        Ok(names)
    })?;
    let demo: Vec<&Pod> = ["demo-a", "demo-b", "demo-c"].into_iter().map(named).collect::<Result<_>>()?;
    replicas.iter().zip(demo).try_for_each(|(object, pod)| plane.place_pod(object, pod))?;
    plane.place_pod("webapp", named("webapp")?)
}

/// `kubectl get` as a user types it.
fn addresses_are_shown(plane: &ControlPlane) -> Result<()> {
    let table = plane.kubectl(&["get", "svc,ingress", "--all-namespaces"])?;
    let ingresses = [
        "ingress-dashboard",
        "ingress-dashboard-hosts",
        "nginx-ingress-test",
        "rook-ceph-ingress",
        "nginx-ingress-tomcat",
        "outside",
    ];
    for ingress in ingresses {
        let start = format!("ingress.extensions/{ingress} ");
        let other = format!("ingress.networking.k8s.io/{ingress} ");
        let row = table.lines().find(|line| line.contains(&start) || line.contains(&other));
        let row = row.with_context(|| format!("{ingress} is not listed: {table}"))?;
        // The Service that selects the front is the published one.
        ensure!(row.contains("10.1.33.159"), "no address: {row}");
    }
    let service = |name: &str| {
        let start = format!("service/{name} ");
        table.lines().find(|line| line.contains(&start)).with_context(|| format!("{name} is not listed: {table}"))
    };
    let (external, balanced) = (service("spark-driver")?, service("service-lagou")?);
    ensure!(external.contains(&EXTERNAL.to_string()), "{external}");
    ensure!(balanced.contains(&POOLED.to_string()), "{balanced}");
    Ok(())
}

/// How many entries each map of the desired state holds; flows and what is known of neighbours end by themselves.
fn entries(cluster: &Cluster, node: usize) -> Result<BTreeMap<String, u64>> {
    let status = cluster.nodes[node].api("status")?;
    let rows = status["status"]["maps"].as_array().context("status lists the maps")?;
    let of = |row: &Value| Some((row["name"].as_str()?.to_owned(), row["entries"].as_u64()?));
    let is_desired = |name: &str| ["SERVICE", "FRONTEND", "BACKEND", "RING"].iter().any(|part| name.contains(part));
    let entries: BTreeMap<_, _> = rows.iter().filter_map(of).filter(|(name, _)| is_desired(name)).collect();
    ensure!(entries.len() >= 3, "status counts only {entries:?}");
    Ok(entries)
}

/// As when the kubelets have ended what was to end.
fn end_pods(plane: &ControlPlane) -> Result<()> {
    plane.kubectl(&["delete", "pods", "--all", "-n", "default", "--grace-period=0", "--force"]).map(drop)
}

#[test]
#[ignore = "needs root"]
fn the_seeds_as_they_are_by_kubectl() -> Result<()> {
    with_kubernetes(|cluster, plane| {
        pods(cluster, plane)?;
        let names: SocketAddr = ([192, 168, 77, 1], 53).into();
        let _outside = Server::start(&cluster.wire, "outside", "wire", &ServerOptions::default())?;
        let _names = NameServer::start(&cluster.wire, names, "www.lagou.com", [192, 168, 77, 1].into())?;
        for node in &mut cluster.nodes {
            node.agent_options().arguments.extend(FLAGS.map(str::to_owned));
            node.agent_options().arguments.push(format!("--name-server={names}"));
        }
        cluster.start_agents()?;
        let before = (0..2).map(|node| entries(cluster, node)).collect::<Result<Vec<_>>>()?;
        // That of the default backend, which a flag names.
        let routes_before = cluster.nodes[0].rows("routes")?.len();

        let folder = seeds().display().to_string();
        plane.kubectl(&["apply", "-f", &folder])?;
        plane.apply(OUTSIDE)?;
        run_containers(cluster, plane)?;
        eventually("every seed to behave", SOON * 3, || all_behave(cluster, plane))?;
        plane.apply(&POOL.replace("ADDRESS", &POOLED.to_string()))?;
        eventually("the address of 06 to answer", SOON, || {
            expect_pod(cluster, (POOLED, 3000).into(), "x", "/", "lagou", "/")
        })?;
        eventually("kubectl to show the addresses", SOON, || addresses_are_shown(plane))?;
        plane.kubectl(&["delete", "ingress", "nginx-ingress-test"])?;
        eventually("the default backend of 12 to answer", SOON, || default_backend_answers(cluster))?;

        plane.kubectl(&["delete", "-f", &folder, "--ignore-not-found", "--wait=false"])?;
        plane.kubectl(&["delete", "ingress", "outside"])?;
        end_pods(plane)?;
        eventually("nothing to be left", SOON * 2, || {
            for (index, node) in cluster.nodes.iter().enumerate() {
                let (services, routes) = (services(cluster, index)?, node.rows("routes")?);
                ensure!(services.is_empty() && routes.len() == routes_before, "{services:?} {routes:?}");
                let entries = entries(cluster, index)?;
                ensure!(entries == before[index], "{entries:?}, and {:?} before", before[index]);
            }
            Ok(())
        })
    })
}
