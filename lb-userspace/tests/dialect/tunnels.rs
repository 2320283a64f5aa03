//! Protocols other than HTTP: by Upgrade, and within TLS that the front does not open.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use hyper::{Method, StatusCode};
use tungstenite::client::IntoClientRequest;

use crate::certificates::{Authority, Kind, secret};
use crate::harness::{PATIENCE, Site, ingress, ingress_over_tls};
use crate::http2::{connect_secured, request, runtime};
use crate::pod::Pod;
use crate::websocket::{echo, secured, talk};

/// Speaks a protocol of its own after an upgrade: says its name, and then back in capitals what it hears, to the end.
fn shouting() -> Pod {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let pod = Pod::at(listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().expect("a copy"));
                let (mut line, mut asked) = (String::new(), false);
                while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
                    asked |= line.eq_ignore_ascii_case("upgrade: shout/1\r\n");
                    line.clear();
                }
                assert!(asked, "an upgrade");
                let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout/1\r\n\r\nhello ";
                stream.write_all(head.as_bytes()).expect("the front reads");
                let mut bytes = [0; 1 << 14];
                while let Ok(count @ 1..) = reader.read(&mut bytes) {
                    bytes[..count].make_ascii_uppercase();
                    stream.write_all(&bytes[..count]).expect("the front reads");
                }
                stream.write_all(b" over").expect("the front reads");
            });
        }
    });
    pod
}

fn shouts(mut stream: impl Read + Write, end: impl FnOnce(&mut dyn ReadWrite)) {
    let head = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: shout/1\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("the front reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nhello ") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    for length in [1, 1000, 300_000] {
        stream.write_all(&vec![b'a'; length]).expect("the front reads");
        let mut heard = vec![0; length];
        stream.read_exact(&mut heard).expect("an answer");
        assert!(heard.iter().all(|byte| *byte == b'A'));
    }
    end(&mut stream);
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

#[test]
fn another_protocol_is_spoken_after_the_endpoint_agrees() {
    let (authority, pod) = (Authority::new(), shouting());
    let manifests = secret("one", &authority.issue(&["a.example"], Kind::Ecdsa))
        + &ingress_over_tls("web", "a.example", "one", &[("ssl-redirect", "false")]);
    let site = Site::start(&manifests, &[("web", &pod)]);
    let plain = TcpStream::connect(site.address()).expect("the front listens");
    plain.set_read_timeout(Some(PATIENCE)).expect("set");
    let own = plain.try_clone().expect("a copy");
    // The client has said all, and still hears the rest.
    shouts(plain, |stream| {
        own.shutdown(std::net::Shutdown::Write).expect("open");
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("the rest");
        assert_eq!(rest, " over");
    });
    shouts(secured(&site, &authority), |_| {});
}

#[test]
fn tls_that_is_passed_through_carries_what_it_likes() {
    let authority = Authority::new();
    let (chat, pod) = (echo(), Pod::echo());
    // Another front stands for the backend.
    let behind = secret("one", &authority.issue(&["a.example"], Kind::Ecdsa))
        + &ingress_over_tls("web", "a.example", "one", &[])
        + &ingress("chat", "a.example", "/chat", &[]);
    let behind = Site::start(&behind, &[("web", &pod), ("chat", &chat)]);
    let backend = Pod::at(([127, 0, 0, 1], behind.tls_port()).into());
    let site = Site::annotated(&[("ssl-passthrough", "true")], &backend);
    runtime().block_on(async {
        let mut sender = connect_secured(&site, &authority).await;
        for turn in 0..3 {
            let answer = sender.send_request(request(Method::GET, &format!("https://a.example/{turn}"))).await;
            assert_eq!(answer.expect("an answer").status(), StatusCode::OK);
        }
    });
    let ask = "wss://a.example/chat".into_client_request().expect("a URL");
    let (socket, _) = tungstenite::client(ask, secured(&site, &authority)).expect("a handshake");
    talk(socket);
    site.eventually("both to be counted", || site.counters().tls_handshakes == 2);
    assert_eq!(site.counters().http2_connections, 0, "it ends elsewhere");
}
