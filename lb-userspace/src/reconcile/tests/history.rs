//! Histories of objects: what follows their changes comes to what is made of them from scratch, step by step.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::compile::route_table;
use crate::compile::tests::fixture::node;
use crate::source::parse::parse;
use crate::source::{Object, Objects, SourceEvent};
use crate::translate::tests::properties;
use crate::translate::{Settings, Translation, translate};

mod layer7;

/// A change of an object, as a document; or its end.
#[derive(Clone, Debug)]
enum Edit {
    Apply(String),
    Delete(String),
}

/// A Service as most are, with what many have beside that.
fn service() -> impl Strategy<Value = String> {
    let kind = select(vec!["ClusterIP", "ClusterIP", "NodePort", "LoadBalancer"]);
    let more = select(vec![
        "",
        "",
        "sessionAffinity: ClientIP, ",
        "externalTrafficPolicy: Local, ",
        "ipFamilyPolicy: RequireDualStack, ",
        "selector: {app.kubernetes.io/name: weir}, ",
    ]);
    let annotation = select(vec!["note: x", "note: y", "weir.io/forwarding: dsr", "weir.io/odd: x"]);
    let ports =
        select(vec!["[{name: http, port: 80}]", "[{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]"]);
    (select(vec!["a", "b", "c"]), kind, more, annotation, ports).prop_map(|(name, kind, more, annotation, ports)| {
        let ip = name.as_bytes()[0];
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, annotations: {{{annotation}}}}}, \
             spec: {{type: {kind}, {more}clusterIP: 10.96.0.{ip}, ports: {ports}}}}}"
        )
    })
}

/// A slice of up to three endpoints of few addresses, good and bad.
fn slice() -> impl Strategy<Value = String> {
    let address = select(vec!["10.244.0.1", "10.244.0.2", "10.244.1.1", "2001:db8::1", "nonsense"]);
    let state =
        select(vec!["{}", "{ready: true}", "{ready: false}", "{ready: false, serving: true, terminating: true}"]);
    let node = select(vec!["", "nodeName: node-a, ", "nodeName: node-b, "]);
    let endpoint = (address, state, node)
        .prop_map(|(address, state, node)| format!("{{addresses: ['{address}'], {node}conditions: {state}}}"));
    let weight = select(vec!["", "", "", "weir.io/weight: '3'", "weir.io/weight: heavy"]);
    let names = (select(vec!["a", "a", "b", "c"]), select(vec!["s", "t", "u"]), weight);
    (names, proptest::collection::vec(endpoint, 0..4)).prop_map(|((service, name, weight), endpoints)| {
        format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: {name}, annotations: {{{weight}}}, \
             labels: {{kubernetes.io/service-name: {service}}}}}, addressType: IPv4, endpoints: [{}], \
             ports: [{{name: http, port: 8080}}, {{name: dns, port: 53, protocol: UDP}}]}}",
            endpoints.join(", ")
        )
    })
}

/// An Ingress of the same words mostly, with a status.
fn ingress() -> impl Strategy<Value = String> {
    (select(vec!["a", "a", "a", "b"]), select(vec!["", "{ip: 192.0.2.1}"])).prop_map(|(name, status)| {
        format!(
            "{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: i}}, spec: {{defaultBackend: \
             {{service: {{name: {name}, port: {{number: 80}}}}}}}}, status: {{loadBalancer: {{ingress: [{status}]}}}}}}"
        )
    })
}

