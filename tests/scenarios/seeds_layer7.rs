//! The seed manifests whose traffic goes through the front.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Result, ensure};
use weir_lab::{Cluster, ServerOptions, eventually};

use crate::common::{add_seed, expect_pod, expect_status, problems, scenario, seeds};

/// The two drivers of seeds 02 and 03, one on each node.
fn drivers(cluster: &mut Cluster) -> Result<()> {
    for (node, app) in ["spark-driver-pod-1", "spark-driver-pod-2"].into_iter().enumerate() {
        cluster.add_pod_in("kube-system", node, app, &[("app", app)], &ServerOptions::default())?;
    }
    cluster.write_pods()
}

/// Port 80 of every node.
fn fronts(cluster: &Cluster) -> Vec<SocketAddr> {
    cluster.nodes.iter().map(|node| node.port(80)).collect()
}

#[test]
#[ignore = "needs root"]
fn seed_02_paths_and_rewrite() -> Result<()> {
    scenario(|cluster| {
        drivers(cluster)?;
        add_seed(cluster, "02-ingress-paths-rewrite.yaml")?;
        cluster.start_agents()?;
        for front in fronts(cluster) {
            for (number, pod) in [(1, "spark-driver-pod-1"), (2, "spark-driver-pod-2")] {
                expect_pod(cluster, front, "any.test", &format!("/service/s{number}/"), pod, "/")?;
                let table = format!("/service/s{number}/static/table.js");
                expect_pod(cluster, front, "any.test", &table, pod, "/static/table.js")?;
            }
            expect_status(cluster, front, "any.test", "/elsewhere", 404)?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn seed_03_hosts_with_a_missing_port() -> Result<()> {
    scenario(|cluster| {
        drivers(cluster)?;
        add_seed(cluster, "02-ingress-paths-rewrite.yaml")?;
        add_seed(cluster, "03-ingress-hosts.yaml")?;
        cluster.start_agents()?;
        for front in fronts(cluster) {
            let body = expect_status(cluster, front, "s1.bar.com", "/", 503)?;
            ensure!(body.contains("spark-driver-1"), "the answer does not name the Service: {body}");
            expect_status(cluster, front, "s2.bar.com", "/deep/er", 503)?;
        }
        let problems = problems(&cluster.nodes[0])?;
        for service in ["spark-driver-1", "spark-driver-2"] {
            let named = |p: &&serde_json::Value| {
                let message = p["message"].as_str().unwrap_or_default();
                p["severity"] == "warning" && message.contains(service) && message.contains("80")
            };
            let about = problems.iter().find(named);
            ensure!(about.is_some_and(|p| p["name"] == "ingress-dashboard-hosts"), "{service}: {problems:?}");
        }
        let text = fs::read_to_string(seeds().join("03-ingress-hosts.yaml"))?;
        cluster.write("03-ingress-hosts.yaml", &text.replace("servicePort: 80", "servicePort: 4040"))?;
        for front in fronts(cluster) {
            for (host, pod) in [("s1.bar.com", "spark-driver-pod-1"), ("s2.bar.com", "spark-driver-pod-2")] {
                eventually("the edit to be in force", weir_lab::SOON, || {
                    expect_pod(cluster, front, host, "/deep/er", pod, "/deep/er")
                })?;
            }
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn seed_08_default_backend_of_an_ingress() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(1, "tomcat", "tomcat-deploy")?;
        cluster.write_pods()?;
        add_seed(cluster, "08-ingress-default-backend.yaml")?;
        cluster.start_agents()?;
        for front in fronts(cluster) {
            expect_pod(cluster, front, "any.test", "/what/ever?x=1", "tomcat", "/what/ever?x=1")?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn seed_09_the_front_at_node_ports_and_an_external_ip() -> Result<()> {
    scenario(|cluster| {
        cluster.add_pod(1, "tomcat", "tomcat-deploy")?;
        cluster.write_pods()?;
        add_seed(cluster, "08-ingress-default-backend.yaml")?;
        add_seed(cluster, "09-ingress-controller-service.yaml")?;
        for node in &mut cluster.nodes {
            for label in ["app.kubernetes.io/name=ingress-nginx", "app.kubernetes.io/part-of=ingress-nginx"] {
                node.agent_options().arguments.extend(["--front-label".to_owned(), label.to_owned()]);
            }
        }
        cluster.start_agents()?;
        let mut frontends: Vec<SocketAddr> = cluster.nodes.iter().map(|node| node.port(31188)).collect();
        frontends.push(([10, 1, 33, 159], 80).into());
        for frontend in frontends {
            expect_pod(cluster, frontend, "any.test", "/", "tomcat", "/")?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn seed_10_host_in_another_namespace_and_a_missing_service() -> Result<()> {
    scenario(|cluster| {
        let labels = [("app", "rook-ceph-mgr")];
        cluster.add_pod_in("rook-ceph", 1, "dashboard", &labels, &ServerOptions::default())?;
        cluster.write_pods()?;
        add_seed(cluster, "10-ingress-host-no-redirect.yaml")?;
        cluster.start_agents()?;
        for front in fronts(cluster) {
            expect_pod(cluster, front, "k8s-ceph-dashboard.calmkart.com", "/", "dashboard", "/")?;
            let body = expect_status(cluster, front, "ingress-tomcat.lagou.com", "/", 503)?;
            ensure!(body.contains("nodeporttomcat-svc"), "the answer does not name the Service: {body}");
        }
        let problems = problems(&cluster.nodes[0])?;
        let about = problems.iter().find(|p| p["name"] == "nginx-ingress-tomcat" && p["severity"] == "warning");
        let message = about.and_then(|p| p["message"].as_str()).unwrap_or_default();
        ensure!(message.contains("nodeporttomcat-svc"), "{problems:?}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn seed_12_default_backend_service() -> Result<()> {
    scenario(|cluster| {
        let servers = ServerOptions { status: 404, ..ServerOptions::default() };
        let labels = [("k8s-app", "default-http-backend")];
        cluster.add_pod_in("kube-system", 0, "fallback", &labels, &servers)?;
        drivers(cluster)?;
        add_seed(cluster, "02-ingress-paths-rewrite.yaml")?;
        add_seed(cluster, "12-default-http-backend.yaml")?;
        for node in &mut cluster.nodes {
            let flag = "--default-backend-service=kube-system/default-http-backend";
            node.agent_options().arguments.push(flag.to_owned());
        }
        cluster.start_agents()?;
        for front in fronts(cluster) {
            let body = expect_status(cluster, front, "any.test", "/", 404)?;
            ensure!(body.contains("fallback"), "not the default backend's answer: {body}");
            expect_status(cluster, front, "any.test", "/healthz", 200)?;
            expect_pod(cluster, front, "any.test", "/service/s1/", "spark-driver-pod-1", "/")?;
        }
        Ok(())
    })
}
