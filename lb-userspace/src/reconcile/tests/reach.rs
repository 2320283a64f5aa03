//! How far changes of layer 7 reach: what is made anew and told to the front is counted.

use std::sync::Arc;

use super::*;
use crate::compile::tests::fixture::node;
use crate::l7::delta::{TableDelta, delta};
use crate::source::parse::parse;
use crate::source::{Objects, SourceEvent};
use crate::translate::{Settings, Translation};

const INGRESSES: usize = 300;
/// So many Ingresses share a Service.
const SHARED: usize = 10;

struct Site {
    objects: Objects,
    settings: Settings,
    translation: Translation,
    reconciler: Reconciler,
    desired: Arc<DesiredState>,
    compiled: Compiled,
}

impl Site {
    /// Many Ingresses, each for a host of its own.
    fn new() -> Self {
        let settings = Settings { configmap: Some(("default".to_owned(), "front".to_owned())), ..Settings::default() };
        let mut site = Site {
            objects: Objects::new(1),
            settings,
            translation: Translation::default(),
            reconciler: Reconciler::new(Box::new(MemoryStore::default())).unwrap(),
            desired: Arc::default(),
            compiled: Compiled::default(),
        };
        (0..INGRESSES / SHARED).for_each(|number| {
            site.apply(&service(number));
            site.apply(&slice(number, 1));
        });
        (0..INGRESSES).for_each(|number| site.apply(&ingress(number, number / SHARED, "")));
        site.objects.take_changes();
        site.desired = Arc::new(site.translation.renew(&site.objects, &site.settings));
        site.compiled = site.reconciler.run_once(&site.desired, &node(), Prune::All).compiled;
        site
    }

    fn apply(&mut self, document: &str) {
        let parsed = parse(&std::path::Path::new("f.yaml").into(), document.as_bytes());
        assert_eq!(parsed.objects.len(), 1, "{document}");
        parsed.objects.into_iter().for_each(|object| self.objects.handle(0, SourceEvent::Apply(object)));
    }

    /// What a change that is followed comes to: what is told to the front.
    fn follow(&mut self, document: &str) -> TableDelta {
        self.apply(document);
        let changes = self.objects.take_changes();
        let before = Arc::clone(&self.compiled.routes);
        let changed = self.translation.amend(&mut self.desired, &self.objects, &changes, &self.settings);
        let changed = changed.expect("no reason to translate everything");
        let followed = self.reconciler.follow(&mut self.compiled, &self.desired, &changed, &node());
        let told = delta(&before, &self.compiled.routes);
        assert_eq!(followed.expect("no reason to compile everything").hosts, told.hosts.len());
        for (host, entries) in &before.hosts {
            let same = self.compiled.routes.hosts.get(host).is_some_and(|now| Arc::ptr_eq(now, entries));
            assert!(same || told.hosts.contains_key(host), "the routes of {host} were made anew for nothing");
        }
        told
    }
}

fn service(number: usize) -> String {
    format!("{{apiVersion: v1, kind: Service, metadata: {{name: s{number}}}, spec: {{ports: [{{port: 80}}]}}}}")
}

fn slice(number: usize, pod: usize) -> String {
    format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: s{number}, labels: \
         {{kubernetes.io/service-name: s{number}}}}}, addressType: IPv4, endpoints: [{{addresses: [10.244.0.{pod}]}}], \
         ports: [{{port: 80}}]}}"
    )
}

fn ingress(number: usize, service: usize, annotations: &str) -> String {
    format!(
        "{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: i{number}, annotations: {{{annotations}}}}}, spec: \
         {{rules: [{{host: h{number}.example, http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: s{service}, \
         port: {{number: 80}}}}}}}}]}}}}]}}}}"
    )
}

fn users(line: &str) -> String {
    format!("{{apiVersion: v1, kind: Secret, metadata: {{name: users}}, stringData: {{auth: '{line}'}}}}")
}

const ASKS: &str = "nginx.ingress.kubernetes.io/auth-type: basic, nginx.ingress.kubernetes.io/auth-secret: users";

#[test]
fn a_change_reaches_its_own_hosts_and_no_others() {
    let mut site = Site::new();
    let hosts = |told: &TableDelta| told.hosts.keys().cloned().collect::<Vec<_>>();

    let told = site.follow(&ingress(7, 9, ""));
    assert_eq!((hosts(&told), told.upstreams.len()), (vec!["h7.example".to_owned()], 0), "another Service");
    let told = site.follow(&ingress(INGRESSES, 3, ""));
    assert_eq!(hosts(&told), [format!("h{INGRESSES}.example")], "a new one");
    let told = site.follow(&slice(4, 2));
    assert_eq!((told.hosts.len(), told.upstreams.len()), (0, 1), "an endpoint");

    let told = site.follow(&users("ann:{SHA}x"));
    assert!(told.is_empty(), "nobody names the Secret");
    let told = site.follow(&ingress(11, 1, ASKS));
    assert_eq!((hosts(&told), told.users.len()), (vec!["h11.example".to_owned()], 1));
    let told = site.follow(&users("bob:{SHA}y"));
    assert_eq!((told.hosts.len(), told.users.len()), (0, 1), "who asks for users asks for them as before");
    let told = site.follow(&users(""));
    assert_eq!(hosts(&told), ["h11.example"], "nobody can log in: its routes are closed");

    let settings =
        |data: &str| format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: front}}, data: {{{data}}}}}");
    let told = site.follow(&settings("use-forwarded-headers: 'true'"));
    assert!(told.settings.is_some() && told.hosts.is_empty());
    site.apply(&settings("proxy-body-size: 1m"));
    let changes = site.objects.take_changes();
    let changed = site.translation.amend(&mut site.desired, &site.objects, &changes, &site.settings);
    assert_eq!(changed, None, "every Ingress begins with it");
}

#[test]
fn who_shares_a_host_is_reached() {
    let mut site = Site::new();
    let alias = "nginx.ingress.kubernetes.io/server-alias: h1.example";
    assert!(site.follow(&ingress(0, 0, alias)).is_empty(), "the name is taken");
    let changed_host = ingress(1, 0, "").replace("h1.example", "other.example");
    let told = site.follow(&changed_host);
    let hosts: Vec<_> = told.hosts.keys().map(String::as_str).collect();
    assert_eq!(hosts, ["h1.example", "other.example"]);
    let routes = &site.compiled.routes.hosts["h1.example"];
    assert_eq!(routes[0].ingress, "default/i0", "it has what the other gave up");
}

#[test]
fn what_reaches_too_many_is_not_followed() {
    let mut site = Site::new();
    let host = |number: usize| ingress(number, 0, "").replace(&format!("h{number}.example"), "all.example");
    (0..1100).for_each(|number| site.apply(&host(number)));
    let changes = site.objects.take_changes();
    assert_eq!(site.translation.amend(&mut site.desired, &site.objects, &changes, &site.settings), None);
}
