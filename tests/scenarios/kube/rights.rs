//! The rights that come with weir: enough, and none too many.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::Value;
use weir_lab::{AGENT_USER, ControlPlane, SOON, eventually};

use super::{web, with_kubernetes};

/// Something of everything that an agent reads or writes for.
const OBJECTS: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: balanced}
spec:
  type: LoadBalancer
  loadBalancerIP: 10.100.100.7
  ports: [{name: http, port: 80, targetPort: 8080}]
  selector: {app: web}
---
apiVersion: weir.io/v1alpha1
kind: AddressPool
metadata: {name: public}
spec: {addresses: [10.100.100.0/28]}
---
apiVersion: weir.io/v1alpha1
kind: Announcement
metadata: {name: public}
spec: {l2: {}}
---
apiVersion: weir.io/v1alpha1
kind: HostPolicy
metadata: {name: shop}
spec: {hosts: [shop.example], namespaces: [default]}
---
apiVersion: v1
kind: Secret
metadata: {name: cert}
stringData: {a: b}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: tcp}
data: {}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: weir}
spec: {controller: weir.io/ingress}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  ingressClassName: weir
  tls: [{secretName: cert}]
  rules:
  - http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: balanced, port: {number: 80}}}}
      - {path: /lost, pathType: Prefix, backend: {service: {name: missing, port: {number: 80}}}}
"#;

fn object(plane: &ControlPlane, kind: &str, name: &str) -> Result<Value> {
    Ok(serde_json::from_str(&plane.kubectl(&["get", kind, name, "-o", "json"])?)?)
}

fn addresses(plane: &ControlPlane, kind: &str, name: &str) -> Result<BTreeSet<String>> {
    let object = object(plane, kind, name)?;
    let rows = object["status"]["loadBalancer"]["ingress"].as_array().cloned().unwrap_or_default();
    Ok(rows.iter().filter_map(|row| row["ip"].as_str().map(str::to_owned)).collect())
}

fn shows(plane: &ControlPlane, kind: &str, name: &str, expected: &[&str]) -> Result<()> {
    let expected: BTreeSet<_> = expected.iter().map(|text| (*text).to_owned()).collect();
    eventually("the status to be right", SOON, || {
        let found = addresses(plane, kind, name)?;
        ensure!(found == expected, "{kind} {name} shows {found:?}, not {expected:?}");
        Ok(())
    })
}

/// `(group, resource, verb)` of every rule, written out.
fn granted(plane: &ControlPlane) -> Result<BTreeSet<(String, String, String)>> {
    let mut rights = BTreeSet::new();
    for arguments in
        [&["get", "clusterrole", "weir", "-o", "json"][..], &["-n", "weir-system", "get", "role", "weir", "-o", "json"]]
    {
        let role: Value = serde_json::from_str(&plane.kubectl(arguments)?)?;
        let words = |rule: &Value, field: &str| -> Vec<String> {
            rule[field].as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
        };
        for rule in role["rules"].as_array().into_iter().flatten() {
            for group in words(rule, "apiGroups") {
                for resource in words(rule, "resources") {
                    let verbs = words(rule, "verbs").into_iter();
                    rights.extend(verbs.map(|verb| (group.clone(), resource.clone(), verb)));
                }
            }
        }
    }
    Ok(rights)
}

#[test]
#[ignore = "needs root"]
fn the_rights_are_enough_and_each_is_used() -> Result<()> {
    with_kubernetes(|cluster, plane| {
        web(cluster, plane)?;
        plane.apply(OBJECTS)?;
        for node in &mut cluster.nodes {
            node.agent_options().arguments.push("--tcp-services-configmap=default/tcp".to_owned());
        }
        cluster.start_agents()?;
        shows(plane, "service", "balanced", &["10.100.100.7"])?;
        let nodes: Vec<_> = cluster.nodes.iter().map(|node| node.ip.to_string()).collect();
        shows(plane, "ingress", "shop", &nodes.iter().map(String::as_str).collect::<Vec<_>>())?;
        eventually("the Event of the Problem", SOON, || {
            let told = plane.kubectl(&["describe", "ingress", "shop"])?;
            ensure!(told.contains("ServiceMissing"), "{told}");
            Ok(())
        })?;

        // The Problem goes and comes back: its Event is counted up, not made anew.
        let lost = r#"[{"op": "replace", "path": "/spec/rules/0/http/paths/1/backend/service/name", "value": "NAME"}]"#;
        for name in ["balanced", "missing"] {
            plane.kubectl(&["patch", "ingress", "shop", "--type=json", "-p", &lost.replace("NAME", name)])?;
            let wanted = usize::from(name == "missing");
            eventually("the agent to see it", SOON, || {
                let problems = crate::common::problems(&cluster.nodes[0])?;
                let found = problems.iter().filter(|problem| problem["code"] == "service-missing").count();
                ensure!(found == wanted, "{problems:?}");
                Ok(())
            })?;
        }
        eventually("the Event to be counted up", SOON, || {
            let events = plane.kubectl(&["get", "events", "-o", "json"])?;
            let events: Value = serde_json::from_str(&events)?;
            let ours =
                events["items"].as_array().into_iter().flatten().filter(|event| event["reason"] == "ServiceMissing");
            let counts: Vec<_> = ours.map(|event| event["count"].as_i64()).collect();
            ensure!(counts == [Some(2)], "{counts:?}");
            Ok(())
        })?;

        // A change of the address, and of the class.
        plane.kubectl(&["patch", "service", "balanced", "-p", r#"{"spec": {"loadBalancerIP": "10.100.100.8"}}"#])?;
        shows(plane, "service", "balanced", &["10.100.100.8"])?;
        plane.kubectl(&["patch", "ingress", "shop", "-p", r#"{"spec": {"ingressClassName": "other"}}"#])?;
        shows(plane, "ingress", "shop", &[])?;

        // The Lease is updated only when it is renewed.
        eventually("every right to be used", SOON, || {
            let audited = plane.audit(AGENT_USER)?;
            let refused: Vec<_> = audited.iter().filter(|request| matches!(request.code, 401 | 403)).collect();
            ensure!(refused.is_empty(), "the rights are not enough: {refused:?}");
            let used: BTreeSet<_> =
                audited.into_iter().map(|request| (request.group, request.resource, request.verb)).collect();
            // Of the two groups of Ingresses a server needs one.
            let unused: Vec<_> =
                granted(plane)?.into_iter().filter(|right| right.0 != "extensions" && !used.contains(right)).collect();
            ensure!(unused.is_empty(), "rights that nothing uses: {unused:?}");
            Ok(())
        })
    })
}
