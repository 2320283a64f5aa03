use crate::harness::{Site, ingress};
use crate::pod::Pod;

#[test]
fn a_host_may_have_more_names() {
    let (web, other) = (Pod::echo(), Pod::answering(|_| crate::pod::answer("200 OK", &[], "other")));
    let alias = [("server-alias", "b.example, *.c.example, a.example")];
    let manifests = ingress("web", "a.example", "/", &alias) + &ingress("other", "a.example", "/other", &[]);
    let pods = [("web", &web), ("other", &other)];
    let mut site = Site::start(&manifests, &pods);
    for host in ["a.example", "b.example", "x.c.example"] {
        assert_eq!(site.get(host, "/x", &[]).body, "GET /x HTTP/1.1", "{host}");
        assert_eq!(site.get(host, "/other/x", &[]).body, "other", "{host}");
    }
    assert_eq!(site.get("d.example", "/", &[]).status, 404);
    assert!(site.problems.is_empty(), "{:?}", site.problems);

    // Whoever has rules for a name keeps it.
    site.apply(&(ingress("web", "a.example", "/", &alias) + &ingress("other", "b.example", "/other", &[])));
    assert_eq!((site.get("b.example", "/x", &[]).status, site.get("b.example", "/other", &[]).status), (404, 200));
    assert_eq!((site.get("x.c.example", "/x", &[]).status, site.codes()), (200, vec!["route-conflict"]));
    assert!(site.problems[0].value.as_deref() == Some("b.example"), "{:?}", site.problems);
    site.apply(&ingress("web", "a.example", "/", &[("server-alias", "~^www\\d+\\.example$, b.example")]));
    assert_eq!((site.codes(), site.get("b.example", "/", &[]).status), (vec!["annotation-invalid"], 200));
}

#[test]
fn www_leads_to_the_host_and_back() {
    let (web, other) = (Pod::echo(), Pod::echo());
    let pods = [("web", &web), ("other", &other)];
    let mut site = Site::start(&ingress("web", "a.example", "/app", &[("from-to-www-redirect", "true")]), &pods);
    let to = |site: &Site, host: &str| {
        let reply = site.get(host, "/x/?y=1", &["--request", "POST"]);
        (reply.status, reply.header("location").map(str::to_owned))
    };
    assert_eq!(to(&site, "www.a.example"), (308, Some("http://a.example/x/?y=1".to_owned())));
    assert_eq!(site.get("a.example", "/app", &[]).status, 200);
    site.apply(&ingress("web", "www.a.example", "/", &[("from-to-www-redirect", "true")]));
    assert_eq!(to(&site, "a.example"), (308, Some("http://www.a.example/x/?y=1".to_owned())));
    let both = ingress("web", "a.example", "/", &[("from-to-www-redirect", "true")])
        + &ingress("other", "www.a.example", "/", &[]);
    site.apply(&both);
    assert_eq!((to(&site, "www.a.example"), other.seen().len()), ((200, None), 1));
    assert!(site.problems.is_empty(), "{:?}", site.problems);
}

#[test]
fn requests_may_go_to_the_address_of_the_service() {
    let (web, pod) = (Pod::echo(), Pod::echo());
    // The address of the second pod stands for the cluster IP.
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: one}\n\
spec: {clusterIP: 192.0.2.2, ports: [{port: 8080}]}\n\
---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n\
metadata: {name: one-1, labels: {kubernetes.io/service-name: one}}\n\
ports: [{port: 8080}]\nendpoints: [{addresses: [192.0.2.1]}]\n";
    let manifests = |on: &str| {
        let ingress = ingress("one", "a.example", "/", &[("service-upstream", on)]);
        ingress.replace("number: 80}", "number: 8080}") + service
    };
    let mut site = Site::start(&manifests("true"), &[("web", &web), ("pod", &pod)]);
    assert_eq!(site.get("a.example", "/", &[]).status, 200, "{:?}", site.problems);
    assert_eq!((web.seen().len(), pod.seen().len()), (0, 1));
    site.apply(&manifests("false"));
    assert_eq!(site.get("a.example", "/", &[]).status, 200);
    assert_eq!((web.seen().len(), pod.seen().len()), (1, 1));
}

#[test]
fn backends_may_be_spoken_to_in_the_old_version() {
    let pod = Pod::echo();
    let mut site = Site::annotated(&[("proxy-http-version", "1.0"), ("proxy-buffering", "on")], &pod);
    assert_eq!(site.get("a.example", "/", &["--data", "abc"]).body, "POST / HTTP/1.0");
    let chunked = ["--data", "abc", "--header", "Transfer-Encoding: chunked"];
    assert_eq!(site.get("a.example", "/", &chunked).body, "POST / HTTP/1.1");
    assert!(pod.seen().iter().all(|seen| seen.body == b"abc"), "{:?}", pod.seen());
    assert!(site.problems.is_empty(), "{:?}", site.problems);
    for (name, value) in [
        ("proxy-http-version", "2"),
        ("proxy-buffer-size", "big"),
        ("proxy-buffers-number", "0"),
        ("proxy-request-buffering", "sometimes"),
    ] {
        site.apply(&ingress("web", "a.example", "/", &[(name, value)]));
        assert_eq!(site.codes(), ["annotation-invalid"], "{name}");
        assert_eq!(site.get("a.example", "/", &[]).status, 200, "{name}");
    }
}
