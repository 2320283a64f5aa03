//! Bodies wait for whoever does not take them, and not in the memory of the front, over HTTP/1.1 and HTTP/2.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lb_userspace::clock::{now, since};

use crate::harness::{PATIENCE, Site, ingress};
use crate::pod::Pod;

const SIZE: usize = 96 << 20;
/// What the front may take more while a body waits: buffers of a few connections, and what its allocator keeps.
const ROOM: u64 = 24 << 20;
/// What sockets hold besides, on both sides of the front.
const IN_FLIGHT: u64 = 48 << 20;

/// Waits until a number that has begun to grow no longer grows.
fn settled(what: &str, number: impl Fn() -> u64) -> u64 {
    let deadline = now() + PATIENCE;
    let mut last = (number(), now());
    while since(last.1) < Duration::from_millis(500) || last.0 == 0 {
        assert!(now() < deadline, "{what} never settles");
        std::thread::sleep(Duration::from_millis(5));
        let seen = number();
        if seen != last.0 {
            last = (seen, now());
        }
    }
    last.0
}

/// Bytes of memory that a process holds (proc(5), `VmRSS`).
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
}

fn backend(serve: impl Fn(BufReader<TcpStream>) + Send + 'static) -> Pod {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let pod = Pod::at(listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                if stream.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
            }
            serve(stream);
        }
    });
    pod
}

/// Ends with the value.
struct Curl(Child);

impl Curl {
    fn start(site: &Site, arguments: &[&str]) -> Self {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--no-buffer", "--max-time", "120", "--header", "Host: a.example"]);
        command.args(arguments).arg(format!("http://{}/", site.address()));
        Curl(command.stdout(Stdio::piped()).spawn().expect("curl is installed"))
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const VERSIONS: [&str; 2] = ["--http1.1", "--http2-prior-knowledge"];

#[test]
fn answers_wait_for_their_readers() {
    for version in VERSIONS {
        let sent = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&sent);
        let pod = backend(move |mut stream| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
            stream.get_mut().write_all(head.as_bytes()).expect("the front reads");
            let block = vec![7; 1 << 16];
            for _ in 0..SIZE / block.len() {
                stream.get_mut().write_all(&block).expect("the front reads in the end");
                counted.fetch_add(block.len() as u64, Ordering::SeqCst);
            }
        });
        let site = Site::start(&ingress("web", "a.example", "/", &[]), &[("web", &pod)]);
        let before = memory(site.pid());
        let mut curl = Curl::start(&site, &[version]);
        let in_flight = settled("what is sent", || sent.load(Ordering::SeqCst));
        assert!(in_flight < IN_FLIGHT, "{version}: {in_flight} bytes were taken");
        let more = memory(site.pid()).saturating_sub(before);
        assert!(more < ROOM, "{version}: the front holds {more} bytes more");
        let mut body = Vec::new();
        curl.0.stdout.take().expect("piped").read_to_end(&mut body).expect("an answer");
        assert_eq!(body.len(), SIZE, "{version}");
    }
}

#[test]
fn requests_wait_for_their_readers() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("body");
    std::fs::write(&file, vec![7; SIZE]).expect("written");
    for version in VERSIONS {
        let (release, held): (Sender<()>, Receiver<()>) = channel();
        let held = Mutex::new(held);
        let pod = backend(move |mut stream| {
            held.lock().expect("no panic").recv().expect("the test releases it");
            std::io::copy(&mut Read::take(&mut stream, SIZE as u64), &mut std::io::sink()).expect("a body");
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").expect("the front reads");
        });
        let site = Site::start(&ingress("web", "a.example", "/", &[("proxy-body-size", "0")]), &[("web", &pod)]);
        let before = memory(site.pid());
        let mut curl = Curl::start(&site, &[version, "--upload-file", file.to_str().expect("text")]);
        // Bytes that curl has read, those of its libraries included.
        let read = || {
            let io = std::fs::read_to_string(format!("/proc/{}/io", curl.0.id())).expect("it runs");
            io.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok()).expect("a number")
        };
        let in_flight = settled("what is read", read);
        assert!(in_flight < IN_FLIGHT, "{version}: {in_flight} bytes were taken");
        let more = memory(site.pid()).saturating_sub(before);
        assert!(more < ROOM, "{version}: the front holds {more} bytes more");
        release.send(()).expect("it waits");
        let mut body = String::new();
        curl.0.stdout.take().expect("piped").read_to_string(&mut body).expect("an answer");
        assert_eq!(body, "done", "{version}");
    }
}
