//! The PROXY protocol on the front's listeners, of both versions, and towards endpoints that speak TLS and HTTP/2.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::certificates::{Authority, Kind, secret};
use crate::harness::{Site, config_map, ingress, ingress_over_tls};
use crate::pod::Pod;
use crate::secure_pod::{SecurePod, Speech};
use crate::websocket::secured_over;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
const ON: (&str, &str) = ("use-proxy-protocol", "true");
const TRUSTED: (&str, &str) = ("proxy-real-ip-cidr", "127.0.0.0/8");
const V1: &[u8] = b"PROXY TCP4 203.0.113.9 198.51.100.1 4711 443\r\n";

/// A header of version 2: command, family and protocol, and what is told.
fn v2(command: u8, family: u8, told: &[u8]) -> Vec<u8> {
    let length = u16::try_from(told.len()).expect("short").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[0x20 | command, family][..], &length, told].concat()
}

/// From 203.0.113.9 port 4711 to 198.51.100.1 port 443, and a TLV of a type for one's own.
fn v4() -> Vec<u8> {
    v2(1, 0x11, &[203, 0, 113, 9, 198, 51, 100, 1, 0x12, 0x67, 1, 0xbb, 0xe0, 0, 2, b'h', b'i'])
}

fn v6() -> Vec<u8> {
    let address = |last: u8| [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[last]].concat();
    v2(1, 0x21, &[address(9), address(1), vec![0x12, 0x67, 1, 0xbb]].concat())
}

/// What comes until the end; a connection that is not taken is closed with bytes unread, which may show as a reset.
fn rest(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The answer on a connection that begins with these bytes.
fn begun(site: &Site, header: &[u8]) -> String {
    let mut stream = TcpStream::connect(site.address()).expect("connected");
    // The other side may have closed already.
    let _ = stream.write_all(&[header, GET.as_bytes()].concat());
    rest(stream)
}

#[test]
fn both_versions_say_who_the_client_is() {
    let pod = Pod::echo();
    let site = Site::configured(&[ON, TRUSTED], &ingress("web", "a.example", "/", &[]), &[("web", &pod)]);
    for (header, client, port) in [
        (V1.to_vec(), "203.0.113.9", "443"),
        (v4(), "203.0.113.9", "443"),
        (v6(), "2001:db8::9", "443"),
        // The proxy speaks for itself, or for a family that no client here can have.
        (v2(0, 0, &[]), "127.0.0.1", &site.port().to_string()),
        (v2(1, 0x31, &[0; 216]), "127.0.0.1", &site.port().to_string()),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1", &site.port().to_string()),
    ] {
        let answer = begun(&site, &header);
        assert!(answer.starts_with("HTTP/1.1 200"), "{header:?}: {answer}");
        let seen = pod.seen().pop().expect("a request");
        let told = (seen.header("x-real-ip"), seen.header("x-forwarded-port"));
        assert_eq!(told, (Some(client), Some(port)), "{header:?}");
    }
    let taken = pod.seen().len();
    for header in [v2(1, 0x11, &[1, 2, 3]), v2(2, 0x11, &[0; 12]), b"PROXY TCP4 x\r\n".to_vec(), Vec::new()] {
        assert_eq!(begun(&site, &header), "", "{header:?}");
    }
    assert_eq!(pod.seen().len(), taken);
}

#[test]
fn it_is_spoken_before_tls() {
    let (authority, pod) = (Authority::new(), Pod::echo());
    let manifests = secret("one", &authority.issue(&["a.example"], Kind::Ecdsa))
        + &ingress_over_tls("web", "a.example", "one", &[]);
    let mut site = Site::configured(&[ON, TRUSTED], &manifests, &[("web", &pod)]);
    let ask = |site: &Site, header: &[u8]| {
        let mut stream = TcpStream::connect(("127.0.0.1", site.tls_port())).expect("connected");
        let _ = stream.write_all(header);
        let mut stream = secured_over(stream, &authority);
        match stream.write_all(GET.as_bytes()) {
            Ok(()) => rest(stream),
            Err(_) => String::new(),
        }
    };
    for header in [V1.to_vec(), v4()] {
        let answer = ask(&site, &header);
        assert!(answer.starts_with("HTTP/1.1 200"), "{header:?}: {answer}");
        let seen = pod.seen().pop().expect("a request");
        let told = ["x-real-ip", "x-forwarded-proto", "x-forwarded-port"].map(|name| seen.header(name).unwrap_or(""));
        assert_eq!(told, ["203.0.113.9", "https", "443"]);
    }
    assert_eq!(ask(&site, b""), "", "without it there is no handshake");
    site.apply(&(config_map(&[ON, ("proxy-real-ip-cidr", "192.0.2.0/24")]) + &manifests));
    assert_eq!(ask(&site, V1), "", "it is nobody who is believed");
    site.apply(&(config_map(&[TRUSTED]) + &manifests));
    assert_eq!(ask(&site, V1), "", "nobody asked for it");
    assert!(ask(&site, b"").starts_with("HTTP/1.1 200"));
    assert_eq!(pod.seen().len(), 3);
}

#[test]
fn others_are_not_believed() {
    let pod = Pod::echo();
    let routes = ingress("web", "a.example", "/", &[]);
    let mut site = Site::configured(&[ON, ("proxy-real-ip-cidr", "192.0.2.0/24")], &routes, &[("web", &pod)]);
    for header in [V1.to_vec(), v4(), Vec::new()] {
        assert_eq!(begun(&site, &header), "", "{header:?}");
    }
    site.apply(&(config_map(&[TRUSTED]) + &routes));
    for header in [V1.to_vec(), v4()] {
        assert!(begun(&site, &header).starts_with("HTTP/1.1 400"), "{header:?}: nobody asked for it");
    }
    assert!(pod.seen().is_empty());
    assert!(begun(&site, b"").starts_with("HTTP/1.1 200"));
    assert_eq!(pod.seen()[0].header("x-real-ip"), Some("127.0.0.1"));
}

/// Stands before an endpoint, takes the header off, and remembers it.
pub(crate) fn unwrapping(to: SocketAddr) -> (Pod, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (pod, headers) = (Pod::at(listener.local_addr().expect("bound")), Arc::<Mutex<Vec<String>>>::default());
    let remembered = Arc::clone(&headers);
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let mut reader = BufReader::new(near.try_clone().expect("a copy"));
            let mut header = String::new();
            reader.read_line(&mut header).expect("a line");
            remembered.lock().expect("no panic").push(header);
            let far = TcpStream::connect(to).expect("it listens");
            let (mut up, mut down) = (far.try_clone().expect("a copy"), near);
            let mut from = far;
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut reader, &mut up);
                let _ = up.shutdown(Shutdown::Write);
            });
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut down);
                let _ = down.shutdown(Shutdown::Both);
            });
        }
    });
    (pod, headers)
}

