//! The source against an API server in memory, with a clock that jumps.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;
use tokio::task::AbortHandle;

use super::*;
use crate::model::problem::code;
use crate::source::{Body, Kind, Objects};
use fake::Fake;

mod fake;

/// Nothing more comes after so long.
const QUIET: Duration = Duration::from_secs(45);

/// A source that runs, and everything that it said.
struct Running {
    fake: Fake,
    events: Receiver<(usize, SourceEvent)>,
    objects: Objects,
    task: AbortHandle,
}

impl Running {
    fn start(fake: &Fake) -> Self {
        Self::wanting(fake, false)
    }

    fn wanting(fake: &Fake, pod_weights: bool) -> Self {
        let (sender, events) = channel(1024);
        let wanted = Wanted {
            node_name: "n1".to_owned(),
            pod_weights,
            config_maps: vec![("a".to_owned(), "tcp".to_owned())],
            ..Wanted::default()
        };
        let task = tokio::spawn(run(fake.api(), wanted, 0, sender)).abort_handle();
        Running { fake: fake.clone(), events, objects: Objects::new(1), task }
    }

    /// All that is said until it is quiet.
    async fn told(&mut self) -> Vec<SourceEvent> {
        let mut told = Vec::new();
        while let Ok(Some((_, event))) = tokio::time::timeout(QUIET, self.events.recv()).await {
            self.objects.handle(0, event.clone());
            told.push(event);
        }
        told
    }

    fn names(&self) -> Vec<String> {
        self.objects.iter().map(|(key, _)| key.reference().to_string()).collect()
    }

    fn codes(&self) -> Vec<String> {
        self.objects.problems().into_iter().map(|problem| problem.code).collect()
    }

