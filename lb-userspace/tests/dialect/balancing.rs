use std::collections::BTreeMap;

use crate::harness::{Site, ingress};
use crate::pod::{Pod, answer};

fn site(annotations: &[(&str, &str)], service: &str, pods: &[&Pod]) -> Site {
    let pods: Vec<_> = pods.iter().map(|pod| (service, *pod)).collect();
    Site::start(&ingress(service, "a.example", "/", annotations), &pods)
}

/// How many of so many requests each pod got.
fn shares(site: &Site, times: usize, path: impl Fn(usize) -> String) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for turn in 0..times {
        *shares.entry(site.get("a.example", &path(turn), &[]).body).or_default() += 1;
    }
    shares
}

#[test]
fn by_hash() {
    let pods = ["a", "b", "c", "d", "e", "f"].map(Pod::named);
    let all: Vec<_> = pods.iter().collect();
    let path = |turn: usize| format!("/{turn}");
    let first = site(&[("upstream-hash-by", "$request_uri")], "web", &all);
    let owners: Vec<_> = (0..40).map(|turn| first.get("a.example", &path(turn), &[]).body).collect();
    let again: Vec<_> = (0..40).map(|turn| first.get("a.example", &path(turn), &[]).body).collect();
    assert_eq!(owners, again);
    assert!(shares(&first, 40, path).len() >= 4, "they are spread");
    // Without the last pod only its requests go elsewhere, also on another node.
    let second = site(&[("upstream-hash-by", "$request_uri")], "web", &all[..5]);
    for (turn, owner) in owners.iter().enumerate().filter(|(_, owner)| *owner != "f") {
        assert_eq!(second.get("a.example", &path(turn), &[]).body, *owner);
    }
    assert!(first.problems.is_empty() && second.problems.is_empty());

    let group =
        [("upstream-hash-by", "$arg_k"), ("upstream-hash-by-subset", "true"), ("upstream-hash-by-subset-size", "2")];
    let grouped = site(&group, "web", &all);
    for key in 0..8 {
        assert_eq!(shares(&grouped, 10, |_| format!("/?k={key}")).len(), 2, "two take turns");
    }
}

#[test]
fn the_slow_one_gets_less() {
    let slow = Pod::answering(|_| {
        std::thread::sleep(std::time::Duration::from_millis(600));
        answer("200 OK", &[], "slow")
    });
    let fast = Pod::named("fast");
    let site = site(&[("load-balance", "ewma")], "web", &[&slow, &fast]);
    let shares = shares(&site, 40, |_| "/".into());
    assert!(shares["fast"] > 30, "{shares:?}");
    assert!(site.problems.is_empty());
}

#[test]
fn the_busy_one_gets_nothing() {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let receiver = std::sync::Mutex::new(receiver);
    let busy = Pod::answering(move |asked| {
        if asked.line.contains("/hold") {
            let _ = receiver.lock().expect("no panic").recv();
        }
        answer("200 OK", &[], "busy")
    });
    let free = Pod::named("free");
    let site = site(&[("load-balance", "least_conn")], "web", &[&busy, &free]);
    std::thread::scope(|scope| {
        // One of these waits at the busy pod until the end.
        let held: Vec<_> = (0..2).map(|_| scope.spawn(|| site.get("a.example", "/hold", &[]))).collect();
        site.eventually("a held request", || {
            busy.seen().len() + free.seen().len() > 0 && held.iter().any(|one| one.is_finished())
        });
        let shares = shares(&site, 10, |_| "/".into());
        drop(sender);
        assert_eq!(shares.get("free"), Some(&10), "{shares:?}");
    });
}

#[test]
fn a_new_pod_begins_slowly() {
    let pods = ["old", "new"].map(Pod::named);
    let annotations = [("weir.io/slow-start", "1h")];
    // All are new at first, and so equal.
    let both = site(&annotations, "web", &[&pods[0], &pods[1]]);
    let shares = shares(&both, 20, |_| "/".into());
    assert!(shares["old"].abs_diff(shares["new"]) <= 2, "{shares:?}");
    assert!(both.problems.is_empty(), "{:?}", both.problems);
}
