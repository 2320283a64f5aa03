//! Redirects to HTTPS, HSTS, and TLS that goes to the backend as it is.

use crate::certificates::{Authority, Kind, secret};
use crate::harness::{Site, ingress, ingress_over_tls};
use crate::pod::{Pod, answer};

fn location(site: &Site, host: &str, path: &str) -> (u16, String) {
    let reply = site.get(host, path, &[]);
    (reply.status, reply.header("location").unwrap_or_default().to_owned())
}

#[test]
fn plain_requests_are_sent_to_https() {
    let authority = Authority::new();
    let pod = Pod::echo();
    let cert = secret("one", &authority.issue(&["a.example"], Kind::Ecdsa));
    let with = |annotations: &[(&str, &str)]| {
        [cert.clone(), ingress_over_tls("web", "a.example", "one", annotations)].concat()
    };
    let mut site = Site::start(&with(&[]), &[("web", &pod)]);
    let to = |text: &str| (308, text.to_owned());
    assert_eq!(location(&site, "a.example", "/x?y=1"), to("https://a.example/x?y=1"));
    assert_eq!(location(&site, "a.example:80", "/"), to("https://a.example"));
    assert_eq!(location(&site, "a.example", "/x/"), to("https://a.example/x"));
    assert_eq!(location(&site, "a.example", "/x/?y=1/"), to("https://a.example/x/?y=1"));
    let challenge = site.get("a.example", "/.well-known/acme-challenge/z", &[]);
    assert_eq!(challenge.body, "GET /.well-known/acme-challenge/z HTTP/1.1");

    site.apply(&with(&[("preserve-trailing-slash", "true")]));
    assert_eq!(location(&site, "a.example", "/x/"), to("https://a.example/x/"));
    site.apply(&with(&[("ssl-redirect", "false")]));
    assert_eq!(site.get("a.example", "/", &[]).status, 200);

    // Without spec.tls only where it is asked for.
    site.apply(&ingress("web", "a.example", "/", &[]));
    assert_eq!(site.get("a.example", "/", &[]).status, 200);
    site.apply(&ingress("web", "a.example", "/", &[("force-ssl-redirect", "true")]));
    assert_eq!(location(&site, "a.example", "/x"), to("https://a.example/x"));
    site.apply(&ingress("web", "a.example", "/", &[("force-ssl-redirect", "yes")]));
    assert_eq!(site.codes(), ["annotation-invalid"]);
}

#[test]
fn answers_over_tls_say_so_for_the_next_time() {
    let authority = Authority::new();
    let pod = Pod::answering(|_| answer("200 OK", &[("Strict-Transport-Security", "max-age=1")], ""));
    let manifests = [
        secret("one", &authority.issue(&["a.example"], Kind::Ecdsa)),
        ingress_over_tls("web", "a.example", "one", &[("ssl-redirect", "false")]),
        ingress("other", "b.example", "/", &[]),
    ];
    let site = Site::start(&manifests.concat(), &[("web", &pod), ("other", &pod)]);
    let of = |reply: crate::harness::Reply| reply.header("strict-transport-security").unwrap_or_default().to_owned();
    let secured = ["--cacert", authority.path()];
    assert_eq!(of(site.get_secured("a.example", "/", &secured)), "max-age=31536000; includeSubDomains");
    assert_eq!(of(site.get("a.example", "/", &[])), "max-age=1");
    assert_eq!(of(site.get_secured("b.example", "/", &["--insecure"])), "max-age=1", "not listed, so not ours to say");
}

#[test]
fn tls_goes_to_the_backend_as_it_is() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let pod = Pod::echo();
    // Another front with a certificate of its own stands for the backend.
    let behind =
        [secret("one", &theirs.issue(&["a.example"], Kind::Ecdsa)), ingress_over_tls("web", "a.example", "one", &[])];
    let behind = Site::start(&behind.concat(), &[("web", &pod)]);
    let backend = Pod::at(([127, 0, 0, 1], behind.tls_port()).into());
    let manifests = |passthrough: &str| {
        let annotations = [("ssl-passthrough", passthrough)];
        let cert = secret("one", &ours.issue(&["a.example", "b.example"], Kind::Ecdsa));
        [cert, ingress_over_tls("web", "a.example", "one", &annotations), ingress("other", "b.example", "/", &[])]
            .concat()
    };
    let mut site = Site::start(&manifests("true"), &[("web", &backend), ("other", &pod)]);
    let their = ["--cacert", theirs.path()];
    assert_eq!(site.get_secured("a.example", "/x", &their).body, "GET /x HTTP/1.1");
    assert_eq!(site.get_secured("b.example", "/y", &["--insecure"]).body, "GET /y HTTP/1.1", "other names end here");
    assert_eq!(location(&site, "a.example", "/x"), (308, "https://a.example/x".to_owned()));
    site.apply(&manifests("false"));
    assert!(site.try_secured("a.example", "/x", &their).is_err(), "the certificate is ours now");
}
