use std::io::{Read, Write};
use std::net::TcpStream;

use super::configured;
use crate::harness::Site;
use crate::pod::Pod;

/// What comes back on one connection for this text, until the front closes it.
fn exchange(site: &Site, text: &str) -> String {
    let mut stream = TcpStream::connect(site.address()).expect("connected");
    stream.write_all(text.as_bytes()).expect("sent");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).expect("the front closes the connection");
    answers
}

#[test]
fn a_connection_has_so_many_requests() {
    let pod = Pod::echo();
    for (data, answered) in [(("keep-alive-requests", "2"), 2), (("keep-alive", "0"), 1)] {
        let site = configured(&[data], &[], &pod);
        let answers = exchange(&site, &"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n".repeat(3));
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), answered, "{data:?}: {answers}");
        assert_eq!(answers.matches("connection: close").count(), 1, "{data:?}: {answers}");
    }
}

#[test]
fn heads_have_their_length_and_time() {
    let pod = Pod::echo();
    let site = configured(&[("large-client-header-buffers", "2 1k"), ("client-header-timeout", "1")], &[], &pod);
    let long = "x".repeat(1200);
    let longer = format!("{}{}{}", header("a"), header("b"), header("c"));
    for (head, status) in [
        (format!("GET /{long} HTTP/1.1\r\nHost: a.example\r\n\r\n"), "HTTP/1.1 414"),
        (format!("GET / HTTP/1.1\r\nHost: a.example\r\nX-Long: {long}\r\n\r\n"), "HTTP/1.1 431"),
        (format!("GET / HTTP/1.1\r\nHost: a.example\r\n{longer}\r\n"), "HTTP/1.1 431"),
        (format!("GET / HTTP/1.1\r\nHost: a.example\r\n{}Connection: close\r\n\r\n", header("a")), "HTTP/1.1 200"),
        ("GET / HTTP/1.1\r\nHost: a.exa".to_owned(), "HTTP/1.1 408"),
    ] {
        let answer = exchange(&site, &head);
        assert!(answer.starts_with(status), "{status}: {answer}");
    }
}

fn header(name: &str) -> String {
    format!("X-{name}: {}\r\n", "y".repeat(900))
}

#[test]
fn odd_names_are_dropped_unless_they_are_asked_for() {
    let pod = Pod::echo();
    for (number, (data, kept)) in [
        (&[][..], [false, false]),
        (&[("enable-underscores-in-headers", "true")], [true, false]),
        (&[("ignore-invalid-headers", "false")], [true, true]),
    ]
    .into_iter()
    .enumerate()
    {
        let site = configured(data, &[], &pod);
        let reply =
            site.get("a.example", "/", &["--header", "x_user: 1", "--header", "x.odd: 2", "--header", "x-own: 3"]);
        let seen = &pod.seen()[number];
        assert_eq!(reply.status, 200);
        assert_eq!(["x_user", "x.odd"].map(|name| seen.header(name).is_some()), kept, "{data:?}");
        assert_eq!(seen.header("x-own"), Some("3"));
    }
}

#[test]
fn some_are_served_nothing() {
    let pod = Pod::echo();
    let data = [("block-user-agents", "Evil, ~*bot"), ("block-referers", "~^https?://spam\\.")];
    let mut site = configured(&data, &[], &pod);
    for (arguments, status) in [
        (["--user-agent", "evil"], 403),
        (["--user-agent", "evil/1"], 200),
        (["--user-agent", "A BOT"], 403),
        (["--referer", "http://spam.example/"], 403),
        (["--referer", "http://a.example/"], 200),
    ] {
        assert_eq!(site.get("a.example", "/", &arguments).status, status, "{arguments:?}");
    }
    let own = crate::harness::ingress("web", "a.example", "/", &[]);
    site.apply(&(crate::harness::config_map(&[("block-cidrs", "127.0.0.0/8")]) + &own));
    assert_eq!(site.get("a.example", "/", &[]).status, 403);
    assert_eq!(pod.seen().len(), 2);
}

#[test]
fn requests_have_an_id() {
    let pod = Pod::echo();
    let site = configured(&[], &[("upstream-vhost", "$request_id.example")], &pod);
    site.get("a.example", "/", &[]);
    let fresh = pod.seen()[0].header("x-request-id").expect("an id").to_owned();
    assert_eq!(fresh.len(), 32);
    assert_eq!(pod.seen()[0].header("host"), Some(format!("{fresh}.example").as_str()));
    let without = Pod::echo();
    configured(&[("generate-request-id", "false")], &[], &without).get("a.example", "/", &[]);
    assert_eq!(without.seen()[0].header("x-request-id"), None);
}

#[test]
fn only_proxies_that_are_believed_choose_ids() {
    let id = |data: &[(&str, &str)]| {
        let pod = Pod::echo();
        let site = configured(data, &[], &pod);
        site.get("a.example", "/", &["--header", "X-Request-ID: mine", "--header", "X_Request_ID: mine"]);
        let asked = pod.seen().remove(0);
        (asked.header("x-request-id").map(str::to_owned), asked.header("x_request_id").map(str::to_owned))
    };
    let mine = Some("mine".to_owned());
    let odd = ("enable-underscores-in-headers", "true");
    let [on, ours, others] = [
        ("use-forwarded-headers", "true"),
        ("proxy-real-ip-cidr", "127.0.0.0/8"),
        ("proxy-real-ip-cidr", "192.0.2.0/24"),
    ];
    assert_eq!(id(&[on, ours, odd]), (mine.clone(), mine));
    for nobody in [&[odd][..], &[on, others, odd], &[ours, odd]] {
        let (id, spelled) = id(nobody);
        assert!(id.is_some_and(|id| id.len() == 32) && spelled.is_none(), "{nobody:?}");
    }
    assert_eq!(id(&[("generate-request-id", "false"), odd]), (None, None));
}