/// What everything may depend on.
fn other() -> impl Strategy<Value = String> {
    let cidr = select(vec!["10.244.0.0/24", "10.244.1.0/24", "nonsense"]);
    let node = cidr.prop_map(|cidr| {
        format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: node-a}}, spec: {{podCIDR: {cidr}}}, \
             status: {{addresses: [{{type: InternalIP, address: 192.0.2.10}}]}}}}"
        )
    });
    let pod = select(vec!["hostPort: 80, ", ""]).prop_map(|port| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, spec: {{nodeName: node-a, containers: [{{name: c, ports: \
             [{{{port}containerPort: 80}}]}}]}}, status: {{podIP: 10.244.0.1, podIPs: [{{ip: 10.244.0.1}}]}}}}"
        )
    });
    let streams = select(vec!["a", "b", "z"]).prop_map(|service| {
        format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: tcp}}, data: {{'9000': 'default/{service}:80:PROXY'}}}}"
        )
    });
    let class = select(vec!["weir.io/ingress", "other"]).prop_map(|controller| {
        format!(
            "{{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {{name: k, annotations: \
             {{ingressclass.kubernetes.io/is-default-class: 'true'}}}}, spec: {{controller: {controller}}}}}"
        )
    });
    prop_oneof![node, pod, streams, class]
}

fn edit() -> impl Strategy<Value = Edit> {
    let document = prop_oneof![
        8 => slice(),
        3 => service(),
        1 => properties::service(),
        1 => properties::slice(),
        1 => properties::ingress(),
        1 => ingress(),
        1 => other(),
    ];
    edit_of(document)
}

/// Mostly of layer 7: what is beside it makes the next step one of everything.
fn edit_of_layer7() -> impl Strategy<Value = Edit> {
    let document = prop_oneof![
        16 => layer7::ingress(),
        4 => layer7::secret(),
        4 => layer7::config_map(),
        4 => slice(),
        2 => service(),
        1 => properties::service(),
        1 => other(),
    ];
    edit_of(document)
}

fn edit_of(document: impl Strategy<Value = String>) -> impl Strategy<Value = Edit> {
    (document, 0..5_u8)
        .prop_map(|(document, dice)| if dice == 0 { Edit::Delete(document) } else { Edit::Apply(document) })
}

/// Some edits are one pass.
fn history(edit: impl Strategy<Value = Edit>) -> impl Strategy<Value = Vec<Vec<Edit>>> {
    let pass = proptest::collection::vec(edit, 1..4);
    proptest::collection::vec(pass, 1..12)
}

fn object(document: &str) -> Object {
    let mut objects = parse(&std::path::Path::new("input.yaml").into(), document.as_bytes()).objects;
    assert_eq!(objects.len(), 1, "the generator writes what can be read: {document}");
    objects.remove(0)
}

/// An agent without anything around it.
struct Small {
    objects: Objects,
    translation: Translation,
    reconciler: Reconciler,
    desired: Arc<DesiredState>,
    compiled: Compiled,
    /// So many passes were made without making everything anew ...
    followed: usize,
    /// ... and so many hosts in them.
    hosts: usize,
}

impl Small {
    fn new(store: Box<dyn MapStore>) -> Self {
        Small {
            objects: Objects::new(1),
            translation: Translation::default(),
            reconciler: Reconciler::new(store).unwrap(),
            desired: Arc::default(),
            compiled: Compiled::default(),
            followed: 0,
            hosts: 0,
        }
    }

    fn take(&mut self, edits: &[Edit]) {
        for edit in edits {
            let event = match edit {
                Edit::Apply(document) => SourceEvent::Apply(object(document)),
                Edit::Delete(document) => SourceEvent::Delete(object(document).key()),
            };
            self.objects.handle(0, event);
        }
    }

    /// A pass as the main loop makes it.
    fn pass(&mut self, settings: &Settings, node: &Node) {
        let changes = self.objects.take_changes();
        match self.translation.amend(&mut self.desired, &self.objects, &changes, settings) {
            Some(changed) => {
                let followed = self.reconciler.follow(&mut self.compiled, &self.desired, &changed, node);
                if let Some(followed) = followed {
                    self.followed += 1;
                    self.hosts += followed.hosts;
                    return;
                }
            }
            None => self.desired = Arc::new(self.translation.renew(&self.objects, settings)),
        }
        for _ in 0..1_000 {
            let outcome = self.reconciler.run_once(&self.desired, node, Prune::All);
            self.compiled = outcome.compiled;
            if !outcome.needs_retry {
                return;
            }
        }
        panic!("does not settle");
    }
}

