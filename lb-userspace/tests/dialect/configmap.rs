use crate::harness::{Site, config_map, ingress};
use crate::pod::{Pod, answer};

mod clients;
mod others;
mod proxies;

fn configured(data: &[(&str, &str)], annotations: &[(&str, &str)], pod: &Pod) -> Site {
    Site::configured(data, &ingress("web", "a.example", "/", annotations), &[("web", pod)])
}

#[test]
fn what_an_ingress_says_is_stronger_and_changes_are_in_force_at_once() {
    let pod = Pod::echo();
    let mut site = configured(&[("client-max-body-size", "1k")], &[], &pod);
    let body = ["--data", &"x".repeat(2000)];
    assert_eq!(site.get("a.example", "/", &body).status, 413);
    site.apply(
        &(config_map(&[("client-max-body-size", "1k"), ("proxy-body-size", "4k")])
            + &ingress("web", "a.example", "/", &[])),
    );
    assert_eq!(site.get("a.example", "/", &body).status, 200, "the current name is stronger");
    let own = ingress("web", "a.example", "/", &[("proxy-body-size", "10")]);
    site.apply(&(config_map(&[("proxy-body-size", "4k")]) + &own));
    assert_eq!(site.get("a.example", "/", &body).status, 413, "an annotation is stronger");
    assert!(site.problems.is_empty(), "{:?}", site.problems);
}

#[test]
fn what_is_to_protect_closes_all_routes_if_it_is_wrong() {
    let pod = Pod::echo();
    let mut site = configured(&[("whitelist-source-range", "192.0.2.0/24")], &[], &pod);
    assert_eq!(site.get("a.example", "/", &[]).status, 403);
    for (key, value) in [("whitelist-source-range", "127.0.0.0/33"), ("block-cidrs", "everybody")] {
        site.apply(&(config_map(&[(key, value)]) + &ingress("web", "a.example", "/", &[])));
        assert_eq!(site.get("a.example", "/", &[]).status, 503, "{key}");
        assert_eq!(site.codes(), ["configmap-invalid"], "{key}");
    }
    site.apply(&(config_map(&[("proxy-read-timeout", "soon")]) + &ingress("web", "a.example", "/", &[])));
    assert_eq!((site.get("a.example", "/", &[]).status, site.codes()), (200, vec!["configmap-invalid"]));
    assert!(pod.seen().len() == 1, "{:?}", pod.seen());
}

#[test]
fn unknown_and_refused_keys_are_told() {
    let pod = Pod::echo();
    let data = [("proxy-body-sise", "1m"), ("http-snippet", "lua;"), ("worker-processes", "4"), ("reuse-port", "true")];
    let site = configured(&data, &[], &pod);
    assert_eq!(site.codes(), ["configmap-key-refused", "configmap-key-unknown", "configmap-key-refused"]);
    let told: Vec<_> = site.problems.iter().map(|problem| problem.message.as_str()).collect();
    for part in ["perhaps proxy-body-size", "http-snippet is not honoured", "worker-processes"] {
        assert!(told.iter().any(|message| message.contains(part)), "{part}: {told:?}");
    }
    assert_eq!(site.get("a.example", "/", &[]).status, 200);
}

#[cfg(not(feature = "otlp"))]
#[test]
fn spans_need_a_weir_that_is_built_with_them() {
    let pod = Pod::echo();
    let data = [("enable-opentelemetry", "true"), ("otlp-collector-host", "tempo"), ("otel-sampler", "AlwaysOn")];
    let site = configured(&data, &[], &pod);
    assert_eq!(site.codes(), ["configmap-key-refused", "configmap-key-refused"]);
    assert!(site.problems.iter().all(|problem| problem.message.contains("built without spans")), "{:?}", site.problems);
}

#[test]
fn headers_of_all_requests_and_answers() {
    let pod = Pod::answering(|_| answer("200 OK", &[("Server", "pod"), ("X-Powered-By", "y"), ("X-Keep", "z")], "x"));
    let headers = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: to-pods}\n\
data: {X-From: \"weir $host\", X-Forwarded-Prefix: /global, Connection: close}\n\
---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: to-clients}\ndata: {X-Site: \"$request_method\"}\n";
    let data = [
        ("proxy-set-headers", "default/to-pods"),
        ("add-headers", "default/to-clients"),
        ("hide-headers", "X-Powered-By"),
        ("allow-backend-server-header", "false"),
        ("proxy-add-original-uri-header", "true"),
    ];
    let own = ingress("web", "a.example", "/", &[("x-forwarded-prefix", "/own")]);
    let mut site = Site::configured(&data, &(own.clone() + headers), &[("web", &pod)]);
    let reply = site.get("a.example", "/p?q=1", &[]);
    let headers_of = |name: &str| reply.header(name).map(str::to_owned);
    assert_eq!(["server", "x-powered-by"].map(headers_of), [None, None]);
    assert_eq!(["x-keep", "x-site"].map(headers_of), [Some("z".to_owned()), Some("GET".to_owned())]);
    let seen = pod.seen().remove(0);
    for (name, value) in [("x-from", "weir a.example"), ("x-forwarded-prefix", "/own"), ("x-original-uri", "/p?q=1")] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert_eq!(seen.header("connection"), None);
    assert_eq!(site.codes(), ["configmap-invalid"], "a header that frames the message: {:?}", site.problems);
    assert_eq!(site.get("nobody.example", "/", &[]).header("x-site"), Some("GET"), "answers of the front as well");

    site.apply(&(config_map(&[("server-tokens", "true")]) + &own));
    assert_eq!(site.get("a.example", "/", &[]).header("server"), Some("weir"));
    site.apply(&(config_map(&[]) + &own));
    assert_eq!(site.get("a.example", "/", &[]).header("server"), Some("pod"));
}

#[test]
fn ingresses_may_add_the_headers_that_are_allowed() {
    let pod = Pod::echo();
    let own = ingress("web", "a.example", "/", &[("custom-headers", "extra")])
        + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\ndata: {X-One: a, X-Two: b}\n";
    let site = Site::configured(&[("global-allowed-response-headers", "x-one, X-Three")], &own, &[("web", &pod)]);
    let reply = site.get("a.example", "/", &[]);
    assert_eq!((reply.header("x-one"), reply.header("x-two")), (Some("a"), None));
    assert_eq!(site.codes(), ["annotation-invalid"]);
}

#[test]
fn statuses_of_limits_are_as_asked() {
    let pod = Pod::echo();
    let limits = [("limit-rpm", "1"), ("limit-burst-multiplier", "1")];
    let site = configured(&[("limit-req-status-code", "429")], &limits, &pod);
    let statuses: Vec<_> = (0..3).map(|_| site.get("a.example", "/", &[]).status).collect();
    assert_eq!(statuses, [200, 429, 429]);
}

#[test]
fn connections_to_backends_are_kept_as_asked() {
    let pod = Pod::echo();
    for (data, connections) in [
        (("upstream-keepalive-connections", "0"), 4),
        (("upstream-keepalive-requests", "2"), 2),
        (("upstream-keepalive-requests", "1000"), 1),
    ] {
        let site = configured(&[data], &[], &pod);
        for _ in 0..4 {
            assert_eq!(site.get("a.example", "/", &[]).status, 200);
        }
        site.eventually("the counters to be told", || site.counters().requests.iter().sum::<u64>() >= 4);
        assert_eq!(site.counters().upstream_connections, connections, "{data:?}");
    }
}
