use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use hyper::Request;

use super::*;
use crate::l7::testing::entry;
use crate::l7::tls::Session;
use crate::model::filters::Filters;

fn fallback(path: PathMatch, ingress: &str) -> RouteEntry {
    let filters = Arc::new(Filters { asset_fallback: true, ..Filters::default() });
    RouteEntry { filters, ingress: ingress.into(), ..entry(path, None) }
}

fn prefix(text: &str, ingress: &str) -> RouteEntry {
    fallback(PathMatch::Prefix(text.into()), ingress)
}

fn rules() -> HostRules {
    let plain = |path: PathMatch| RouteEntry { ingress: "d/plain".into(), ..entry(path, None) };
    let entries = [
        prefix("/s/1/", "d/one"),
        prefix("/s/2", "d/two"),
        plain(PathMatch::Prefix("/plain".into())),
        plain(PathMatch::Default),
    ];
    HostRules::new(&entries, &HashMap::new(), false)
}

fn ends(secured: bool) -> Ends {
    let (client, front) = ("192.0.2.1:1".parse().expect("both"), "192.0.2.2:80".parse().expect("both"));
    let session = || Rc::new(Session::default());
    if secured { Ends::secured(client, front, session()) } else { Ends::new(client, front) }
}

/// The Ingress of the rule found.
fn found(secured: bool, host: &str, headers: &[(&str, &str)]) -> Option<(String, By)> {
    let request = Request::builder().uri("/static/x").header("host", host);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let (head, ()) = request.body(()).expect("a request").into_parts();
    let rules = rules();
    find(&rules, &head, &ends(secured)).map(|(rule, by)| (rule.entry.ingress.clone(), by))
}

fn by_referer(ingress: &str) -> Option<(String, By)> {
    Some((ingress.to_owned(), By::Referer))
}

#[test]
fn only_pages_of_the_same_origin_count() {
    for (secured, host, referer, expected) in [
        (false, "a.example", "http://a.example/s/1/x.html", by_referer("d/one")),
        (false, "a.example", "http://a.example/s/2?q=/s/1/", by_referer("d/two")),
        (false, "A.example:80", "http://a.example./s/2#/s/1", by_referer("d/two")),
        (true, "a.example", "https://a.example:443/s/2/", by_referer("d/two")),
        (false, "a.example:8080", "http://a.example:8080/s/./x/../2/%79", by_referer("d/two")),
        (true, "a.example", "http://a.example/s/1/", None),
        (false, "a.example", "https://a.example/s/1/", None),
        (false, "a.example:8080", "http://a.example/s/1/", None),
        (false, "a.example", "http://b.example/s/1/", None),
        (false, "a.example", "http://a.example.evil/s/1/", None),
        (false, "a.example", "http://a.example@evil/s/1/", None),
        (false, "a.example", "http://x@a.example/s/1/", None),
        (false, "a.example", "http://a.example/plain/x", None),
        (false, "a.example", "http://a.example/s/1//x/..%2F..%2F2", None),
        (false, "a.example", "http://a.example/%zz", None),
        (false, "a.example", "/s/1/", None),
        (false, "a.example", "", None),
        (false, "", "http:///s/1/", None),
    ] {
        assert_eq!(found(secured, host, &[("referer", referer)]), expected, "{host} {referer}");
    }
    let long = format!("http://a.example/s/1/{}", "x".repeat(LONGEST_REFERER));
    assert_eq!(found(false, "a.example", &[("referer", &long)]), None);
}

#[test]
fn the_cookie_counts_where_the_page_is_of_no_rule() {
    let one = token(&prefix("/s/1/", "d/one")).expect("it has one");
    let cookie = format!("other=1; {NAME}={one:016x}");
    let expected = Some(("d/one".to_owned(), By::Cookie));
    let ask = |headers: &[(&str, &str)], cookie: &str| {
        let headers: Vec<_> = headers.iter().copied().chain([("cookie", cookie)]).collect();
        found(false, "a.example", &headers)
    };
    for (headers, expected) in [
        (&[][..], expected.clone()),
        (&[("referer", "http://a.example/static/x.css")], expected.clone()),
        (&[("referer", "http://a.example/")], expected.clone()),
        (&[("sec-fetch-site", "same-origin")], expected.clone()),
        (&[("sec-fetch-site", "none")], expected),
        (&[("sec-fetch-site", "cross-site")], None),
        (&[("sec-fetch-site", "same-site")], None),
        (&[("referer", "http://a.example/s/2/")], by_referer("d/two")),
        (&[("referer", "http://a.example/plain/")], None),
        (&[("referer", "http://b.example/static/x.css")], None),
    ] {
        assert_eq!(ask(headers, &cookie), expected, "{headers:?}");
    }
    for value in ["", "/s/1/", "d/one", "0", "+00000000000001", "0000000000000000", &format!("{one:016x}0")] {
        assert_eq!(ask(&[], &format!("{NAME}={value}")), None, "{value}");
    }
}

#[test]
fn tokens_tell_rules_apart() {
    let exact = fallback(PathMatch::Exact("/s".into()), "d/one");
    let rules = [prefix("/s", "d/one"), prefix("/s", "d/two"), prefix("/t", "d/one"), exact];
    let tokens: std::collections::HashSet<_> = rules.iter().filter_map(token).collect();
    assert_eq!(tokens.len(), 4);
    assert_eq!(token(&fallback(PathMatch::Default, "d/one")), None);
    assert_eq!(token(&entry(PathMatch::Prefix("/s".into()), None)), None);
}

#[test]
fn answers_that_ask_for_nothing_leave_no_cookie() {
    let trail = |secure| Trail { token: Some((10, secure)), varies: false };
    for (status, kind, expected) in [
        (200, "text/html; charset=utf-8", true),
        (404, "TEXT/HTML", true),
        (200, "text/css", true),
        (200, "application/javascript", true),
        (304, "", true),
        (302, "", true),
        (200, "", false),
        (200, "application/json", false),
        (200, "image/png; name=html", false),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        trail(true).apply(StatusCode::from_u16(status).expect("a status"), &mut headers);
        assert_eq!(headers.contains_key(SET_COOKIE), expected, "{status} {kind}");
        let text = "weir-asset-fallback=000000000000000a; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure";
        assert!(headers.get(SET_COOKIE).is_none_or(|cookie| cookie == text), "{headers:?}");
    }
    let mut headers = HeaderMap::new();
    trail(false).apply(StatusCode::FOUND, &mut headers);
    let cookie = headers[SET_COOKIE].to_str().expect("text");
    assert!(!cookie.contains("Secure") && !headers.contains_key(VARY), "{cookie}");
}
