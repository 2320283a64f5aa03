use crate::harness::{Site, ingress};
use crate::pod::Pod;

#[test]
fn everything_is_sent_elsewhere() {
    let pod = Pod::echo();
    let mut site = Site::annotated(&[("permanent-redirect", "https://new.example$request_uri")], &pod);
    let reply = site.get("a.example", "/x/../y?q=1", &[]);
    assert_eq!((reply.status, reply.header("location")), (301, Some("https://new.example/x/../y?q=1")));

    site.apply(&ingress(
        "web",
        "a.example",
        "/",
        &[
            ("permanent-redirect", "https://never.example"),
            ("temporal-redirect", "$scheme://new.example/${host}"),
            ("temporal-redirect-code", "307"),
        ],
    ));
    let reply = site.get("A.Example:80", "/", &["--request", "POST"]);
    assert_eq!((reply.status, reply.header("location")), (307, Some("http://new.example/a.example")));
    assert!(pod.seen().is_empty(), "a request reached the backend");
    assert!(site.problems.is_empty(), "{:?}", site.problems);
}

#[test]
fn the_root_is_sent_to_the_application() {
    let pod = Pod::echo();
    let site = Site::annotated(&[("app-root", "/app/")], &pod);
    let reply = site.get("a.example", "/", &[]);
    assert_eq!((reply.status, reply.header("location")), (302, Some("/app/")));
    assert_eq!(site.get("a.example", "/app/", &[]).body, "GET /app/ HTTP/1.1");
}

#[test]
fn a_wrong_target_costs_the_redirect_only() {
    let pod = Pod::echo();
    let mut site = Site::annotated(&[], &pod);
    for (name, value) in [
        ("permanent-redirect", "javascript:alert(1)"),
        ("permanent-redirect", "//evil.example"),
        ("permanent-redirect", "https://$lua_x"),
        ("permanent-redirect", "https://a.example/\r\nSet-Cookie: a=b"),
        ("permanent-redirect-code", "200"),
        ("app-root", "https://a.example"),
    ] {
        site.apply(&ingress("web", "a.example", "/", &[(name, value)]));
        assert_eq!(site.codes(), ["annotation-invalid"], "{name}: {value}");
        assert_eq!(site.get("a.example", "/x", &[]).body, "GET /x HTTP/1.1", "{name}: {value}");
    }
    site.apply(&ingress("web", "a.example", "/", &[("permanent-redirekt", "/")]));
    assert_eq!(site.codes(), ["annotation-unknown"]);
    assert!(site.problems[0].message.contains("permanent-redirekt"), "{:?}", site.problems);
    site.apply(&ingress("web", "a.example", "/", &[("server-snippet", "return 200;")]));
    assert_eq!(site.codes(), ["annotation-refused"]);
}
