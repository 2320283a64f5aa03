use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Site, ingress};
use crate::pod::{Pod, answer};

const URL: (&str, &str) = ("auth-url", "http://auth.default.svc.cluster.local/check?of=$service_name");

fn site(annotations: &[(&str, &str)], web: &Pod, auth: &Pod) -> Site {
    Site::start(&ingress("web", "a.example", "/", annotations), &[("web", web), ("auth", auth)])
}

/// Lets those through who say `X-Token: good`.
fn guard() -> Pod {
    Pod::answering(|asked| match asked.header("x-token") {
        Some("good") => answer("202 Accepted", &[("X-User", "ann"), ("X-Groups", "a"), ("X-Groups", "b")], ""),
        Some("known") => answer("403 Forbidden", &[("Set-Cookie", "seen=1")], "no"),
        Some("broken") => answer("302 Found", &[("Location", "/evil")], ""),
        _ => answer("401 Unauthorized", &[("WWW-Authenticate", "Bearer realm=\"x\"")], "who?"),
    })
}

const GOOD: [&str; 2] = ["--header", "X-Token: good"];

#[test]
fn a_service_says_who_is_served() {
    let (web, auth) = (Pod::echo(), guard());
    let site = site(&[URL, ("auth-response-headers", "X-User, X-Groups, X-Mail")], &web, &auth);
    let forged = ["--header", "X-User: root", "--header", "X-Mail: root@a", "--data", "body"];
    let reply = site.get("a.example", "/x?y=1", &[&GOOD[..], &forged].concat());
    assert_eq!((reply.status, reply.body.as_str()), (200, "POST /x?y=1 HTTP/1.1"));
    let seen = &web.seen()[0];
    for (name, value) in [("x-user", Some("ann")), ("x-groups", Some("a, b")), ("x-mail", None)] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    assert_eq!(seen.body, b"body");
    let asked = &auth.seen()[0];
    assert_eq!((asked.line.as_str(), asked.body.len()), ("GET /check?of=web HTTP/1.1", 0));
    for (name, value) in [
        ("host", Some("auth.default.svc.cluster.local")),
        ("x-original-uri", Some("/x?y=1")),
        ("x-original-url", Some("http://a.example/x?y=1")),
        ("x-original-method", Some("POST")),
        ("x-auth-request-redirect", Some("/x?y=1")),
        ("x-real-ip", Some("127.0.0.1")),
        ("x-token", Some("good")),
        ("content-length", None),
    ] {
        assert_eq!(asked.header(name), value, "{name}");
    }
    for (token, status) in [("bad", 401), ("known", 403), ("broken", 500)] {
        let reply = site.get("a.example", "/", &["--header", &format!("X-Token: {token}")]);
        assert_eq!((reply.status, reply.header("location")), (status, None), "{token}");
    }
    assert_eq!(site.get("a.example", "/", &[]).header("www-authenticate"), Some("Bearer realm=\"x\""));
    assert_eq!(web.seen().len(), 1, "a request reached the backend");
    assert!(site.problems.is_empty(), "{:?}", site.problems);
}

#[test]
fn who_is_not_known_signs_in() {
    let (web, auth) = (Pod::echo(), guard());
    let mut site = site(&[URL, ("auth-signin", "https://sso.example/start")], &web, &auth);
    let to = |site: &Site, path: &str| {
        let reply = site.get("a.example", path, &[]);
        (reply.status, reply.header("location").map(str::to_owned))
    };
    let expected = "https://sso.example/start?rd=http://a.example%2Fx%3Fy%3D1%26z%3D2";
    assert_eq!(to(&site, "/x?y=1&z=2"), (302, Some(expected.to_owned())));
    for (signin, parameter, expected) in [
        ("https://sso.example/start?a=b", "back", "https://sso.example/start?a=b&back=http://a.example%2Fx"),
        ("https://sso.example/start?rd=$escaped_request_uri", "rd", "https://sso.example/start?rd=%2Fx"),
        ("/oauth2/$host", "rd", "/oauth2/a.example?rd=http://a.example%2Fx"),
    ] {
        let annotations = [URL, ("auth-signin", signin), ("auth-signin-redirect-param", parameter)];
        site.apply(&ingress("web", "a.example", "/", &annotations));
        assert_eq!(to(&site, "/x"), (302, Some(expected.to_owned())));
    }
    let known = site.get("a.example", "/", &["--header", "X-Token: known"]);
    assert_eq!((known.status, web.seen().len()), (403, 0));
}

