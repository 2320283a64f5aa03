//! Properties over arbitrary small sets of objects.

use proptest::prelude::*;
use proptest::sample::select;

use crate::source::parse::parse;
use crate::source::{Object, Objects, SourceEvent};
use crate::translate::{Settings, translate};

/// A few words from which collisions come, among them bad ones.
fn word() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "web", "weir", "http", "", "Not A Name", "*.example.com", "shop.example.com"])
}

fn number() -> impl Strategy<Value = i64> {
    select(vec![80, 443, 8080, 30080, 30081, 0, -1, 70000, i64::MAX])
}

fn address() -> impl Strategy<Value = &'static str> {
    select(vec!["10.0.0.1", "10.0.0.2", "2001:db8::1", "127.0.0.1", "nonsense", "", "None"])
}

pub(crate) fn service() -> impl Strategy<Value = String> {
    let kinds = select(vec!["ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "Unheard"]);
    let port = (word(), number(), select(vec!["TCP", "UDP", "SCTP", "?"]), number(), any::<bool>());
    let port = port.prop_map(|(name, port, protocol, node_port, fixed)| {
        let node_port = if fixed { format!(", nodePort: {node_port}") } else { String::new() };
        format!("{{name: '{name}', port: {port}, protocol: '{protocol}', targetPort: '{name}'{node_port}}}")
    });
    let head = (select(vec!["a", "b", "c"]), kinds, address(), address(), word(), 0..3_u8);
    (head, prop::collection::vec(port, 0..4)).prop_map(|((name, kind, cluster, external, label, age), ports)| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, creationTimestamp: '202{age}-01-01T00:00:00Z'}}, \
             spec: {{type: {kind}, externalName: '{label}', clusterIP: '{cluster}', externalIPs: ['{external}'], ports: [{}], \
             selector: {{app.kubernetes.io/name: '{label}'}}}}, \
             status: {{loadBalancer: {{ingress: [{{ip: '{external}'}}]}}}}}}",
            ports.join(", ")
        )
    })
}

pub(crate) fn slice() -> impl Strategy<Value = String> {
    (select(vec!["a", "b"]), select(vec!["s", "t"]), address(), number(), word(), any::<bool>()).prop_map(
        |(service, name, address, port, port_name, ready)| {
            format!(
                "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: {name}, \
                 labels: {{kubernetes.io/service-name: {service}}}}}, endpoints: [{{addresses: ['{address}'], \
                 conditions: {{ready: {ready}}}}}], ports: [{{name: '{port_name}', port: {port}}}]}}"
            )
        },
    )
}

pub(crate) fn ingress() -> impl Strategy<Value = String> {
    let path = select(vec!["/", "/a", "/a/", "/a(/|$)(.*)", "/a(", "a", "", "/ü"]);
    let target = select(vec!["", "b", "$1", "x$3/", "..", "$host", "?a=$1", "%"]);
    let kind = select(vec!["Exact", "Prefix", "ImplementationSpecific", "Other"]);
    (select(vec!["x", "y"]), word(), path, kind, select(vec!["a", "b", "z"]), number(), target).prop_map(
        |(name, host, path, kind, service, port, rewrite)| {
            format!(
                "{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: {name}, annotations: \
                 {{nginx.ingress.kubernetes.io/rewrite-target: '/{rewrite}'}}}}, spec: {{rules: [{{host: '{host}', http: \
                 {{paths: [{{path: '{path}', pathType: {kind}, backend: {{service: {{name: {service}, port: \
                 {{number: {port}}}}}}}}}]}}}}]}}}}"
            )
        },
    )
}

fn objects() -> impl Strategy<Value = Vec<Object>> {
    let document = prop_oneof![3 => service(), 2 => slice(), 2 => ingress()];
    prop::collection::vec(document, 0..12).prop_map(|documents| {
        let file = std::path::Path::new("input.yaml").into();
        let parsed = parse(&file, documents.join("\n---\n").as_bytes());
        assert!(parsed.problems.is_empty(), "the generator writes what can be read: {:?}", parsed.problems);
        let mut objects = parsed.objects;
        let mut keys = std::collections::HashSet::new();
        objects.retain(|object| keys.insert(object.key()));
        objects
    })
}

fn store(objects: impl IntoIterator<Item = Object>) -> Objects {
    let mut store = Objects::new(1);
    objects.into_iter().for_each(|object| store.handle(0, SourceEvent::Apply(object)));
    store
}

proptest! {
    #[test]
    fn the_order_of_the_objects_does_not_matter((objects, shuffled) in objects().prop_flat_map(|objects| {
        (Just(objects.clone()), Just(objects).prop_shuffle())
    })) {
        let settings = Settings::default();
        prop_assert_eq!(translate(&store(objects), &settings), translate(&store(shuffled), &settings));
    }

    #[test]
    fn no_two_services_share_a_frontend(objects in objects()) {
        let (desired, _) = translate(&store(objects), &Settings::default());
        let mut seen = std::collections::HashSet::new();
        for service in desired.services.values() {
            for frontend in &service.frontends {
                let frontend = (frontend.address, frontend.port, service.key.protocol);
                prop_assert!(seen.insert(frontend), "{:?} twice", frontend);
            }
        }
    }

    #[test]
    fn routes_lead_to_services_that_exist_or_say_why_not(objects in objects()) {
        let (desired, problems) = translate(&store(objects), &Settings::default());
        for route in desired.routes.values() {
            match &route.backend.resolved {
                Some(key) => {
                    let alias = (key.namespace.clone(), key.name.clone());
                    prop_assert!(desired.services.contains_key(key) || desired.externals.contains_key(&alias));
                }
                None => {
                    prop_assert!(route.problem.is_some());
                    prop_assert!(problems.iter().any(|problem| problem.object.kind.as_deref() == Some("Ingress")));
                }
            }
        }
    }

    #[test]
    fn every_problem_names_an_object_and_a_line(objects in objects()) {
        let (_, problems) = translate(&store(objects), &Settings::default());
        for problem in problems {
            prop_assert!(problem.object.name.is_some() && problem.field.is_some(), "{:?}", problem);
            prop_assert!(problem.file.is_some() && problem.line.is_some(), "{:?}", problem);
        }
    }
}
