use crate::harness::{Site, ingress};
use crate::pod::{Pod, answer};

const CONFIG_MAP: &str = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n\
data: {X-Frame-Options: DENY, Server: \"$namespace/$ingress_name\", Content-Length: \"7\"}\n";

#[test]
fn the_backend_gets_another_host_and_a_prefix() {
    let pod = Pod::echo();
    let annotations = [
        ("upstream-vhost", "$service_name.internal"),
        ("x-forwarded-prefix", "/app"),
        ("connection-proxy-header", "close"),
    ];
    let site = Site::annotated(&annotations, &pod);
    let reply = site.get("a.example", "/x", &["--header", "X-Forwarded-Prefix: /evil"]);
    let seen = pod.seen();
    for (name, value) in [
        ("host", Some("web.internal")),
        ("x-forwarded-host", Some("a.example")),
        ("x-forwarded-prefix", Some("/app")),
        ("connection", Some("close")),
    ] {
        assert_eq!(seen[0].header(name), value, "{name}: {seen:?}");
    }
    assert_eq!(reply.status, 200);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
}

#[test]
fn answers_get_the_headers_of_a_config_map() {
    let pod = Pod::answering(|_| answer("200 OK", &[("Server", "pod"), ("X-Frame-Options", "ALLOW")], "x"));
    let mut site = Site::start(
        &(ingress("web", "a.example", "/", &[("custom-headers", "default/extra")]) + CONFIG_MAP),
        &[("web", &pod)],
    );
    let reply = site.get("a.example", "/", &[]);
    assert_eq!((reply.header("x-frame-options"), reply.header("server")), (Some("DENY"), Some("default/web")));
    assert_eq!((reply.body.as_str(), site.codes()), ("x", vec!["annotation-invalid"]), "{:?}", site.problems);
    assert!(site.problems[0].message.contains("Content-Length"), "{:?}", site.problems);

    for (named, code) in [("other/extra", "annotation-invalid"), ("default/none", "configmap-missing")] {
        site.apply(&(ingress("web", "a.example", "/", &[("custom-headers", named)]) + CONFIG_MAP));
        assert_eq!(site.codes(), [code], "{named}");
        assert_eq!(site.get("a.example", "/", &[]).header("server"), Some("pod"), "{named}");
    }
}

#[test]
fn locations_and_cookies_of_the_backend_are_the_clients() {
    let pod = Pod::answering(|_| {
        let headers = [
            ("Location", "http://pod.local/login"),
            ("Set-Cookie", "one=1; Domain=pod.local; Path=/app/"),
            ("Set-Cookie", "two=2; Path=/other"),
        ];
        answer("302 Found", &headers, "")
    });
    let annotations = [
        ("proxy-redirect-from", "http://pod.local/"),
        ("proxy-redirect-to", "https://$host/app/"),
        ("proxy-cookie-domain", "pod.local a.example"),
        ("proxy-cookie-path", "/app/ /"),
    ];
    let site = Site::annotated(&annotations, &pod);
    let reply = site.get("a.example", "/", &[]);
    assert_eq!(reply.header("location"), Some("https://a.example/app/login"));
    let cookies: Vec<_> =
        reply.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.as_str()).collect();
    assert_eq!(cookies, ["one=1; Domain=a.example; Path=/", "two=2; Path=/other"]);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
}
