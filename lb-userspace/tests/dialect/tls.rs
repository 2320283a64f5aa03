//! TLS: certificates by name, what is agreed upon, and what backends are told. The clients are curl and openssl.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::certificates::{Authority, Kind, secret};
use crate::harness::{Site, config_map, ingress_over_tls};
use crate::pod::{Pod, answer};

/// The certificate that a name gets, as openssl prints its subject alternative names.
pub(crate) fn names(site: &Site, name: &str, arguments: &[&str]) -> String {
    let connect = format!("127.0.0.1:{}", site.tls_port());
    let mut client = Command::new("openssl");
    let named = if name.is_empty() { &["-noservername"][..] } else { &["-servername", name] };
    client.args(["s_client", "-connect", &connect]).args(named).args(arguments);
    let output = client.stdin(std::process::Stdio::null()).output().expect("openssl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let begin = text.find("-----BEGIN CERTIFICATE-----").unwrap_or_else(|| panic!("no certificate: {text}"));
    let mut reader = Command::new("openssl");
    reader.args(["x509", "-noout", "-subject", "-ext", "subjectAltName"]);
    let mut reader = reader
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("openssl is installed");
    std::io::Write::write_all(&mut reader.stdin.take().expect("piped"), &text.as_bytes()[begin..]).expect("written");
    String::from_utf8_lossy(&reader.wait_with_output().expect("it ends").stdout).into_owned()
}

#[test]
fn certificates_by_name() {
    let authority = Authority::new();
    let pod = Pod::echo();
    let site = Site::start(
        &[
            secret("one", &authority.issue(&["a.example"], Kind::Ecdsa)),
            secret("wild", &authority.issue(&["*.b.example"], Kind::Rsa)),
            secret("exact", &authority.issue(&["x.b.example"], Kind::Ed25519)),
            ingress_over_tls("web", "a.example", "one", &[]),
            ingress_over_tls("web-2", "*.b.example", "wild", &[]).replace("{name: web-2,", "{name: web,"),
            ingress_over_tls("web-3", "x.b.example", "exact", &[]).replace("{name: web-3,", "{name: web,"),
        ]
        .concat(),
        &[("web", &pod)],
    );
    assert!(site.problems.is_empty(), "{:?}", site.problems);
    for (host, expected) in [
        ("a.example", "DNS:a.example"),
        ("A.Example", "DNS:a.example"),
        ("y.b.example", "DNS:*.b.example"),
        ("x.b.example", "DNS:x.b.example"),
        ("y.z.b.example", "CN = weir fallback certificate"),
        ("unknown.example", "CN = weir fallback certificate"),
    ] {
        assert!(names(&site, host, &[]).contains(expected), "{host}: {}", names(&site, host, &[]));
    }
    for version in ["--tlsv1.2", "--tlsv1.3"] {
        let arguments = ["--cacert", authority.path(), version, "--tls-max", &version["--tlsv".len()..]];
        for host in ["a.example", "y.b.example", "x.b.example"] {
            let reply = site.get_secured(host, "/x", &arguments);
            assert_eq!((reply.status, reply.body.as_str()), (200, "GET /x HTTP/1.1"), "{host} {version}");
        }
    }
}

/// The beginning of the answer to a ClientHello with this as its highest version. Clients of today send none of TLS 1.1.
fn answer_to_hello(site: &Site, version: [u8; 2], suites: &[u8]) -> Vec<u8> {
    let vector = |content: &[u8]| [&u16::try_from(content.len()).expect("short").to_be_bytes()[..], content].concat();
    let extension = |kind: u8, content: &[u8]| [&[0, kind][..], &vector(content)].concat();
    let name = b"a.example";
    let extensions = [
        extension(0, &vector(&[&[0][..], &vector(name)].concat())),
        // secp256r1 and X25519, points as they are, ECDSA and RSA with SHA-256.
        extension(10, &vector(&[0, 23, 0, 29])),
        extension(11, &[1, 0]),
        extension(13, &vector(&[4, 3, 8, 4, 4, 1])),
    ]
    .concat();
    let hello = [&version[..], &[7; 32], &[0], &vector(suites), &[1, 0], &vector(&extensions)].concat();
    let length = u32::try_from(hello.len()).expect("short").to_be_bytes();
    let message = [&[1][..], &length[1..], &hello].concat();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", site.tls_port())).expect("connected");
    stream.write_all(&[&[22, 3, 1][..], &vector(&message)].concat()).expect("sent");
    let mut begin = vec![0; 7];
    stream.read_exact(&mut begin).expect("an answer");
    begin
}

#[test]
fn versions_before_1_2_are_refused() {
    let authority = Authority::new();
    let pod = Pod::echo();
    let pair = secret("one", &authority.issue(&["a.example"], Kind::Ecdsa));
    let site = Site::start(&(pair + &ingress_over_tls("web", "a.example", "one", &[])), &[("web", &pod)]);
    // ECDHE-ECDSA with AES: GCM, and CBC as versions before 1.2 have it.
    let suites = [0xc0, 0x2b, 0xc0, 0x0a];
    let spoken = answer_to_hello(&site, [3, 3], &suites);
    assert_eq!((spoken[0], spoken[5]), (22, 2), "a ServerHello for TLS 1.2: {spoken:?}");
    for version in [[3, 2], [3, 1]] {
        let refused = answer_to_hello(&site, version, &suites);
        // RFC 5246 section 7.2.2: fatal, protocol_version.
        assert_eq!((refused[0], &refused[5..]), (21, &[2, 70][..]), "{version:?}: {refused:?}");
    }
}

#[test]
fn backends_are_told_how_clients_came() {
    let authority = Authority::new();
    let pod = Pod::echo();
    let manifests = [
        secret("one", &authority.issue(&["a.example"], Kind::Ecdsa)),
        ingress_over_tls("web", "a.example", "one", &[("ssl-redirect", "false")]),
    ];
    let site = Site::start(&manifests.concat(), &[("web", &pod)]);
    let authority = ["--cacert", authority.path()];
    site.get_secured("a.example", "/", &[&authority[..], &["--http1.1"]].concat());
    site.get_secured("a.example", "/", &[&authority[..], &["--http2"]].concat());
    site.get("a.example", "/", &[]);
    let told: Vec<_> = pod
        .seen()
        .iter()
        .map(|asked| {
            ["x-forwarded-proto", "x-forwarded-scheme", "x-forwarded-port", "host"]
                .map(|name| asked.header(name).unwrap_or("").to_owned())
        })
        .collect();
    let (secured, plain) = (site.tls_port().to_string(), site.port().to_string());
    let of = |scheme: &str, port: &str| [scheme, scheme, port, "a.example"].map(str::to_owned);
    assert_eq!(told, [of("https", &secured), of("https", &secured), of("http", &plain)]);
}

#[test]
fn a_new_certificate_leaves_connections_alone() {
    let authority = Authority::new();
    let pod = Pod::echo();
    let manifests = |secret: String| [secret, ingress_over_tls("web", "a.example", "one", &[])].concat();
    let first = authority.issue(&["a.example", "first.example"], Kind::Ecdsa);
    let mut site = Site::start(&manifests(secret("one", &first)), &[("web", &pod)]);
    let mut open = site.connect_secured("a.example", authority.path());
    assert_eq!(open.ask("/1"), "GET /1 HTTP/1.1");
    let next = authority.issue(&["a.example", "next.example"], Kind::Ecdsa);
    site.apply(&manifests(secret("one", &next)));
    assert!(names(&site, "a.example", &[]).contains("next.example"));
    assert_eq!(open.ask("/2"), "GET /2 HTTP/1.1", "the connection of before goes on");

    // A Secret that cannot be used changes nothing but the Problems.
    let (chain, _) = next.clone();
    let (_, other) = authority.issue(&["a.example"], Kind::Ecdsa);
    site.apply(&manifests(secret("one", &(chain, other))));
    assert_eq!(site.codes(), ["certificate-invalid"]);
    let problem = &site.problems[0];
    assert_eq!(problem.object.kind.as_deref(), Some("Secret"));
    assert_eq!(problem.field.as_deref(), Some("data[tls.key]"));
    assert!(problem.message.contains("before goes on"), "{problem:?}");
    assert!(names(&site, "a.example", &[]).contains("next.example"));
}

#[test]
fn what_is_wrong_with_secrets_is_said() {
    let authority = Authority::new();
    let pod = Pod::echo();
    let missing = ingress_over_tls("web", "a.example", "missing", &[]);
    let mut site = Site::start(&missing, &[("web", &pod)]);
    assert_eq!(site.codes(), ["secret-missing"]);
    assert!(names(&site, "a.example", &[]).contains("weir fallback certificate"));
    assert_eq!(site.get_secured("a.example", "/", &["--insecure"]).status, 200);

    let other = secret("one", &authority.issue(&["b.example"], Kind::Ecdsa));
    site.apply(&[other, ingress_over_tls("web", "a.example", "one", &[])].concat());
    assert_eq!(site.codes(), ["certificate-name-mismatch"]);
    assert!(site.problems[0].message.contains("is for b.example, not for a.example"), "{:?}", site.problems);
}

#[test]
fn sessions_are_resumed() {
    let authority = Authority::new();
    let pod = Pod::echo();
    let manifests = [
        secret("one", &authority.issue(&["a.example"], Kind::Ecdsa)),
        ingress_over_tls("web", "a.example", "one", &[]),
    ];
    let site = Site::on_cores(2, &manifests.concat(), &[("web", &pod)]);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("session");
    let file = file.to_str().expect("text");
    let connect = format!("127.0.0.1:{}", site.tls_port());
    // With TLS 1.3 tickets come after the handshake: there has to be an answer to wait for.
    let client = |arguments: &[&str]| {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-connect", &connect, "-servername", "a.example", "-ign_eof"]).args(arguments);
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut client = client.spawn().expect("openssl is installed");
        let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        std::io::Write::write_all(&mut client.stdin.take().expect("piped"), request).expect("sent");
        String::from_utf8_lossy(&client.wait_with_output().expect("it ends").stdout).into_owned()
    };
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let first = client(&[flag, "-sess_out", file]);
        assert!(first.contains(&format!("New, {version}")) && first.contains("GET / HTTP/1.1"), "{first}");
        // Whichever worker takes the connection.
        for _ in 0..8 {
            let text = client(&[flag, "-sess_in", file]);
            assert!(text.contains(&format!("Reused, {version}")), "{text}");
        }
    }
}

