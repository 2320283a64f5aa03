//! Changes while clients ask: each is in force once the front has said so, and no request fails for one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::harness::{Site, ingress};
use crate::pod::Pod;

/// Ingresses that nobody asks for, beside those that change.
const OTHERS: usize = 300;
const CHANGES: usize = 40;

/// The status of the answer to one request on this connection.
pub(crate) fn ask(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    stream.get_mut().write_all(b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n")?;
    let (mut status, mut length) = (String::new(), 0);
    stream.read_line(&mut status)?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break;
        }
    }
    stream.read_exact(&mut vec![0; length])?;
    Ok(status.trim().to_owned())
}

/// Asks until it is told to end; `fresh`: with a connection for each request. Gives every answer that was not 200.
fn client(front: SocketAddr, fresh: bool, end: &AtomicBool, asked: &AtomicUsize) -> Vec<String> {
    let connect = || TcpStream::connect(front).map(BufReader::new);
    let (mut failures, mut stream) = (Vec::new(), None);
    while !end.load(Ordering::Relaxed) && failures.is_empty() {
        let kept = if fresh { None } else { stream.take() };
        let answer = kept.map_or_else(connect, Ok).and_then(|mut kept| {
            let status = ask(&mut kept)?;
            stream = Some(kept);
            Ok(status)
        });
        match answer {
            Ok(status) if status == "HTTP/1.1 200 OK" => drop(asked.fetch_add(1, Ordering::Relaxed)),
            other => failures.push(format!("{other:?}")),
        }
    }
    failures
}

/// The Ingress that is asked for, with what differs from one change to the next.
fn manifests(others: &str, change: usize) -> String {
    let annotations = [("proxy-body-size", "1m"), ("enable-cors", "true"), ("limit-rps", "100000")];
    // Pods take turns.
    let web = ingress("web", "a.example", "/", &annotations[..change % 4]);
    let web = if change.is_multiple_of(2) { web } else { web.replace("service: {name: web", "service: {name: other") };
    let come = ingress("web", &format!("new-{change}.example"), "/", &[]).replacen("name: web", "name: new", 1);
    others.to_owned() + &web + &come
}

/// Lets the clients end, also when the test panics.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_request_fails_while_routes_endpoints_and_settings_change() {
    let (web, other) = (Pod::named("web"), Pod::named("other"));
    let others: String = (0..OTHERS)
        .map(|number| {
            let host = format!("host-{number}.example");
            ingress("web", &host, "/", &[]).replacen("name: web", &format!("name: number-{number}"), 1)
        })
        .collect();
    let mut site = Site::on_cores(2, &manifests(&others, 0), &[("web", &web), ("other", &other)]);
    let (end, asked, front) = (AtomicBool::new(false), [AtomicUsize::new(0), AtomicUsize::new(0)], site.address());
    let failures: Vec<String> = std::thread::scope(|scope| {
        let clients = [(true, &asked[0]), (false, &asked[1])].map(|(fresh, asked)| {
            let end = &end;
            scope.spawn(move || client(front, fresh, end, asked))
        });
        let running = End(&end);
        for change in 1..=CHANGES {
            site.apply(&manifests(&others, change));
            let (gone, come) = (format!("new-{}.example", change - 1), format!("new-{change}.example"));
            assert_eq!(site.get(&come, "/", &[]).status, 200, "change {change}");
            assert_eq!(site.get(&gone, "/", &[]).status, 404, "change {change}");
        }
        drop(running);
        clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect()
    });
    assert!(failures.is_empty(), "{failures:?}");
    let asked = asked.map(AtomicUsize::into_inner);
    assert!(asked.iter().all(|asked| *asked > CHANGES), "{asked:?}");
    assert!(!web.seen().is_empty() && !other.seen().is_empty());
}
