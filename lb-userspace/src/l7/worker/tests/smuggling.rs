use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::harness::*;
use super::http2::{END_HEADERS, END_STREAM, Http2};
use crate::l7::secure::Unchecked;
use crate::l7::table::RouteTable;

/// Requests that servers read differently, or that name their host in a doubtful way.
const CORPUS: &[(&str, u16, &str)] = &[
    ("no Host", 400, "GET / HTTP/1.1\r\n\r\n"),
    ("two hosts", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("two equal hosts", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    ("an empty Host", 400, "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    ("a list as Host", 400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    ("user information", 400, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    ("a path in Host", 400, "GET / HTTP/1.1\r\nHost: a/../b\r\n\r\n"),
    (
        "both framings",
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    ),
    (
        "both framings, turned",
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG",
    ),
    ("two lengths", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nhello"),
    ("a list of lengths", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello"),
    ("a signed length", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello"),
    (
        "a doubled coding",
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("identity, chunked", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n"),
    ("chunked, identity", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    ("a coding with a tail", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;x\r\n\r\n0\r\n\r\n"),
    ("a vertical tab", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n"),
    ("a coding in HTTP/1.0", 400, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a space before the colon", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    ("a disguised name", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n"),
    ("a folded line", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    ("bare LF", 400, "GET / HTTP/1.1\nHost: a\n\n"),
    ("one bare LF", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: y\n\r\n"),
    ("bare CR", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n"),
    ("a NUL", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n"),
    ("a NUL in the target", 400, "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("another host in the target", 400, "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("another scheme", 400, "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("no method", 400, " / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("two spaces", 400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("empty lines", 400, "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("HTTP/0.9", 400, "GET /\r\n\r\n"),
    ("HTTP/1.2", 400, "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    (
        "bytes behind an upgrade",
        400,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n\x01\x02",
    ),
    ("CONNECT", 405, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"),
    ("TRACE", 405, "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("above the root", 400, "GET /../x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("an escaped NUL", 400, "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("an escaped backslash", 400, "GET /x%5c..%5cadmin HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a path of another route", 400, "GET /x%2f..%2fadmin HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a path parameter on dots", 400, "GET /x/..;/admin HTTP/1.1\r\nHost: a\r\n\r\n"),
];

fn routes(backend: &Backend) -> RouteTable {
    table(&[("*", &[prefix("/admin", None), prefix("/", Some("u"))])], &[("u", &[backend.address])])
}

#[test]
fn doubtful_requests_over_tls_reach_no_backend() {
    let backend = Backend::echo();
    let front = Front::start_over_tls(&routes(&backend), limits());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let verifier = Arc::new(Unchecked(provider));
    let builder = versions.expect("versions").dangerous().with_custom_certificate_verifier(verifier);
    let config = Arc::new(builder.with_no_client_auth());
    for (what, status, request) in CORPUS {
        let stream = TcpStream::connect(front.address).expect("the front listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let name = ServerName::try_from("a.example").expect("a name");
        let connection = ClientConnection::new(Arc::clone(&config), name).expect("a connection");
        let mut client = StreamOwned::new(connection, stream);
        client.write_all(format!("{request}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("it reads");
        let mut answer = Vec::new();
        // It may close without an end of TLS, as bytes are left unread.
        let _ = client.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
        assert_eq!((answer.matches("HTTP/1.1 ").count(), backend.requests()), (1, 0), "{what}: {answer}");
    }
}

/// What all good requests have.
const GOOD: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")];

/// What is added to a good request, or, where the name is one of `GOOD`, put in its place; nothing: left out.
type Change = (&'static str, Option<&'static str>);

const FIELDS: &[(&str, &[Change])] = &[
    ("no host", &[(":authority", None)]),
    ("an empty host", &[(":authority", Some(""))]),
    ("user information", &[(":authority", Some("u@a"))]),
    ("another Host", &[("host", Some("b"))]),
    ("two Hosts", &[("host", Some("a")), ("host", Some("a"))]),
    ("no method", &[(":method", None)]),
    ("no path", &[(":path", None)]),
    ("an empty path", &[(":path", Some(""))]),
    ("a path that is none", &[(":path", Some("x"))]),
    ("a space in the path", &[(":path", Some("/ x"))]),
    ("a line end in the path", &[(":path", Some("/\r\nX: y"))]),
    ("above the root", &[(":path", Some("/../x"))]),
    ("an escaped NUL", &[(":path", Some("/%00"))]),
    ("a path of another route", &[(":path", Some("/x%2f..%2fadmin"))]),
    ("a coding", &[("transfer-encoding", Some("chunked"))]),
    ("a connection", &[("connection", Some("close"))]),
    ("an upgrade", &[("upgrade", Some("websocket"))]),
    ("a capital letter", &[("X", Some("y"))]),
    ("a colon in a name", &[("x:y", Some("z"))]),
    ("a line end in a value", &[("x", Some("y\r\nz: a"))]),
    ("a NUL in a value", &[("x", Some("\0"))]),
    ("a disguised name", &[("content_length", Some("1"))]),
    ("a body that does not come", &[("content-length", Some("5"))]),
    ("two lengths", &[("content-length", Some("0")), ("content-length", Some("5"))]),
    ("a signed length", &[("content-length", Some("+0"))]),
    ("a field that does not exist", &[(":x", Some("y"))]),
    ("CONNECT", &[(":method", Some("CONNECT"))]),
    ("TRACE", &[(":method", Some("TRACE"))]),
];

#[test]
fn doubtful_requests_over_http2_reach_no_backend() {
    let backend = Backend::echo();
    let front = Front::start(&routes(&backend), limits());
    for (what, changes) in FIELDS {
        let replaced = |name: &str| changes.iter().any(|(other, _)| *other == name);
        let is_special = |name: &str| name.starts_with(':');
        let changed = |special: bool| {
            let wanted = move |name: &str| is_special(name) == special;
            changes.iter().filter(move |(name, _)| wanted(name)).filter_map(|(name, value)| Some((*name, (*value)?)))
        };
        let kept = GOOD.iter().copied().filter(|(name, _)| !replaced(name));
        let fields: Vec<_> = kept.chain(changed(true)).chain(changed(false)).collect();
        let mut client = Http2::connect(&front, &[]);
        assert!(client.try_fields(1, &fields, END_HEADERS | END_STREAM), "{what}");
        let status = client.outcome(1);
        assert!(status.is_none_or(|status| (400..500).contains(&status)), "{what}: {status:?}");
        assert_eq!(backend.requests(), 0, "{what}");
    }
    // The same without a change is answered.
    let mut client = Http2::connect(&front, &[]);
    assert!(client.try_fields(1, &GOOD, END_HEADERS | END_STREAM));
    assert_eq!((client.outcome(1), backend.requests()), (Some(200), 1));
}

#[test]
fn doubtful_requests_reach_no_backend() {
    let backend = Backend::echo();
    let front = Front::start(&routes(&backend), limits());
    for (what, status, request) in CORPUS {
        // Nothing behind a refused request is read as another one.
        let mut client = front.connect();
        client.send(request.as_bytes());
        client.send(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        let reply = client.reply(false);
        assert_eq!(reply.status, *status, "{what}: {}", reply.text());
        assert!(client.is_at_end(), "{what}: the connection goes on");
        assert_eq!(backend.requests(), 0, "{what}");
    }
    assert_eq!(front.counters().refused, CORPUS.len() as u64);
}

#[test]
fn heads_are_bounded() {
    let backend = Backend::echo();
    let front = Front::start(&all_to(&[backend.address]), limits());
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
    assert_eq!(front.ask(&long).status, 431);
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100));
    assert_eq!(front.ask(&many).status, 431);
    let fits = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n{}\r\n", "x".repeat(60 * 1024), "X: y\r\n".repeat(90));
    assert_eq!(front.ask(&fits).status, 200);
    assert_eq!(backend.requests(), 1);
}

#[test]
fn a_malformed_chunk_ends_the_request_and_the_connection() {
    let backend = Backend::echo();
    let front = Front::start(&all_to(&[backend.address]), limits());
    let mut client = front.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut client.stream, &mut rest);
    let answer = String::from_utf8_lossy(&rest);
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("connection: close"), "{answer}");
    assert!(!answer.contains(" 200 "), "{answer}");
    assert_eq!(backend.requests(), 0);
    // The client's fault, not the endpoint's.
    assert_eq!((front.counters().refused, front.counters().upstream_failures), (1, 0));
}

#[test]
fn a_client_cannot_take_away_what_frames_the_request() {
    let backend = Backend::echo();
    let front = Front::start(&all_to(&[backend.address]), limits());
    let reply = front.ask(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: Content-Length, Host, X-Real-IP\r\nContent-Length: 5\r\n\r\nhello",
    );
    let sent = reply.text();
    assert_eq!(header(&sent, "content-length").as_deref(), Some("5"));
    assert_eq!(header(&sent, "host").as_deref(), Some("a"));
    assert_eq!(header(&sent, "x-real-ip").as_deref(), Some("127.0.0.1"));
}

#[test]
fn doubtful_answers_are_not_passed_on() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let backend = Backend::answering(answer);
        let front = Front::start(&all_to(&[backend.address]), limits());
        let reply = front.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(reply.status, 502, "{answer:?}: {}", reply.text());
        assert_eq!(front.counters().upstream_failures, 1, "{answer:?}");
    }
}