#[test]
fn groups_and_sessions_are_as_the_configmap_says() {
    let (authority, pod) = (Authority::new(), Pod::echo());
    let manifests = secret("one", &authority.issue(&["a.example"], Kind::Ecdsa))
        + &ingress_over_tls("web", "a.example", "one", &[]);
    let mut site = Site::configured(&[("ssl-ecdh-curve", "secp384r1")], &manifests, &[("web", &pod)]);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("session");
    let file = file.to_str().expect("text");
    let client = |site: &Site, arguments: &[&str]| {
        let connect = format!("127.0.0.1:{}", site.tls_port());
        let mut client = Command::new("openssl");
        client.args(["s_client", "-connect", &connect, "-servername", "a.example", "-ign_eof"]).args(arguments);
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut client = client.spawn().expect("openssl is installed");
        // One that is refused has ended already.
        let _ = client
            .stdin
            .take()
            .expect("piped")
            .write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        String::from_utf8_lossy(&client.wait_with_output().expect("it ends").stdout).into_owned()
    };
    for version in ["-tls1_2", "-tls1_3"] {
        let both = client(&site, &[version, "-groups", "X25519:P-384"]);
        assert!(both.contains("Server Temp Key: ECDH, secp384r1"), "{both}");
        let other = client(&site, &[version, "-groups", "X25519:P-256"]);
        assert!(!other.contains("HTTP/1.1 200"), "{version}: {other}");
    }
    for (data, resumed) in [
        (&[("ssl-session-tickets", "false"), ("ssl-session-cache", "false")][..], "New, "),
        (&[("ssl-session-tickets", "false"), ("ssl-session-cache", "true")], "Reused, "),
        (&[("ssl-session-tickets", "true"), ("ssl-session-cache", "false")], "Reused, "),
    ] {
        site.apply(&(config_map(data) + &manifests));
        for version in ["-tls1_2", "-tls1_3"] {
            let _ = std::fs::remove_file(file);
            let first = client(&site, &[version, "-sess_out", file]);
            assert!(first.contains("HTTP/1.1 200"), "{data:?} {version}: {first}");
            // Without a ticket there may be no session that could be offered.
            let again =
                if std::path::Path::new(file).exists() { client(&site, &[version, "-sess_in", file]) } else { first };
            assert!(again.contains(resumed), "{data:?} {version}: {again}");
        }
    }
}

