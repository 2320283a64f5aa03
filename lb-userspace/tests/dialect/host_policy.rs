//! Which namespaces may claim which hosts, as requests see it.

use crate::certificates::{Authority, Kind, secret};
use crate::harness::{Site, config_map};
use crate::pod::Pod;

/// Service `web` of a namespace; its endpoint is the pod with this number.
fn team(namespace: &str, pod: u8, hosts: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}, annotations: {{weir.io/hosts: {hosts:?}}}}}\n\
---\napiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: {namespace}}}\nspec: {{ports: [{{port: 80, targetPort: 8080}}]}}\n\
---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n\
metadata: {{name: web-1, namespace: {namespace}, labels: {{kubernetes.io/service-name: web}}}}\n\
ports: [{{port: 8080}}]\nendpoints: [{{addresses: [192.0.2.{pod}]}}]\n"
    )
}

/// An Ingress of a namespace, as old as its year says.
fn claim(namespace: &str, name: &str, year: u16, host: &str, path: &str, annotations: &str) -> String {
    let host = if host == "*" { String::new() } else { format!("host: {host:?}, ") };
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\n\
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: '{year}-01-01T00:00:00Z', annotations: {{{annotations}}}}}\n\
spec: {{rules: [{{{host}http: {{paths: [{{path: {path:?}, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}}}]}}\n"
    )
}

/// Who answers.
fn who(site: &Site, host: &str, path: &str) -> String {
    let reply = site.get(host, path, &[]);
    if reply.status == 200 { reply.body } else { reply.status.to_string() }
}

fn policy(policy: Option<&str>, manifests: &str) -> String {
    config_map(policy.map(|policy| ("host-policy", policy)).as_slice()) + manifests
}

#[test]
fn a_host_belongs_to_whom_the_policy_says() {
    let (a, b) = (Pod::named("a"), Pod::named("b"));
    let manifests = team("team-a", 1, "shop.example, *.a.example")
        + &team("team-b", 2, "b.example")
        + &claim("team-a", "shop", 2021, "shop.example", "/", "")
        + &claim("team-b", "shop", 2022, "shop.example", "/b", "")
        + &claim("team-b", "own", 2022, "b.example", "/", "")
        + &claim("team-b", "all", 2020, "*", "/all", "")
        + &claim("team-a", "older", 2020, "x.a.example", "/", "")
        + &claim("team-b", "wild", 2019, "*.a.example", "/", "");
    let pods = [("none", &a), ("none-b", &b)];
    let mut site = Site::configured(&[], &manifests, &pods);
    let asked = |site: &Site| {
        let places = [
            ("shop.example", "/"),
            ("shop.example", "/b"),
            ("b.example", "/"),
            ("other.example", "/all"),
            ("x.a.example", "/"),
            ("y.a.example", "/"),
        ];
        places.map(|(host, path)| who(site, host, path))
    };

    // Off: everybody may add paths to every host.
    assert_eq!(asked(&site), ["a", "b", "b", "b", "a", "b"]);
    assert!(site.problems.is_empty(), "{:?}", site.problems);

    // The oldest Ingress that names a host has it for its namespace; a wildcard is a host of its own.
    site.apply(&policy(Some("first"), &manifests));
    assert_eq!(asked(&site), ["a", "a", "b", "b", "a", "b"]);
    assert_eq!(site.codes(), ["host-denied"]);
    let problem = &site.problems[0];
    assert_eq!((problem.object.namespace.as_deref(), problem.object.name.as_deref()), (Some("team-b"), Some("shop")));
    assert!(problem.message.contains("host shop.example belongs to namespace team-a"), "{}", problem.message);

    // Namespaces list their hosts; who is not allowed every host has no rules for all.
    site.apply(&policy(Some("granted"), &manifests));
    assert_eq!(asked(&site), ["a", "a", "b", "404", "a", "404"]);
    assert_eq!(site.codes(), ["host-denied"; 3]);
    assert!(site.problems.iter().all(|problem| problem.object.namespace.as_deref() == Some("team-b")));

    // What is granted is served at once, and what is taken back is not.
    site.apply(&policy(
        Some("granted"),
        &manifests.replace("hosts: \"b.example\"", "hosts: \"b.example, shop.example, *\""),
    ));
    assert_eq!((asked(&site), site.codes().len()), (["a", "b", "b", "b", "a", "b"].map(str::to_owned), 0));
    site.apply(&policy(Some("granted"), &manifests.replace("shop.example, *.a.example", "none.example")));
    assert_eq!(asked(&site)[0], "404");
    site.apply(&policy(None, &manifests));
    assert_eq!(asked(&site), ["a", "b", "b", "b", "a", "b"]);
}

#[test]
fn no_annotation_is_a_way_around_it() {
    let (a, b) = (Pod::named("a"), Pod::named("b"));
    let pods = [("none", &a), ("none-b", &b)];
    let teams = team("team-a", 1, "shop.example") + &team("team-b", 2, "b.example");
    let owner = claim("team-a", "shop", 2021, "shop.example", "/app/", "");
    for (policy_of, annotations, host) in [
        ("first", "nginx.ingress.kubernetes.io/server-alias: shop.example", "b.example"),
        ("granted", "nginx.ingress.kubernetes.io/server-alias: shop.example", "b.example"),
        ("granted", "nginx.ingress.kubernetes.io/server-alias: www.shop.example", "b.example"),
        ("granted", "weir.io/slash-redirect: 'true'", "shop.example"),
        (
            "first",
            "nginx.ingress.kubernetes.io/canary: 'true', nginx.ingress.kubernetes.io/canary-weight: '100'",
            "shop.example",
        ),
    ] {
        let other = claim("team-b", "other", 2022, host, "/app/", annotations);
        // Beside a host of its own, so that the Ingress has routes whatever the policy says.
        let own = "{host: b.example, http: {paths: [{path: /app/, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}, ";
        let other = if host == "b.example" { other } else { other.replace("rules: [", &format!("rules: [{own}")) };
        let site = Site::configured(&[("host-policy", policy_of)], &(teams.clone() + &owner + &other), &pods);
        assert_eq!(who(&site, "shop.example", "/app/"), "a", "{policy_of} {annotations}");
        assert_eq!(who(&site, "shop.example", "/app"), "a", "{policy_of} {annotations}");
        assert_ne!(who(&site, "www.shop.example", "/app/"), "b", "{policy_of} {annotations}");
        assert!(site.codes().contains(&"host-denied"), "{policy_of} {annotations}: {:?}", site.problems);
        if annotations.starts_with("weir.io/slash-redirect") {
            assert_eq!(who(&site, "b.example", "/app"), "301", "the annotation is honoured where the host is its own");
        }
        assert!(b.seen().is_empty(), "{policy_of} {annotations}");
    }
}

#[test]
fn nor_is_a_certificate_for_a_host_that_no_rule_names() {
    let (a, b) = (Pod::named("a"), Pod::named("b"));
    let (ours, theirs) = (Authority::new(), Authority::new());
    let of = |namespace: &str, manifest: String| {
        manifest.replace("metadata: {", &format!("metadata: {{namespace: {namespace}, "))
    };
    let over_tls = |manifest: String| {
        manifest.replace("spec: {rules:", "spec: {tls: [{hosts: [shop.example], secretName: pair}], rules:")
    };
    let manifests = [
        team("team-a", 1, ""),
        team("team-b", 2, ""),
        of("team-a", secret("pair", &ours.issue(&["shop.example"], Kind::Ecdsa))),
        of("team-b", secret("pair", &theirs.issue(&["shop.example"], Kind::Ecdsa))),
        over_tls(claim("team-a", "shop", 2021, "shop.example", "/", "")),
        // Older, for every host, and with a pair for one that is another's.
        over_tls(claim("team-b", "all", 2020, "*", "/all", "")),
    ]
    .concat();
    let mut site = Site::configured(&[], &manifests, &[("none", &a), ("none-b", &b)]);
    let shown = |site: &Site, authority: &Authority| {
        site.try_secured("shop.example", "/", &["--cacert", authority.path()]).is_ok_and(|reply| reply.body == "a")
    };
    assert!(shown(&site, &theirs) && !shown(&site, &ours), "without a policy the older one has it");
    site.apply(&policy(Some("first"), &manifests));
    assert!(shown(&site, &ours) && !shown(&site, &theirs), "the certificate is the other team's");
    let denied: Vec<_> = site.problems.iter().filter(|problem| problem.code == "host-denied").collect();
    assert_eq!(denied.len(), 1, "{:?}", site.problems);
    assert_eq!(denied[0].object.namespace.as_deref(), Some("team-b"));
}

fn own(name: &str, hosts: &str, namespaces: &str) -> String {
    format!(
        "---\napiVersion: weir.io/v1alpha1\nkind: HostPolicy\nmetadata: {{name: {name}}}\nspec: {{hosts: {hosts}, {namespaces}}}\n"
    )
}

#[test]
fn a_host_policy_comes_before_the_setting_and_the_closest_one_counts() {
    let (a, b) = (Pod::named("a"), Pod::named("b"));
    let claims = team("team-a", 1, "b.example")
        + &team("team-b", 2, "")
        + &claim("team-a", "early", 2019, "shop.example", "/", "")
        + &claim("team-b", "late", 2022, "shop.example", "/", "")
        + &claim("team-a", "below", 2022, "x.shop.example", "/", "")
        + &claim("team-b", "below", 2021, "y.shop.example", "/", "")
        + &claim("team-a", "free", 2022, "free.example", "/", "")
        + &claim("team-b", "catch", 2022, "*", "/", "")
        + &claim("team-a", "other", 2022, "b.example", "/", "");
    let policies = own("shop", "[shop.example]", "namespaces: [team-b]")
        + &own(
            "below",
            "['*.shop.example']",
            "namespaceSelectors: [{matchLabels: {kubernetes.io/metadata.name: team-a}}]",
        );
    let pods = [("none", &a), ("none-b", &b)];
    let mut site = Site::configured(&[], &policy(None, &(claims.clone() + &policies)), &pods);
    let asked = |site: &Site| {
        ["shop.example", "x.shop.example", "y.shop.example", "free.example", "other.example", "b.example"]
            .map(|host| who(site, host, "/"))
    };
    assert_eq!(
        asked(&site),
        ["b", "a", "b", "a", "b", "a"],
        "what y asks for is left out, and who takes every host answers"
    );
    assert_eq!(site.codes().iter().filter(|code| **code == "host-denied").count(), 2, "{:?}", site.codes());

    // Of the others the setting says what it said.
    let every = own("every", "['*']", "namespaces: [team-a]");
    site.apply(&policy(Some("granted"), &(claims.clone() + &policies)));
    assert_eq!(asked(&site), ["b", "a", "404", "404", "404", "a"]);
    site.apply(&policy(Some("granted"), &(claims + &policies + &every)));
    assert_eq!(asked(&site), ["b", "a", "404", "a", "404", "a"]);
}
