use lb_userspace::l7::traffic::{TrafficCounts, TrafficKey};

use crate::harness::{Site, ingress};
use crate::pod::{Pod, answer};

fn key(host: &str, path: &str, method: &str, status: u16) -> TrafficKey {
    let own = if host.is_empty() { "" } else { "default/web" };
    TrafficKey {
        host: host.to_owned(),
        path: path.to_owned(),
        ingress: own.to_owned(),
        service: own.to_owned(),
        canary: String::new(),
        method: method.to_owned(),
        status,
    }
}

fn counted(site: &Site, key: &TrafficKey) -> Option<TrafficCounts> {
    site.traffic().iter().find_map(|(found, counts)| (found == key).then(|| counts.clone()))
}

#[test]
fn requests_are_counted_by_route_status_and_method() {
    let pod = Pod::answering(|_| answer("201 Created", &[], "hello"));
    let manifests = ingress("web", "a.example", "/x", &[]);
    let mut site = Site::start(&manifests, &[("web", &pod)]);
    for _ in 0..3 {
        site.get("a.example", "/x/y", &["--data", "four"]);
    }
    site.get("a.example", "/x", &["--request", "ODD"]);
    site.get("nobody.example", "/", &[]);
    let post = key("a.example", "/x", "POST", 201);
    for (key, requests) in [(&post, 3), (&key("a.example", "/x", "OTHER", 201), 1), (&key("", "", "GET", 404), 1)] {
        site.eventually("the requests to be told", || counted(&site, key).is_some_and(|one| one.requests == requests));
    }
    let counts = counted(&site, &post).expect("counted");
    assert_eq!((counts.received, counts.sent), (12, 15));
    let detail = counts.detail.expect("in detail");
    let totals = [&detail.request_time, &detail.connect_time, &detail.header_time, &detail.response_time];
    assert_eq!(totals.map(|buckets| buckets.total()), [3; 4]);
    assert_eq!((detail.request_size.counts[0], detail.response_size.sum), (3, 15));
    assert!(detail.header_time.sum <= detail.response_time.sum && detail.response_time.sum <= counts.time);

    // A new table, and the counters go on.
    site.apply(&(manifests + &ingress("other", "b.example", "/", &[])));
    site.get("a.example", "/x/y", &["--data", "four"]);
    site.eventually("one more", || counted(&site, &post).is_some_and(|one| one.requests == 4));
}

#[test]
fn requests_that_a_canary_takes_are_counted_as_its() {
    let (pod, other) = (Pod::named("main"), Pod::named("canary"));
    let manifests = ingress("web", "a.example", "/", &[])
        + &ingress("next", "a.example", "/", &[("canary", "true"), ("canary-by-header", "X-Next")]);
    let site = Site::start(&manifests, &[("web", &pod), ("next", &other)]);
    assert_eq!(site.get("a.example", "/", &["--header", "X-Next: always"]).body, "canary");
    let key = TrafficKey { canary: "default/next:80".to_owned(), ..key("a.example", "/", "GET", 200) };
    site.eventually("the request to be told", || counted(&site, &key).is_some_and(|one| one.requests == 1));
}
