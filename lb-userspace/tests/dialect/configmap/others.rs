use std::io::{Read, Write};
use std::net::TcpStream;

use super::configured;
use crate::harness::{Site, config_map, ingress};
use crate::pod::{Pod, answer};

#[test]
fn some_places_need_no_authentication() {
    let pod = Pod::echo();
    let nobody = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: users}\nstringData: {auth: \"ann:{SHA}x\"}\n";
    let closed = [("auth-type", "basic"), ("auth-secret", "users")];
    let manifests = |places: &[&str]| {
        let ingresses = places.iter().enumerate();
        let ingresses: String =
            ingresses.map(|(i, path)| ingress(&format!("web{i}"), "a.example", path, &closed)).collect();
        ingresses + nobody
    };
    let places = ["/", "/.well-known/acme-challenge/token", "/open"];
    let manifests = manifests(&places);
    let pods = [("web0", &pod), ("web1", &pod), ("web2", &pod)];
    let mut site = Site::configured(&[], &manifests, &pods);
    let statuses = |site: &Site| {
        [places[0], places[1], places[2], "/open/../", "/.well-known/acme-challenge/../x"]
            .map(|path| site.get("a.example", path, &[]).status)
    };
    assert_eq!(statuses(&site), [401, 200, 401, 401, 401]);
    site.apply(&(config_map(&[("no-auth-locations", "/open, /other")]) + &manifests));
    assert_eq!(statuses(&site), [401, 401, 200, 401, 401]);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
}

#[test]
fn some_user_agents_get_no_gzip() {
    let pod = Pod::answering(|_| answer("200 OK", &[("Content-Type", "text/html")], &"text".repeat(500)));
    let data = [("use-gzip", "true"), ("gzip-disable", "old(er)?")];
    let mut site = configured(&data, &[], &pod);
    let coding = |site: &Site, agent: &str| {
        let reply = site.get("a.example", "/", &["--compressed", "--user-agent", agent]);
        reply.header("content-encoding").map(str::to_owned)
    };
    assert_eq!((coding(&site, "new"), coding(&site, "OLDER")), (Some("gzip".to_owned()), None));
    let ie = "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)";
    assert_eq!(coding(&site, ie).as_deref(), Some("gzip"));
    let own = ingress("web", "a.example", "/", &[]);
    site.apply(&(config_map(&[("use-gzip", "true"), ("gzip-disable", "msie6")]) + &own));
    assert_eq!((coding(&site, "older").as_deref(), coding(&site, ie)), (Some("gzip"), None));
    site.apply(&(config_map(&[("gzip-disable", "(")]) + &own));
    assert_eq!(site.codes(), ["configmap-invalid"]);
}

#[test]
fn backends_learn_of_whom_the_proxy_protocol_told() {
    let pod = Pod::echo();
    let data = [
        ("use-proxy-protocol", "true"),
        ("use-forwarded-headers", "true"),
        ("proxy-real-ip-cidr", "127.0.0.0/8"),
        ("forwarded-for-proxy-protocol-header", "X-Told"),
    ];
    let site = configured(&data, &[], &pod);
    // Of a proxy of the proxy that connects, which tells of its client in turn.
    let request = "PROXY TCP4 127.0.0.9 198.51.100.1 4711 443\r\n\
GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nX-Told: 192.0.2.66\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n";
    let mut stream = TcpStream::connect(site.address()).expect("connected");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = pod.seen().remove(0);
    assert_eq!((seen.header("x-told"), seen.header("x-real-ip")), (Some("127.0.0.9"), Some("203.0.113.9")));
}

#[test]
fn accepted_without_effect() {
    let pod = Pod::answering(|_| answer("200 OK", &[("Link", "</x.css>; rel=preload")], ""));
    for value in ["true", "false"] {
        let data = [("relative-redirects", value), ("use-http2", "true")];
        let site = configured(&data, &[("http2-push-preload", value), ("app-root", "/app")], &pod);
        assert!(site.problems.is_empty(), "{value}: {:?}", site.problems);
        // Redirects within a host name none, and links are passed on, whatever is said.
        assert_eq!(site.get("a.example", "/", &[]).header("location"), Some("/app"), "{value}");
        assert_eq!(site.get("a.example", "/x", &[]).header("link"), Some("</x.css>; rel=preload"), "{value}");
    }
    let site = configured(&[("enable-ocsp", "true")], &[], &pod);
    assert_eq!(site.codes(), ["configmap-key-refused"]);
}
