use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{Site, ingress};
use crate::pod::{Pod, answer};

/// The body, and the cookie that was set, if any.
fn ask(site: &Site, cookie: Option<&str>) -> (String, Option<String>) {
    let header = format!("Cookie: other=1; {}", cookie.unwrap_or("none=0"));
    let reply = site.get("a.example", "/x/y", &["--header", &header]);
    (reply.body.clone(), reply.header("set-cookie").map(str::to_owned))
}

fn pair(set: &str) -> &str {
    set.split(';').next().expect("a pair")
}

#[test]
fn a_client_keeps_its_endpoint() {
    let pods = ["a", "b", "c", "d"].map(Pod::named);
    let pods: Vec<_> = pods.iter().map(|pod| ("web", pod)).collect();
    for mode in ["balanced", "persistent"] {
        let annotations = [("affinity", "cookie"), ("affinity-mode", mode)];
        let site = Site::start(&ingress("web", "a.example", "/x", &annotations), &pods);
        let mut owners = BTreeSet::new();
        for _ in 0..16 {
            let (owner, set) = ask(&site, None);
            let set = set.expect("a cookie");
            assert!(set.ends_with("; Path=/x; HttpOnly") && set.starts_with("INGRESSCOOKIE="), "{set}");
            let value = pair(&set).split_once('=').expect("a value").1;
            assert!(value.len() == 33 && value.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'), "{value}");
            for _ in 0..4 {
                assert_eq!(ask(&site, Some(pair(&set))), (owner.clone(), None), "{mode}");
            }
            owners.insert(owner);
        }
        assert!(owners.len() > 1, "clients are spread");
        // What we did not write is replaced.
        for wrong in ["INGRESSCOOKIE=x", "INGRESSCOOKIE=0123456789abcdef-0123456789abcdef"] {
            assert!(ask(&site, Some(wrong)).1.is_some());
        }
        assert!(site.problems.is_empty(), "{:?}", site.problems);
    }
}

#[test]
fn a_client_is_told_another_endpoint_when_its_own_is_gone() {
    let pods = ["a", "b", "c", "d"].map(Pod::named);
    let all: Vec<_> = pods.iter().map(|pod| ("web", pod)).collect();
    let manifest = |mode| ingress("web", "a.example", "/", &[("affinity", "cookie"), ("affinity-mode", mode)]);
    let four = Site::start(&manifest("persistent"), &all);
    let three = Site::start(&manifest("persistent"), &all[..3]);
    for _ in 0..12 {
        let (owner, set) = ask(&four, None);
        let set = set.expect("a cookie");
        let (then, told) = ask(&three, Some(pair(&set)));
        // Another node agrees, and only who was at the pod that is gone hears of another.
        assert_eq!((then == owner, told.is_some()), (owner != "d", owner == "d"));
    }
}

#[test]
fn the_cookie_has_its_attributes() {
    let pod = Pod::echo();
    let annotations = [
        ("affinity", "cookie"),
        ("session-cookie-name", "route"),
        ("session-cookie-path", "/app"),
        ("session-cookie-domain", "example.com"),
        ("session-cookie-max-age", "3600"),
        ("session-cookie-expires", "3600"),
        ("session-cookie-secure", "true"),
        ("session-cookie-samesite", "None"),
        ("session-cookie-conditional-samesite-none", "true"),
    ];
    let site = Site::annotated(&annotations, &pod);
    let set = |agent: &str| {
        let reply = site.get("a.example", "/", &["--user-agent", agent]);
        reply.header("set-cookie").expect("a cookie").to_owned()
    };
    let cookie = set("curl");
    let attributes: Vec<_> = cookie.split("; ").collect();
    assert!(attributes[0].starts_with("route=") && attributes[4].starts_with("Expires="), "{cookie}");
    assert_eq!(attributes[1..4], ["Path=/app", "Max-Age=3600", "Domain=example.com"]);
    assert_eq!(attributes[5..], ["Secure", "HttpOnly", "SameSite=None"]);
    let old = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/60.0.3112.0 Safari/537.36";
    assert!(set(old).ends_with("; Secure; HttpOnly"));
    assert!(site.problems.is_empty(), "{:?}", site.problems);
}

#[test]
fn a_client_whose_endpoint_fails() {
    for (change, told) in [("false", false), ("true", true)] {
        for mode in ["balanced", "persistent"] {
            let fails = Arc::new(AtomicBool::new(false));
            let flag = Arc::clone(&fails);
            let one = Pod::answering(move |_| match flag.load(Ordering::SeqCst) {
                true => "this is not HTTP\r\n\r\n".to_owned(),
                false => answer("200 OK", &[], "one"),
            });
            let other = Pod::named("other");
            let annotations = [
                ("affinity", "cookie"),
                ("affinity-mode", mode),
                ("session-cookie-change-on-failure", change),
                ("proxy-next-upstream", "error timeout invalid_header"),
            ];
            let manifest = ingress("web", "a.example", "/", &annotations);
            let site = Site::start(&manifest, &[("web", &one), ("web", &other)]);
            let mut asked = std::iter::repeat_with(|| ask(&site, None));
            let (_, cookie) = asked.find(|(owner, _)| owner == "one").expect("one of them");
            let cookie = cookie.expect("a cookie");
            fails.store(true, Ordering::SeqCst);
            let (owner, set) = ask(&site, Some(pair(&cookie)));
            assert_eq!((owner.as_str(), set.is_some()), ("other", told), "{mode}");
            fails.store(false, Ordering::SeqCst);
            // The old cookie still leads to the one that works again, the new one to the other.
            assert_eq!(ask(&site, Some(pair(&cookie))), ("one".to_owned(), None));
            if let Some(set) = set {
                assert_eq!(ask(&site, Some(pair(&set))), ("other".to_owned(), None));
            }
        }
    }
}

#[test]
fn wrong_values_are_problems() {
    let pod = Pod::echo();
    let annotations = [
        ("affinity", "ip"),
        ("affinity-mode", "sometimes"),
        ("session-cookie-name", "a b"),
        ("session-cookie-path", "app; Secure"),
        ("session-cookie-samesite", "lax"),
        ("session-cookie-max-age", "soon"),
        ("load-balance", "ip_hash"),
        ("upstream-hash-by", "$lua_x"),
    ];
    let site = Site::annotated(&annotations, &pod);
    assert_eq!(site.codes(), ["annotation-invalid"; 8]);
    let reply = site.get("a.example", "/", &[]);
    assert_eq!((reply.status, reply.header("set-cookie")), (200, None));
}