#[test]
fn a_revocation_status_is_stapled() {
    let authority = Authority::new();
    let pod = Pod::echo();
    let (chain, key) = authority.issue(&["a.example"], Kind::Ecdsa);
    let with =
        secret("one", &(chain, key)).replace("stringData:", "data: {tls.ocsp-staple: \"MAMKAQY=\"}\nstringData:");
    let site = Site::start(&[with, ingress_over_tls("web", "a.example", "one", &[])].concat(), &[("web", &pod)]);
    let connect = format!("127.0.0.1:{}", site.tls_port());
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", &connect, "-servername", "a.example", "-status"]);
    let output = client.stdin(std::process::Stdio::null()).output().expect("openssl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // The answer "unauthorized" is the shortest that there is.
    assert!(text.contains("OCSP Response Status: unauthorized"), "{text}");
}

#[test]
fn http2_by_agreement_and_with_prior_knowledge() {
    let authority = Authority::new();
    let pod =
        Pod::answering(|asked| answer("200 OK", &[("X-Cookies", asked.header("cookie").unwrap_or(""))], &asked.line));
    let manifests = [
        secret("one", &authority.issue(&["a.example"], Kind::Ecdsa)),
        ingress_over_tls("web", "a.example", "one", &[("ssl-redirect", "false")]),
    ];
    let site = Site::start(&manifests.concat(), &[("web", &pod)]);
    let version = ["--cacert", authority.path(), "--http2", "--write-out", "%{http_version}"];
    assert_eq!(site.get_secured("a.example", "/x", &version).body, "GET /x HTTP/1.12");
    let prior = ["--http2-prior-knowledge", "--write-out", "%{http_version}"];
    assert_eq!(site.get("a.example", "/x", &prior).body, "GET /x HTTP/1.12");
    let posted = ["--cacert", authority.path(), "--http2", "--data-binary", "hello", "--header", "Cookie: a=1; b=2"];
    let reply = site.get_secured("a.example", "/", &posted);
    assert_eq!((reply.status, reply.header("x-cookies")), (200, Some("a=1; b=2")));
    assert_eq!(pod.seen().last().expect("one").body, b"hello");
    let trace = ["--cacert", authority.path(), "--http2", "--request", "TRACE"];
    assert_eq!(site.get_secured("a.example", "/", &trace).status, 405);
    assert_eq!(site.get_secured("b.example", "/", &["--insecure", "--http2"]).status, 404);
}

#[test]
fn the_configmap_chooses() {
    let authority = Authority::new();
    let pod = Pod::echo();
    let cert = secret("one", &authority.issue(&["a.example"], Kind::Ecdsa));
    let manifests = cert + &ingress_over_tls("web", "a.example", "one", &[]);
    let mut site = Site::configured(&[], &manifests, &[("web", &pod)]);
    let ours = ["--cacert", authority.path()];
    let max = |version| [&ours[..], &["--tls-max", version]].concat();
    assert_eq!(site.get_secured("a.example", "/", &max("1.2")).status, 200);

    let data =
        [("ssl-protocols", "TLSv1.3"), ("use-http2", "false"), ("hsts-max-age", "60"), ("http-redirect-code", "307")];
    site.apply(&(config_map(&data) + &manifests));
    assert!(site.problems.is_empty(), "{:?}", site.problems);
    assert!(site.try_secured("a.example", "/", &max("1.2")).is_err(), "TLS 1.2 was spoken");
    let version = [&ours[..], &["--http2", "--write-out", "%{http_version}"]].concat();
    let reply = site.get_secured("a.example", "/", &version);
    assert_eq!(reply.body, "GET / HTTP/1.11.1");
    assert_eq!(reply.header("strict-transport-security"), Some("max-age=60; includeSubDomains"));
    assert_eq!(site.get("a.example", "/", &[]).status, 307);

    let one = "ECDHE-ECDSA-AES256-GCM-SHA384";
    let data = [("ssl-ciphers", one), ("ssl-reject-handshake", "true"), ("hsts", "false")];
    site.apply(&(config_map(&data) + &manifests));
    let suite = |suites| [&max("1.2")[..], &["--ciphers", suites]].concat();
    assert_eq!(site.get_secured("a.example", "/", &suite(one)).header("strict-transport-security"), None);
    assert!(site.try_secured("a.example", "/", &suite("ECDHE-ECDSA-AES128-GCM-SHA256")).is_err());
    assert!(site.try_secured("unknown.example", "/", &["--insecure"]).is_err(), "a name without a certificate");
    site.apply(&(config_map(&[("ssl-ciphers", "RC4-SHA")]) + &manifests));
    assert_eq!(site.codes(), ["configmap-invalid"]);
}
