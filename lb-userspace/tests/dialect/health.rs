//! Endpoints that are asked whether they can serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use lb_userspace::status::row::RouteRow;
use lb_userspace::status::{Listing, Name};

use crate::certificates::{Authority, Kind};
use crate::harness::{Site, ingress};
use crate::pod::{Pod, answer};
use crate::proxied::unwrapping;
use crate::secure_pod::{SecurePod, Speech};

/// A pod that answers `/ready` with a status that the test changes, and everything else with its name.
fn pod(name: &'static str) -> (Pod, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let told = Arc::clone(&status);
    let pod = Pod::answering(move |asked| match asked.line.starts_with("GET /ready ") {
        true => answer(&format!("{} Told", told.load(Ordering::SeqCst)), &[], ""),
        false => answer("200 OK", &[], name),
    });
    (pod, status)
}

const ASKED: [(&str, &str); 4] = [
    ("weir.io/health-check-path", "/ready"),
    ("weir.io/health-check-interval", "100ms"),
    ("weir.io/health-check-unhealthy-threshold", "2"),
    ("weir.io/health-check-host", "health.example"),
];

fn site(annotations: &[(&str, &str)], pods: &[&Pod]) -> Site {
    let annotations: Vec<_> = ASKED.iter().chain(annotations).copied().collect();
    let pods: Vec<_> = pods.iter().map(|pod| ("web", *pod)).collect();
    let site = Site::on_cores(2, &ingress("web", "a.example", "/", &annotations), &pods);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
    site
}

/// Who answers so many requests.
fn answering(site: &Site) -> Vec<String> {
    let mut names: Vec<_> = (0..12).map(|_| site.get("a.example", "/", &[]).body).collect();
    names.sort();
    names.dedup();
    names
}

fn row(site: &Site) -> RouteRow {
    let Listing::Routes(mut rows) = Listing::new(Name::Routes, &site.view()) else { panic!("not routes") };
    rows.remove(0)
}

#[test]
fn an_endpoint_that_does_not_answer_well_is_left_out_until_it_does() {
    let ((one, status), (other, _)) = (pod("one"), pod("other"));
    let site = site(&[], &[&one, &other]);
    site.eventually("questions", || site.counters().health_checks >= 4);
    assert_eq!((answering(&site), site.counters().health_check_failures), (vec!["one".into(), "other".into()], 0));
    status.store(500, Ordering::SeqCst);
    site.eventually("the other alone", || answering(&site) == ["other"]);
    site.eventually("the agent to hear of it", || {
        site.counters().unhealthy_endpoints == 1 && row(&site).unhealthy == [one.address.to_string()]
    });
    assert_eq!(row(&site).filters, ["health-check /ready"]);
    status.store(200, Ordering::SeqCst);
    site.eventually("both", || answering(&site) == ["one", "other"]);
    site.eventually("the agent to hear of it", || {
        site.counters().unhealthy_endpoints == 0 && row(&site).unhealthy.is_empty()
    });
    let question = one.seen().into_iter().find(|asked| asked.line == "GET /ready HTTP/1.1").expect("it was asked");
    assert_eq!(
        (question.header("host"), question.header("user-agent")),
        (Some("health.example"), Some("weir-health-check"))
    );
    assert_eq!(site.counters().upstream_failures, 0, "no request met it");
}

#[test]
fn a_silent_endpoint_is_left_out_and_statuses_are_as_asked() {
    let (missing, status) = pod("missing");
    status.store(404, Ordering::SeqCst);
    let silent = Pod::silent();
    let asked = [("weir.io/health-check-timeout", "100ms"), ("weir.io/health-check-statuses", "404")];
    let site = site(&asked, &[&missing, &silent]);
    site.eventually("the silent one to be left out", || site.counters().unhealthy_endpoints == 1);
    site.eventually("the other alone", || row(&site).unhealthy == [silent.address.to_string()]);
    assert_eq!(answering(&site), ["missing"]);
}

#[test]
fn endpoints_are_asked_in_the_way_in_which_requests_go_there() {
    let authority = Authority::new();
    let pair = authority.issue(&["pod.example"], Kind::Ecdsa);
    for (protocol, http2, pair) in [("HTTPS", false, Some(&pair)), ("GRPC", true, None), ("GRPCS", true, Some(&pair))] {
        let behind = SecurePod::start(&Speech { http2, pair, clients: None });
        let (pod, headers) = unwrapping(behind.pod.address);
        let spoken = [("backend-protocol", protocol), ("weir.io/proxy-protocol", "v1")];
        let first = site(&spoken, &[&pod]);
        first.eventually("good answers", || first.counters().health_checks >= 3);
        assert_eq!(
            (first.counters().health_check_failures, first.counters().unhealthy_endpoints),
            (0, 0),
            "{protocol}"
        );
        let told = behind.told().pop().expect("a question");
        assert!(told.target.ends_with("/ready"), "{protocol}: {}", told.target);
        assert!(headers.lock().expect("no panic").iter().all(|header| header == "PROXY UNKNOWN\r\n"), "{protocol}");
        drop(first);
        // Who asks in another way gets no answer.
        let plain = site(&[("weir.io/health-check-timeout", "1s")], &[&behind.pod]);
        plain.eventually("no answer", || plain.counters().unhealthy_endpoints == 1);
    }
}

#[test]
fn where_no_endpoint_is_well_all_are_tried() {
    let ((one, first), (other, second)) = (pod("one"), pod("other"));
    let site = site(&[], &[&one, &other]);
    first.store(503, Ordering::SeqCst);
    second.store(503, Ordering::SeqCst);
    site.eventually("both to be left out", || site.counters().unhealthy_endpoints == 2);
    assert_eq!(answering(&site), ["one", "other"]);
}

#[test]
fn wrong_values_are_told_and_nobody_is_asked_without_a_path() {
    let wrong = [
        ("weir.io/health-check-interval", "1ms"),
        ("weir.io/health-check-timeout", "soon"),
        ("weir.io/health-check-healthy-threshold", "0"),
        ("weir.io/health-check-statuses", "2xx"),
        ("weir.io/health-check-host", "a b"),
        ("weir.io/health-check-path", "ready"),
    ];
    let pod = Pod::echo();
    let site = Site::annotated(&wrong, &pod);
    assert_eq!(site.codes(), ["annotation-invalid"; 6]);
    assert_eq!(site.get("a.example", "/", &[]).status, 200);
    assert_eq!(pod.seen().len(), 1);
}
