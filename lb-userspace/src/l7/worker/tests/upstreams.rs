use std::io::Write;
use std::time::Duration;

use super::harness::*;
use crate::clock::{now, since};
use crate::dataplane::unacknowledged;
use crate::l7::worker::Limits;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn connections_to_backends_are_used_again() {
    let backend = Backend::answering(OK);
    let front = Front::start(&all_to(&[backend.address]), limits());
    let mut client = front.connect();
    for _ in 0..10 {
        client.send(GET.as_bytes());
        assert_eq!(client.reply(false).text(), "ok");
    }
    for _ in 0..10 {
        assert_eq!(front.ask(GET).text(), "ok");
    }
    assert_eq!((backend.requests(), backend.connections()), (20, 1));
    let counters = front.counters();
    assert_eq!((counters.upstream_connections, counters.upstream_reuses, counters.connections), (1, 19, 11));
}

#[test]
fn connections_are_used_again_whatever_ends_the_answer() {
    for answer in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        let backend = Backend::answering(answer);
        let front = Front::start(&all_to(&[backend.address]), limits());
        for _ in 0..5 {
            front.ask(GET);
        }
        assert_eq!((backend.requests(), backend.connections()), (5, 1), "{answer:?}");
    }
}

#[test]
fn endpoints_take_turns() {
    let backends = [Backend::answering(OK), Backend::answering(OK), Backend::answering(OK)];
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let front = Front::start(&all_to(&addresses), limits());
    for _ in 0..9 {
        front.ask(GET);
    }
    assert_eq!(backends.each_ref().map(Backend::requests), [3, 3, 3]);
}

#[test]
fn the_next_endpoint_answers_for_a_dead_one() {
    let backend = Backend::answering(OK);
    let front = Front::start(&all_to(&[dead_address(), backend.address, dead_address()]), limits());
    for _ in 0..6 {
        assert_eq!(front.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").status, 200);
    }
    assert_eq!(backend.requests(), 6);
    // After its failure each dead one was tried last, which is never.
    assert!(front.counters().upstream_failures <= 2);
    front.publish(2, &all_to(&[dead_address(), dead_address()]));
    let reply = front.ask(GET);
    assert_eq!((reply.status, reply.text().contains("no endpoint could be reached")), (502, true));
}

#[test]
fn a_pooled_connection_that_was_closed_costs_nothing() {
    // Closes after each answer without saying so.
    let backend = Backend::start(|mut client, heads| {
        let head = client.head();
        if !head.is_empty() {
            client.body(&head);
            heads.lock().expect("no panic").push(head);
            client.send(OK.as_bytes());
        }
    });
    let front = Front::start(&all_to(&[backend.address]), limits());
    for _ in 0..50 {
        assert_eq!(front.ask(GET).text(), "ok");
    }
    assert_eq!(backend.requests(), 50);
}

#[test]
fn a_request_with_a_body_is_never_sent_twice() {
    // Breaks off instead of answering the second request of a connection, or one for /broken.
    let backend = Backend::start(|mut client, heads| {
        for turn in 0..2 {
            let head = client.head();
            client.body(&head);
            let broken = head.contains("/broken");
            heads.lock().expect("no panic").push(head);
            if turn > 0 || broken {
                return;
            }
            client.send(OK.as_bytes());
        }
    });
    let front = Front::start(&all_to(&[backend.address]), Limits { unacknowledged: Some(unacknowledged), ..limits() });
    let post =
        |path: &str| front.ask(&format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")).status;
    // On a new connection, unless so much time has gone by that the old one is taken for one that is kept.
    let answered = [post("/"), post("/"), post("/")];
    assert!(answered.iter().all(|status| [200, 502].contains(status)) && answered[0] == 200, "{answered:?}");
    assert_eq!((backend.requests(), front.counters().upstream_retries), (3, 0));
    assert_eq!(post("/broken"), 502);
    assert_eq!((backend.requests(), front.counters().upstream_retries), (4, 0));
    // A GET may be sent twice: once on an old connection, once on a new one.
    assert_eq!(front.ask(GET).status, 200);
    assert_eq!(backend.requests() as u64, 5 + front.counters().upstream_retries);
}

#[test]
fn a_connection_that_is_kept_takes_requests_that_must_not_be_repeated() {
    let backend = Backend::answering(OK);
    let front = Front::start(&all_to(&[backend.address]), limits());
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    // Once one of its idle connections has been seen to stay open, the endpoint is known to keep them.
    wait_for("a connection that is used again", || {
        assert_eq!(front.ask(post).status, 200);
        front.counters().upstream_reuses >= 10
    });
    assert!(backend.connections() < backend.requests());
}

#[test]
fn a_connection_whose_client_went_away_is_not_used_again() {
    // The answer to the first request does not end before its connection does.
    let backend = Backend::start(|mut client, heads| {
        while let head = client.head()
            && !head.is_empty()
        {
            let first = heads.lock().expect("no panic").is_empty();
            heads.lock().expect("no panic").push(head);
            if first {
                client.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                while client.stream.get_mut().write_all(b"1\r\nx\r\n").is_ok() {}
                return;
            }
            client.send(OK.as_bytes());
        }
    });
    let front = Front::start(&all_to(&[backend.address]), limits());
    let mut client = front.connect();
    client.send(GET.as_bytes());
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    drop(client);
    wait_for("the end of its connection", || front.counters().active_connections == 0);
    assert_eq!(front.ask(GET).text(), "ok");
    assert_eq!((backend.requests(), backend.connections()), (2, 2));
}

#[test]
fn slow_backends_are_given_up() {
    let backend = Backend::start(|mut client, _| {
        client.head();
        client.is_at_end();
    });
    let front = Front::start(&all_to(&[backend.address]), Limits { answer: Duration::from_millis(100), ..limits() });
    let start = now();
    assert_eq!(front.ask(GET).status, 504);
    assert!(since(start) >= Duration::from_millis(100));
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_backend_that_answers_before_the_body_is_heard() {
    let backend = Backend::start(|mut client, _| {
        client.head();
        client.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
        client.is_at_end();
    });
    let front = Front::start(&all_to(&[backend.address]), limits());
    let mut client = front.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome");
    let reply = client.reply(false);
    assert_eq!((reply.status, reply.text().as_str()), (413, "big"));
}

#[test]
fn a_new_table_interrupts_nobody() {
    let (one, two) = (Backend::answering(OK), Backend::answering(OK));
    let front = Front::start(&all_to(&[one.address]), limits());
    let mut client = front.connect();
    for version in 2..60 {
        client.send(GET.as_bytes());
        assert_eq!(client.reply(false).text(), "ok");
        front.publish(version, &all_to(&[if version % 2 == 0 { two.address } else { one.address }]));
    }
    assert_eq!((one.requests(), two.requests()), (29, 29));
    assert_eq!(front.counters().connections, 1);
}
