//! Secrets that come, change and go while connections are open, and the certificate of names that have none.

use hyper::StatusCode;
use lb_userspace::translate::Settings;
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;

use crate::certificates::{Authority, Kind, secret};
use crate::harness::{Site, ingress, ingress_over_tls};
use crate::http2;
use crate::pod::Pod;
use crate::tls::names;
use crate::websocket;

fn site(default: &str, manifests: &str, pods: &[(&str, &Pod)]) -> Site {
    let default = Some(("default".to_owned(), default.to_owned()));
    Site::with(1, Settings { default_ssl_certificate: default, ..Settings::default() }, manifests, pods)
}

#[test]
fn names_without_a_certificate_have_the_default_one() {
    let (authority, pod) = (Authority::new(), Pod::echo());
    let fallback = |host: &str| secret("fallback", &authority.issue(&[host], Kind::Ecdsa));
    let unnamed = ingress("listed", "c.example", "/", &[]).replace("{name: listed,", "{name: web,");
    let web = secret("one", &authority.issue(&["a.example"], Kind::Rsa))
        + &ingress_over_tls("web", "a.example", "one", &[])
        + &ingress("bare", "b.example", "/", &[]).replace("{name: bare,", "{name: web,")
        + &unnamed
        + "  tls: [{hosts: [c.example]}]\n";
    let mut site = site("fallback", &(fallback("first.example") + &web), &[("web", &pod)]);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
    for host in ["b.example", "c.example", "unknown.example"] {
        assert!(names(&site, host, &[]).contains("DNS:first.example"), "{host}: {}", names(&site, host, &[]));
        let status = if host.starts_with("unknown") { 404 } else { 200 };
        assert_eq!(site.get_secured(host, "/", &["--insecure"]).status, status, "{host}");
    }
    assert!(names(&site, "a.example", &[]).contains("DNS:a.example"));
    assert!(names(&site, "", &[]).contains("DNS:first.example"), "a client that names nobody");
    site.apply(&(fallback("next.example") + &web));
    assert!(names(&site, "b.example", &[]).contains("DNS:next.example"));

    // Deleted: the front has one of its own.
    site.apply(&web);
    assert_eq!(site.codes(), ["secret-missing"]);
    assert_eq!(site.problems[0].object.kind.as_deref(), Some("Secret"));
    assert!(names(&site, "b.example", &[]).contains("weir fallback certificate"));
    assert!(names(&site, "a.example", &[]).contains("DNS:a.example"));
    site.apply(&(fallback("again.example") + &web));
    assert!(names(&site, "b.example", &[]).contains("DNS:again.example"));
}

#[test]
fn connections_of_every_kind_go_on_when_their_certificate_changes_or_goes() {
    let (authority, web, chat) = (Authority::new(), Pod::echo(), websocket::echo());
    let routes = ingress_over_tls("web", "a.example", "one", &[])
        + &ingress_over_tls("chat", "a.example", "one", &[]).replace("path: \"/\"", "path: \"/chat\"");
    let with = |host: &str| secret("one", &authority.issue(&["a.example", host], Kind::Ecdsa)) + &routes;
    let mut site = Site::start(&with("first.example"), &[("web", &web), ("chat", &chat)]);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
    let runtime = http2::runtime();
    let mut streams = runtime.block_on(http2::connect_secured(&site, &authority));
    let request = "wss://a.example/chat".into_client_request().expect("a URL");
    let (mut socket, _) =
        tungstenite::client(request, websocket::secured(&site, &authority)).expect("a handshake over TLS");
    let changes = [
        (with("next.example"), "DNS:next.example"),
        (routes.clone(), "weir fallback certificate"),
        (with("last.example"), "DNS:last.example"),
    ];
    for (turn, (manifests, shown)) in changes.iter().enumerate() {
        site.apply(manifests);
        assert!(names(&site, "a.example", &[]).contains(shown), "{shown}: {}", names(&site, "a.example", &[]));
        let path = format!("https://a.example/{turn}");
        let answer = runtime.block_on(streams.send_request(http2::request(hyper::Method::GET, &path)));
        assert_eq!(answer.expect("the same connection").status(), StatusCode::OK, "{shown}");
        let message = Message::text(format!("turn {turn}"));
        socket.send(message.clone()).expect("the same connection");
        assert_eq!(socket.read().expect("an answer"), message, "{shown}");
        let codes: &[&str] = if turn == 1 { &["secret-missing"; 2] } else { &[] };
        assert_eq!(site.codes(), codes);
    }
    assert!(!streams.is_closed());
}
