//! Balance, and edits under traffic.

use std::time::Instant;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use weir_lab::{Flow, Request, Response, SOON, Session, ask_udp, eventually};

use crate::common::{EXTERNAL, greeted_by, scenario, web, web_service};

#[test]
#[ignore = "needs root"]
fn connections_spread_evenly_over_pods() -> Result<()> {
    scenario(|cluster| {
        for (number, node) in [0, 1, 0, 1].into_iter().enumerate() {
            cluster.add_pod(node, &format!("pod-{number}"), "web")?;
        }
        cluster.write_pods()?;
        cluster.write("web.yaml", &web_service("web"))?;
        cluster.start_agents()?;
        for node in &cluster.nodes {
            let pods = greeted_by(cluster, node.port(30070), 400)?;
            // 100 each are expected; five standard deviations of a binomial are 43.
            ensure!(pods.len() == 4 && pods.values().all(|n| (57..=143).contains(n)), "{pods:?}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_backend_comes_and_goes_under_traffic() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let to = cluster.nodes[0].port(30070);
        let flows = (0..8).map(|_| Flow::start(&cluster.client, to)).collect::<Result<Vec<_>>>()?;

        cluster.add_pod(1, "third", "web")?;
        cluster.write_pods()?;
        let start = Instant::now();
        eventually("the new pod to be used", weir_lab::SOON, || {
            let pods = greeted_by(cluster, to, 8)?;
            ensure!(pods.contains_key("third"), "{pods:?}");
            Ok(())
        })?;
        println!("the edit was in force after {:?}", start.elapsed());
        flows.iter().try_for_each(|flow| flow.goes_on(5))?;

        // Out of the manifests: new connections avoid it, those to the others are not disturbed.
        let gone = cluster.pods.iter().position(|pod| pod.name == "far").map(|at| cluster.pods.remove(at));
        cluster.write_pods()?;
        let address = gone.as_ref().map(|pod| pod.ip.to_string()).context("there is a pod `far`")?;
        eventually("the removed pod to be gone", weir_lab::SOON, || {
            let rows = cluster.nodes[0].rows("backends")?;
            ensure!(rows.iter().all(|row| row["address"] != address.as_str()), "{rows:?}");
            Ok(())
        })?;
        let pods = greeted_by(cluster, to, 24)?;
        ensure!(!pods.contains_key("far") && pods.len() == 2, "{pods:?}");
        for flow in flows.into_iter().filter(|flow| flow.pod() != "far") {
            flow.goes_on(5)?;
            let pod = flow.pod().to_owned();
            let report = flow.stop()?;
            ensure!(report.error.is_none(), "a flow to {pod} broke: {report:?}");
        }
        drop(gone);
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_removed_service_stops_answering_and_an_added_one_starts() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        let to = cluster.nodes[1].port(30070);
        greeted_by(cluster, to, 2)?;
        cluster.remove("web.yaml")?;
        eventually("the node port to be closed", weir_lab::SOON, || {
            ensure!(greeted_by(cluster, to, 1).is_err(), "it still answers");
            Ok(())
        })?;
        cluster.write("web.yaml", &web_service("web"))?;
        eventually("the node port to be open again", weir_lab::SOON, || greeted_by(cluster, to, 1).map(drop))
    })
}

#[test]
#[ignore = "needs root"]
fn udp_reaches_pods_on_both_nodes_and_comes_back_from_the_vip() -> Result<()> {
    scenario(|cluster| {
        web(cluster)?;
        cluster.start_agents()?;
        for to in [cluster.nodes[0].port(30053), cluster.nodes[1].port(30053), (EXTERNAL, 5353).into()] {
            let mut pods = std::collections::BTreeSet::new();
            for number in 0..24 {
                // The socket is connected, so an answer from another address than the VIP would not arrive.
                let answer = ask_udp(&cluster.client, to, None, &format!("datagram {number}"))?;
                ensure!(answer.ends_with(&format!("datagram {number}")), "{answer}");
                pods.extend(answer.split(' ').next().map(str::to_owned));
            }
            ensure!(pods.len() == 2, "{to}: {pods:?}");
        }
        Ok(())
    })
}

/// Asks for a host that does not change until the end; tells how often, or what went wrong.
fn keep_asking(mut session: Session, ended: &AtomicBool, asked: &AtomicUsize) -> Result<()> {
    let request = Request::get("steady.test", "/");
    while !ended.load(Ordering::Relaxed) {
        let answer = session.send(&request)?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
        asked.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// An Ingress for all of a host.
fn ingress(name: &str, service: &str, annotations: &str) -> String {
    format!(
        "{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: {name}, annotations: {{{annotations}}}}}, spec: \
         {{rules: [{{host: {name}.test, http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: {service}, \
         port: {{number: 80}}}}}}}}]}}}}]}}}}\n"
    )
}

#[test]
#[ignore = "needs root"]
fn no_request_fails_while_routes_endpoints_secrets_and_settings_change() -> Result<()> {
    scenario(|cluster| {
        let pods = [cluster.add_pod(0, "one", "one")?.ip, cluster.add_pod(0, "two", "two")?.ip];
        let service = |name: &str, pod: usize| {
            format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: 80, targetPort: 8080}}]}}\n---\n\
                 apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: {{name: {name}, labels: \
                 {{kubernetes.io/service-name: {name}}}}}\nports: [{{port: 8080}}]\nendpoints: [{{addresses: [{}]}}]\n",
                pods[pod]
            )
        };
        let asks = "nginx.ingress.kubernetes.io/auth-type: basic, nginx.ingress.kubernetes.io/auth-secret: users";
        // The password is `pw`.
        let users = |name: &str| {
            format!(
                "{{apiVersion: v1, kind: Secret, metadata: {{name: users}}, stringData: {{auth: '{name}:{{SHA}}GpHWL3ymc5liWkNopqtdSjuqYHM='}}}}\n"
            )
        };
        let settings = |on: bool| {
            format!(
                "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: front}}, data: {{use-forwarded-headers: '{on}'}}}}\n"
            )
        };
        cluster.write("services.yaml", &(service("first", 0) + "---\n" + &service("second", 1)))?;
        cluster.write("moving.yaml", &service("moving", 0))?;
        cluster.write("steady.yaml", &ingress("steady", "first", ""))?;
        cluster.write("front.yaml", &settings(false))?;
        cluster.write("users.yaml", &users("ann"))?;
        let node = &mut cluster.nodes[0];
        node.agent_options().arguments = vec!["--configmap=default/front".to_owned()];
        node.start_agent()?;
        let (to, ended, asked) = (cluster.nodes[0].port(80), AtomicBool::new(false), AtomicUsize::new(0));
        let by = |answer: &Response, pod: &str| answer.text().contains(&format!("\"pod\":\"{pod}\""));
        let until = |what: &str, host: &str, met: &dyn Fn(&Response) -> bool| {
            let request = Request::get(&format!("{host}.test"), "/").header("X-Forwarded-For", "203.0.113.7");
            let request = request.header("Authorization", "Basic YW5uOnB3");
            eventually(what, SOON, || {
                let answer = Session::fresh(to).send(&request)?;
                ensure!(met(&answer), "{} {}", answer.status, answer.text());
                Ok(())
            })
        };
        cluster.client.run(|| {
            until("the first route", "steady", &|answer| by(answer, "one"))?;
            thread::scope(|scope| {
                let asking = [Session::keeping(to), Session::fresh(to)]
                    .map(|session| scope.spawn(|| keep_asking(session, &ended, &asked)));
                let changes = || {
                    for round in 0..3 {
                        cluster.write("changing.yaml", &ingress("changing", "moving", ""))?;
                        until("a route", "changing", &|answer| by(answer, "one"))?;
                        cluster.write("moving.yaml", &service("moving", 1))?;
                        until("an endpoint", "changing", &|answer| by(answer, "two"))?;
                        cluster.write("moving.yaml", &service("moving", 0))?;
                        until("an endpoint", "changing", &|answer| by(answer, "one"))?;
                        cluster.write("changing.yaml", &ingress("changing", "second", asks))?;
                        until("another Service", "changing", &|answer| answer.status == 200 && by(answer, "two"))?;
                        cluster.write("users.yaml", &users("bob"))?;
                        until("other users", "changing", &|answer| answer.status == 401)?;
                        cluster.write("users.yaml", &users("ann"))?;
                        until("the first users", "changing", &|answer| answer.status == 200)?;
                        let on = round % 2 == 0;
                        cluster.write("front.yaml", &settings(on))?;
                        until("a setting", "steady", &|answer| answer.text().contains("203.0.113.7") == on)?;
                        cluster.remove("changing.yaml")?;
                        until("no route", "changing", &|answer| answer.status == 404)?;
                    }
                    Ok(())
                };
                let changed: Result<()> = changes();
                ended.store(true, Ordering::Relaxed);
                for client in asking {
                    client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?.context("a request failed")?;
                }
                changed
            })
        })?;
        ensure!(asked.load(Ordering::Relaxed) > 100, "hardly anybody asked");
        Ok(())
    })
}
