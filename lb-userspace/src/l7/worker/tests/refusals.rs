//! Backends of HTTP/2 that say of a request that they have done nothing with it, or have done something.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::harness::*;
use super::http2::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, RST_STREAM, SETTINGS};
use crate::l7::table::{RouteEntry, RouteTable};
use crate::model::filters::{Backend as Spoken, Filters, Retry};

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

/// What a backend does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Answer,
    Reset(u32),
    /// Says that this connection ends, for this reason, and up to which stream it has seen to requests; closes it then.
    GoAway(u32, u32),
}

use Does::{Answer, GoAway, Reset};

/// The bodies that a backend has read to their ends.
type Bodies = Arc<Mutex<Vec<Vec<u8>>>>;

/// A backend that does one of these with each request in turn, and the last of them with all others; when it has seen the
/// whole of it, or of the first one its head if it is `hasty`.
fn backend(does: &'static [Does], hasty: bool) -> (Backend, Bodies) {
    let (bodies, turn) = (Bodies::default(), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&bodies);
    let backend = Backend::start(move |client, _| {
        let Some(mut server) = Http2::accept(client) else { return };
        let mut parts = HashMap::<u32, Vec<u8>>::new();
        while let Some(frame) = server.next() {
            if frame.kind == DATA {
                parts.entry(frame.stream).or_default().extend(&frame.payload);
            }
            let ends = matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0;
            let first = turn.load(Ordering::SeqCst) == 0;
            if ends || (hasty && first && frame.kind == HEADERS) {
                seen.lock().expect("no panic").push(parts.remove(&frame.stream).unwrap_or_default());
                let does = does[turn.fetch_add(1, Ordering::SeqCst).min(does.len() - 1)];
                if !act(&mut server, does, frame.stream) {
                    return;
                }
            }
        }
    });
    (backend, bodies)
}

/// False: that was all on this connection.
fn act(server: &mut Http2, does: Does, stream: u32) -> bool {
    match does {
        // Status 200 is one of the static table.
        Answer => {
            server.try_frame(HEADERS, END_HEADERS, stream, &[0x88]) && server.try_frame(DATA, END_STREAM, stream, b"ok")
        }
        Reset(reason) => server.try_frame(RST_STREAM, 0, stream, &reason.to_be_bytes()),
        GoAway(reason, last) => {
            server.try_frame(GOAWAY, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat());
            // The front closes by itself when nothing is left to wait for; what it waits for does not come.
            last == 0
        }
    }
}

fn over_http2(backends: &[&Backend]) -> RouteTable {
    over_http2_with(backends, None)
}

fn over_http2_with(backends: &[&Backend], retry: Option<Retry>) -> RouteTable {
    let spoken = Spoken { http2: true, ..Spoken::default() };
    let (backend, retry) = (Some(Box::new(spoken)), retry.map(Box::new));
    let filters = Arc::new(Filters { backend, retry, ..Filters::default() });
    let route = RouteEntry { filters, ..prefix("/", Some("default/web:80")) };
    let endpoints: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    table(&[("*", &[route])], &[("default/web:80", &endpoints)])
}

/// Whose length is told, or not.
const KNOWN: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
const CHUNKS: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";

fn post(does: &'static [Does], request: &str) -> (u16, Vec<Vec<u8>>) {
    let (backend, bodies) = backend(does, false);
    let front = Front::start(&over_http2(&[&backend]), limits());
    let status = front.ask(request).status;
    let bodies = bodies.lock().expect("no panic").clone();
    (status, bodies)
}

#[test]
fn what_was_refused_is_sent_again_whatever_its_method() {
    for request in [KNOWN, CHUNKS] {
        for refusal in
            [&[Reset(REFUSED_STREAM), Answer][..], &[GoAway(NO_ERROR, 0), Answer], &[GoAway(INTERNAL_ERROR, 0), Answer]]
        {
            let (status, bodies) = post(refusal, request);
            assert_eq!((status, bodies), (200, vec![b"hello".to_vec(); 2]), "{refusal:?} {request:?}");
        }
    }
}

#[test]
fn what_may_have_been_acted_upon_is_not_sent_again() {
    for end in [&[Reset(INTERNAL_ERROR), Answer][..], &[GoAway(INTERNAL_ERROR, 1), Answer]] {
        let (status, bodies) = post(end, KNOWN);
        assert_eq!((status, bodies.len()), (502, 1), "{end:?}");
    }
}

#[test]
fn who_refuses_all_is_asked_twice() {
    for refusal in [&[Reset(REFUSED_STREAM)][..], &[GoAway(NO_ERROR, 0)]] {
        let (status, bodies) = post(refusal, KNOWN);
        assert_eq!((status, bodies.len()), (502, 2), "{refusal:?}");
    }
}

#[test]
fn another_endpoint_takes_what_one_refuses() {
    let ((full, _), (free, bodies)) = (backend(&[Reset(REFUSED_STREAM)], false), backend(&[Answer], false));
    let front = Front::start(&over_http2(&[&full, &free]), limits());
    for _ in 0..6 {
        assert_eq!(front.ask(KNOWN).status, 200);
    }
    assert_eq!(*bodies.lock().expect("no panic"), vec![b"hello".to_vec(); 6]);
}

#[test]
fn a_body_that_is_still_coming_is_sent_again_from_its_beginning() {
    let (backend, bodies) = backend(&[Reset(REFUSED_STREAM), Answer], true);
    let front = Front::start(&over_http2(&[&backend]), limits());
    let mut client = front.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe");
    wait_for("the refusal", || bodies.lock().expect("no panic").len() == 1);
    client.send(b"llo");
    assert_eq!(client.reply(false).status, 200);
    assert_eq!(bodies.lock().expect("no panic").last().map(Vec::as_slice), Some(&b"hello"[..]));
}

