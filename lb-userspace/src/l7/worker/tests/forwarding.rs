use std::sync::Arc;

use super::harness::*;
use crate::l7::table::RouteEntry;
use crate::model::filters::{Filters, Logs};

#[test]
fn requests_reach_the_backend_of_their_route() {
    let (one, two) = (Backend::echo(), Backend::echo());
    let front = Front::start(
        &table(
            &[
                ("*", &[rewritten("/service/s1/", "/", "s1"), prefix("/service/s2/", Some("s2"))]),
                ("a.example", &[prefix("/", Some("s2"))]),
            ],
            &[("s1", &[one.address]), ("s2", &[two.address])],
        ),
        limits(),
    );
    let first_line = |path: &str, host: &str| {
        let reply = front.ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        (reply.status, reply.text().lines().next().unwrap_or("").to_owned())
    };
    assert_eq!(
        first_line("/service/s1/static/table.js?a=%20/../", "x"),
        (200, "GET /static/table.js?a=%20/../ HTTP/1.1".into())
    );
    assert_eq!(first_line("/service/s1/", "x"), (200, "GET / HTTP/1.1".into()));
    assert_eq!(first_line("/service/s2/y", "x:80"), (200, "GET /service/s2/y HTTP/1.1".into()));
    assert_eq!(first_line("/service/s1/", "A.Example.:8080"), (200, "GET /service/s1/ HTTP/1.1".into()));
    assert_eq!(first_line("/other", "x"), (404, "default backend - 404".into()));
    assert_eq!(first_line("/healthz", "x"), (200, "ok".into()));
    assert_eq!((one.requests(), two.requests()), (2, 2));
    let reply = front.ask("GET http://a.example/abs HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(reply.text().starts_with("GET /abs HTTP/1.1\r\n"), "{reply:?}");
    assert_eq!(front.counters().requests, [0, 6, 0, 1, 0]);
}

#[test]
fn the_backend_learns_who_asked() {
    let backend = Backend::echo();
    let front = Front::start(&all_to(&[backend.address]), limits());
    let request = "GET / HTTP/1.1\r\nHost: A.example:81\r\nX-Forwarded-For: 9.9.9.9\r\nConnection: close, X-A\r\nX-A: 1\r\nTE: trailers\r\nX-B: 2\r\n\r\n";
    let reply = front.ask(request);
    let sent = reply.text();
    let port = front.address.port().to_string();
    for (name, value) in [
        ("host", Some("A.example:81")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-real-ip", Some("127.0.0.1")),
        ("x-forwarded-host", Some("A.example:81")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-port", Some(port.as_str())),
        ("x-b", Some("2")),
        ("x-a", None),
        ("te", Some("trailers")),
        ("connection", Some("te")),
    ] {
        assert_eq!(header(&sent, name).as_deref(), value, "{name} in {sent}");
    }
    assert_eq!(reply.header("connection").as_deref(), Some("close"));
}

/// One worker listens for both families, and asks backends of either.
#[test]
fn clients_and_backends_of_ipv6_are_served_beside_those_of_ipv4() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nsix";
    let backend = Backend::answering_at("[::1]:0", answer);
    let front = Front::start(&all_to(&[backend.address]), limits());
    let address6 = front.address6.expect("IPv6");
    for (at, client) in [(address6, "::1"), (front.address, "127.0.0.1"), (address6, "::1")] {
        let mut connection = Client::new(std::net::TcpStream::connect(at).expect("the front listens"));
        connection.send(b"GET / HTTP/1.0\r\n\r\n");
        assert_eq!(connection.reply(false).text(), "six");
        let sent = backend.heads.lock().expect("no panic").pop().expect("a request");
        assert_eq!(header(&sent, "x-forwarded-for").as_deref(), Some(client), "{sent}");
        assert_eq!(header(&sent, "host"), Some(at.to_string()), "{sent}");
        let line = String::from_utf8(front.log.recv().expect("a line")).expect("text");
        assert!(
            line.starts_with(&format!("{client} - - [")) && line.trim_end().ends_with(&backend.address.to_string()),
            "{line}"
        );
    }
}

#[test]
fn missing_services_and_empty_ones_are_named() {
    let front =
        Front::start(&table(&[("*", &[prefix("/gone", None), prefix("/empty", Some("e"))])], &[("e", &[])]), limits());
    for (path, part) in [("/gone", "does not exist"), ("/empty", "no ready endpoint")] {
        let reply = front.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!((reply.status, reply.header("content-type").as_deref()), (503, Some("text/plain; charset=utf-8")));
        assert!(reply.text().contains(part) && reply.text().contains("default/web, port 80"), "{}", reply.text());
    }
}

#[test]
fn old_clients_are_served() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let front = Front::start(&all_to(&[backend.address]), limits());
    let mut client = front.connect();
    client.send(b"GET / HTTP/1.0\r\n\r\n");
    client.close_write();
    let reply = client.reply(false);
    assert!(reply.head.starts_with("HTTP/1.0 200"), "{}", reply.head);
    assert_eq!((reply.header("transfer-encoding"), reply.text().as_str()), (None, "hello"));
    let host = header(&backend.heads.lock().expect("no panic")[0], "host");
    assert_eq!(host, Some(front.address.to_string()));

    front.ask("GET http://a.example/ HTTP/1.0\r\n\r\n");
    assert_eq!(header(&backend.heads.lock().expect("no panic")[1], "host").as_deref(), Some("a.example"));

    let backend = Backend::answering("HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok");
    front.publish(2, &all_to(&[backend.address]));
    let mut client = front.connect();
    for _ in 0..2 {
        client.send(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(client.reply(false).text(), "ok");
    }
}

#[test]
fn answers_without_a_body() {
    let backend = Backend::answering("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n");
    let front = Front::start(&all_to(&[backend.address]), limits());
    let mut client = front.connect();
    for _ in 0..2 {
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let reply = client.reply(false);
        assert_eq!((reply.status, reply.header("etag").as_deref()), (304, Some("\"x\"")));
    }
    let backend = Backend::answering("HTTP/1.1 204 No Content\r\n\r\n");
    front.publish(2, &all_to(&[backend.address]));
    client.send(b"DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.reply(false).status, 204);
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
    front.publish(3, &all_to(&[backend.address]));
    for _ in 0..2 {
        client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        let reply = client.reply(true);
        assert_eq!((reply.status, reply.header("content-length").as_deref()), (200, Some("1234")));
    }
    assert_eq!(backend.connections(), 1);
    client.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.reply(false).status, 204);
}

#[test]
fn continue_is_said_before_the_body_is_sent() {
    let backend = Backend::echo();
    let front = Front::start(&all_to(&[backend.address]), limits());
    let mut client = front.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.reply(false).status, 100);
    client.send(b"hello");
    let reply = client.reply(false);
    assert_eq!((reply.status, reply.text().ends_with("hello")), (200, true));
    // Whoever gets no body from a route that leads nowhere is not asked for one.
    front.publish(2, &table(&[], &[]));
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.reply(false).status, 404);
}

