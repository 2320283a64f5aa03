use crate::harness::{Reply, Site, ingress};
use crate::pod::{Pod, answer};

const ON: (&str, &str) = ("weir.io/asset-fallback", "true");
const STRIPPED: [(&str, &str); 3] = [ON, ("rewrite-target", "/"), ("weir.io/rewrite", "prefix")];

/// What is named like a page is one; the body tells who answers, and what it was asked.
pub(crate) fn ui(name: &'static str) -> Pod {
    Pod::answering(move |asked| {
        let kind = match asked.line.split([' ', '?']).nth(1).and_then(|path| path.rsplit_once('.')) {
            Some((_, "css")) => "text/css",
            Some((_, "json")) => "application/json",
            _ => "text/html",
        };
        answer("200 OK", &[("Content-Type", kind), ("Vary", "Accept")], &format!("{name} {}", asked.line))
    })
}

/// Two pages of one host, of which the second keeps its prefix, and one that asks for nothing.
fn manifests() -> String {
    ingress("one", "a.example", "/service/s1/", &STRIPPED)
        + &ingress("two", "a.example", "/service/s2", &[ON])
        + &ingress("plain", "a.example", "/plain", &[])
}

fn ask(site: &Site, path: &str, headers: &[&str]) -> Reply {
    let arguments: Vec<_> = headers.iter().flat_map(|header| ["--header", header]).collect();
    site.get("a.example", path, &arguments)
}

fn cookie(reply: &Reply) -> Option<&str> {
    reply.header("set-cookie")?.split(';').next()
}

#[test]
fn what_a_page_asks_for_goes_where_the_page_came_from() {
    let (one, two, plain) = (ui("one"), ui("two"), ui("plain"));
    let site = Site::start(&manifests(), &[("one", &one), ("two", &two), ("plain", &plain)]);
    assert_eq!(site.codes(), ["literal-beside-regex"; 2], "{:?}", site.problems);
    for (path, referer, expected) in [
        ("/static/table.js?v=1", "http://a.example/service/s1/", "one GET /static/table.js?v=1 HTTP/1.1"),
        ("/static/table.js", "http://a.example/service/s2/list?x=/service/s1/", "two GET /static/table.js HTTP/1.1"),
        // The form in which it is routed is that in which it is forwarded.
        ("/static/./%7Ea%2Fb", "http://a.example/service/s1", "one GET /static/~a%2Fb HTTP/1.1"),
        // What has a rule of its own goes by it.
        ("/service/s2/x", "http://a.example/service/s1/", "two GET /service/s2/x HTTP/1.1"),
        ("/plain/x", "http://a.example/service/s1/", "plain GET /plain/x HTTP/1.1"),
    ] {
        assert_eq!(ask(&site, path, &[&format!("Referer: {referer}")]).body, expected, "{path} {referer}");
    }
    for referer in ["http://a.example/plain/", "http://b.example/service/s1/", "https://a.example/service/s1/", "x"] {
        assert_eq!(ask(&site, "/static/x", &[&format!("Referer: {referer}")]).status, 404, "{referer}");
    }
    assert_eq!(ask(&site, "/static/x", &[]).status, 404);
    // A path that servers read in different ways belongs to no page.
    let odd = ask(&site, "/static/..;/service/s2/x", &["Referer: http://a.example/service/s1/"]);
    assert_eq!(odd.status, 400, "{odd:?}");
    // Another host has nothing of it.
    assert_eq!(site.get("b.example", "/static/x", &["--referer", "http://b.example/service/s1/"]).status, 404);
}

#[test]
fn what_a_page_has_loaded_asks_by_the_cookie() {
    let (one, two, plain) = (ui("one"), ui("two"), ui("plain"));
    let site = Site::start(&manifests(), &[("one", &one), ("two", &two), ("plain", &plain)]);
    let (first, second) = (ask(&site, "/service/s1/", &[]), ask(&site, "/service/s2/", &[]));
    let set = first.header("set-cookie").expect("a cookie");
    assert!(set.ends_with("; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"), "{set}");
    assert_eq!(first.header("vary"), Some("Accept"));
    let (first, second) = (cookie(&first).expect("one").to_owned(), cookie(&second).expect("one").to_owned());
    assert_ne!(first, second);

    let by = |cookie: &str, more: &[&str]| {
        let cookie = format!("Cookie: a=b; {cookie}");
        let headers: Vec<_> = more.iter().copied().chain([cookie.as_str()]).collect();
        ask(&site, "/static/font.woff", &headers)
    };
    let style = "Referer: http://a.example/static/x.css";
    assert_eq!(by(&first, &[style]).body, "one GET /static/font.woff HTTP/1.1");
    assert_eq!(by(&second, &[style]).body, "two GET /static/font.woff HTTP/1.1");
    assert_eq!(by(&first, &[]).body, "one GET /static/font.woff HTTP/1.1");
    // The page that asks is stronger, also where it has nothing to do with either.
    assert_eq!(by(&first, &["Referer: http://a.example/service/s2/"]).body, "two GET /static/font.woff HTTP/1.1");
    assert_eq!(by(&first, &["Referer: http://a.example/plain/"]).status, 404);
    assert_eq!(by(&first, &["Referer: http://b.example/"]).status, 404);
    assert_eq!(by(&first, &["Sec-Fetch-Site: cross-site"]).status, 404);
    for forged in ["weir-asset-fallback=/service/s1/", "weir-asset-fallback=0000000000000001", "weir-asset-fallback="] {
        assert_eq!(by(forged, &[]).status, 404, "{forged}");
    }
    // Caches must not give one page what another asked for.
    let found = ask(&site, "/static/x.css", &["Referer: http://a.example/service/s1/"]);
    let varies: Vec<_> = found.headers.iter().filter(|(name, _)| name == "vary").map(|(_, on)| on.as_str()).collect();
    assert_eq!((varies, cookie(&found)), (vec!["*"], Some(first.as_str())));
    assert_eq!(ask(&site, "/static/none", &[]).header("vary"), Some("*"));
    // That a page polls does not get in the way of another that loads; other rules have no cookie at all.
    for path in ["/service/s1/x.json", "/plain/"] {
        assert_eq!(cookie(&ask(&site, path, &[])), None, "{path}");
    }
}