#[test]
fn a_body_that_is_too_long_to_be_kept_is_not_sent_again() {
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    let long =
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}1\r\nx\r\n0\r\n\r\n");
    let (status, bodies) = post(&[Reset(REFUSED_STREAM), Answer], &long);
    assert_eq!((status, bodies.len()), (502, 1));
}

#[test]
fn what_was_refused_is_sent_again_as_far_as_that_is_asked_for() {
    for retry in [Retry { on_error: false, ..Retry::default() }, Retry { tries: 1, ..Retry::default() }] {
        let (backend, bodies) = backend(&[Reset(REFUSED_STREAM), Answer], false);
        let front = Front::start(&over_http2_with(&[&backend], Some(retry.clone())), limits());
        assert_eq!(front.ask(KNOWN).status, 502, "{retry:?}");
        assert_eq!(bodies.lock().expect("no panic").len(), 1, "{retry:?}");
    }
    // A connection that was there and ends is no try.
    let (backend, bodies) = backend(&[Answer, GoAway(NO_ERROR, 1), Answer], false);
    let off = Retry { on_error: false, tries: 1, ..Retry::default() };
    let front = Front::start(&over_http2_with(&[&backend], Some(off)), limits());
    assert_eq!([front.ask(KNOWN).status, front.ask(KNOWN).status], [200; 2]);
    assert_eq!(bodies.lock().expect("no panic").len(), 3);
}

/// A backend of HTTP/2 that holds a request for `/` with the body "hold" and answers it at the next "go"; others it answers, or
/// refuses while it holds one.
fn holding() -> (Backend, Bodies) {
    let bodies = Bodies::default();
    let seen = Arc::clone(&bodies);
    let backend = Backend::start(move |client, _| {
        let Some(mut server) = Http2::accept(client) else { return };
        let mut held = None;
        while let Some(frame) = server.next() {
            if frame.kind != DATA || frame.payload.is_empty() {
                continue;
            }
            let body = frame.payload;
            seen.lock().expect("no panic").push(body.clone());
            let goes_on = match (&body[..], held) {
                (b"hold", _) => {
                    held = Some(frame.stream);
                    true
                }
                (b"go", Some(stream)) => {
                    held = None;
                    act(&mut server, Answer, stream) && act(&mut server, Answer, frame.stream)
                }
                (_, Some(_)) => act(&mut server, Reset(REFUSED_STREAM), frame.stream),
                (_, None) => act(&mut server, Answer, frame.stream),
            };
            if !goes_on {
                return;
            }
        }
    });
    (backend, bodies)
}

fn post_of(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn an_endpoint_that_is_full_is_not_left_out() {
    let ((full, seen), (free, taken)) = (holding(), backend(&[Answer], false));
    let front = Front::start(&over_http2(&[&full]), limits());
    let mut client = front.connect();
    client.send(post_of("hold").as_bytes());
    let count = |bodies: &Bodies, body: &[u8]| {
        bodies.lock().expect("no panic").iter().filter(|one| one.as_slice() == body).count()
    };
    wait_for("the held request", || count(&seen, b"hold") == 1);
    front.publish(2, &over_http2(&[&full, &free]));
    for _ in 0..12 {
        assert_eq!(front.ask(&post_of("other")).status, 200);
    }
    assert_eq!(count(&taken, b"other"), 12);
    // Every second request comes to the one that is full, and is sent there twice.
    assert_eq!(count(&seen, b"other"), 12, "it was left out");
    front.publish(3, &over_http2(&[&full]));
    assert_eq!(front.ask(&post_of("go")).status, 200);
    assert_eq!(client.reply(false).status, 200);
}

#[test]
fn a_request_that_waits_for_its_stream_is_sent_elsewhere_when_the_connection_ends() {
    let (bodies, ends) = (Bodies::default(), Arc::new(AtomicUsize::new(0)));
    let (seen, told) = (Arc::clone(&bodies), Arc::clone(&ends));
    let backend = Backend::start(move |client, _| {
        let Some(mut server) = Http2::accept(client) else { return };
        // SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113 section 6.5.2): one.
        server.frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]);
        while let Some(frame) = server.next() {
            if frame.kind != DATA || frame.payload.is_empty() {
                continue;
            }
            seen.lock().expect("no panic").push(frame.payload.clone());
            if frame.payload == b"hold" {
                wait_for("the test", || told.load(Ordering::SeqCst) > 0);
                // The last stream that it sees to is this one.
                server.frame(GOAWAY, 0, 0, &[frame.stream.to_be_bytes(), NO_ERROR.to_be_bytes()].concat());
            }
            if !act(&mut server, Answer, frame.stream) {
                return;
            }
        }
    });
    let front = Front::start(&over_http2(&[&backend]), limits());
    // The front knows the settings when the first answer has come.
    assert_eq!(front.ask(&post_of("first")).status, 200);
    let mut clients = [front.connect(), front.connect()];
    clients[0].send(post_of("hold").as_bytes());
    wait_for("the held request", || bodies.lock().expect("no panic").len() == 2);
    clients[1].send(post_of("waits").as_bytes());
    wait_for("the request that waits", || front.counters().upstream_reuses == 2);
    ends.store(1, Ordering::SeqCst);
    assert_eq!(clients.each_mut().map(|client| client.reply(false).status), [200; 2]);
    let bodies = bodies.lock().expect("no panic").clone();
    assert_eq!(bodies, [b"first".to_vec(), b"hold".to_vec(), b"waits".to_vec()]);
    assert_eq!(front.counters().upstream_failures, 0);
}