fn settings() -> Settings {
    Settings {
        node_name: "node-a".to_owned(),
        tcp_services_configmap: Some(("default".to_owned(), "tcp".to_owned())),
        configmap: Some(("default".to_owned(), "front".to_owned())),
        default_backend_service: Some(("default".to_owned(), "c".to_owned())),
        ..Settings::default()
    }
}

fn live(history: Vec<Vec<Edit>>, store: &MemoryStore, percent: u64, seed: u64) -> Result<Small, TestCaseError> {
    let mut small = Small::new(Box::new(FaultyStore::new(store.clone(), percent, seed)));
    let (settings, node) = (settings(), node());
    let mut told = Vec::new();
    for edits in history {
        small.take(&edits);
        small.pass(&settings, &node);
        let (desired, problems) = translate(&small.objects, &settings);
        prop_assert_eq!(&*small.desired, &desired);
        prop_assert!(small.translation.take_news() || told == problems, "nobody would hear of them");
        prop_assert_eq!(&small.translation.problems(&small.objects), &problems);
        told = problems;
        prop_assert_eq!(&store.tables(), &*small.compiled.tables);
        let (compiled, ids) = compile(&desired, &node, &Ids::restore(&store.tables()));
        prop_assert!(diff(&store.tables(), &compiled.tables).is_empty(), "{}", diff(&store.tables(), &compiled.tables));
        prop_assert_eq!(&small.compiled.backends, &compiled.backends);
        prop_assert_eq!(&*small.compiled.routes, &route_table(&desired));
        drop(ids);
    }
    Ok(small)
}

proptest! {
    #[test]
    fn what_follows_changes_is_what_is_made_from_scratch(history in history(edit())) {
        live(history, &MemoryStore::default(), 0, 1)?;
    }

    #[test]
    fn so_it_is_in_layer_7(history in history(edit_of_layer7())) {
        live(history, &MemoryStore::default(), 0, 1)?;
    }

    #[test]
    fn so_it_is_where_writes_fail(history in history(edit()), seed in any::<u64>()) {
        live(history, &MemoryStore::default(), 20, seed)?;
    }
}

fn web(pods: &[&str]) -> Edit {
    let endpoint = |pod: &&str| format!("{{addresses: ['{pod}']}}");
    let endpoints: Vec<_> = pods.iter().map(endpoint).collect();
    Edit::Apply(format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: s, labels: \
         {{kubernetes.io/service-name: a}}}}, addressType: IPv4, endpoints: [{}], ports: [{{port: 80}}]}}",
        endpoints.join(", ")
    ))
}

#[test]
fn ingresses_are_followed_and_for_their_status_nothing_is_made() {
    let ingress = |service: &str, status: &str| {
        Edit::Apply(format!(
            "{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: i}}, spec: {{defaultBackend: \
             {{service: {{name: {service}, port: {{number: 80}}}}}}}}, status: {{loadBalancer: {{ingress: [{status}]}}}}}}"
        ))
    };
    let history =
        vec![vec![ingress("a", "")], vec![ingress("a", "{ip: 192.0.2.1}")], vec![ingress("b", "{ip: 192.0.2.1}")]];
    let small = live(history, &MemoryStore::default(), 0, 1).unwrap();
    assert_eq!((small.followed, small.hosts), (2, 1));
}

#[test]
fn endpoints_that_come_and_go_are_followed() {
    let service = |port: u16| {
        Edit::Apply(format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: a}}, spec: {{clusterIP: 10.96.0.1, ports: [{{port: {port}}}]}}}}"
        ))
    };
    let history = vec![
        vec![service(80), web(&["10.244.0.1"])],
        vec![web(&["10.244.0.1", "10.244.0.2"])],
        vec![web(&["10.244.0.2"])],
        vec![web(&[])],
        vec![web(&["10.244.0.3"])],
        // others may have to hear of it
        vec![service(81)],
    ];
    assert_eq!(live(history, &MemoryStore::default(), 0, 1).unwrap().followed, 4);
}