    fn requests(&self, part: &str) -> usize {
        self.fake.state().requests.iter().filter(|request| request.contains(part)).count()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What was said of objects, in short.
fn short(events: &[SourceEvent]) -> Vec<String> {
    let line = |event: &SourceEvent| match event {
        SourceEvent::Apply(object) => Some(format!("+ {}", object.key().reference())),
        SourceEvent::Delete(key) => Some(format!("- {}", key.reference())),
        SourceEvent::InitDone => Some("complete".to_owned()),
        _ => None,
    };
    events.iter().filter_map(line).collect()
}

fn service(port: u16) -> Value {
    json!({"spec": {"ports": [{"port": port}]}})
}

fn ingress(secret: &str) -> Value {
    json!({"spec": {"tls": [{"secretName": secret}]}})
}

fn pod(node: &str, host_port: u16) -> Value {
    json!({"spec": {"nodeName": node, "containers": [{"name": "x", "ports": [{"hostPort": host_port}]}]}})
}

fn cluster() -> Fake {
    let fake = Fake::default();
    fake.state().minor = 20;
    fake.put("services", "a", "web", service(80));
    fake.put("endpointslices", "a", "web-1", json!({"addressType": "IPv4", "endpoints": null, "ports": null}));
    fake.put("nodes", "", "n1", json!({}));
    fake
}

#[tokio::test(start_paused = true)]
async fn weights_of_pods_are_read_of_all_nodes_or_of_none() {
    for everywhere in [false, true] {
        let fake = cluster();
        let weighted = |node: &str| {
            let metadata = json!({"annotations": {"weir.io/weight": "3", "other": "x"}});
            json!({"metadata": metadata, "spec": {"nodeName": node, "containers": []}})
        };
        fake.put("pods", "a", "here", weighted("n1"));
        fake.put("pods", "a", "there", weighted("n2"));
        fake.put("pods", "a", "without", pod("n2", 0));
        let mut running = Running::wanting(&fake, everywhere);
        running.told().await;
        let pods: Vec<_> =
            running.objects.pods().map(|pod| (pod.metadata.name.clone(), pod.metadata.annotations.len())).collect();
        let expected = if everywhere { vec![("here".to_owned(), 1), ("there".to_owned(), 1)] } else { Vec::new() };
        assert_eq!(pods, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_picture_is_complete_when_every_kind_was_listed() {
    let fake = cluster();
    fake.put("pods", "a", "ours", pod("n1", 8080));
    fake.put("pods", "a", "without", pod("n1", 0));
    fake.put("pods", "a", "theirs", pod("n2", 8080));
    fake.put("configmaps", "a", "tcp", json!({"data": {"1": "a/web:80"}}));
    fake.put("configmaps", "a", "other", json!({}));
    fake.put("ingressclasses", "", "weir", json!({}));
    fake.put("ingresses", "a", "shop", ingress("cert"));
    fake.put("secrets", "a", "cert", json!({"type": "kubernetes.io/tls"}));
    fake.put("secrets", "a", "private", json!({}));
    let mut running = Running::start(&fake);
    let told = running.told().await;
    assert_eq!(short(&told).last().map(String::as_str), Some("complete"));
    assert!(running.objects.complete() && running.codes().is_empty());
    let expected = [
        "Service a/web",
        "EndpointSlice a/web-1",
        "Pod a/ours",
        "Node n1",
        "Ingress a/shop",
        "IngressClass weir",
        "Secret a/cert",
        "ConfigMap a/tcp",
    ];
    assert_eq!(running.names(), expected);
    assert!(running.requests("/secrets?") > 0);
    let state = fake.state();
    let mut secrets = state.requests.iter().filter(|request| request.contains("/secrets?"));
    assert!(secrets.all(|request| request.contains("fieldSelector=metadata.name%3Dcert")), "{:?}", state.requests);
}

#[tokio::test(start_paused = true)]
async fn changes_are_told_once_each_and_what_changes_nothing_is_not() {
    let mut running = Running::start(&cluster());
    running.told().await;
    let fake = running.fake.clone();
    fake.put("services", "a", "web", service(81));
    fake.put("services", "a", "web", service(81));
    fake.put("nodes", "", "n1", json!({"status": {"heartbeat": 1}}));
    fake.put("services", "b", "new", service(1));
    fake.delete("services", "b", "new");
    assert_eq!(short(&running.told().await), ["+ Service a/web", "+ Service b/new", "- Service b/new"]);
}

#[tokio::test(start_paused = true)]
async fn large_lists_come_in_pages() {
    let fake = cluster();
    for number in 0..1200 {
        fake.put("services", "many", &format!("s{number}"), service(80));
    }
    let mut running = Running::start(&fake);
    running.told().await;
    assert_eq!(running.objects.services().count(), 1201);
    assert_eq!(running.requests("/services?&limit=500"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_where_the_last_bookmark_was() {
    let mut running = Running::start(&cluster());
    running.told().await;
    let lists = running.requests("limit=500");
    running.fake.put("nodes", "", "n2", json!({}));
    running.fake.bookmark();
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.fake.forget();
    running.fake.cut();
    assert_eq!(short(&running.told().await), ["+ Node n2"]);
    assert_eq!(running.requests("limit=500"), lists, "nothing was listed again");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_forgot_tells_only_what_differs() {
    let mut running = Running::start(&cluster());
    running.told().await;
    let (fake, lists) = (running.fake.clone(), running.requests("limit=500"));
    fake.cut();
    fake.put("services", "a", "web", service(81));
    fake.delete("endpointslices", "a", "web-1");
    fake.put("services", "a", "second", service(1));
    fake.forget();
    let mut told = short(&running.told().await);
    told.sort();
    assert_eq!(told, ["+ Service a/second", "+ Service a/web", "- EndpointSlice a/web-1"]);
    assert!(running.requests("limit=500") > lists, "it was listed again");
}

#[tokio::test(start_paused = true)]
async fn an_hour_without_the_server_changes_nothing_and_is_said_once() {
    let mut running = Running::start(&cluster());
    running.told().await;
    let asked = running.requests("");
    running.fake.state().away = true;
    running.fake.cut();
    let mut told = Vec::new();
    for _ in 0..80 {
        told.extend(running.told().await);
    }
    let problems: Vec<_> = told.iter().filter(|event| matches!(event, SourceEvent::Problems(_))).collect();
    assert_eq!((problems.len(), told.len()), (1, 1), "{told:?}");
    assert_eq!(running.codes(), [code::API_UNREACHABLE]);
    assert_eq!(running.names().len(), 3);
    // Seven watches with pauses of 15 to 30 s: they keep trying, and not all the time.
    let tries = running.requests("") - asked;
    assert!((700..2500).contains(&tries), "{tries} tries in an hour");

    running.fake.put("services", "a", "web", service(82));
    running.fake.forget();
    running.fake.state().away = false;
    let told = running.told().await;
    assert_eq!(short(&told), ["+ Service a/web"], "only what changed meanwhile");
    assert!(running.codes().is_empty(), "{:?}", running.codes());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_later_is_waited_for() {
    let fake = cluster();
    fake.state().away = true;
    let mut running = Running::start(&fake);
    running.told().await;
    assert!(!running.objects.complete());
    assert_eq!(running.codes(), [code::API_UNREACHABLE]);
    fake.state().away = false;
    running.told().await;
    assert!(running.objects.complete() && running.codes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_must_not_be_read_is_named_and_the_others_are_told() {
    let fake = cluster();
    fake.state().forbidden.insert("ingresses");
    let mut running = Running::start(&fake);
    running.told().await;
    assert!(!running.objects.complete() && running.objects.service("a", "web").is_some());
    assert_eq!(running.codes(), [code::API_FORBIDDEN]);
    fake.state().forbidden.clear();
    running.told().await;
    assert!(running.objects.complete() && running.codes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_must_not_be_read_holds_nothing_else_up() {
    let fake = cluster();
    fake.put("ingresses", "a", "shop", ingress("cert"));
    fake.state().forbidden.insert("secrets");
    let mut running = Running::start(&fake);
    running.told().await;
    assert!(running.objects.complete());
    let problems = running.objects.problems();
    assert_eq!(running.codes(), [code::API_FORBIDDEN]);
    assert!(problems[0].message.contains("Secret a/cert"), "{}", problems[0].message);
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_watched_as_long_as_an_ingress_refers_to_it() {
    let fake = cluster();
    fake.put("secrets", "a", "cert", json!({"type": "x"}));
    let mut running = Running::start(&fake);
    running.told().await;
    assert_eq!(running.requests("/secrets"), 0);
    fake.put("ingresses", "a", "shop", ingress("cert"));
    assert_eq!(short(&running.told().await), ["+ Ingress a/shop", "+ Secret a/cert"]);
    fake.put("secrets", "a", "cert", json!({"type": "y"}));
    assert_eq!(short(&running.told().await), ["+ Secret a/cert"]);
    fake.delete("ingresses", "a", "shop");
    assert_eq!(short(&running.told().await), ["- Ingress a/shop", "- Secret a/cert"]);
    fake.put("secrets", "a", "cert", json!({"type": "z"}));
    assert!(running.told().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn lists_are_a_part_of_the_watch_where_the_server_can() {
    let fake = cluster();
    fake.state().minor = 34;
    let mut running = Running::start(&fake);
    running.told().await;
    assert!(running.objects.complete());
    assert_eq!((running.requests("limit=500"), running.names().len()), (0, 3));

    let fake = cluster();
    fake.state().minor = 34;
    fake.state().refuses_streaming = true;
    let mut running = Running::start(&fake);
    running.told().await;
    assert!(running.objects.complete() && running.codes().is_empty());
    assert!(running.requests("limit=500") >= 7);
}

#[tokio::test(start_paused = true)]
async fn older_versions_are_found_and_a_kind_that_is_not_served_is_empty() {
    let fake = cluster();
    fake.put("ingresses", "a", "old", json!({"spec": {"backend": {"serviceName": "web", "servicePort": 80}}}));
    let gone = ["discovery.k8s.io/v1", "networking.k8s.io/v1", "networking.k8s.io/v1beta1"];
    fake.state().without.extend(gone);
    let mut running = Running::start(&fake);
    running.told().await;
    assert!(running.objects.complete());
    assert!(running.requests("/apis/discovery.k8s.io/v1beta1/endpointslices") > 0);
    assert!(running.requests("/apis/extensions/v1beta1/ingresses") > 0);
    let old = running.objects.ingress("a", "old").unwrap();
    assert!(old.beta && old.spec.backend.is_some());
}

#[tokio::test(start_paused = true)]
async fn our_own_kinds_are_taken_up_when_somebody_installs_them() {
    let fake = cluster();
    fake.state().without.insert("weir.io/v1alpha1");
    let mut running = Running::start(&fake);
    running.told().await;
    assert!(running.objects.complete() && running.codes().is_empty(), "a server without them is nothing bad");
    fake.put("addresspools", "", "public", json!({"spec": {"addresses": ["192.0.2.0/28"]}}));
    fake.put("hostpolicies", "", "shop", json!({"spec": {"hosts": ["shop.example"], "namespaces": ["a"]}}));
    fake.state().without.clear();
    running.told().await;
    assert_eq!(running.objects.address_pool("", "public").map(|pool| pool.spec.addresses.len()), Some(1));
    assert_eq!(running.objects.host_policies().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn rights_from_before_our_own_kinds_are_enough_to_begin() {
    let fake = cluster();
    fake.state().forbidden.extend(["addresspools", "announcements", "hostpolicies", "namespaces"]);
    let mut running = Running::start(&fake);
    running.told().await;
    assert!(running.objects.complete());
    assert_eq!(running.codes(), [code::API_FORBIDDEN; 4]);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_costs_only_itself() {
    let mut running = Running::start(&cluster());
    running.told().await;
    running.fake.put("services", "a", "web", json!({"spec": {"ports": "none"}}));
    running.told().await;
    assert_eq!(running.codes(), [code::FIELD_INVALID]);
    let kept = running.objects.iter().find(|(key, _)| key.kind == Kind::Service).map(|(_, object)| object.body.clone());
    assert!(matches!(kept, Some(Body::Service(kept)) if kept.spec.ports[0].port == Some(80)));
    running.fake.put("services", "a", "web", service(83));
    running.told().await;
    assert!(running.codes().is_empty());
}
