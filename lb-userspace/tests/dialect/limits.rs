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
