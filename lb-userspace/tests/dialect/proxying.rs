use std::net::TcpListener;

use crate::harness::{Site, ingress};
use crate::pod::Pod;

#[test]
fn bodies_are_limited() {
    let pod = Pod::echo();
    let mut site = Site::annotated(&[("proxy-body-size", "1k")], &pod);
    let post = |site: &Site, length: usize, arguments: &[&str]| {
        let body = "x".repeat(length);
        let before = pod.seen().len();
        let reply = site.get("a.example", "/", &[&["--data-binary", body.as_str()], arguments].concat());
        (reply.status, pod.seen().get(before).map(|asked| asked.body.len()))
    };
    let chunked = ["--header", "Transfer-Encoding: chunked"];
    assert_eq!(post(&site, 1024, &[]), (200, Some(1024)));
    assert_eq!(post(&site, 1024, &chunked), (200, Some(1024)));
    assert_eq!(post(&site, 1025, &[]), (413, None));
    assert_eq!(post(&site, 1025, &chunked), (413, None));

    // No limit where nothing is said, nor with 0.
    let large = tempfile::NamedTempFile::new().expect("a file");
    large.as_file().set_len((2 << 20) + 1).expect("sparse");
    let file = format!("@{}", large.path().display());
    assert_eq!(site.get("a.example", "/", &["--data-binary", &file]).status, 413);
    for annotations in [&[("proxy-body-size", "0")][..], &[]] {
        site.apply(&ingress("web", "a.example", "/", annotations));
        assert_eq!(site.get("a.example", "/", &["--data-binary", &file]).status, 200);
    }
    assert!(site.problems.is_empty(), "{:?}", site.problems);
}

#[test]
fn a_silent_endpoint_is_not_waited_for() {
    // Accepts by its backlog alone, and answers nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let pod = Pod::at(silent.local_addr().expect("bound"));
    let site = Site::annotated(&[("proxy-read-timeout", "200ms"), ("proxy-send-timeout", "1h")], &pod);
    assert_eq!(site.get("a.example", "/", &[]).status, 504);
    drop(silent);
}
