//! HTTPS, gRPC and gRPC over TLS to backends.

use std::process::Command;

use crate::certificates::{Authority, Kind, values};
use crate::harness::{Site, ingress};
use crate::secure_pod::{SecurePod, Speech};

const PLAIN: Speech<'static> = Speech { http2: false, pair: None, clients: None };

fn site(annotations: &[(&str, &str)], secrets: &str, pod: &SecurePod) -> Site {
    Site::start(&(ingress("web", "a.example", "/", annotations) + secrets), &[("web", &pod.pod)])
}

#[test]
fn https_to_backends() {
    let authority = Authority::new();
    let pair = authority.issue(&["pod.example"], Kind::Ecdsa);
    let pod = SecurePod::start(&Speech { pair: Some(&pair), ..PLAIN });
    let mut site = site(&[("backend-protocol", "HTTPS")], "", &pod);
    for _ in 0..3 {
        let reply = site.get("a.example", "/x", &["--data-binary", "hello"]);
        assert_eq!((reply.status, reply.body.as_str()), (200, "done"));
    }
    let told = pod.told();
    assert_eq!((told[0].target.as_str(), told[0].body.as_slice()), ("/x", &b"hello"[..]));
    assert_eq!(told[0].headers["host"], "a.example");
    assert_eq!((told[0].name.as_deref(), told[0].certified), (None, false));
    assert!(site.problems.is_empty(), "{:?}", site.problems);

    let named = [("backend-protocol", "HTTPS"), ("proxy-ssl-name", "pod.example"), ("proxy-ssl-server-name", "on")];
    site.apply(&ingress("web", "a.example", "/", &[&named[..], &[("proxy-ssl-protocols", "TLSv1.2")]].concat()));
    assert_eq!(site.get("a.example", "/", &[]).status, 200);
    let last = pod.told().pop().expect("a request");
    assert_eq!((last.name.as_deref(), last.version.as_str()), (Some("pod.example"), "Some(TLSv1_2)"));

    // The client speaks plain HTTP, and so do we then.
    site.apply(&ingress("web", "a.example", "/", &[("backend-protocol", "AUTO_HTTP")]));
    assert_eq!(site.get("a.example", "/", &[]).status, 502);
    site.apply(&ingress("web", "a.example", "/", &[("backend-protocol", "FCGI")]));
    assert_eq!(site.codes(), ["annotation-invalid"]);
}

