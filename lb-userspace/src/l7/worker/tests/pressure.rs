//! Clients that use up time: each limit ends them, and is counted.

use std::time::Duration;

use super::harness::*;
use super::http2::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Http2, RST_STREAM, SETTINGS};
use crate::l7::guard;
use crate::l7::hits::Hit;
use crate::l7::worker::Limits;

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(3600);
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Only what a test is about comes to an end.
fn patient() -> guard::Limits {
    guard::Limits { idle: LONG, head: LONG, stall: LONG, rate: 0, ..guard::Limits::default() }
}

fn with(client: guard::Limits) -> Limits {
    Limits { client, ..limits() }
}

fn hits(front: &Front, hit: Hit) -> u64 {
    front.counters().limited[hit as usize]
}

fn is_hit(front: &Front, hit: Hit, times: u64) {
    wait_for(hit.label(), || hits(front, hit) >= times);
    assert_eq!(hits(front, hit), times, "{hit:?}");
}

#[test]
fn a_beginning_that_fits_both_is_no_way_to_wait() {
    let backend = Backend::answering(OK);
    let front = Front::start(&all_to(&[backend.address]), with(guard::Limits { head: SHORT, ..patient() }));
    for begun in ["P", "PR", "PRI"] {
        let mut client = front.connect();
        client.send(begun.as_bytes());
        assert_eq!(client.reply(false).status, 408, "{begun}");
        assert!(client.is_at_end());
    }
    is_hit(&front, Hit::HeadTime, 3);
    drop(front);
    let front = Front::start(&all_to(&[backend.address]), with(patient()));
    for begun in ["", "P", "PRI"] {
        let mut client = front.connect();
        client.send(begun.as_bytes());
        client.close_write();
        assert!(client.is_at_end(), "{begun:?}");
    }
    wait_for("the places to be free", || front.counters().active_connections == 0);
    let mut client = front.connect();
    client.send(b"P");
    wait_for("the connection", || front.counters().active_connections == 1);
    client.send(b"OST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(client.reply(false).text(), "ok");
}

#[test]
fn a_connection_without_a_request_ends() {
    let backend = Backend::answering(OK);
    let front = Front::start(&all_to(&[backend.address]), with(guard::Limits { idle: SHORT, ..patient() }));
    let mut silent = front.connect();
    assert!(silent.is_at_end());
    let mut client = front.connect();
    client.send(GET);
    assert_eq!(client.reply(false).text(), "ok");
    client.send(b"\r\n");
    assert!(client.is_at_end(), "an empty line is no request");
}

/// Begins to send a body of 1000 bytes.
const PART: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhello";

/// After clients have failed, no endpoint is held to have failed.
fn both_are_well(front: &Front, backends: &[Backend; 2]) {
    assert_eq!(front.counters().upstream_failures, 0);
    let heads = |backend: &Backend| {
        let heads = backend.heads.lock().expect("no panic");
        heads.iter().filter(|head| head.starts_with("GET")).count()
    };
    let before = backends.each_ref().map(heads);
    for _ in 0..4 {
        assert_eq!(front.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    }
    let after = backends.each_ref().map(heads);
    assert_eq!((after[0] - before[0], after[1] - before[1]), (2, 2));
}

/// An endpoint that waits for bodies as long as it must.
fn reader() -> Backend {
    Backend::start(|mut client, heads| {
        loop {
            let head = client.head();
            if head.is_empty() {
                return;
            }
            if header(&head, "transfer-encoding").is_some() {
                let _ = std::io::Read::read_to_end(&mut client.stream, &mut Vec::new());
                return;
            }
            let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            if std::io::Read::read_exact(&mut client.stream, &mut body).is_err() {
                return;
            }
            heads.lock().expect("no panic").push(head);
            client.send(OK.as_bytes());
        }
    })
}

#[test]
fn endpoints_do_not_pay_for_clients() {
    let backends = [reader(), reader()];
    let table = all_to(&backends.each_ref().map(|backend| backend.address));
    let front = Front::start(&table, with(guard::Limits { stall: SHORT, ..patient() }));
    for _ in 0..8 {
        let mut client = front.connect();
        client.send(PART);
        let reply = client.reply(false);
        assert_eq!((reply.status, reply.header("connection").as_deref()), (408, Some("close")));
    }
    is_hit(&front, Hit::BodyTime, 8);
    for _ in 0..8 {
        let mut client = front.connect();
        client.send(PART);
        client.close_write();
        assert_eq!(client.reply(false).status, 400);
    }
    both_are_well(&front, &backends);
    for _ in 0..8 {
        let mut client = Http2::connect(&front, &[]);
        client.request(1, "POST", HEADERS, END_HEADERS);
        client.frame(DATA, 0, 1, b"hello");
        assert_eq!(client.status(1), 408);
    }
    is_hit(&front, Hit::BodyTime, 16);
    for _ in 0..8 {
        let mut client = Http2::connect(&front, &[]);
        client.request(1, "POST", HEADERS, END_HEADERS);
        client.frame(DATA, 0, 1, b"hello");
        client.frame(RST_STREAM, 0, 1, &8u32.to_be_bytes());
    }
    wait_for("all connections to end", || front.counters().active_connections == 0);
    both_are_well(&front, &backends);
}

#[test]
fn a_byte_now_and_then_is_too_slow() {
    let backend = reader();
    let limits = guard::Limits { stall: SHORT, rate: 10_000, ..patient() };
    let front = Front::start(&all_to(&[backend.address]), with(limits));
    let mut client = front.connect();
    client.send(PART);
    let mut out = client.stream.get_ref().try_clone().expect("a copy");
    let trickle = std::thread::spawn(move || {
        while std::io::Write::write_all(&mut out, b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(client.reply(false).status, 408);
    is_hit(&front, Hit::BodyRate, 1);
    assert_eq!((front.counters().upstream_failures, hits(&front, Hit::BodyTime)), (0, 0));
    drop(client);
    trickle.join().expect("it ends");
}

#[test]
fn a_stream_that_nobody_reads_is_reset() {
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(100_000));
    let backend = Backend::start(move |mut client, _| {
        while let head = client.head()
            && !head.is_empty()
        {
            client.send(if head.starts_with("GET") { long.as_bytes() } else { OK.as_bytes() });
        }
    });
    let front = Front::start(&all_to(&[backend.address]), with(guard::Limits { stall: SHORT, ..patient() }));
    let window = [0, 4, 0, 0, 0, 10];
    let mut client = Http2::connect(&front, &window);
    client.request(1, "GET", HEADERS, END_HEADERS | END_STREAM);
    // Another one that is alive keeps the connection, and not the first one.
    while client.next_of(RST_STREAM, 1).is_none() {
        assert!(!client.is_at_end(), "only the stream ends");
    }
    client.request(3, "DELETE", HEADERS, END_HEADERS | END_STREAM);
    assert_eq!(client.status(3), 200);
    is_hit(&front, Hit::ReadTime, 1);
}

#[test]
fn streams_that_are_given_up_have_a_budget() {
    let backend = Backend::answering(OK);
    let front = Front::start(&all_to(&[backend.address]), with(patient()));
    let mut client = Http2::connect(&front, &[]);
    let mut sent = 0;
    while sent < 5000
        && client.try_request(2 * sent + 1)
        && client.try_frame(RST_STREAM, 0, 2 * sent + 1, &[0, 0, 0, 8])
    {
        sent += 1;
    }
    client.read_to_end();
    is_hit(&front, Hit::Resets, 1);
    assert!(backend.requests() <= 250, "{}", backend.requests());
}

#[test]
fn frames_that_bring_nothing_have_a_budget() {
    let backend = Backend::answering(OK);
    let front = Front::start(&all_to(&[backend.address]), with(patient()));
    let floods: [(u8, u32, &[u8]); 5] =
        [(SETTINGS, 0, &[]), (6, 0, &[0; 8]), (2, 1, &[0, 0, 0, 0, 1]), (8, 0, &[0, 0, 0, 1]), (99, 0, b"x")];
    for (number, (kind, stream, payload)) in floods.into_iter().enumerate() {
        let mut client = Http2::connect(&front, &[]);
        for _ in 0..5000 {
            if !client.try_frame(kind, 0, stream, payload) {
                break;
            }
        }
        client.read_to_end();
        wait_for(&format!("the end of a flood of {kind}"), || hits(&front, Hit::ControlFrames) > number as u64);
    }
    let mut client = Http2::connect(&front, &[]);
    client.request(1, "POST", HEADERS, END_HEADERS);
    // For these the library has a budget of its own.
    while client.try_frame(DATA, 0, 1, &[]) {}
}

#[test]
fn heads_of_http2_have_an_end() {
    let backend = Backend::answering(OK);
    let front = Front::start(&all_to(&[backend.address]), with(patient()));
    let mut client = Http2::connect(&front, &[]);
    client.request(1, "GET", HEADERS, END_STREAM);
    client.empty_frames(CONTINUATION, 0, 1, 5);
    client.empty_frames(CONTINUATION, END_HEADERS, 1, 1);
    assert_eq!(client.status(1), 200, "so many parts a head may have");
    // One by one, so that the library finds each before the next one is there.
    client.request(3, "GET", HEADERS, END_STREAM);
    while client.try_frame(CONTINUATION, 0, 3, &[]) && hits(&front, Hit::Continuation) == 0 {}
    is_hit(&front, Hit::Continuation, 1);
    drop(front);
    let front = Front::start(&all_to(&[backend.address]), with(guard::Limits { head: SHORT, ..patient() }));
    let mut client = Http2::connect(&front, &[]);
    client.request(1, "GET", HEADERS, END_STREAM);
    client.read_to_end();
    is_hit(&front, Hit::HeadTime, 1);
    assert_eq!(backend.requests(), 1);
}

#[test]
fn who_finds_no_socket_left_is_told_to_come_again() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let backend = Backend::start(move |mut client, heads| {
        while let head = client.head()
            && !head.is_empty()
        {
            heads.lock().expect("no panic").push(head);
            held.lock().expect("no panic").recv().expect("the test releases it");
            client.send(OK.as_bytes());
        }
    });
    let front = Front::start(&all_to(&[backend.address]), Limits { upstreams: 1, ..limits() });
    let mut first = front.connect();
    first.send(GET);
    wait_for("the first request", || backend.requests() == 1);
    let reply = front.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((reply.status, reply.header("retry-after").as_deref()), (503, Some("1")));
    is_hit(&front, Hit::Upstreams, 1);
    assert_eq!(front.counters().upstream_failures, 0);
    release.send(()).expect("it waits");
    assert_eq!(first.reply(false).text(), "ok");
    release.send(()).expect("it waits");
    assert_eq!(front.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text(), "ok", "the connection is free again");
}
