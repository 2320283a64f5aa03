//! What clients may take of the front: each limit is a setting, is counted under its name, and costs nobody else anything.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use lb_userspace::l7::hits::Hit;
use socket2::{Domain, Socket, Type};

use crate::certificates::{Authority, Kind, secret};
use crate::harness::{PATIENCE, Site, config_map, ingress, ingress_over_tls};
use crate::pod::{Pod, answer};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

fn site(data: &[(&str, &str)], pod: &Pod) -> Site {
    Site::configured(data, &ingress("web", "a.example", "/", &[]), &[("web", pod)])
}

fn connect(site: &Site, port: u16) -> TcpStream {
    let stream = TcpStream::connect((site.address().ip(), port)).expect("the front listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream
}

/// What comes for this text until the front closes, which it has to.
fn to_the_end(mut stream: TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).expect("sent");
    let mut answers = Vec::new();
    match stream.read_to_end(&mut answers) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the front does not close: {answers:?}"),
        _ => String::from_utf8_lossy(&answers).into_owned(),
    }
}

/// The front counts the limit, that often, and serves others.
fn is_hit(site: &Site, limit: Hit, times: u64) {
    site.eventually(limit.label(), || site.counters().limited[limit as usize] >= times);
    assert_eq!(site.counters().limited[limit as usize], times, "{limit:?}");
    assert_eq!(site.counters().upstream_failures, 0, "{limit:?}: it is no endpoint's failure");
}

