use super::configured;
use crate::pod::Pod;

const FROM_A_PROXY: [&str; 8] = [
    "--header",
    "X-Forwarded-For: 192.0.2.66, 192.0.2.1, 10.0.0.9",
    "--header",
    "X-Forwarded-Proto: https",
    "--header",
    "X-Forwarded-Host: public.example",
    "--header",
    "X-Forwarded-Port: 8443",
];

/// The four headers that tell a backend of the client, and what `$scheme` is.
fn told(data: &[(&str, &str)], annotations: &[(&str, &str)]) -> [Option<String>; 5] {
    let pod = Pod::echo();
    let annotations = [&[("upstream-vhost", "$scheme-$remote_addr")], annotations].concat();
    let site = configured(data, &annotations, &pod);
    site.get("a.example", "/", &FROM_A_PROXY);
    let seen = pod.seen().remove(0);
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "host"]
        .map(|name| seen.header(name).map(str::to_owned))
}

fn texts(texts: [&str; 5]) -> [Option<String>; 5] {
    texts.map(|text| Some(text.to_owned()))
}

#[test]
fn proxies_are_believed_where_they_are_named() {
    let [on, trusted] = [("use-forwarded-headers", "true"), ("proxy-real-ip-cidr", "127.0.0.0/8, 10.0.0.0/8")];
    assert_eq!(told(&[on, trusted], &[]), texts(["192.0.2.1", "https", "public.example", "8443", "https-192.0.2.1"]));
    assert_eq!(
        told(&[on, trusted, ("compute-full-forwarded-for", "true")], &[])[0].as_deref(),
        Some("192.0.2.66, 192.0.2.1, 10.0.0.9, 127.0.0.1")
    );
    let only_address = told(&[("enable-real-ip", "true"), trusted], &[]);
    assert_eq!(only_address[..3], texts(["192.0.2.1", "http", "a.example", "", ""])[..3]);
    for nobody in [vec![trusted], vec![on, ("proxy-real-ip-cidr", "10.0.0.0/8")]] {
        assert_eq!(told(&nobody, &[])[..3], texts(["127.0.0.1", "http", "a.example", "", ""])[..3], "{nobody:?}");
    }
}

#[test]
fn source_ranges_go_by_the_client_that_a_proxy_tells() {
    let pod = Pod::echo();
    let data = [("use-forwarded-headers", "true"), ("proxy-real-ip-cidr", "127.0.0.0/8, 10.0.0.0/8")];
    let site = configured(&data, &[("whitelist-source-range", "192.0.2.1/32")], &pod);
    assert_eq!(site.get("a.example", "/", &FROM_A_PROXY).status, 200);
    assert_eq!(site.get("a.example", "/", &[]).status, 403);
    assert_eq!(site.get("a.example", "/", &["--header", "X-Forwarded-For: 192.0.2.1, 192.0.2.2"]).status, 403);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
}