#[test]
fn cookies_of_the_service_reach_the_client() {
    let web = Pod::answering(|asked| {
        let status = if asked.line.contains("/bad") { "502 Bad Gateway" } else { "200 OK" };
        answer(status, &[("Set-Cookie", "own=1")], "")
    });
    let auth = Pod::answering(|_| answer("200 OK", &[("Set-Cookie", "session=2; HttpOnly")], ""));
    let mut site = site(&[URL], &web, &auth);
    let cookies = |site: &Site, path: &str| {
        let headers = site.get("a.example", path, &[]).headers;
        headers.into_iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value).collect::<Vec<_>>()
    };
    assert_eq!(cookies(&site, "/"), ["own=1", "session=2; HttpOnly"]);
    assert_eq!(cookies(&site, "/bad"), ["own=1"]);
    site.apply(&ingress("web", "a.example", "/", &[URL, ("auth-always-set-cookie", "true")]));
    assert_eq!(cookies(&site, "/bad"), ["own=1", "session=2; HttpOnly"]);
}

#[test]
fn answers_are_remembered_by_their_key() {
    let (web, count) = (Pod::echo(), AtomicUsize::new(0));
    let auth = Pod::answering(move |asked| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        match asked.header("x-token") {
            Some("good") => answer("200 OK", &[("X-User", &format!("u{number}"))], ""),
            Some("private") => answer("200 OK", &[("Cache-Control", "no-store")], ""),
            _ => answer("401 Unauthorized", &[], ""),
        }
    });
    let annotations = [
        URL,
        ("auth-cache-key", "$http_x_token"),
        ("auth-cache-duration", "200 1h, 401 1h"),
        ("auth-response-headers", "X-User"),
    ];
    let mut site = site(&annotations, &web, &auth);
    let ask = |site: &Site, token: &str| {
        let header = format!("X-Token: {token}");
        let arguments = if token.is_empty() { vec![] } else { vec!["--header", header.as_str()] };
        let before = auth.seen().len();
        (site.get("a.example", "/", &arguments).status, auth.seen().len() - before)
    };
    assert_eq!(
        [ask(&site, "good"), ask(&site, "good"), ask(&site, "bad"), ask(&site, "bad")],
        [(200, 1), (200, 0), (401, 1), (401, 0)]
    );
    assert!(web.seen().iter().all(|seen| seen.header("x-user") == Some("u0")), "{:?}", web.seen());
    // Nobody's answer is everybody's, and what the service keeps to itself is asked each time.
    assert_eq!([ask(&site, ""), ask(&site, "")], [(401, 1), (401, 1)]);
    assert_eq!([ask(&site, "private"), ask(&site, "private")], [(200, 1), (200, 1)]);
    site.apply(&ingress("web", "a.example", "/", &annotations[..1]));
    assert_eq!([ask(&site, "good"), ask(&site, "good")], [(200, 1), (200, 1)]);
}

#[test]
fn the_service_is_told_what_a_config_map_says() {
    let (web, auth) = (Pod::echo(), guard());
    let map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: told}\n\
data: {X-Site: \"$host\", X-Token: good, Content-Length: \"3\"}\n";
    let annotations = [
        URL,
        ("auth-proxy-set-headers", "default/told"),
        ("auth-method", "POST"),
        ("auth-request-redirect", "https://$host/home"),
    ];
    let site = Site::start(&(ingress("web", "a.example", "/", &annotations) + map), &[("web", &web), ("auth", &auth)]);
    assert_eq!(site.get("a.example", "/", &[]).status, 200);
    let asked = &auth.seen()[0];
    assert!(asked.line.starts_with("POST /check"), "{asked:?}");
    assert_eq!(asked.header("x-site"), Some("a.example"));
    assert_eq!(asked.header("x-auth-request-redirect"), Some("https://a.example/home"));
    assert_eq!(site.codes(), ["annotation-invalid"], "{:?}", site.problems);
}

