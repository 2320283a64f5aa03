use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::harness::{Site, ingress};
use crate::pod::{Pod, answer};

/// Statuses of this many requests, one after the other.
fn ask(site: &Site, times: usize) -> Vec<u16> {
    (0..times).map(|_| site.get("a.example", "/", &[]).status).collect()
}

#[test]
fn what_is_too_much_per_minute_gets_503() {
    let pod = Pod::echo();
    let mut site = Site::annotated(&[("limit-rpm", "2"), ("limit-burst-multiplier", "2")], &pod);
    assert_eq!(ask(&site, 6), [200, 200, 200, 200, 503, 503]);
    // The count outlives a change of the table.
    site.apply(&ingress("web", "a.example", "/x", &[("limit-rpm", "2"), ("limit-burst-multiplier", "2")]));
    assert_eq!(site.get("a.example", "/x", &[]).status, 503);
    site.apply(&ingress("web", "a.example", "/", &[("limit-rpm", "2"), ("limit-whitelist", "127.0.0.0/8")]));
    assert_eq!(ask(&site, 12), [200; 12]);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
}

#[test]
fn a_window_counts_by_its_own_key() {
    let pod = Pod::echo();
    let annotations =
        [("global-rate-limit", "2"), ("global-rate-limit-window", "1h"), ("global-rate-limit-key", "$http_x_user")];
    let site = Site::annotated(&annotations, &pod);
    let ask = |user: &str| site.get("a.example", "/", &["--header", &format!("X-User: {user}")]).status;
    assert_eq!([ask("one"), ask("one"), ask("one"), ask("two")], [200, 200, 429, 200]);
}

#[test]
fn requests_in_flight_are_limited() {
    let ((arrive, arrived), (release, held)) = (channel::<()>(), channel::<()>());
    let held = Mutex::new(held);
    let pod = Pod::answering(move |asked| {
        if asked.line.starts_with("GET /slow") {
            arrive.send(()).expect("the test waits for it");
            held.lock().expect("no panic").recv().expect("the test releases it");
        }
        answer("200 OK", &[], "x")
    });
    let site = Site::annotated(&[("limit-connections", "1")], &pod);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| site.get("a.example", "/slow", &[]).status);
        arrived.recv().expect("the request reaches the pod");
        assert_eq!(site.get("a.example", "/", &[]).status, 503);
        release.send(()).expect("the pod waits");
        assert_eq!(slow.join().expect("no panic"), 200);
    });
    site.eventually("the place to be free again", || site.get("a.example", "/", &[]).status == 200);
}

#[test]
fn answers_go_out_at_their_pace() {
    let body = "x".repeat(64 << 10);
    let pod = Pod::answering(move |_| answer("200 OK", &[], &body));
    let site = Site::annotated(&[("limit-rate", "64"), ("limit-rate-after", "32")], &pod);
    let begin = lb_userspace::clock::now();
    let reply = site.get("a.example", "/", &[]);
    assert_eq!(reply.body.len(), 64 << 10);
    // Half of it is free, the other half takes half a second; the last frame is not waited for.
    let took = lb_userspace::clock::since(begin);
    assert!(took.as_millis() > 150, "it took only {took:?}");
}

/// Answers an upgrade with 101 and then waits, everything else with 200.
fn chats() -> Pod {
    Pod::answering(|asked| match asked.header("upgrade") {
        Some(_) => "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n".to_owned(),
        None => answer("200 OK", &[], ""),
    })
}

fn upgraded(site: &Site) -> TcpStream {
    let mut stream = TcpStream::connect(site.address()).expect("connected");
    let head = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    stream
}

#[test]
fn a_websocket_is_in_flight_until_it_ends() {
    let pod = chats();
    let site = Site::annotated(&[("limit-connections", "1")], &pod);
    let first = upgraded(&site);
    for _ in 0..3 {
        assert_eq!(site.get("a.example", "/", &[]).status, 503);
    }
    drop(first);
    site.eventually("the client to be served again", || site.get("a.example", "/", &[]).status == 200);
}

#[test]
fn a_websocket_on_which_nothing_comes_ends() {
    let pod = chats();
    let site = Site::annotated(&[("proxy-read-timeout", "1")], &pod);
    let mut stream = upgraded(&site);
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("a time");
    assert_eq!(stream.read(&mut [0]).expect("the front closes it"), 0);
}
