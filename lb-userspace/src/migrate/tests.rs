use super::*;
use crate::source::Objects;

const OLD: &str = r#"# The shop.
apiVersion: extensions/v1beta1
kind: Ingress
metadata:
  name: shop
  annotations: {nginx.ingress.kubernetes.io/rewrite-target: /, kubernetes.io/ingress.class: "weir", note: "yes: \"quoted\""}
spec:
  backend: {serviceName: other, servicePort: http}
  tls: []
  rules:
  - host: "*.example"
    http:
      paths:
      - backend: {serviceName: web, servicePort: "80"}
      - path: /a
        pathType: Exact
        backend: {resource: {apiGroup: x, kind: Bucket, name: z}}
---
# Stays, with its comment.
apiVersion: v1
kind: Service
metadata: {name: web}   # here as well
spec: {ports: [{port: 80}, {port: 81, name: b}]}
---
apiVersion: v1
kind: List
items:
- apiVersion: discovery.k8s.io/v1beta1
  kind: EndpointSlice
  metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
  addressType: IPv4
  endpoints: [{addresses: [192.0.2.1], topology: {kubernetes.io/hostname: a, topology.kubernetes.io/zone: z, other: x}}]
  ports: [{port: 8080}]
"#;

fn run(text: &str) -> (Migrated, Objects) {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("old.yaml"), text).expect("written");
    let migrated = migrate(directory.path(), &Settings::default()).expect("readable");
    std::fs::write(directory.path().join("old.yaml"), &migrated.text).expect("written");
    let objects = dir::read(directory.path()).expect("readable");
    (migrated, objects)
}

#[test]
fn old_documents_become_those_of_today() {
    let (migrated, objects) = run(OLD);
    assert!(objects.problems().is_empty(), "{:?}\n{}", objects.problems(), migrated.text);
    assert!(!migrated.text.contains("v1beta1"), "{}", migrated.text);
    let expected = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
  annotations:
    nginx.ingress.kubernetes.io/rewrite-target: /
    kubernetes.io/ingress.class: weir
    note: \"yes: \\\"quoted\\\"\"
spec:
  defaultBackend:
    service:
      name: other
      port:
        name: http
  tls: []
  rules:
  - host: \"*.example\"
    http:
      paths:
      - pathType: ImplementationSpecific
        backend:
          service:
            name: web
            port:
              number: 80
      - path: /a
        pathType: Exact
        backend:
          resource:
            apiGroup: x
            kind: Bucket
            name: z
";
    assert!(migrated.text.contains(expected), "{}", migrated.text);
    assert!(migrated.text.contains("# The shop.\napiVersion"), "{}", migrated.text);
    assert!(migrated.text.contains("metadata: {name: web}   # here as well\n"), "{}", migrated.text);
    let slice = objects.endpoint_slice("default", "web-1").expect("it is there");
    assert_eq!(slice.endpoints[0].node(), Some("a"));
    assert!(!objects.ingress("default", "shop").expect("it is there").beta);
}

#[test]
fn the_report_names_what_changed_and_what_differs() {
    let (migrated, _) = run(OLD);
    let told: Vec<_> = migrated
        .changes
        .iter()
        .map(|change| (change.line, change.object.as_str(), change.to, change.notes.len()))
        .collect();
    assert_eq!(
        told,
        [
            (1, "Ingress default/shop", "networking.k8s.io/v1", 2),
            (25, "EndpointSlice default/web-1", "discovery.k8s.io/v1", 1)
        ]
    );
    assert!(migrated.text.starts_with("---\n# warning["), "{}", migrated.text);
    assert!(migrated.text.contains("# info[rewrite-ambiguous]: Ingress default/shop"), "{}", migrated.text);
}

#[test]
fn what_is_migrated_means_the_same_and_stays() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/seeds");
    let migrated = migrate(&seeds, &Settings::default()).expect("readable");
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("new.yaml"), &migrated.text).expect("written");
    let translated =
        |path: &Path| crate::translate::translate(&dir::read(path).expect("readable"), &Settings::default());
    let (old, new) = (translated(&seeds), translated(directory.path()));
    assert_eq!(old.0, new.0, "{}", migrated.text);
    assert_eq!(old.1.len(), new.1.len());
    assert!(migrated.changes.len() >= 4, "{:?}", migrated.changes);
    let again = migrate(directory.path(), &Settings::default()).expect("readable");
    assert!(again.changes.is_empty(), "{:?}", again.changes);
}
