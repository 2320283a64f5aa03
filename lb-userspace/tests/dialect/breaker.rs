//! How much an endpoint is asked at once, how many requests wait for that, and how long a request may take in all.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use crate::harness::{Site, ingress};
use crate::pod::{Pod, answer};

/// A pod that holds requests for `/hold` until it is told, once for each, to answer.
struct Holding {
    pod: Pod,
    release: Sender<()>,
    /// Requests that it holds or held.
    held: Arc<AtomicUsize>,
}

impl Holding {
    fn named(name: &'static str) -> Self {
        let (release, released) = channel::<()>();
        let (released, held) = (Mutex::new(released), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&held);
        let pod = Pod::answering(move |asked| {
            if asked.line.contains("/hold") {
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = released.lock().expect("no panic").recv();
            }
            answer("200 OK", &[], name)
        });
        Holding { pod, release, held }
    }

    fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }
}

/// Two workers, which have to count together.
fn site(annotations: &[(&str, &str)], pods: &[&Pod]) -> Site {
    let pods: Vec<_> = pods.iter().map(|pod| ("web", *pod)).collect();
    let site = Site::on_cores(2, &ingress("web", "a.example", "/", annotations), &pods);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
    site
}

#[test]
fn an_endpoint_with_enough_to_do_is_spared() {
    let busy = Holding::named("busy");
    let site = site(&[("weir.io/max-connections", "1")], &[&busy.pod]);
    std::thread::scope(|scope| {
        let held = scope.spawn(|| site.get("a.example", "/hold", &[]));
        site.eventually("the held request", || busy.held() == 1);
        for _ in 0..8 {
            let refused = site.get("a.example", "/", &[]);
            assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
            assert!(refused.body.contains("busy"), "{refused:?}");
        }
        busy.release.send(()).expect("the pod waits");
        assert_eq!(held.join().expect("no panic").status, 200);
        site.eventually("room again", || site.get("a.example", "/", &[]).status == 200);
    });
    assert!(busy.pod.seen().len() < 8, "a refused request reached the pod");
}

#[test]
fn others_take_what_one_has_no_room_for() {
    let (one, other) = (Holding::named("one"), Holding::named("other"));
    let site = site(&[("weir.io/max-connections", "1")], &[&one.pod, &other.pod]);
    std::thread::scope(|scope| {
        let held = scope.spawn(|| site.get("a.example", "/hold", &[]));
        site.eventually("the held request", || one.held() + other.held() == 1);
        let (busy, free) = if one.held() == 1 { (&one, "other") } else { (&other, "one") };
        for _ in 0..8 {
            // The place of the request before is free a moment after its answer.
            site.eventually("the free pod", || site.get("a.example", "/", &[]).body == free);
        }
        busy.release.send(()).expect("the pod waits");
        assert_eq!(held.join().expect("no panic").status, 200);
        assert_eq!(busy.pod.seen().len(), 1, "it was asked although it had enough to do");
    });
}

#[test]
fn so_many_wait_for_room() {
    let busy = Holding::named("busy");
    let asked =
        [("weir.io/max-connections", "1"), ("weir.io/max-pending-requests", "2"), ("proxy-connect-timeout", "50")];
    let site = site(&asked, &[&busy.pod]);
    let mut statuses: Vec<_> = std::thread::scope(|scope| {
        // One is with the pod, two wait, and whichever comes last is refused at once.
        let all: Vec<_> = (0..4).map(|_| scope.spawn(|| site.get("a.example", "/hold", &[]).status)).collect();
        site.eventually("the one for whom there is no room", || all.iter().any(|one| one.is_finished()));
        site.eventually("the one that the pod holds", || busy.held() == 1);
        for _ in 0..3 {
            busy.release.send(()).expect("the pod waits");
        }
        all.into_iter().map(|one| one.join().expect("no panic")).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 503]);
    assert_eq!(busy.pod.seen().len(), 3);
}

#[test]
fn a_request_may_take_so_long_in_all() {
    // No endpoint takes too long by itself: curl would give up first.
    let (one, other) = (Pod::silent(), Pod::silent());
    let asked = [("weir.io/request-timeout", "400ms"), ("proxy-read-timeout", "600")];
    let reply = site(&asked, &[&one, &other]).get("a.example", "/", &[]);
    assert_eq!((reply.status, reply.body.contains("no answer in time")), (504, true), "{reply:?}");
}

/// Begins an answer and then sends one byte after the other, with less between two than anything forbids.
fn dripping() -> Pod {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let pod = Pod::at(listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
            while stream.write_all(b"x").is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    });
    pod
}

#[test]
fn an_answer_without_end_is_broken_off() {
    let pod = dripping();
    let site = site(&[("weir.io/request-timeout", "500ms")], &[&pod]);
    let mut stream = TcpStream::connect(site.address()).expect("the front listens");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    // An end or a reset: the client learns in either way that it is not whole.
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with('x') && text.len() < 100_000, "{text}");
}

#[test]
fn wrong_values_are_told() {
    let site = Site::annotated(
        &[
            ("weir.io/max-connections", "many"),
            ("weir.io/max-pending-requests", "-1"),
            ("weir.io/request-timeout", "0"),
        ],
        &Pod::echo(),
    );
    assert_eq!(site.codes(), ["annotation-invalid"; 3]);
    assert_eq!(site.get("a.example", "/", &[]).status, 200);
}
