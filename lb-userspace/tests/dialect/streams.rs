use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use lb_userspace::translate::Settings;

use crate::harness::{Site, config_map};
use crate::pod::Pod;

/// A backend that answers what it got, when the client has said all.
fn repeats() -> Pod {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let pod = Pod::at(listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut all = Vec::new();
                let _ = stream.read_to_end(&mut all).and_then(|_| stream.write_all(&all));
            });
        }
    });
    pod
}

fn site(data: &[(&str, &str)], option: &str, pod: &Pod) -> Site {
    let named = |name: &str| Some(("default".to_owned(), name.to_owned()));
    let settings =
        Settings { configmap: named("settings"), tcp_services_configmap: named("ports"), ..Settings::default() };
    let mut site = Site::with(1, settings, "", &[("web", pod)]);
    let ports = format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: ports}}\ndata: {{\"{}\": \"default/web:80{option}\"}}\n",
        site.port()
    );
    site.apply(&(config_map(data) + &ports));
    site
}

fn connected(site: &Site) -> (TcpStream, SocketAddr) {
    let stream = TcpStream::connect(site.address()).expect("connected");
    let own = stream.local_addr().expect("bound");
    (stream, own)
}

/// What comes back for this.
fn said(mut stream: TcpStream, text: &str) -> String {
    let mut answer = Vec::new();
    // A connection that is not taken is closed with bytes unread, which may show as a reset.
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

const FROM_A_PROXY: &str = "PROXY TCP4 203.0.113.9 198.51.100.1 4711 443\r\n";

#[test]
fn the_header_is_read_and_written_as_the_entry_says() {
    let pod = repeats();
    let trusted = [("proxy-real-ip-cidr", "127.0.0.0/8")];
    let decoding = site(&trusted, ":PROXY", &pod);
    assert!(decoding.problems.is_empty(), "{:?}", decoding.problems);
    assert_eq!(said(connected(&decoding).0, &format!("{FROM_A_PROXY}hello")), "hello");
    assert_eq!(said(connected(&decoding).0, "hello, and no header"), "", "it does not begin as it has to");

    let encoding = site(&trusted, "::PROXY", &pod);
    let (stream, own) = connected(&encoding);
    let header = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", own.port(), encoding.port());
    assert_eq!(said(stream, "hello"), format!("{header}hello"));

    let both = site(&trusted, ":PROXY:PROXY", &pod);
    assert_eq!(said(connected(&both).0, &format!("{FROM_A_PROXY}hello")), format!("{FROM_A_PROXY}hello"));
}

#[test]
fn only_proxies_that_are_named_are_believed() {
    let pod = repeats();
    for (proxies, answer) in [("127.0.0.0/8", "hello"), ("192.0.2.0/24", "")] {
        let site = site(&[("proxy-real-ip-cidr", proxies)], ":PROXY", &pod);
        assert_eq!(said(connected(&site).0, &format!("{FROM_A_PROXY}hello")), answer, "{proxies}");
    }
}

#[test]
fn curl_speaks_it_to_a_web_server_behind_such_a_port() {
    let pod = Pod::echo();
    let site = site(&[("proxy-real-ip-cidr", "127.0.0.0/8")], ":PROXY", &pod);
    assert_eq!(site.get("a.example", "/x", &["--haproxy-protocol"]).body, "GET /x HTTP/1.1");
    assert_eq!(pod.seen()[0].header("x-real-ip"), None, "the front adds nothing");
}

#[test]
fn idle_connections_end() {
    // It accepts, tells that somebody has connected, and then waits as the client does.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let site = site(&[("proxy-stream-timeout", "1s")], "::PROXY", &Pod::at(listener.local_addr().expect("bound")));
    let mut client = connected(&site).0;
    let (mut backend, _) = listener.accept().expect("the front connects");
    backend.write_all(b"hello").expect("sent");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("the front closes the connection");
    assert_eq!(answer, "hello", "the connection was not one to the backend");
    let mut header = String::new();
    backend.read_to_string(&mut header).expect("this one as well");
    assert!(header.starts_with("PROXY TCP4"), "{header}");
}

#[test]
fn entries_that_cannot_be_served_are_told() {
    let pod = repeats();
    let named = |name: &str| Some(("default".to_owned(), name.to_owned()));
    let settings = Settings { udp_services_configmap: named("ports"), ..Settings::default() };
    let ports =
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: ports}\ndata: {\"9000\": \"default/web:80:PROXY\"}\n";
    let site = Site::with(1, settings, ports, &[("web", &pod)]);
    assert_eq!(site.codes(), ["configmap-invalid"]);
}

#[test]
fn a_client_has_no_more_connections_than_it_may_have() {
    let pod = repeats();
    let site = site(&[("max-connections-per-client", "1")], "::PROXY", &pod);
    let (first, _) = connected(&site);
    assert_eq!(said(connected(&site).0, "hello"), "", "it is closed at once");
    assert!(said(first, "hello").ends_with("hello"));
    site.eventually("its place to be free", || said(connected(&site).0, "hello").ends_with("hello"));
}
