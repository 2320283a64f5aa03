//! Rolling updates under load: pods come, and those that they replace end, in an orderly way or at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weir_lab::{Cluster, Request, SOON, Session, eventually};

use crate::common::scenario;

/// How often the Deployment is rolled.
const ROLLS: usize = 5;
/// Its pods.
const REPLICAS: usize = 2;
/// Requests that find every endpoint on every core of the front.
const LOOKS: usize = 24;
/// A client's rest between two requests: the load is to meet every change, not to keep the machine from making any.
const REST: Duration = Duration::from_millis(4);
/// Without a selector: the slice is the test's.
const SITE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  rules:
  - host: roll.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
";

/// The endpoints, of which some terminate.
fn slice(cluster: &Cluster, pods: &[(String, bool)]) -> Result<String> {
    let mut text = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: {name: web-1, \
                    labels: {kubernetes.io/service-name: web}}\nports: [{port: 8080}]\nendpoints:\n"
        .to_owned();
    for (name, terminating) in pods {
        let pod = cluster.pods.iter().find(|pod| pod.name == *name).context("no such pod")?;
        text.push_str(&format!(
            "- {{addresses: [{}], nodeName: {}, conditions: {{ready: {}, serving: true, terminating: {terminating}}}}}\n",
            pod.ip, pod.node, !terminating
        ));
    }
    Ok(text)
}

/// What clients met.
#[derive(Default)]
struct Load {
    end: AtomicBool,
    /// Requests that must not be sent twice are held back.
    only_repeatable: AtomicBool,
    asked: AtomicUsize,
    posted: AtomicUsize,
}

impl Load {
    fn run(&self, mut session: Session, request: &Request, posts: bool) -> Result<()> {
        while !self.end.load(Ordering::SeqCst) {
            thread::sleep(REST);
            if posts && self.only_repeatable.load(Ordering::SeqCst) {
                continue;
            }
            let asked = self.asked.fetch_add(1, Ordering::SeqCst);
            let answer = session.send(request).with_context(|| format!("request {asked}"))?;
            ensure!(answer.status == 200, "request {asked}: {} {}", answer.status, answer.text());
            self.posted.fetch_add(usize::from(posts), Ordering::SeqCst);
        }
        Ok(())
    }
}

/// Two that ask and two that post, each on one connection and on a new one each time.
fn clients(cluster: &Cluster, load: &Arc<Load>) -> Result<Vec<JoinHandle<Result<()>>>> {
    let to = cluster.nodes[0].port(80);
    let (get, post) = (Request::get("roll.test", "/"), Request::post("roll.test", "/", b"body".to_vec()));
    cluster.client.run(|| {
        let requests = [(get, false), (post, true)].into_iter();
        let clients = requests.flat_map(|(request, posts)| {
            [Session::keeping(to), Session::fresh(to)].map(|session| {
                let (load, request) = (Arc::clone(load), request.clone());
                thread::spawn(move || load.run(session, &request, posts))
            })
        });
        Ok(clients.collect())
    })
}

/// Ends the load, also when something fails.
struct End<'a>(&'a Load);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end.store(true, Ordering::SeqCst);
    }
}

/// The front of every node leads only to these.
fn expect_endpoints(cluster: &Cluster, pods: &[String]) -> Result<()> {
    let mut wanted: Vec<_> = pods.iter().filter_map(|name| cluster.pods.iter().find(|pod| pod.name == *name)).collect();
    wanted.sort_by_key(|pod| pod.ip);
    let wanted: Vec<_> = wanted.iter().map(|pod| pod.name.clone()).collect();
    let mut seen = Vec::new();
    for _ in 0..LOOKS {
        let answer = Request::get("roll.test", "/").send(&cluster.client, cluster.nodes[0].port(80))?;
        seen.push(answer.field("pod")?);
    }
    seen.sort();
    seen.dedup();
    ensure!(
        seen.iter().all(|pod| wanted.contains(pod)) && seen.len() == wanted.len(),
        "{seen:?} instead of {wanted:?}"
    );
    Ok(())
}

/// Replaces every pod by a new one. `at_once`: the old one is gone before its endpoint is.
fn roll(cluster: &mut Cluster, roll: usize, pods: &mut Vec<String>, at_once: bool) -> Result<()> {
    for replica in 0..REPLICAS {
        let (old, new) = (pods.remove(0), name(roll + 1, replica));
        let before: Vec<_> = pods.iter().chain([&old, &new]).cloned().collect();
        write_slice(cluster, &before, None)?;
        eventually("the new pod to be asked", SOON, || expect_endpoints(cluster, &before))?;
        pods.push(new);
        if at_once {
            stop(cluster, &old)?;
        }
        write_slice(cluster, &before, Some(&old))?;
        // A pod that is told to end goes on until nobody asks it any more: that is what grace periods are for.
        eventually("a pod that ends to be left alone", SOON, || expect_endpoints(cluster, pods))?;
        write_slice(cluster, pods, None)?;
        if !at_once {
            stop(cluster, &old)?;
        }
    }
    Ok(())
}

fn name(roll: usize, replica: usize) -> String {
    format!("web-{roll}-{replica}")
}

fn write_slice(cluster: &Cluster, pods: &[String], ends: Option<&String>) -> Result<()> {
    let pods: Vec<_> = pods.iter().map(|name| (name.clone(), ends == Some(name))).collect();
    cluster.write("slice.yaml", &slice(cluster, &pods)?)
}

fn stop(cluster: &mut Cluster, pod: &str) -> Result<()> {
    let pod = cluster.pods.iter_mut().find(|one| one.name == *pod).context("no such pod")?;
    drop(pod.server.take());
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn no_request_fails_while_a_deployment_is_rolled_five_times() -> Result<()> {
    scenario(|cluster| {
        // All that there will be: to make one takes longer than to roll it out.
        for (roll, replica) in (0..=ROLLS).flat_map(|roll| (0..REPLICAS).map(move |replica| (roll, replica))) {
            cluster.add_pod(replica % 2, &name(roll, replica), "web")?;
        }
        let mut pods: Vec<_> = (0..REPLICAS).map(|replica| name(0, replica)).collect();
        cluster.write("site.yaml", SITE)?;
        write_slice(cluster, &pods, None)?;
        cluster.start_agents()?;
        eventually("the first pods to answer", SOON, || expect_endpoints(cluster, &pods))?;
        let load = Arc::new(Load::default());
        let clients = clients(cluster, &load)?;
        let running = End(&load);
        let rolled = (0..ROLLS).try_for_each(|number| {
            let at_once = number % 2 == 1;
            load.only_repeatable.store(at_once, Ordering::SeqCst);
            roll(cluster, number, &mut pods, at_once).with_context(|| format!("roll {number}"))
        });
        drop(running);
        for client in clients {
            client.join().unwrap_or_else(|_| anyhow::bail!("a client panicked"))?;
        }
        rolled?;
        let (asked, posted) = (load.asked.load(Ordering::SeqCst), load.posted.load(Ordering::SeqCst));
        ensure!(asked > 400 && posted > 100, "{asked} requests, of which {posted} by POST, are no load");
        Ok(())
    })
}
