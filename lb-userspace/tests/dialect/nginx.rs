//! nginx as the backend: files, its own way of closing connections, HTTP/2 without TLS, and TLS.

use std::io::{BufReader, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lb_userspace::clock::now;

use crate::certificates::{Authority, Kind, secret, values};
use crate::change::ask;
use crate::harness::{PATIENCE, Site, ingress, ingress_over_tls};
use crate::pod::Pod;

const SIZE: usize = 3 << 20;

/// An nginx of the test's own; ends with the value.
struct Nginx {
    process: Child,
    ports: [u16; 3],
    directory: tempfile::TempDir,
}

impl Nginx {
    /// `None`: there is none. Its ports speak HTTP/1.1, HTTP/2, and HTTP/1.1 over TLS.
    fn start(authority: &Authority) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let (chain, key) = authority.issue(&["pod.example"], Kind::Ecdsa);
        let file: Vec<u8> = (0..SIZE).map(|at| b'a' + (at % 23) as u8).collect();
        for (name, bytes) in [
            ("tls.crt", chain.as_bytes()),
            ("tls.key", key.as_bytes()),
            ("large.txt", &file),
            ("index.html", b"home"),
            ("x", b"x"),
        ] {
            std::fs::write(directory.path().join(name), bytes).expect("written");
        }
        let program = std::env::var("WEIR_NGINX").ok().filter(|path| !path.is_empty());
        let program = program.unwrap_or_else(|| "nginx".to_owned());
        for _ in 0..5 {
            let ports = free_ports();
            std::fs::write(directory.path().join("nginx.conf"), configuration(ports)).expect("written");
            let mut command = Command::new(&program);
            command.env("PATH", "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin");
            command.arg("-p").arg(directory.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
            let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
            let mut process = match started {
                Ok(process) => process,
                Err(error) if error.kind() == ErrorKind::NotFound => return None,
                Err(error) => panic!("nginx does not start: {error}"),
            };
            if listens(&mut process, ports[0]) {
                return Some(Nginx { process, ports, directory });
            }
        }
        panic!("nginx found no free ports");
    }

    fn pod(&self, index: usize) -> Pod {
        Pod::at(SocketAddr::from(([127, 0, 0, 1], self.ports[index])))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// False: it has ended, since somebody else took a port meanwhile.
fn listens(process: &mut Child, port: u16) -> bool {
    let deadline = now() + PATIENCE;
    loop {
        if process.try_wait().expect("a child").is_some() {
            return false;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        assert!(now() < deadline, "nginx does not listen");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.each_ref().map(|listener| listener.local_addr().expect("bound").port())
}

fn configuration([plain, http2, tls]: [u16; 3]) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("{name}_temp_path {name};\n"))
        .collect();
    format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nevents {{}}\nhttp {{\n{temporary}access_log off;\n\
log_format compared '{COMPARED}|{TIMES}';\n\
client_max_body_size 0;\nkeepalive_requests 5;\nkeepalive_timeout 40ms;\ngzip on;\ngzip_min_length 1;\ngzip_types text/plain;\n\
default_type text/plain;\nserver {{\nlisten 127.0.0.1:{plain};\nlisten 127.0.0.1:{http2} http2;\n\
listen 127.0.0.1:{tls} ssl;\nssl_protocols TLSv1.2 TLSv1.3;\nssl_certificate tls.crt;\nssl_certificate_key tls.key;\nroot .;\n\
location = /told {{ return 200 \"$request_method $server_protocol $host $http_x_forwarded_for $content_length\"; }}\n\
location = /fixed {{ access_log compared compared if=$ssl_protocol; proxy_pass http://127.0.0.1:{plain}/answer; }}\n\
location = /answer {{ return 200 fixed; }}\n\
location = /posted {{ proxy_pass http://127.0.0.1:{plain}/told; proxy_http_version 1.1; }}\n}}\n}}\n"
    )
}

#[test]
fn files_parts_and_conditions() {
    let authority = Authority::new();
    let Some(nginx) = Nginx::start(&authority) else {
        weir_lab::lacks("nginx");
        return;
    };
    let site = Site::start(&ingress("web", "a.example", "/", &[]), &[("web", &nginx.pod(0))]);
    let whole = site.get("a.example", "/large.txt", &[]);
    assert_eq!((whole.status, whole.body.len()), (200, SIZE));
    let etag = whole.header("etag").expect("nginx gives one").to_owned();
    let unchanged = site.get("a.example", "/large.txt", &["--header", &format!("If-None-Match: {etag}")]);
    assert_eq!((unchanged.status, unchanged.body.as_str()), (304, ""));
    let part = site.get("a.example", "/large.txt", &["--range", "1000000-1000099"]);
    assert_eq!((part.status, part.body.as_str()), (206, &whole.body[1_000_000..1_000_100]));
    let head = site.get("a.example", "/large.txt", &["--head"]);
    assert_eq!((head.status, head.header("content-length")), (200, Some(SIZE.to_string().as_str())));
    // Of unknown length, as nginx compresses it on the way.
    let coded = site.get("a.example", "/large.txt", &["--compressed"]);
    assert_eq!((coded.header("content-encoding"), coded.header("transfer-encoding")), (Some("gzip"), Some("chunked")));
    assert_eq!(coded.body, whole.body);
    let old = site.get("a.example", "/large.txt", &["--http1.0"]);
    assert_eq!((old.status, old.body.len()), (200, SIZE));
    assert_eq!(site.get("a.example", "/nothing", &[]).status, 404);
}

#[test]
fn connections_that_nginx_closes_cost_no_request() {
    let authority = Authority::new();
    let Some(nginx) = Nginx::start(&authority) else {
        weir_lab::lacks("nginx");
        return;
    };
    let site = Site::start(&ingress("web", "a.example", "/", &[]), &[("web", &nginx.pod(0))]);
    // It closes each connection after five requests.
    for round in 0..60 {
        let body = "x".repeat(round * 997);
        let posted = site.get("a.example", "/posted", &["--data-binary", &body]);
        let told = format!("POST HTTP/1.1 127.0.0.1 127.0.0.1 {}", body.len());
        assert_eq!((posted.status, posted.body.trim_end()), (200, told.as_str()), "{round}");
        assert_eq!(site.get("a.example", "/", &[]).body, "home", "{round}");
    }
    let chunked = ["--header", "Transfer-Encoding: chunked", "--data-binary", "hello"];
    assert_eq!(site.get("a.example", "/posted", &chunked).body, "POST HTTP/1.1 127.0.0.1 127.0.0.1 5");
    let counters = site.counters();
    assert_eq!(counters.upstream_failures, 0, "{counters:?}");
}

/// nginx closes idle connections after 40 ms: requests come just before, at, and behind that.
#[test]
fn connections_that_nginx_finds_idle_cost_no_request() {
    let authority = Authority::new();
    let Some(nginx) = Nginx::start(&authority) else {
        weir_lab::lacks("nginx");
        return;
    };
    let site = Site::start(&ingress("web", "a.example", "/", &[]), &[("web", &nginx.pod(0))]);
    std::thread::scope(|scope| {
        for client in 0..6u64 {
            let site = &site;
            scope.spawn(move || {
                let mut stream = BufReader::new(TcpStream::connect(site.address()).expect("the front listens"));
                for round in 0..80 {
                    assert_eq!(ask(&mut stream).expect("an answer"), "HTTP/1.1 200 OK", "{client} {round}");
                    // When a request comes is what the test is about.
                    std::thread::sleep(Duration::from_micros(38_000 + 500 * ((7 * round + client) % 10)));
                }
            });
        }
    });
    let counters = site.counters();
    assert_eq!(counters.upstream_failures, 0, "{counters:?}");
    assert!(counters.upstream_reuses > 0, "{counters:?}");
}

/// Of one request, what nginx logs by these variables, and what we do; and then those that tell times.
const COMPARED: &str = "$ssl_protocol $ssl_cipher $ssl_server_name $server_protocol $request_method $scheme $host $request_uri \
                        $status $body_bytes_sent $request_length $upstream_addr $upstream_status $upstream_response_length $remote_addr";
const TIMES: &str = "$msec $time_iso8601 $time_local $request_time $upstream_connect_time $upstream_header_time $upstream_response_time";

/// Digits are all the same.
fn form(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect()
}

#[test]
fn lines_of_the_log_say_what_those_of_nginx_say() {
    let authority = Authority::new();
    let Some(nginx) = Nginx::start(&authority) else {
        weir_lab::lacks("nginx");
        return;
    };
    let format = format!("{COMPARED}|{TIMES}");
    let manifests = secret("one", &authority.issue(&["a.example"], Kind::Ecdsa))
        + &ingress_over_tls("web", "a.example", "one", &[]);
    let (site, output) = Site::logging(&[("log-format-upstream", &format)], &manifests, &[("web", &nginx.pod(0))]);
    assert!(site.problems.is_empty(), "{:?}", site.problems);
    let asked = ["--http1.1", "--insecure", "--data-binary", "hello", "--header", "X-Some: thing"];
    for (turn, version) in ["1.2", "1.3"].into_iter().enumerate() {
        let arguments = [&asked[..], &["--tls-max", version]].concat();
        assert_eq!(site.get_secured("a.example", "/fixed?a=b", &arguments).body, "fixed");
        assert_eq!(
            site.get_secured_at(nginx.ports[2], "a.example", "/fixed?a=b", &arguments).expect("nginx").body,
            "fixed"
        );
        let ours = output.lines(turn + 1).remove(turn);
        let theirs = || std::fs::read_to_string(nginx.directory.path().join("compared")).unwrap_or_default();
        site.eventually("nginx to write", || theirs().lines().count() > turn);
        let theirs = theirs().lines().nth(turn).expect("a line").to_owned();
        let ((ours, our_times), (theirs, their_times)) =
            (ours.split_once('|').expect("both"), theirs.split_once('|').expect("both"));
        assert_eq!(ours, theirs, "TLS {version}");
        assert_eq!(form(our_times), form(their_times), "TLS {version}");
    }
}

#[test]
fn http2_and_tls() {
    let authority = Authority::new();
    let Some(nginx) = Nginx::start(&authority) else {
        weir_lab::lacks("nginx");
        return;
    };
    let web = |annotations: &[(&str, &str)]| ingress("web", "a.example", "/", annotations);
    let http2 = Site::start(&web(&[("backend-protocol", "GRPC")]), &[("web", &nginx.pod(1))]);
    for _ in 0..12 {
        assert_eq!(http2.get("a.example", "/told", &[]).body.trim_end(), "GET HTTP/2.0 a.example 127.0.0.1");
    }
    assert_eq!(http2.get("a.example", "/large.txt", &[]).body.len(), SIZE);
    let posted = http2.get("a.example", "/posted", &["--data-binary", &"x".repeat(100_000)]);
    assert_eq!((posted.status, posted.body.ends_with(" 100000")), (200, true), "{}", posted.body);
    let asked = [
        ("backend-protocol", "HTTPS"),
        ("proxy-ssl-secret", "default/ca"),
        ("proxy-ssl-verify", "on"),
        ("proxy-ssl-name", "pod.example"),
    ];
    let ca = values("ca", "Opaque", &[("ca.crt", &authority.pem())]);
    let tls = Site::start(&(web(&asked) + &ca), &[("web", &nginx.pod(2))]);
    assert_eq!(tls.get("a.example", "/told", &[]).body.trim_end(), "GET HTTP/1.1 a.example 127.0.0.1");
    assert_eq!(tls.get("a.example", "/large.txt", &[]).body.len(), SIZE);
}
