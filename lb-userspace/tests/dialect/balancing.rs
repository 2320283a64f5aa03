//! Which endpoint gets a request.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use lb_userspace::clock::{now, since};

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

/// A further slice of the Service, with the pod of another one, and what is annotated.
fn slice(name: &str, service: &str, number: u8, weight: &str) -> String {
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata:\n  name: {name}\n  \
labels: {{kubernetes.io/service-name: {service}}}\n  annotations: {{weir.io/weight: {weight:?}}}\nports: [{{port: 8080}}]\n\
endpoints: [{{addresses: [192.0.2.{number}]}}]\n"
    )
}

#[test]
fn a_new_pod_begins_slowly() {
    let [old, new] = ["old", "new"].map(Pod::named);
    let both = [("web", &old), ("later", &new)];
    let routes = ingress("web", "a.example", "/", &[("weir.io/slow-start", "10s")]);
    let mut site = Site::start(&routes, &both);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
    // The old one has half of its share when the new one comes.
    let start = now();
    while since(start) < Duration::from_secs(5) {
        assert_eq!(site.get("a.example", "/", &[]).body, "old");
    }
    site.apply(&(routes + &slice("more", "web", 2, "1")));
    let first = shares(&site, 40, |_| "/".into());
    let new = *first.get("new").unwrap_or(&0);
    assert!((1..=14).contains(&new), "the new one began with {new} of 40");
    site.eventually("both to have the same", || shares(&site, 20, |_| "/".into()).get("new") == Some(&10));
}

#[test]
fn pods_are_asked_by_their_weight() {
    let [light, heavy, none] = ["light", "heavy", "none"].map(Pod::named);
    let pods = [("a", &light), ("b", &heavy), ("c", &none)];
    let weighted = slice("light", "web", 1, "1") + &slice("heavy", "web", 2, "3") + &slice("none", "web", 3, "0");
    let service =
        "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80, targetPort: 8080}]}\n";
    for (annotations, heavy) in [(&[][..], 58..=62), (&[("upstream-hash-by", "$request_uri")], 45..=75)] {
        let manifests = ingress("web", "a.example", "/", annotations) + &weighted + service;
        let site = Site::start(&manifests, &pods);
        assert!(site.problems.is_empty(), "{:?}", site.problems);
        let shares = shares(&site, 80, |turn| format!("/{turn}"));
        assert!(heavy.contains(&shares["heavy"]), "{annotations:?}: {shares:?}");
        assert_eq!((shares["light"] + shares["heavy"], shares.get("none")), (80, None), "{annotations:?}");
    }
}

/// Requests that pods hold: how many each has, and what lets them go.
struct Held {
    counts: [AtomicUsize; 3],
    go: (Mutex<bool>, Condvar),
}

#[test]
fn a_key_that_everybody_asks_for_is_shared_by_several() {
    const CLIENTS: usize = 40;
    let held = Arc::new(Held { counts: Default::default(), go: Default::default() });
    let pods = [0, 1, 2].map(|number| {
        let held = Arc::clone(&held);
        Pod::answering(move |_| {
            held.counts[number].fetch_add(1, Ordering::SeqCst);
            let (gone, go) = &held.go;
            drop(go.wait_while(gone.lock().expect("no panic"), |gone| !*gone).expect("no panic"));
            answer("200 OK", &[], "x")
        })
    });
    let site = site(&[("upstream-hash-by", "$arg_k")], "web", &pods.each_ref());
    let counts = || held.counts.each_ref().map(|count| count.load(Ordering::SeqCst));
    let mut clients = Vec::new();
    for turn in 1..=CLIENTS {
        let mut client = TcpStream::connect(site.address()).expect("the front listens");
        client.write_all(b"GET /?k=hot HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").expect("sent");
        clients.push(client);
        // One after the other: each sees what the ones before are.
        site.eventually("the request to be held", || counts().iter().sum::<usize>() == turn);
        let most = *counts().iter().max().expect("three");
        // Of an average, once there is enough to do for that to say something.
        let bound = (1.25 * turn as f64 / 3.0).ceil().max(16.0) as usize;
        assert!(most <= bound, "{turn}: {:?}", counts());
        assert!(turn > 16 || most == turn, "{turn}: {:?}: few go to one", counts());
    }
    *held.go.0.lock().expect("no panic") = true;
    held.go.1.notify_all();
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