#[test]
fn endpoints_hear_of_the_client_before_tls_and_http2() {
    let authority = Authority::new();
    let pair = authority.issue(&["pod.example"], Kind::Ecdsa);
    for (protocol, http2, pair) in [("HTTPS", false, Some(&pair)), ("GRPC", true, None), ("GRPCS", true, Some(&pair))] {
        let behind = SecurePod::start(&Speech { http2, pair, clients: None });
        let (pod, headers) = unwrapping(behind.pod.address);
        let asked = [("backend-protocol", protocol), ("weir.io/proxy-protocol", "v1")];
        let trusted = [ON, TRUSTED];
        let site = Site::configured(&trusted, &ingress("web", "a.example", "/", &asked), &[("web", &pod)]);
        assert!(site.problems.is_empty(), "{:?}", site.problems);
        // Two clients, of whom the first comes twice: nobody gets the connection of another one.
        for client in ["203.0.113.9", "203.0.113.77", "203.0.113.9"] {
            let header = format!("PROXY TCP4 {client} 198.51.100.1 4711 443\r\n");
            assert!(begun(&site, header.as_bytes()).contains("done"), "{protocol}");
            assert_eq!(behind.told().last().expect("a request").headers["x-real-ip"], client, "{protocol}");
        }
        let headers = headers.lock().expect("no panic").clone();
        let of = |client| format!("PROXY TCP4 {client} 198.51.100.1 4711 443\r\n");
        assert_eq!(headers, ["203.0.113.9", "203.0.113.77"].map(of), "{protocol}");
    }
}