/// Sends a request whose headers are bytes, and tells the status of its answer.
fn status_of(site: &crate::harness::Site, lines: &[&[u8]]) -> String {
    use std::io::{Read, Write};
    let head = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n";
    let mut stream = std::net::TcpStream::connect(site.address()).expect("connected");
    stream.write_all(&[&head[..], &lines.join(&b"\r\n"[..]), b"\r\n\r\n"].concat()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// A proxy at 127.0.0.1 and in 10.0.0.0/8; its own address may go where the client at 192.0.2.1 may not.
fn blocks_a_client(header: &str, pod: &Pod) -> crate::harness::Site {
    let data = [
        ("use-forwarded-headers", "true"),
        ("proxy-real-ip-cidr", "127.0.0.0/8, 10.0.0.0/8"),
        ("block-cidrs", "192.0.2.1"),
        ("forwarded-for-header", header),
    ];
    configured(&data, &[], pod)
}

#[test]
fn nonsense_does_not_turn_a_client_into_the_proxy() {
    let pod = Pod::echo();
    let site = blocks_a_client("X-Forwarded-For", &pod);
    for (lines, status) in [
        (&[&b"X-Forwarded-For: 192.0.2.1"[..]][..], "403"),
        (&[b"X-Forwarded-For: \xff, 192.0.2.1"], "403"),
        (&[b"X-Forwarded-For: \xff", b"X-Forwarded-For: 192.0.2.1"], "403"),
        (&[b"X-Forwarded-For: \xff, 192.0.2.9"], "200"),
        // Who cannot be read is not the proxy, whichever of them it was.
        (&[b"X-Forwarded-For: 192.0.2.1\xff"], "400"),
        (&[b"X-Forwarded-For: 192.0.2.1\xff, 10.0.0.9"], "400"),
        (&[b"X-Forwarded-For: unknown"], "400"),
        (&[b"X-Forwarded-For:"], "400"),
        // The proxy itself: it looks whether the front is there.
        (&[b"X-Other: x"], "200"),
    ] {
        assert_eq!(status_of(&site, lines), status, "{lines:?}");
    }
    assert_eq!(pod.seen().len(), 2);
}

#[test]
fn an_open_quote_does_not_swallow_what_a_proxy_adds() {
    let pod = Pod::echo();
    let site = blocks_a_client("Forwarded", &pod);
    for (lines, status) in [
        (&[&b"Forwarded: for=192.0.2.1"[..]][..], "403"),
        (&[b"Forwarded: for=\"", b"Forwarded: for=192.0.2.1"], "403"),
        (&[b"Forwarded: for=\xff, for=192.0.2.1"], "403"),
        (&[b"Forwarded: for=\"", b"Forwarded: for=192.0.2.9"], "200"),
        // Written behind it on the same line, it cannot be told from what the client wrote.
        (&[b"Forwarded: for=\", for=192.0.2.1"], "400"),
        (&[b"Forwarded: for=\", for=192.0.2.1", b"Forwarded: for=10.0.0.9"], "400"),
        (&[b"Forwarded: for=\", for=\"[2001:db8::1]\""], "400"),
        (&[b"Forwarded: proto=http"], "400"),
        (&[b"X-Forwarded-For: 192.0.2.1"], "200"),
    ] {
        assert_eq!(status_of(&site, lines), status, "{lines:?}");
    }
    assert_eq!(pod.seen().len(), 2);
}

#[test]
fn proxies_at_any_address_are_warned_of() {
    let pod = Pod::echo();
    let site = configured(&[("use-forwarded-headers", "true")], &[], &pod);
    assert_eq!(site.codes(), ["proxies-not-named"]);
    site.get("a.example", "/", &FROM_A_PROXY);
    assert_eq!(pod.seen()[0].header("x-real-ip"), Some("10.0.0.9"), "what the last one added");
}

#[test]
fn another_header_has_the_addresses() {
    let data = [
        ("use-forwarded-headers", "true"),
        ("proxy-real-ip-cidr", "127.0.0.0/8"),
        ("forwarded-for-header", "X-Client"),
    ];
    let pod = Pod::echo();
    let site = configured(&data, &[], &pod);
    site.get("a.example", "/", &["--header", "X-Client: 198.51.100.7"]);
    assert_eq!(pod.seen()[0].header("x-real-ip"), Some("198.51.100.7"));
}

#[test]
fn the_proxy_protocol_says_who_the_client_is() {
    let pod = Pod::echo();
    let data = [("use-proxy-protocol", "true"), ("proxy-real-ip-cidr", "127.0.0.0/8")];
    let site = configured(&data, &[], &pod);
    let with = |line: &str| {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(site.address()).expect("connected");
        let request = format!("{line}GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        // A connection that is not taken is closed with bytes unread, which may show as a reset.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = with("PROXY TCP4 203.0.113.9 198.51.100.1 4711 443\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = pod.seen().remove(0);
    assert_eq!((seen.header("x-real-ip"), seen.header("x-forwarded-port")), (Some("203.0.113.9"), Some("443")));
    assert_eq!(with(""), "", "a request without it is not answered");
    assert_eq!(pod.seen().len(), 1);
}

/// What a backend hears of the client, in `Forwarded` among others.
fn by_rfc7239(data: &[(&str, &str)], sent: &[&str]) -> [Option<String>; 4] {
    let pod = Pod::echo();
    let site = configured(&[&[("use-forwarded-headers", "true")], data].concat(), &[], &pod);
    let headers: Vec<_> = sent.iter().flat_map(|header| ["--header", header]).collect();
    site.get("a.example", "/", &headers);
    let seen = pod.seen().remove(0);
    ["x-real-ip", "x-forwarded-proto", "x-forwarded-host", "forwarded"].map(|name| seen.header(name).map(str::to_owned))
}

#[test]
fn proxies_are_believed_by_rfc_7239() {
    let trusted = ("proxy-real-ip-cidr", "127.0.0.0/8, 10.0.0.0/8");
    let named = ("forwarded-for-header", "Forwarded");
    let add = ("add-forwarded-header", "true");
    // The first element is the client's own, the second of the proxy next to it.
    let list = "Forwarded: for=192.0.2.66;host=evil.example, for=\"192.0.2.1:4711\";host=public.example;proto=https, for=10.0.0.9";
    let of = |texts: [&str; 4]| texts.map(|text| Some(text.to_owned()).filter(|text| !text.is_empty()));
    let also = "X-Forwarded-For: 192.0.2.77";
    assert_eq!(
        by_rfc7239(&[trusted, named, add], &[list, also]),
        of(["192.0.2.1", "https", "public.example", "for=192.0.2.1;host=\"public.example\";proto=https"])
    );
    let appended = by_rfc7239(&[trusted, named, add, ("compute-full-forwarded-for", "true")], &[list]);
    let before = list.trim_start_matches("Forwarded: ");
    assert_eq!(appended[3], Some(format!("{before}, for=127.0.0.1;host=\"public.example\";proto=https")));
    // Nor does it hide our own element from backends.
    let open = by_rfc7239(
        &[trusted, named, add, ("compute-full-forwarded-for", "true")],
        &["Forwarded: for=\"", "Forwarded: for=192.0.2.1"],
    );
    assert_eq!(open[3].as_deref(), Some("for=192.0.2.1, for=127.0.0.1;host=\"a.example\";proto=http"));
    assert_eq!(by_rfc7239(&[trusted, named], &[also]), of(["127.0.0.1", "http", "a.example", ""]));
    let nobody = by_rfc7239(&[("proxy-real-ip-cidr", "192.0.2.0/24"), named, add], &[list]);
    assert_eq!(nobody, of(["127.0.0.1", "http", "a.example", "for=127.0.0.1;host=\"a.example\";proto=http"]));
}

#[test]
fn backends_hear_of_the_client_by_the_proxy_protocol() {
    for (version, begins) in
        [("v1", &b"PROXY TCP4 127.0.0.1 127.0.0.1 "[..]), ("v2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01")]
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let pod = Pod::at(listener.local_addr().expect("bound"));
        let heard = std::thread::spawn(move || {
            use std::io::{BufRead, BufReader, Read, Write};
            let mut headers = Vec::new();
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().expect("a connection");
                let mut reader = BufReader::new(stream.try_clone().expect("a copy"));
                let mut header = vec![0; 28];
                if begins.starts_with(b"PROXY") {
                    header.clear();
                    reader.read_until(b'\n', &mut header).expect("a line");
                } else {
                    reader.read_exact(&mut header).expect("a header");
                }
                // Two requests of a client on one connection.
                for _ in 0..2 {
                    let mut line = String::new();
                    while reader.read_line(&mut line).is_ok_and(|count| count > 2) {}
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("answered");
                }
                headers.push(header);
            }
            headers
        });
        let site = configured(&[], &[("weir.io/proxy-protocol", version)], &pod);
        assert!(site.problems.is_empty(), "{:?}", site.problems);
        let twice = format!("http://127.0.0.1:{}/again", site.port());
        for _ in 0..2 {
            // The next client has a connection of its own.
            assert_eq!(site.get("a.example", "/", &[&twice, "--header", "Host: a.example"]).status, 200);
        }
        let headers = heard.join().expect("both have come");
        assert!(headers.iter().all(|header| header.starts_with(begins)), "{headers:?}");
        assert_ne!(headers[0], headers[1], "the ports differ");
    }
}