#[test]
fn bounds_of_heads() {
    let pod = Pod::echo();
    let data = [("client-header-count", "5"), ("client-uri-size", "100"), ("large-client-header-buffers", "4 1k")];
    let site = site(&data, &pod);
    let headers = |count: usize| (1..count).map(|number| format!("X-{number}: y\r\n")).collect::<String>();
    let with = |headers: &str| GET.replace("\r\n\r\n", &format!("\r\n{headers}\r\n"));
    let target = |length: usize| GET.replace("/ ", &format!("/{} ", "x".repeat(length - 1)));
    for (head, status) in [
        (with(&headers(6)), 431),
        (with(&format!("X-Long: {}\r\n", "y".repeat(1100))), 431),
        (target(101), 414),
        (with(&headers(4).replace("X-1: y", "Connection: close")), 200),
        (target(100).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"), 200),
    ] {
        let answer = to_the_end(connect(&site, site.port()), &head);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {head:?}: {answer}");
    }
    for limit in [Hit::HeaderCount, Hit::HeaderSize, Hit::UriLength] {
        is_hit(&site, limit, 1);
    }
    // The same over HTTP/2.
    let http2 = |path: &str, headers: &[&str]| {
        let headers = headers.iter().flat_map(|header| ["--header", header]);
        site.get("a.example", path, &["--http2-prior-knowledge"].into_iter().chain(headers).collect::<Vec<_>>()).status
    };
    assert_eq!(http2("/", &["A: 1", "B: 1", "C: 1", "D: 1", "E: 1", "F: 1"]), 431);
    assert_eq!((http2(&format!("/{}", "x".repeat(100)), &[]), http2("/", &[])), (414, 200));
    is_hit(&site, Hit::HeaderCount, 2);
    is_hit(&site, Hit::UriLength, 2);
    assert_eq!(pod.seen().len(), 3);
}

#[test]
fn bounds_of_bodies() {
    let pod = Pod::echo();
    let site = site(&[("proxy-body-size", "10")], &pod);
    let post = GET.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 11\r\n\r\nhello world");
    assert!(to_the_end(connect(&site, site.port()), &post).starts_with("HTTP/1.1 413 "));
    assert_eq!(site.get("a.example", "/", &["--data", "hello"]).status, 200);
    is_hit(&site, Hit::BodySize, 1);
}

#[test]
fn bounds_of_times() {
    let pod = Pod::echo();
    let authority = Authority::new();
    let manifests = secret("one", &authority.issue(&["a.example"], Kind::Ecdsa))
        + &ingress_over_tls("web", "a.example", "one", &[]);
    let tls = Site::configured(&[("tls-handshake-timeout", "2s")], &manifests, &[("web", &pod)]);
    assert_eq!(to_the_end(connect(&tls, tls.tls_port()), "\u{16}\u{3}\u{1}"), "");
    is_hit(&tls, Hit::Handshake, 1);
    assert_eq!(tls.get_secured("a.example", "/", &["--cacert", authority.path()]).status, 200);
    let data = [
        ("use-proxy-protocol", "true"),
        ("proxy-real-ip-cidr", "127.0.0.0/8"),
        ("proxy-protocol-header-timeout", "2s"),
    ];
    let proxied = site(&data, &pod);
    assert_eq!(to_the_end(connect(&proxied, proxied.port()), "PROXY TCP4"), "");
    is_hit(&proxied, Hit::ProxyHeader, 1);
    assert_eq!(proxied.get("a.example", "/", &["--haproxy-protocol"]).status, 200);
}

#[test]
fn bounds_of_a_client_s_connections() {
    let pod = Pod::echo();
    let site = site(&[("max-connections-per-client", "2")], &pod);
    let mut open: Vec<_> = (0..2).map(|_| connect(&site, site.port())).collect();
    for stream in &mut open {
        stream.write_all(GET.as_bytes()).expect("sent");
        assert!(stream.read(&mut [0; 1000]).expect("an answer") > 0);
    }
    assert_eq!(to_the_end(connect(&site, site.port()), ""), "", "the third one is closed");
    is_hit(&site, Hit::ClientConnections, 1);
    drop(open.pop());
    // What counts is over when the front has seen its end.
    site.eventually("the place to be free again", || {
        let mut stream = connect(&site, site.port());
        // One that is closed at once may break under the request.
        stream.write_all(GET.as_bytes()).is_ok() && stream.read(&mut [0; 1000]).unwrap_or(0) > 0
    });
    let mut first = open.pop().expect("it is open");
    first.write_all(GET.as_bytes()).expect("sent");
    assert!(first.read(&mut [0; 1000]).expect("an answer") > 0, "who was there before is served");
}

#[test]
fn bounds_of_all_connections() {
    let pod = Pod::echo();
    let site = site(&[("max-worker-connections", "1")], &pod);
    let mut first = connect(&site, site.port());
    first.write_all(GET.as_bytes()).expect("sent");
    assert!(first.read(&mut [0; 1000]).expect("an answer") > 0);
    let mut second = connect(&site, site.port());
    second.write_all(GET.as_bytes()).expect("the kernel takes it");
    site.eventually("the limit", || site.counters().limited[Hit::Connections as usize] > 0);
    assert_eq!(pod.seen().len(), 1, "the second one waits");
    drop(first);
    assert!(second.read(&mut [0; 1000]).expect("an answer") > 0);
}

#[test]
fn bounds_that_are_raised_let_those_in_who_wait() {
    let pod = Pod::echo();
    let mut site = site(&[("max-worker-connections", "1")], &pod);
    let mut open: Vec<_> = (0..3).map(|_| connect(&site, site.port())).collect();
    open.iter_mut().for_each(|stream| stream.write_all(GET.as_bytes()).expect("the kernel takes it"));
    assert!(open[0].read(&mut [0; 1000]).expect("an answer") > 0);
    site.eventually("the limit", || site.counters().limited[Hit::Connections as usize] > 0);
    assert_eq!(pod.seen().len(), 1, "the others wait");
    let raised = config_map(&[("max-worker-connections", "3")]);
    site.apply(&(raised + &ingress("web", "a.example", "/", &[])));
    for stream in &mut open[1..] {
        assert!(stream.read(&mut [0; 1000]).expect("an answer") > 0, "beside the first");
    }
    open[0].write_all(GET.as_bytes()).expect("it is open");
    assert!(open[0].read(&mut [0; 1000]).expect("an answer") > 0);
}

#[test]
fn bounds_of_slow_readers() {
    let body = "x".repeat(24 << 20);
    let pod =
        Pod::answering(move |asked| answer("200 OK", &[], if asked.line.contains("/long") { &body } else { "x" }));
    let site = site(&[("client-min-rate", "50m"), ("client-body-timeout", "1")], &pod);
    // What the kernel holds for a client counts as taken, so it may hold little.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("set");
    socket.connect(&site.address().into()).expect("the front listens");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(GET.replace("/ ", "/long ").as_bytes()).expect("sent");
    let mut taken = 0;
    while let Ok(count @ 1..) = stream.read(&mut [0; 2048]) {
        taken += count;
        // This slow client is what the test is about.
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(taken < 24 << 20, "all of it was taken");
    // The kernel takes parts of the answer in big steps: for as long as one takes, nothing of it seems to be taken.
    let cut =
        || [Hit::ReadRate, Hit::ReadTime].map(|limit| site.counters().limited[limit as usize]).iter().sum::<u64>();
    site.eventually("the limit", || cut() > 0);
    assert_eq!((cut(), site.counters().upstream_failures), (1, 0));
    assert_eq!(site.get("a.example", "/", &[]).status, 200);
}