#[test]
fn certificates_of_backends_are_checked() {
    let (authority, other) = (Authority::new(), Authority::new());
    let pair = authority.issue(&["pod.example"], Kind::Ecdsa);
    let ca = std::fs::read_to_string(authority.path()).expect("written");
    let pod = SecurePod::start(&Speech { pair: Some(&pair), ..PLAIN });
    let secret = |authority: &Authority| {
        values("ca", "Opaque", &[("ca.crt", &std::fs::read_to_string(authority.path()).expect("written"))])
    };
    assert!(ca.contains("BEGIN CERTIFICATE"));
    let with = |name| {
        [
            ("backend-protocol", "HTTPS"),
            ("proxy-ssl-secret", "default/ca"),
            ("proxy-ssl-verify", "on"),
            ("proxy-ssl-name", name),
        ]
    };
    let status = |annotations: &[(&str, &str)], secrets: &str| {
        let site = site(annotations, secrets, &pod);
        (site.get("a.example", "/", &[]).status, site.codes().into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(status(&with("pod.example"), &secret(&authority)), (200, vec![]));
    assert_eq!(status(&with("pod.example"), &secret(&other)), (502, vec![]));
    assert_eq!(status(&with("elsewhere.example"), &secret(&authority)), (502, vec![]));
    // Nobody to check by: closed rather than open.
    let unchecked = [("backend-protocol", "HTTPS"), ("proxy-ssl-verify", "on")];
    assert_eq!(status(&unchecked, ""), (503, vec!["annotation-invalid".to_owned()]));
    assert_eq!(status(&with("pod.example"), "").0, 503);
}

#[test]
fn chains_and_suites_of_backends_are_as_asked() {
    let root = Authority::new();
    let middle = root.below();
    let low = middle.below();
    let ca = values("ca", "Opaque", &[("ca.crt", &root.pem())]);
    let with = |more: &[(&'static str, &'static str)]| {
        let usual = [
            ("backend-protocol", "HTTPS"),
            ("proxy-ssl-secret", "default/ca"),
            ("proxy-ssl-verify", "on"),
            ("proxy-ssl-name", "pod.example"),
        ];
        [&usual[..], more].concat()
    };
    let (one, two) = (middle.issue(&["pod.example"], Kind::Ecdsa), low.issue(&["pod.example"], Kind::Ecdsa));
    // Its own authority is one that nobody needs.
    let all = (one.0.clone() + &root.pem(), one.1.clone());
    let direct = root.issue(&["pod.example"], Kind::Ecdsa);
    for (pair, depth, status) in
        [(&direct, "0", 200), (&one, "0", 502), (&one, "1", 200), (&all, "1", 200), (&two, "1", 502), (&two, "2", 200)]
    {
        let pod = SecurePod::start(&Speech { pair: Some(pair), ..PLAIN });
        let site = site(&with(&[("proxy-ssl-verify-depth", depth)]), &ca, &pod);
        assert_eq!(site.get("a.example", "/", &[]).status, status, "depth {depth}");
        assert!(site.problems.is_empty(), "{:?}", site.problems);
    }
    let pod = SecurePod::start(&Speech { pair: Some(&direct), ..PLAIN });
    let suites = "ECDHE-ECDSA-CHACHA20-POLY1305";
    let site = site(&with(&[("proxy-ssl-protocols", "TLSv1.2"), ("proxy-ssl-ciphers", suites)]), &ca, &pod);
    assert_eq!(site.get("a.example", "/", &[]).status, 200);
    let suite = pod.told()[0].suite.clone();
    assert!(suite.contains("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"), "{suite}");
}

#[test]
fn grpc_over_tls_is_checked_both_ways() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (pair, own) =
        (authority.issue(&["pod.example"], Kind::Ecdsa), authority.issue(&["front.example"], Kind::Ecdsa));
    let ca = authority.pem();
    let pod = SecurePod::start(&Speech { http2: true, pair: Some(&pair), clients: Some(&ca) });
    let asked = [
        ("backend-protocol", "GRPCS"),
        ("proxy-ssl-secret", "default/own"),
        ("proxy-ssl-verify", "on"),
        ("proxy-ssl-name", "pod.example"),
        ("proxy-ssl-server-name", "on"),
    ];
    let secret = |authority: &Authority, own: &(String, String)| {
        values("own", "Opaque", &[("tls.crt", &own.0), ("tls.key", &own.1), ("ca.crt", &authority.pem())])
    };
    let call = ["--http2-prior-knowledge", "--header", "Content-Type: application/grpc", "--data-binary", "hello"];
    let mut site = site(&asked, &secret(&authority, &own), &pod);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
    assert!(site.get("a.example", "/pkg.Service/Call", &call).body.starts_with("done"));
    let told = pod.told().pop().expect("a request");
    assert_eq!((told.name.as_deref(), told.certified, &told.body[..]), (Some("pod.example"), true, &b"hello"[..]));
    let calls = pod.told().len();
    // Somebody else's server, and a certificate that the server does not take.
    let bad = other.issue(&["front.example"], Kind::Ecdsa);
    for secrets in [secret(&other, &own), secret(&authority, &bad)] {
        site.apply(&(ingress("web", "a.example", "/", &asked) + &secrets));
        let reply = site.get("a.example", "/pkg.Service/Call", &call);
        assert_eq!((reply.status, reply.header("grpc-status")), (200, Some("14")), "unavailable: {}", reply.body);
    }
    assert_eq!(pod.told().len(), calls);
}

#[test]
fn our_own_certificate() {
    let authority = Authority::new();
    let (pair, own) = (authority.issue(&["pod.example"], Kind::Rsa), authority.issue(&["front.example"], Kind::Ecdsa));
    let ca = std::fs::read_to_string(authority.path()).expect("written");
    let pod = SecurePod::start(&Speech { http2: false, pair: Some(&pair), clients: Some(&ca) });
    let annotations = [("backend-protocol", "HTTPS"), ("proxy-ssl-secret", "default/own")];
    let secret = values("own", "Opaque", &[("tls.crt", &own.0), ("tls.key", &own.1), ("ca.crt", &ca)]);
    let site = site(&annotations, &secret, &pod);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
    assert_eq!(site.get("a.example", "/", &[]).status, 200);
    assert!(pod.told()[0].certified);
    let without = self::site(&annotations[..1], "", &pod);
    assert_eq!(without.get("a.example", "/", &[]).status, 502);
}

#[test]
fn grpc_to_backends() {
    let authority = Authority::new();
    let pair = authority.issue(&["pod.example"], Kind::Ecdsa);
    for (protocol, pair) in [("GRPC", None), ("GRPCS", Some(&pair))] {
        let pod = SecurePod::start(&Speech { http2: true, pair, clients: None });
        let site = site(&[("backend-protocol", protocol)], "", &pod);
        // HTTP/2 from end to end: what curl prints has the trailer behind the body.
        let url = format!("http://127.0.0.1:{}/pkg.Service/Call", site.port());
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--include", "--http2-prior-knowledge", "--max-time", "60"])
            .args(["--header", "Host: a.example", "--header", "TE: trailers", "--header", "grpc-timeout: 5S"])
            .args(["--header", "Content-Type: application/grpc", "--data-binary", "hello"])
            .arg(url)
            .output()
            .expect("curl is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.starts_with("HTTP/2 200"), "{protocol}: {text} {}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("grpc-status: 0") && text.contains("done"), "{protocol}: {text}");
        let told = &pod.told()[0];
        assert!(told.target.ends_with("://a.example/pkg.Service/Call"), "{}", told.target);
        assert!(told.headers["te"] == "trailers" && told.headers["grpc-timeout"] == "5S");
        assert_eq!(told.body, b"hello");
        assert!(told.headers.get("host").is_none() && site.problems.is_empty());
        // A client of HTTP/1.1 is served as well.
        assert_eq!(site.get("a.example", "/", &[]).body, "done");
    }
}
