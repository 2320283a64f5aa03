//! The tables of the Kubernetes documentation (concepts/services-networking/ingress): from manifests to the router's
//! decision.

use crate::compile::route_table;
use crate::l7::router::{Decision, Router};
use crate::source::dir;
use crate::translate::{Settings, translate};

/// The router for an Ingress with these rules: host, path type, path. Each has a Service of its own, by its number.
fn router(rules: &[(&str, &str, &str)], default: bool) -> Router {
    let mut text = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: x}\nspec:\n".to_owned();
    if default {
        text += "  defaultBackend: {service: {name: default, port: {number: 80}}}\n";
    }
    text += "  rules:\n";
    for (number, (host, kind, path)) in rules.iter().enumerate() {
        text += &format!(
            "  - {{host: {host:?}, http: {{paths: [{{path: {path:?}, pathType: {kind}, backend: {{service: {{name: s{number}, port: {{number: 80}}}}}}}}]}}}}\n"
        );
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("x.yaml"), text).unwrap();
    let (desired, _) = translate(&dir::read(directory.path()).unwrap(), &Settings::default());
    Router::new(1, &route_table(&desired))
}

/// The Service that gets a request; `-`: nobody.
fn service(router: &Router, host: &str, path: &str) -> String {
    match router.route(host, path).unwrap() {
        Decision::Forward { rule, .. } => rule.entry.service.trim_start_matches("default/").to_owned(),
        Decision::NotFound => "-".to_owned(),
        Decision::Ambiguous => "?".to_owned(),
    }
}

#[test]
fn paths_match_as_the_table_of_examples_says() {
    type Paths = &'static [(&'static str, &'static str)];
    let table: &[(Paths, &str, &str)] = &[
        (&[("Prefix", "/")], "/any/path", "s0"),
        (&[("Exact", "/foo")], "/foo", "s0"),
        (&[("Exact", "/foo")], "/bar", "default"),
        (&[("Exact", "/foo")], "/foo/", "default"),
        (&[("Exact", "/foo/")], "/foo", "default"),
        (&[("Prefix", "/foo")], "/foo", "s0"),
        (&[("Prefix", "/foo")], "/foo/", "s0"),
        (&[("Prefix", "/foo/")], "/foo", "s0"),
        (&[("Prefix", "/foo/")], "/foo/", "s0"),
        (&[("Prefix", "/aaa/bb")], "/aaa/bbb", "default"),
        (&[("Prefix", "/aaa/bbb")], "/aaa/bbb", "s0"),
        (&[("Prefix", "/aaa/bbb/")], "/aaa/bbb", "s0"),
        (&[("Prefix", "/aaa/bbb")], "/aaa/bbb/", "s0"),
        (&[("Prefix", "/aaa/bbb")], "/aaa/bbb/ccc", "s0"),
        (&[("Prefix", "/aaa/bbb")], "/aaa/bbbxyz", "default"),
        (&[("Prefix", "/"), ("Prefix", "/aaa")], "/aaa/ccc", "s1"),
        (&[("Prefix", "/"), ("Prefix", "/aaa"), ("Prefix", "/aaa/bbb")], "/aaa/bbb", "s2"),
        (&[("Prefix", "/"), ("Prefix", "/aaa"), ("Prefix", "/aaa/bbb")], "/ccc", "s0"),
        (&[("Prefix", "/aaa")], "/ccc", "default"),
        (&[("Prefix", "/foo"), ("Exact", "/foo")], "/foo", "s1"),
    ];
    for (paths, path, expected) in table {
        let rules: Vec<_> = paths.iter().map(|(kind, path)| ("foo.com", *kind, *path)).collect();
        assert_eq!(service(&router(&rules, true), "foo.com", path), *expected, "{paths:?} {path}");
    }
}

#[test]
fn wildcards_match_as_the_table_of_hosts_says() {
    let wildcard = router(&[("*.foo.com", "Prefix", "/")], false);
    for (host, expected) in [("bar.foo.com", "s0"), ("baz.bar.foo.com", "-"), ("foo.com", "-")] {
        assert_eq!(service(&wildcard, host, "/"), expected, "{host}");
    }
    let both = router(&[("*.foo.com", "Prefix", "/"), ("bar.foo.com", "Prefix", "/x")], false);
    for (host, path, expected) in [("bar.foo.com", "/x", "s1"), ("bar.foo.com", "/y", "-"), ("a.foo.com", "/x", "s0")] {
        assert_eq!(service(&both, host, path), expected, "{host}{path}");
    }
}
