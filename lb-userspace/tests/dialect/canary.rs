use crate::harness::{Site, ingress};
use crate::pod::Pod;

/// Main and canary for the same host and path.
fn both(main: &[(&str, &str)], canary: &[(&str, &str)]) -> String {
    let canary = [&[("canary", "true")][..], canary].concat();
    ingress("web", "a.example", "/x", main) + &ingress("next", "a.example", "/x", &canary)
}

fn body(site: &Site, headers: &[&str]) -> String {
    let arguments: Vec<_> = headers.iter().flat_map(|header| ["--header", header]).collect();
    site.get("a.example", "/x/y", &arguments).body
}

#[test]
fn by_header_cookie_and_weight() {
    let (web, next) = (Pod::named("web"), Pod::named("next"));
    let pods = [("web", &web), ("next", &next)];
    let rules = [("canary-by-header", "X-Canary"), ("canary-by-cookie", "canary")];
    let mut site = Site::start(&both(&[], &rules), &pods);
    assert_eq!(body(&site, &[]), "web");
    assert_eq!(body(&site, &["X-Canary: always", "Cookie: canary=never"]), "next");
    assert_eq!(body(&site, &["X-Canary: perhaps", "Cookie: canary=always"]), "next");
    assert_eq!(body(&site, &["X-Canary: never", "Cookie: canary=always"]), "web");
    assert!(site.problems.is_empty(), "{:?}", site.problems);

    site.apply(&both(&[], &[rules[0], ("canary-by-header-value", "eu"), ("canary-weight", "0")]));
    assert_eq!([body(&site, &["X-Canary: eu"]), body(&site, &["X-Canary: always"])], ["next", "web"]);
    site.apply(&both(&[], &[rules[0], ("canary-by-header-pattern", "^v[23]$")]));
    assert_eq!([body(&site, &["X-Canary: v3"]), body(&site, &["X-Canary: v31"])], ["next", "web"]);

    site.apply(&both(&[], &[("canary-weight", "100")]));
    assert_eq!(body(&site, &[]), "next");
    site.apply(&both(&[], &[("canary-weight", "500"), ("canary-weight-total", "1000")]));
    let to_next = (0..60).filter(|_| body(&site, &[]) == "next").count();
    // 60 times a half: 16 would be off by 3.6 standard deviations.
    assert!((16..=44).contains(&to_next), "{to_next}");
    assert!(site.problems.is_empty(), "{:?}", site.problems);
}

#[test]
fn the_main_one_has_the_other_settings() {
    let (web, next) = (Pod::echo(), Pod::echo());
    let pods = [("web", &web), ("next", &next)];
    let manifest =
        both(&[("rewrite-target", "/")], &[("canary-weight", "100"), ("denylist-source-range", "0.0.0.0/0")]);
    let site = Site::start(&manifest, &pods);
    assert_eq!(body(&site, &[]), "GET /y HTTP/1.1");
    assert_eq!((web.seen().len(), next.seen().len()), (0, 1));
}

#[test]
fn clients_stay_where_they_are() {
    let (web, next) = (Pod::named("web"), Pod::named("next"));
    let pods = [("web", &web), ("next", &next)];
    let affinity = [("affinity", "cookie")];
    let first = |site: &Site| {
        let reply = site.get("a.example", "/x", &[]);
        let cookie = reply.header("set-cookie").expect("a cookie").split(';').next().expect("a pair").to_owned();
        (reply.body, format!("Cookie: {cookie}"))
    };
    let mut site = Site::start(&both(&affinity, &[("canary-weight", "100")]), &pods);
    let (owner, cookie) = first(&site);
    assert_eq!(owner, "next");
    site.apply(&both(&affinity, &[("canary-weight", "0"), ("canary-by-header", "X-Canary")]));
    assert_eq!(body(&site, &[&cookie, "X-Canary: never"]), "next");
    let (owner, cookie) = first(&site);
    assert_eq!((owner.as_str(), body(&site, &[&cookie, "X-Canary: always"]).as_str()), ("web", "web"));
    let legacy = [("canary-by-header", "X-Canary"), ("affinity-canary-behavior", "legacy")];
    site.apply(&both(&affinity, &legacy));
    assert_eq!(body(&site, &[&cookie, "X-Canary: always"]), "next");
}

#[test]
fn what_is_wrong_is_said() {
    let (web, next) = (Pod::named("web"), Pod::named("next"));
    let pods = [("web", &web), ("next", &next)];
    let canary = [("canary", "true"), ("canary-weight", "100")];
    let alone = ingress("next", "a.example", "/other", &canary);
    let mut site = Site::start(&(ingress("web", "a.example", "/x", &[]) + &alone), &pods);
    assert_eq!(site.codes(), ["canary-without-main"]);
    assert_eq!(body(&site, &[]), "web");
    assert_eq!(site.get("a.example", "/other", &[]).status, 404);

    let foreign = ingress("next", "a.example", "/x", &canary)
        .replace("name: next\n  ann", "name: next\n  namespace: other\n  ann");
    site.apply(&(ingress("web", "a.example", "/x", &[]) + &foreign));
    assert!(site.codes().contains(&"canary-without-main"), "{:?}", site.problems);
    assert_eq!(body(&site, &[]), "web");

    let wrong = [("canary-weight", "many"), ("canary-by-header-pattern", "("), ("canary-by-header", "a b")];
    site.apply(&both(&[], &wrong));
    assert_eq!(site.codes(), ["annotation-invalid"; 3]);
    assert_eq!(body(&site, &[]), "web");
}
