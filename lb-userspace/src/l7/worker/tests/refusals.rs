//! Backends of HTTP/2 that say of a request that they have done nothing with it, or have done something.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::harness::*;
use super::http2::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, RST_STREAM};
use crate::l7::table::{RouteEntry, RouteTable};
use crate::model::filters::{Backend as Spoken, Filters};

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
    let spoken = Spoken { http2: true, ..Spoken::default() };
    let filters = Arc::new(Filters { backend: Some(Box::new(spoken)), ..Filters::default() });
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
