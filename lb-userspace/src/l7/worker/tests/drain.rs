use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::harness::*;
use crate::l7::worker::Limits;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn requests_in_flight_are_finished() {
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let backend = Backend::start(move |mut client, heads| {
        let head = client.head();
        heads.lock().expect("no panic").push(head);
        held.lock().expect("no panic").recv().expect("the test releases it");
        client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let front = Front::start(&all_to(&[backend.address]), limits());
    let mut client = front.connect();
    client.send(GET);
    wait_for("the request to arrive", || backend.requests() == 1);
    front.drain();
    wait_for("the listener to close", || TcpStream::connect(front.address).is_err());
    assert!(!front.is_finished());
    release.send(()).expect("the backend waits");
    let reply = client.reply(false);
    assert_eq!((reply.text().as_str(), reply.header("connection").as_deref()), ("ok", Some("close")));
    assert!(client.is_at_end());
    wait_for("the worker to end", || front.is_finished());
}

#[test]
fn idle_and_new_connections_are_still_served_while_the_successor_takes_over() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let front = Front::start(&all_to(&[backend.address]), Limits { hand_over: Duration::from_secs(2), ..limits() });
    let mut idle = [front.connect(), front.connect()];
    for client in &mut idle {
        client.send(GET);
        assert_eq!(client.reply(false).text(), "ok");
    }
    let mut silent = front.connect();
    front.drain();
    wait_for("the worker to drain", || {
        let reply = front.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(reply.text(), "ok");
        reply.header("connection").as_deref() == Some("close")
    });
    let [mut one, mut other] = idle;
    for client in [&mut one, &mut silent] {
        client.send(GET);
        let reply = client.reply(false);
        assert_eq!((reply.text().as_str(), reply.header("connection").as_deref()), ("ok", Some("close")));
        assert!(client.is_at_end());
    }
    assert!(other.is_at_end(), "nobody asked on it");
    wait_for("the worker to end", || front.is_finished());
}

#[test]
fn who_has_been_accepted_by_the_kernel_is_served() {
    const WAITING: usize = 300;
    let backend = Backend::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let front = Front::start(&all_to(&[backend.address]), Limits { clients: 1, ..limits() });
    let mut first = front.connect();
    first.send(GET);
    assert_eq!(first.reply(false).text(), "ok");
    let mut waiting: Vec<_> = (0..WAITING).map(|_| front.connect()).collect();
    waiting.iter_mut().for_each(|client| client.send(GET));
    front.drain();
    for client in &mut waiting {
        assert_eq!(client.reply(false).text(), "ok");
    }
}

#[test]
fn what_does_not_finish_is_cut_off() {
    let backend = Backend::start(|mut client, heads| {
        let head = client.head();
        heads.lock().expect("no panic").push(head);
        client.is_at_end();
    });
    let front = Front::start(&all_to(&[backend.address]), Limits { finish: Duration::from_millis(100), ..limits() });
    let mut client = front.connect();
    client.send(GET);
    wait_for("the request to arrive", || backend.requests() == 1);
    front.drain();
    wait_for("the worker to end", || front.is_finished());
    assert!(client.is_at_end());
}