#[test]
fn filters_of_the_rule_hold_for_what_its_pages_ask_for() {
    let (one, other) = (ui("one"), ui("other"));
    let closed =
        |name, value| ingress("one", "a.example", "/service/s1/", &[ON, ("rewrite-target", "/"), (name, value)]);
    let pods = [("one", &one), ("other", &other)];
    let mut site = Site::start(&closed("whitelist-source-range", "192.0.2.0/24"), &pods);
    let from_page = "Referer: http://a.example/service/s1/";
    // The cookie of a rule is no secret: it opens nothing.
    site.apply(&ingress("one", "a.example", "/service/s1/", &STRIPPED));
    let by_cookie = format!("Cookie: {}", cookie(&ask(&site, "/service/s1/", &[])).expect("a cookie"));
    assert_eq!(ask(&site, "/static/x", &[&by_cookie]).status, 200);
    for (name, value, status) in [
        ("whitelist-source-range", "192.0.2.0/24", 403),
        ("denylist-source-range", "127.0.0.0/8", 403),
        ("whitelist-source-range", "nonsense", 503),
        ("auth-tls-secret", "none/such", 503),
        ("force-ssl-redirect", "true", 308),
        ("permanent-redirect", "/elsewhere", 301),
    ] {
        site.apply(&closed(name, value));
        let before = one.seen().len();
        for header in [from_page, &by_cookie] {
            assert_eq!(ask(&site, "/static/x", &[header]).status, status, "{name} {value} {header}");
        }
        assert_eq!(one.seen().len(), before, "{name} {value}");
    }
    let users = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: users}\nstringData: {auth: \"ann:{SHA}0DPiKuNIrrVmD8IUCuw1hQxNqZc=\"}\n";
    let asking = ingress("one", "a.example", "/service/s1/", &[ON, ("auth-type", "basic"), ("auth-secret", "users")]);
    site.apply(&(asking + users));
    for header in [from_page, &by_cookie] {
        assert_eq!(ask(&site, "/static/x", &[header]).status, 401, "{header}");
        // ann, password "admin"
        let login = "Authorization: Basic YW5uOmFkbWlu";
        assert_eq!(ask(&site, "/static/x", &[header, login]).body, "one GET /static/x HTTP/1.1", "{header}");
    }
    assert!(one.seen().last().is_some_and(|asked| asked.header("authorization").is_none()));
}

#[test]
fn default_backends_come_last_and_catch_all_rules_first() {
    let (one, other) = (ui("one"), ui("other"));
    let pods = [("one", &one), ("other", &other)];
    let first = ingress("one", "a.example", "/service/s1/", &STRIPPED);
    let default = |annotations: &[(&str, &str)]| {
        let backend = "  defaultBackend: {service: {name: other, port: {number: 80}}}\n";
        ingress("other", "a.example", "/none", annotations) + backend
    };
    let mut site = Site::start(&(first.clone() + &default(&[])), &pods);
    let from_page = ["Referer: http://a.example/service/s1/x"];
    assert_eq!(ask(&site, "/static/x", &from_page).body, "one GET /static/x HTTP/1.1");
    let other_answer = ask(&site, "/static/x", &[]);
    assert_eq!((other_answer.body.as_str(), cookie(&other_answer)), ("other GET /static/x HTTP/1.1", None));
    assert_eq!(other_answer.header("vary"), Some("*"));
    // A default backend is no rule whose pages could ask for anything.
    site.apply(&default(&[ON]));
    assert_eq!(cookie(&ask(&site, "/static/x", &[])), None);

    site.apply(&(first.clone() + &ingress("other", "a.example", "/", &[])));
    assert_eq!(ask(&site, "/static/x", &from_page).body, "other GET /static/x HTTP/1.1");
    assert_eq!(site.codes(), ["asset-fallback-unused"]);
    site.apply(&first.replace("\"true\"", "\"yes\""));
    assert_eq!((site.codes(), ask(&site, "/static/x", &from_page).status), (vec!["annotation-invalid"], 404));
}
