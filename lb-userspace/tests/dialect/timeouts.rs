//! How long the front waits for endpoints, and how long it keeps connections to them.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lb_userspace::clock::{now, since};
use socket2::{Domain, Socket, Type};

use crate::change::ask;
use crate::harness::{Site, config_map, ingress};
use crate::pod::{Pod, answer};

/// An endpoint that answers no SYN: its queue is full (tcp_conn_request() in Linux).
fn unreachable() -> (Pod, Socket, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    listener.listen(0).expect("a listener");
    let at = listener.local_addr().expect("bound");
    let mut waiting = Vec::new();
    loop {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let full = socket.connect_timeout(&at, Duration::from_millis(300)).is_err();
        waiting.push(socket);
        if full {
            return (Pod::at(at.as_socket().expect("an address")), listener, waiting);
        }
        assert!(waiting.len() < 64, "the queue never fills");
    }
}

#[test]
fn connections_have_their_time() {
    let (gone, _listener, _waiting) = unreachable();
    let routes = |time| ingress("web", "a.example", "/", &[("proxy-connect-timeout", time)]);
    let mut site = Site::start(&routes("1"), &[("web", &gone)]);
    let mut take = |time| {
        site.apply(&routes(time));
        let start = now();
        let status = site.get("a.example", "/", &[]).status;
        (status, since(start))
    };
    let ((first, short), (second, long)) = (take("1"), take("3"));
    assert_eq!([first, second], [504; 2]);
    // A third of the longer one, and not the five seconds that are usual.
    assert!(short >= Duration::from_secs(1) && short < long && long >= Duration::from_secs(3), "{short:?} {long:?}");

    let good = Pod::echo();
    let both = Site::start(&routes("1"), &[("web", &gone), ("web", &good)]);
    for _ in 0..4 {
        assert_eq!(
            both.get("a.example", "/", &["--data", "x"]).status,
            200,
            "nothing was sent: another one may have it"
        );
    }
}

#[test]
fn an_endpoint_that_takes_no_body_is_not_waited_for() {
    let silent = Pod::silent();
    let file = tempfile::NamedTempFile::new().expect("a file");
    // More than sockets hold.
    file.as_file().set_len(64 << 20).expect("sparse");
    let body = format!("@{}", file.path().display());
    let asked = [("proxy-send-timeout", "1"), ("proxy-read-timeout", "600"), ("proxy-body-size", "0")];
    let site = Site::annotated(&asked, &silent);
    let reply = site.get("a.example", "/", &["--data-binary", &body, "--header", "Expect:"]);
    assert_eq!(reply.status, 504);
    site.eventually("the failure to be counted", || site.counters().upstream_failures == 1);
    // One whose body is short has been sent, and waits for its answer as long as it may.
    let short = Site::annotated(&[("proxy-send-timeout", "600"), ("proxy-read-timeout", "1")], &silent);
    assert_eq!(short.get("a.example", "/", &["--data", "x"]).status, 504);
}

/// Counts its connections.
fn counting() -> (Pod, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (pod, connections) = (Pod::at(listener.local_addr().expect("bound")), Arc::<AtomicUsize>::default());
    let counted = Arc::clone(&connections);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                while let Ok(1..) = stream.read(&mut [0; 4096]) {
                    if stream.write_all(answer("200 OK", &[], "x").as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (pod, connections)
}

#[test]
fn idle_connections_and_old_ones_are_not_used_again() {
    let (pod, connections) = counting();
    let routes = ingress("web", "a.example", "/", &[]);
    let mut site = Site::configured(&[], &routes, &[("web", &pod)]);
    let mut client = BufReader::new(TcpStream::connect(site.address()).expect("the front listens"));
    let mut asked = |times: usize, rest: Duration| {
        let before = connections.load(Ordering::SeqCst);
        for _ in 0..times {
            assert_eq!(ask(&mut client).expect("an answer"), "HTTP/1.1 200 OK");
            // How long a connection is idle is what the test is about.
            std::thread::sleep(rest);
        }
        connections.load(Ordering::SeqCst) - before
    };
    let (soon, late) = (Duration::ZERO, Duration::from_millis(1200));
    assert_eq!((asked(6, soon), asked(2, late)), (1, 0), "where nothing is said one is kept for long");
    site.apply(&(config_map(&[("upstream-keepalive-timeout", "1")]) + &routes));
    assert_eq!(asked(3, late), 3, "one that was idle for so long is not used");
    assert_eq!(asked(10, soon), 1);
    // Its age counts from its beginning, however busy it is.
    site.apply(&(config_map(&[("upstream-keepalive-time", "1s")]) + &routes));
    asked(1, late);
    let opened = asked(3, Duration::from_millis(600));
    assert!((2..=3).contains(&opened), "{opened}");
    assert!(site.problems.is_empty(), "{:?}", site.problems);
}