#[test]
fn informational_answers_are_not_final() {
    let backend =
        Backend::answering("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let front = Front::start(&all_to(&[backend.address]), limits());
    assert_eq!(front.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text(), "ok");
}

#[test]
fn a_body_of_unknown_length_is_sent_whatever_the_method() {
    let backend = Backend::echo();
    let front = Front::start(&all_to(&[backend.address]), limits());
    for method in ["GET", "POST", "DELETE"] {
        let reply = front.ask(&format!(
            "{method} / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        ));
        assert!(reply.text().ends_with("\r\n\r\nabcde"), "{method}: {}", reply.text());
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::echo();
    let front = Front::start(&all_to(&[backend.address]), limits());
    let mut client = front.connect();
    client.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nxGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    for expected in ["GET /1 ", "POST /2 ", "GET /3 "] {
        let reply = client.reply(false);
        assert!(reply.text().starts_with(expected), "{}", reply.text());
    }
}

#[test]
fn trailers_go_both_ways() {
    let backend = Backend::start(|mut client, heads| {
        let mut head = client.head();
        let mut line = String::new();
        while line != "0\r\n" {
            line.clear();
            std::io::BufRead::read_line(&mut client.stream, &mut line).expect("a chunk");
        }
        head += &client.head();
        heads.lock().expect("no panic").push(head);
        client.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: two\r\n\r\n");
    });
    let front = Front::start(&all_to(&[backend.address]), limits());
    let mut client = front.connect();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n";
    let trailer = "Trailer: X-Sum, X-Real-IP, Host\r\n";
    let body = "3\r\nabc\r\n0\r\nX-Sum: one\r\nX-Real-IP: 1.2.3.4\r\nHost: b\r\n\r\n";
    client.send(format!("{head}{trailer}\r\n{body}").as_bytes());
    let head = client.head();
    assert_eq!(header(&head, "trailer").as_deref(), Some("X-Sum"), "{head}");
    let mut rest = String::new();
    while !rest.ends_with("\r\n\r\n") {
        std::io::BufRead::read_line(&mut client.stream, &mut rest).expect("the rest");
    }
    assert!(rest.to_ascii_lowercase().ends_with("0\r\nx-sum: two\r\n\r\n"), "{rest:?}");
    let seen = backend.heads.lock().expect("no panic")[0].to_ascii_lowercase();
    let (head, trailers) = seen.split_once("\r\n\r\n").expect("both");
    assert!(head.contains("\r\nte: trailers") && head.contains("trailer: x-sum"), "{head}");
    assert_eq!(trailers, "x-sum: one\r\n\r\n");
}

#[test]
fn nothing_is_tunnelled_before_the_backend_agrees() {
    let backend = Backend::start(|mut client, heads| {
        loop {
            let head = client.head();
            if head.is_empty() {
                return;
            }
            let upgrade = header(&head, "upgrade");
            heads.lock().expect("no panic").push(head);
            match upgrade.as_deref() {
                // One that agrees to something else.
                Some("other") => {
                    return client
                        .send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: else\r\n\r\nraw");
                }
                _ => client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"),
            }
        }
    });
    let routes = table(&[("*", &[prefix("/open", Some("u")), prefix("/closed", None)])], &[("u", &[backend.address])]);
    let front = Front::start(&routes, limits());
    // What a client that takes the upgrade for granted takes for raw bytes.
    let mut client = front.connect();
    client.send(b"GET /open HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: exotic\r\n\r\n");
    wait_for("the request", || backend.requests() == 1);
    client.send(b"GET /closed HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.reply(false).text(), "no");
    assert_eq!(client.reply(false).status, 503, "the second request goes by the routes");
    assert_eq!(backend.requests(), 1);
    let reply = front.ask("GET /open HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n");
    assert_eq!(reply.status, 502);
    let refused = front.ask("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n");
    assert_eq!((refused.status, backend.requests()), (405, 2));
}

#[test]
fn websockets_and_others_are_tunnelled_but_not_http() {
    let backend = Backend::start(|mut client, _| {
        let head = client.head();
        let upgrade = header(&head, "upgrade").is_some() && header(&head, "connection").is_some();
        if !upgrade {
            client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
            return;
        }
        client.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nfirst");
        let mut bytes = [0; 5];
        std::io::Read::read_exact(&mut client.stream, &mut bytes).expect("what the client sends");
        client.send(&bytes);
    });
    let front = Front::start(&all_to(&[backend.address]), limits());
    let mut client = front.connect();
    client.send(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: y\r\n\r\n");
    let reply = client.reply(false);
    assert_eq!((reply.status, reply.header("upgrade").as_deref()), (101, Some("websocket")));
    client.send(b"\x01\x02\x00\n\xff");
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut client.stream, &mut bytes).expect("the backend's bytes");
    assert_eq!(bytes, b"first\x01\x02\x00\n\xff");
    let reply = front.ask("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    assert_eq!((reply.status, reply.text().as_str()), (200, "no"));
}

#[test]
fn a_route_may_go_unlogged() {
    let backend = Backend::echo();
    let logs = Logs { no_access: true, ..Logs::default() };
    let filters = Arc::new(Filters { logs, ..Filters::default() });
    let quiet = RouteEntry { filters, ..prefix("/quiet", Some("u")) };
    let front =
        Front::start(&table(&[("*", &[quiet, prefix("/", Some("u"))])], &[("u", &[backend.address])]), limits());
    for path in ["/quiet", "/loud"] {
        assert_eq!(front.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).status, 200);
    }
    let log = String::from_utf8(front.log.recv_timeout(PATIENCE).expect("a line in time")).expect("text");
    assert!(log.contains("GET /loud") && !log.contains("GET /quiet"), "{log}");
}

#[test]
fn the_access_log_tells_what_happened() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let front = Front::start(&all_to(&[backend.address]), limits());
    front.ask("GET /a?b HTTP/1.1\r\nHost: a.example\r\nUser-Agent: \"me\"\r\n\r\n");
    front.ask("GET /a HTTP/1.1\r\n\r\n");
    let mut log = String::new();
    while log.lines().count() < 2 {
        log.push_str(&String::from_utf8(front.log.recv_timeout(PATIENCE).expect("a line in time")).expect("text"));
    }
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines[0].starts_with("127.0.0.1 - - ["), "{log}");
    assert!(lines[0].contains("] \"GET /a?b HTTP/1.1\" 200 5 \"-\" \"\\x22me\\x22\" 0."), "{log}");
    assert!(lines[0].ends_with(&format!(" \"a.example\" [default/web:80] {}", backend.address)), "{log}");
    assert!(lines[1].contains("] \"-\" 400 ") && lines[1].ends_with(" \"-\" [-] -"), "{log}");
}
