//! Paths that are regular expressions, and what becomes of them on the way to the pod.

use anyhow::{Result, ensure};
use weir_lab::{Cluster, eventually};

use crate::common::{expect_pod, expect_status, problems, scenario};

const SERVICES: &str = "\
apiVersion: v1
kind: Service
metadata: {name: api}
spec: {selector: {app: api}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: site}
spec: {selector: {app: site}, ports: [{port: 80, targetPort: 8080}]}
---
";

/// `/api(/|$)(.*)` to the Service `api`, `/` to `site`, all with a target of one's own.
fn ingresses(pattern: &str, target: &str) -> String {
    format!(
        "{SERVICES}\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: api, annotations: {{nginx.ingress.kubernetes.io/rewrite-target: '{target}'}}}}
spec:
  rules:
  - http:
      paths:
      - path: {pattern}
        pathType: ImplementationSpecific
        backend: {{service: {{name: api, port: {{number: 80}}}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: site}}
spec:
  rules:
  - http:
      paths:
      - path: /
        pathType: Prefix
        backend: {{service: {{name: site, port: {{number: 80}}}}}}
"
    )
}

fn pods(cluster: &mut Cluster) -> Result<()> {
    cluster.add_pod(0, "api", "api")?;
    cluster.add_pod(1, "site", "site")?;
    cluster.write_pods()
}

#[test]
#[ignore = "needs root"]
fn captures_of_the_path_become_the_path() -> Result<()> {
    scenario(|cluster| {
        pods(cluster)?;
        cluster.write("web.yaml", &ingresses("/api(/|$)(.*)", "/$2"))?;
        cluster.start_agents()?;
        for front in cluster.nodes.iter().map(|node| node.port(80)) {
            for (path, pod, seen) in [
                ("/api", "api", "/"),
                ("/api/", "api", "/"),
                ("/api/users/7?x=/api/1", "api", "/users/7?x=/api/1"),
                ("/API/Users", "api", "/Users"),
                ("/y/../api/%75sers", "api", "/users"),
                ("/api/@scope%2fname", "api", "/@scope%2Fname"),
                ("/apiary", "site", "/apiary"),
                ("/", "site", "/"),
            ] {
                expect_pod(cluster, front, "any.test", path, pod, seen)?;
            }
            for path in ["/api/..%2Fsecret", "/api/..;/api/secret", "/x/..%2fapi/users"] {
                expect_status(cluster, front, "any.test", path, 400)?;
            }
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn an_expression_that_cannot_be_used_costs_its_route_only() -> Result<()> {
    scenario(|cluster| {
        pods(cluster)?;
        cluster.write("web.yaml", &ingresses("/api(?!/x)(.*)", "/$1"))?;
        cluster.start_agents()?;
        let front = cluster.nodes[0].port(80);
        expect_pod(cluster, front, "any.test", "/api/users", "site", "/api/users")?;
        let problems = problems(&cluster.nodes[0])?;
        let about = problems.iter().find(|problem| problem["code"] == "path-invalid" && problem["name"] == "api");
        ensure!(about.is_some_and(|problem| problem["value"] == "/api(?!/x)(.*)"), "{problems:?}");
        cluster.write("web.yaml", &ingresses("/api(.*)", "/$1"))?;
        eventually("the edit to be in force", weir_lab::SOON, || {
            expect_pod(cluster, front, "any.test", "/api/users", "api", "/users")
        })
    })
}
