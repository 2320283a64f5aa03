use crate::harness::{Site, ingress};
use crate::pod::{Pod, answer};

const PAGES: [(&str, &str); 2] = [("custom-http-errors", "404,503,401"), ("default-backend", "pages")];

/// Answers with the code that it is told, unless that is 503.
fn pages() -> Pod {
    Pod::answering(|asked| match asked.header("x-code") {
        Some("404") => answer("404 Not Found", &[("Content-Type", "text/html"), ("X-Page", "1")], "<b>lost</b>"),
        _ => answer("200 OK", &[("Content-Type", "text/html")], "<b>sorry</b>"),
    })
}

fn web() -> Pod {
    Pod::answering(|asked| match asked.line.split(' ').nth(1) {
        Some("/lost?a=b") => answer("404 Not Found", &[("X-Web", "1")], "raw"),
        Some("/bad") => answer("502 Bad Gateway", &[], "raw"),
        _ => answer("200 OK", &[], &asked.line),
    })
}

#[test]
fn errors_get_a_page_of_ones_own() {
    let (web, pages) = (web(), pages());
    let mut site = Site::start(&ingress("web", "a.example", "/", &PAGES), &[("web", &web), ("pages", &pages)]);
    let accept = ["--header", "Accept: text/html", "--header", "If-None-Match: x", "--data", "body"];
    let reply = site.get("a.example", "/lost?a=b", &accept);
    assert_eq!((reply.status, reply.body.as_str()), (404, "<b>lost</b>"));
    for (name, value) in [("content-type", Some("text/html")), ("x-page", Some("1")), ("x-web", None)] {
        assert_eq!(reply.header(name), value, "{name}");
    }
    let asked = &pages.seen()[0];
    assert_eq!((asked.line.as_str(), asked.body.len()), ("GET / HTTP/1.1", 0));
    for (name, value) in [
        ("x-code", Some("404")),
        ("x-format", Some("text/html")),
        ("x-original-uri", Some("/lost?a=b")),
        ("x-namespace", Some("default")),
        ("x-ingress-name", Some("web")),
        ("x-service-name", Some("web")),
        ("x-service-port", Some("80")),
        ("host", Some("a.example")),
        ("if-none-match", None),
    ] {
        assert_eq!(asked.header(name), value, "{name}");
    }
    assert_eq!((site.get("a.example", "/bad", &[]).body.as_str(), pages.seen().len()), ("raw", 1));
    assert_eq!(site.get("a.example", "/", &[]).body, "GET / HTTP/1.1");
    assert!(site.problems.is_empty(), "{:?}", site.problems);

    let annotations = [&PAGES[..], &[("disable-proxy-intercept-errors", "true")]].concat();
    site.apply(&ingress("web", "a.example", "/", &annotations));
    assert_eq!(site.get("a.example", "/lost?a=b", &[]).body, "raw");
}

#[test]
fn errors_of_the_front_get_one_too() {
    let (web, pages) = (web(), pages());
    let annotations = [&PAGES[..], &[("auth-type", "basic"), ("auth-secret", "none")]].concat();
    let mut site = Site::start(&ingress("web", "a.example", "/", &annotations), &[("web", &web), ("pages", &pages)]);
    let reply = site.get("a.example", "/", &[]);
    assert_eq!((reply.status, reply.body.as_str()), (200, "<b>sorry</b>"));
    assert_eq!((pages.seen()[0].header("x-code"), web.seen().len()), (Some("503"), 0));
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: none}\n\
stringData: {auth: \"cid:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=\"}\n";
    site.apply(&(ingress("web", "a.example", "/", &annotations) + secret));
    let reply = site.get("a.example", "/", &[]);
    assert_eq!((reply.body.as_str(), reply.header("www-authenticate")), ("<b>sorry</b>", Some("Basic realm=\"\"")));
    assert_eq!(site.get("a.example", "/", &["--user", "cid:myPassword"]).body, "GET / HTTP/1.1");
}

#[test]
fn where_there_is_no_endpoint_the_default_backend_stands_in() {
    let pages = Pod::answering(|asked| answer("200 OK", &[], &asked.line));
    let manifests = ingress("gone", "a.example", "/", &[("default-backend", "pages")]);
    let mut site = Site::start(&manifests, &[("pages", &pages)]);
    assert_eq!(site.get("a.example", "/x?y=1", &["--data", "body"]).body, "POST /x?y=1 HTTP/1.1");
    let asked = &pages.seen()[0];
    assert_eq!((asked.header("x-code"), asked.header("x-service-name")), (Some("503"), Some("gone")));
    assert_eq!(asked.body, b"body");
    for (value, codes) in
        [("none", &["annotation-invalid", "service-missing"][..]), ("a/b", &["annotation-invalid", "service-missing"])]
    {
        site.apply(&ingress("gone", "a.example", "/", &[("default-backend", value)]));
        assert_eq!((site.get("a.example", "/", &[]).status, site.codes().as_slice()), (503, codes), "{value}");
    }
}

#[test]
fn without_a_page_the_error_stays() {
    let web = web();
    let mut site = Site::annotated(&[("custom-http-errors", "404")], &web);
    assert_eq!(site.get("a.example", "/lost?a=b", &[]).body, "raw");
    site.apply(&ingress("web", "a.example", "/", &[("custom-http-errors", "all")]));
    assert_eq!(
        (site.get("a.example", "/lost?a=b", &[]).body.as_str(), site.codes()),
        ("raw", vec!["annotation-invalid"])
    );
}

#[test]
fn a_page_is_not_asked_for_with_what_the_client_made_up() {
    let (web, pages) = (web(), pages());
    let auth = Pod::answering(|_| answer("401 Unauthorized", &[], ""));
    let url = ("auth-url", "http://auth.default.svc.cluster.local/check");
    let annotations = [&PAGES[..], &[url, ("auth-response-headers", "X-User")]].concat();
    let pods = [("web", &web), ("pages", &pages), ("auth", &auth)];
    let site = Site::start(&ingress("web", "a.example", "/", &annotations), &pods);
    let forged = ["--header", "X-User: admin", "--header", "X-Other: 1"];
    assert_eq!(site.get("a.example", "/", &forged).body, "<b>sorry</b>");
    let asked = &pages.seen()[0];
    assert_eq!(["x-code", "x-user", "x-other"].map(|name| asked.header(name)), [Some("401"), None, Some("1")]);
}
