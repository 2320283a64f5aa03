use crate::harness::{Site, ingress};
use crate::pod::Pod;

#[test]
fn clients_of_other_networks_get_403() {
    let pod = Pod::echo();
    let mut site = Site::annotated(&[], &pod);
    for (annotations, status) in [
        (&[("allowlist-source-range", "10.0.0.0/8,127.0.0.0/8")][..], 200),
        (&[("allowlist-source-range", "10.0.0.0/8")], 403),
        (&[("whitelist-source-range", "127.0.0.1")], 200),
        (&[("whitelist-source-range", "127.0.0.1"), ("allowlist-source-range", "10.0.0.0/8")], 403),
        (&[("denylist-source-range", "127.0.0.0/24")], 403),
        (&[("denylist-source-range", "10.0.0.0/8")], 200),
        (&[("denylist-source-range", "127.0.0.1"), ("allowlist-source-range", "127.0.0.1")], 403),
    ] {
        site.apply(&ingress("web", "a.example", "/", annotations));
        let before = pod.seen().len();
        // What the client claims to be does not count.
        let reply = site.get("a.example", "/", &["--header", "X-Forwarded-For: 10.0.0.1"]);
        assert_eq!(reply.status, status, "{annotations:?}");
        assert_eq!(pod.seen().len() - before, usize::from(status == 200), "{annotations:?}");
        assert!(site.problems.is_empty(), "{:?}", site.problems);
    }
}

#[test]
fn a_range_that_cannot_be_read_closes_the_routes() {
    let pod = Pod::echo();
    let site = Site::annotated(&[("allowlist-source-range", "10.0.0.0/8, office")], &pod);
    let reply = site.get("a.example", "/", &[]);
    assert_eq!(reply.status, 503);
    assert!(reply.body.contains("allowlist-source-range"), "{}", reply.body);
    assert!(pod.seen().is_empty(), "a request reached the backend");
    assert_eq!(site.codes(), ["annotation-invalid"]);
    assert!(site.problems[0].expected.as_ref().is_some_and(|text| text.contains("office")), "{:?}", site.problems);
}
