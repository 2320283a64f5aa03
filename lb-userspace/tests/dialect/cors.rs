use crate::harness::{Reply, Site};
use crate::pod::{Pod, answer};

fn from(site: &Site, origin: &str, arguments: &[&str]) -> Reply {
    let origin = format!("Origin: {origin}");
    site.get("a.example", "/", &[&["--header", &origin], arguments].concat())
}

#[test]
fn all_origins_are_allowed_where_nothing_else_is_said() {
    let pod = Pod::echo();
    let site = Site::annotated(&[("enable-cors", "true"), ("cors-max-age", "600")], &pod);
    let reply = from(&site, "https://page.example", &["--request", "OPTIONS"]);
    assert_eq!(reply.status, 204);
    assert!(pod.seen().is_empty(), "the preflight reached the backend");
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET, PUT, POST, DELETE, PATCH, OPTIONS"),
        ("access-control-max-age", "600"),
        ("access-control-allow-credentials", "true"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    let reply = from(&site, "https://page.example", &[]);
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some("*")));
}

#[test]
fn other_origins_get_no_headers() {
    let pod = Pod::answering(|_| answer("200 OK", &[("Access-Control-Allow-Origin", "https://pod.example")], "x"));
    let annotations = [
        ("enable-cors", "true"),
        ("cors-allow-origin", "https://*.good.example, http://one.example:8080"),
        ("cors-allow-credentials", "false"),
        ("cors-expose-headers", "X-One, X-Two"),
    ];
    let site = Site::annotated(&annotations, &pod);
    for origin in ["https://a.good.example", "http://one.example:8080"] {
        let reply = from(&site, origin, &[]);
        assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
        assert_eq!((reply.header("vary"), reply.header("access-control-allow-credentials")), (Some("Origin"), None));
        assert_eq!(reply.header("access-control-expose-headers"), Some("X-One, X-Two"));
    }
    for origin in ["https://good.example", "http://one.example", "https://a.good.example.evil"] {
        let reply = from(&site, origin, &["--request", "OPTIONS"]);
        assert_eq!(reply.status, 200, "{origin} was allowed");
        assert_eq!(reply.header("access-control-allow-origin"), Some("https://pod.example"), "{origin}");
    }
}

#[test]
fn a_wrong_origin_is_named() {
    let pod = Pod::echo();
    let site = Site::annotated(&[("enable-cors", "true"), ("cors-allow-origin", "a.example")], &pod);
    assert_eq!(site.codes(), ["annotation-invalid"]);
}