#[test]
fn addresses_are_asked_too() {
    let (web, auth) = (Pod::echo(), guard());
    let mut site = site(&[], &web, &auth);
    let url = format!("http://{}/check", auth.address);
    site.apply(&ingress("web", "a.example", "/", &[("auth-url", &url)]));
    assert_eq!(site.get("a.example", "/", &GOOD).status, 200, "{:?}", site.problems);
    assert_eq!(site.get("a.example", "/", &[]).status, 401);
}

#[test]
fn whoever_cannot_be_asked_lets_nobody_in() {
    let (web, auth) = (Pod::echo(), guard());
    let mut site = site(&[], &web, &auth);
    for (annotations, codes) in [
        (&[("auth-url", "http://127.0.0.1:1/")][..], &[][..]),
        (&[("auth-url", "http://none.default.svc/")], &["annotation-invalid"]),
        (&[("auth-url", "auth.example/check")], &["annotation-invalid"]),
        (&[("auth-url", "http://$http_x_auth/")], &["annotation-invalid"]),
        (&[URL, ("auth-response-headers", "X-User, Transfer-Encoding")], &["annotation-invalid"]),
    ] {
        site.apply(&ingress("web", "a.example", "/", annotations));
        let reply = site.get("a.example", "/", &GOOD);
        assert_eq!((reply.status, site.codes().as_slice()), (503, codes), "{annotations:?} {:?}", site.problems);
    }
    site.apply(&ingress("web", "", "/", &[("auth-url", "http://$host/check")]));
    assert_eq!((site.get("a.example", "/", &GOOD).status, site.codes()), (503, vec!["annotation-invalid"]));
    assert!(web.seen().is_empty(), "a request reached the backend");
}

#[test]
fn an_address_may_be_enough_without_asking() {
    let (web, auth) = (Pod::echo(), guard());
    let mut site = site(&[URL, ("allowlist-source-range", "127.0.0.0/8"), ("satisfy", "any")], &web, &auth);
    assert_eq!((site.get("a.example", "/", &[]).status, auth.seen().len()), (200, 0));
    let annotations =
        [URL, ("auth-response-headers", "X-User"), ("allowlist-source-range", "127.0.0.0/8"), ("satisfy", "any")];
    site.apply(&ingress("web", "a.example", "/", &annotations));
    assert_eq!(site.get("a.example", "/", &["--header", "X-User: root"]).status, 200);
    assert_eq!(web.seen()[1].header("x-user"), None, "the client spoke for the service");
    site.apply(&ingress("web", "a.example", "/", &[URL, ("allowlist-source-range", "10.0.0.0/8"), ("satisfy", "any")]));
    assert_eq!(site.get("a.example", "/", &[]).status, 401);
    assert_eq!(site.get("a.example", "/", &GOOD).status, 200);
    // With a password as well, both are asked for.
    site.apply(&(ingress("web", "a.example", "/", &[URL, ("auth-type", "basic"), ("auth-secret", "users")]) + USERS));
    let login = ["--user", "cid:myPassword"];
    assert_eq!(site.get("a.example", "/", &GOOD).status, 401);
    assert_eq!(site.get("a.example", "/", &login).status, 401);
    assert_eq!(site.get("a.example", "/", &[&login[..], &GOOD].concat()).status, 200);
}

const USERS: &str = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: users}\n\
stringData: {auth: \"cid:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=\"}\n";

#[test]
fn one_service_may_be_asked_for_all() {
    let (web, auth) = (Pod::echo(), guard());
    let data = [("global-auth-url", URL.1), ("global-auth-signin", "/login")];
    let pods = [("web", &web), ("auth", &auth)];
    let mut site = Site::configured(&data, &ingress("web", "a.example", "/", &[]), &pods);
    assert_eq!(site.get("a.example", "/", &[]).status, 302);
    assert_eq!(site.get("a.example", "/", &GOOD).status, 200);
    let seen = auth.seen().len();
    let global = crate::harness::config_map(&data);
    site.apply(&(global.clone() + &ingress("web", "a.example", "/", &[("enable-global-auth", "false")])));
    assert_eq!((site.get("a.example", "/", &[]).status, auth.seen().len()), (200, seen));
    // Whoever has a service of its own has nothing of the other.
    site.apply(&(global + &ingress("web", "a.example", "/", &[URL])));
    assert_eq!(site.get("a.example", "/", &[]).status, 401);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
}
