use std::io::BufReader;
use std::net::TcpStream;

use lb_userspace::clock::{now, since};

use crate::change::ask;
use crate::harness::{Site, ingress};
use crate::pod::{Pod, answer};

fn failing(status: &'static str) -> Pod {
    Pod::answering(move |_| answer(status, &[], "no"))
}

fn statuses(site: &Site, times: usize, arguments: &[&str]) -> Vec<u16> {
    (0..times).map(|_| site.get("a.example", "/", arguments).status).collect()
}

#[test]
fn what_another_endpoint_makes_good() {
    let (bad, good) = (failing("503 Service Unavailable"), Pod::echo());
    let pods = [("web", &bad), ("web", &good)];
    let with = |annotations: &[(&str, &str)]| ingress("web", "a.example", "/", annotations);
    let mut site = Site::start(&with(&[]), &pods);
    let mut seen = statuses(&site, 6, &[]);
    seen.sort_unstable();
    assert_eq!(seen, [200, 200, 200, 503, 503, 503], "statuses are no failure where nothing is said");

    site.apply(&with(&[("proxy-next-upstream", "error http_503")]));
    assert_eq!(statuses(&site, 6, &[]), [200; 6]);
    // Not for POST, unless that is asked for as well.
    let post = ["--request", "POST"];
    site.eventually("a POST for the endpoint that fails", || statuses(&site, 1, &post) == [503]);
    site.apply(&with(&[("proxy-next-upstream", "error http_503 non_idempotent")]));
    assert_eq!(statuses(&site, 8, &post), [200; 8]);

    for annotations in [
        &[("proxy-next-upstream", "http_503"), ("proxy-next-upstream-tries", "1")][..],
        &[("proxy-next-upstream", "off")],
        &[("proxy-next-upstream", "http_500 invalid_header")],
    ] {
        site.apply(&with(annotations));
        site.eventually("the failure to show", || statuses(&site, 1, &[]) == [503]);
    }
    assert!(site.problems.is_empty(), "{:?}", site.problems);

    site.apply(&with(&[("proxy-next-upstream", "http_418")]));
    assert_eq!(site.codes(), ["annotation-invalid"]);
    assert!(site.problems[0].expected.as_ref().is_some_and(|expected| expected.contains("http_503")));
}

#[test]
fn the_last_endpoint_is_heard_whatever_it_says() {
    let (one, two) = (failing("503 Service Unavailable"), failing("503 Service Unavailable"));
    let pods = [("web", &one), ("web", &two)];
    let site = Site::start(&ingress("web", "a.example", "/", &[("proxy-next-upstream", "http_503")]), &pods);
    let reply = site.get("a.example", "/", &[]);
    assert_eq!((reply.status, reply.body.as_str()), (503, "no"));
    assert_eq!((one.seen().len(), two.seen().len()), (1, 1));
}

#[test]
fn a_silent_endpoint_is_followed_by_another() {
    let (silent, good) = (Pod::silent(), Pod::echo());
    let with = |more: &[(&str, &str)]| {
        let annotations = [&[("proxy-read-timeout", "200ms")][..], more].concat();
        ingress("web", "a.example", "/", &annotations)
    };
    let pods = [("web", &silent), ("web", &good)];
    let site = Site::start(&with(&[]), &pods);
    assert_eq!(statuses(&site, 10, &[]), [200; 10]);
    for annotations in [("proxy-next-upstream", "error"), ("proxy-next-upstream-timeout", "1ms")] {
        let site = Site::start(&with(&[annotations]), &pods);
        site.eventually("the silence to show", || statuses(&site, 1, &[]) == [504]);
    }
}

#[test]
fn an_endpoint_that_keeps_failing_is_left_out() {
    let broken = Pod::answering(|_| "this is not HTTP\r\n\r\n".to_owned());
    let good = Pod::echo();
    let annotations = [("proxy-next-upstream", "error timeout invalid_header")];
    let site = Site::start(&ingress("web", "a.example", "/", &annotations), &[("web", &broken), ("web", &good)]);
    assert_eq!(statuses(&site, 40, &[]), [200; 40]);
    // Three in a row, and again whenever its time is over, which doubles.
    assert!(broken.seen().len() < 10, "{}", broken.seen().len());
}

/// A fifth of what is asked, ten a second, and what was saved up: a hundred. So that an outage is not answered with twice the
/// load.
#[test]
fn repeats_have_a_budget() {
    let pods = [failing("503 Service Unavailable"), failing("503 Service Unavailable")];
    let both = [("web", &pods[0]), ("web", &pods[1])];
    let start = now();
    let site = Site::start(&ingress("web", "a.example", "/", &[("proxy-next-upstream", "error http_503")]), &both);
    let mut stream = BufReader::new(TcpStream::connect(site.address()).expect("the front listens"));
    for _ in 0..400 {
        assert_eq!(ask(&mut stream).expect("an answer"), "HTTP/1.1 503 Service Unavailable");
    }
    let asked = pods.iter().map(|pod| pod.seen().len()).sum::<usize>();
    let seconds = since(start).as_secs_f64();
    let most = 400 + 100 + 80 + (10.0 * seconds).ceil() as usize;
    assert!((400 + 150..=most).contains(&asked), "{asked} of at most {most}");
    site.eventually("the counters", || site.counters().upstream_retries == (asked - 400) as u64);
}
