//! A worker on a thread of its own, raw backends and a raw client.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::sync::{Notify, watch};

use crate::clock::now;
use crate::l7::access_log::{Log, queue};
use crate::l7::connection::Scheme;
use crate::l7::control::BACKLOG;
use crate::l7::counters::FrontCounters;
use crate::l7::router::Router;
use crate::l7::table::{RouteEntry, RouteTable};
use crate::l7::testing::entry;
use crate::l7::tls;
use crate::l7::worker::{Limits, Shared, Start, run};
use crate::model::route::Rewrite;
use crate::model::{PathMatch, Tls};

/// Longest wait for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for a condition.
pub(super) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = now() + PATIENCE;
    while !condition() {
        assert!(now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(super) fn limits() -> Limits {
    Limits { hand_over: Duration::ZERO, finish: Duration::from_secs(5), ..Limits::default() }
}

/// As many connections wait for it as for those of the agent.
fn listener() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    socket.listen(BACKLOG).expect("a listener");
    socket.into()
}

pub(super) struct Front {
    pub(super) address: SocketAddr,
    /// Where it listens for IPv6; `None` on a machine without.
    pub(super) address6: Option<SocketAddr>,
    pub(super) log: std::sync::mpsc::Receiver<Vec<u8>>,
    routes: watch::Sender<Arc<Router>>,
    drain: watch::Sender<bool>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Front {
    pub(super) fn start(table: &RouteTable, limits: Limits) -> Self {
        Self::speaking(Scheme::Http, table, limits)
    }

    /// With the certificate for hosts that have none.
    pub(super) fn start_over_tls(table: &RouteTable, limits: Limits) -> Self {
        Self::speaking(Scheme::Https, table, limits)
    }

    fn speaking(scheme: Scheme, table: &RouteTable, limits: Limits) -> Self {
        let listener = listener();
        let address = listener.local_addr().expect("an address");
        let listener6 = TcpListener::bind("[::1]:0").ok();
        let address6 = listener6.as_ref().map(|listener| listener.local_addr().expect("an address"));
        let mut router = Router::new(1, table);
        if scheme == Scheme::Https {
            let server = tls::Builder::new().and_then(|mut tls| tls.server(&table.tls, &table.settings.tls));
            router.tls = Some(server.expect("TLS"));
        }
        let (routes, drain) = (watch::Sender::new(Arc::new(router)), watch::Sender::new(false));
        let shared = Arc::new(Shared::default());
        let (writer, log) = queue();
        let start = Start {
            listeners: [listener].into_iter().chain(listener6).map(|one| (scheme, one)).collect(),
            quic: Vec::new(),
            routes: routes.subscribe(),
            drain: drain.subscribe(),
            shared: Arc::clone(&shared),
            unhealthy: watch::Sender::default().subscribe(),
            in_force: Arc::new(Notify::new()),
            log: Log::new(Some(writer)),
            limits,
            limiter: Arc::default(),
            #[cfg(feature = "otlp")]
            exporter: None,
        };
        let thread = Some(std::thread::spawn(move || run(start)));
        let front = Front { address, address6, log, routes, drain, shared, thread };
        wait_for("the first table", || front.shared.version() == 1);
        front
    }

    pub(super) fn publish(&self, version: u64, table: &RouteTable) {
        self.routes.send_replace(Arc::new(Router::new(version, table)));
        wait_for("the next table", || self.shared.version() == version);
    }

    pub(super) fn drain(&self) {
        self.drain.send_replace(true);
    }

    pub(super) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    pub(super) fn counters(&self) -> FrontCounters {
        self.shared.counters.read()
    }

    pub(super) fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address).expect("the front listens"))
    }

    /// One request on a connection of its own.
    pub(super) fn ask(&self, request: &str) -> Reply {
        let mut client = self.connect();
        client.send(request.as_bytes());
        client.reply(false)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.drain();
        let result = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            result.expect("a thread").expect("the worker did not panic").expect("the worker ended well");
        }
    }
}

pub(super) struct Client {
    pub(super) stream: BufReader<TcpStream>,
}

#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name)
    }
}

pub(super) fn header(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut values =
        lines.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned());
    values.next()
}

impl Client {
    pub(super) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        stream.set_write_timeout(Some(PATIENCE)).expect("a limit");
        stream.set_nodelay(true).expect("no delay");
        Client { stream: BufReader::new(stream) }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the other side reads");
    }

    pub(super) fn close_write(&self) {
        self.stream.get_ref().shutdown(Shutdown::Write).expect("open until now");
    }

    /// Up to the empty line; empty at the end of the stream.
    pub(super) fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head).expect("a line in time") == 0 {
                break;
            }
        }
        head
    }

    pub(super) fn reply(&mut self, to_head: bool) -> Reply {
        let head = self.head();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("no reply but {head:?}"));
        let bodiless = to_head || matches!(status, 100..200 | 204 | 304);
        let body = if bodiless { Vec::new() } else { self.body(&head) };
        Reply { status, head, body }
    }

    pub(super) fn body(&mut self, head: &str) -> Vec<u8> {
        let mut body = Vec::new();
        if header(head, "transfer-encoding").is_some() {
            loop {
                let mut line = String::new();
                self.stream.read_line(&mut line).expect("a chunk in time");
                let size = usize::from_str_radix(line.trim(), 16).expect("a chunk size");
                let mut chunk = vec![0; size + 2];
                self.stream.read_exact(&mut chunk).expect("a chunk");
                body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    return body;
                }
            }
        }
        match header(head, "content-length") {
            Some(length) => {
                body.resize(length.parse().expect("a length"), 0);
                self.stream.read_exact(&mut body).expect("the whole body");
            }
            None if head.starts_with("HTTP/") => drop(self.stream.read_to_end(&mut body)),
            None => {}
        }
        body
    }

    /// Nothing more comes.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.stream.fill_buf().map_or(true, <[u8]>::is_empty)
    }
}

/// A server that gives each connection to a function.
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    pub(super) connections: Arc<AtomicUsize>,
    /// Heads of all requests, with `answering`.
    pub(super) heads: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    pub(super) fn start(serve: impl Fn(Client, &Mutex<Vec<String>>) + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", serve)
    }

    pub(super) fn start_at(at: &str, serve: impl Fn(Client, &Mutex<Vec<String>>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(at).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (connections, stop, heads) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)), Arc::default());
        let (counted, stopped, seen) = (Arc::clone(&connections), Arc::clone(&stop), Arc::clone(&heads));
        let serve = Arc::new(serve);
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                counted.fetch_add(1, Ordering::SeqCst);
                let (serve, seen) = (Arc::clone(&serve), Arc::clone(&seen));
                std::thread::spawn(move || serve(Client::new(stream), &seen));
            }
        });
        Backend { address, connections, heads, stop, thread: Some(thread) }
    }

    /// Answers every request with the same bytes and keeps the connection.
    pub(super) fn answering(answer: &str) -> Self {
        Self::answering_at("127.0.0.1:0", answer)
    }

    pub(super) fn answering_at(at: &str, answer: &str) -> Self {
        let answer = answer.to_owned();
        Self::start_at(at, move |mut client, heads| {
            loop {
                let head = client.head();
                if head.is_empty() {
                    return;
                }
                client.body(&head);
                heads.lock().expect("no panic").push(head);
                client.send(answer.as_bytes());
            }
        })
    }

    /// Answers with what it was sent.
    pub(super) fn echo() -> Self {
        Self::start(|mut client, heads| {
            loop {
                let head = client.head();
                if head.is_empty() {
                    return;
                }
                let body = client.body(&head);
                heads.lock().expect("no panic").push(head.clone());
                let length = head.len() + body.len();
                client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{head}").as_bytes());
                client.send(&body);
            }
        })
    }

    pub(super) fn requests(&self) -> usize {
        self.heads.lock().expect("no panic").len()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accept.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// An address at which nobody listens.
pub(super) fn dead_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

pub(super) fn prefix(path: &str, upstream: Option<&str>) -> RouteEntry {
    entry(PathMatch::Prefix(path.into()), upstream)
}

pub(super) fn rewritten(path: &str, target: &str, upstream: &str) -> RouteEntry {
    RouteEntry { rewrite: Some(Rewrite::Prefix(target.into())), ..prefix(path, Some(upstream)) }
}

pub(super) fn table(hosts: &[(&str, &[RouteEntry])], upstreams: &[(&str, &[SocketAddr])]) -> RouteTable {
    RouteTable {
        tls: Tls::default(),
        hosts: hosts.iter().map(|(host, entries)| ((*host).into(), Arc::from(entries.to_vec()))).collect(),
        upstreams: upstreams
            .iter()
            .map(|(name, endpoints)| ((*name).into(), Arc::from(endpoints.to_vec())))
            .collect::<BTreeMap<_, _>>(),
        ..RouteTable::default()
    }
}

/// Everything goes to these endpoints.
pub(super) fn all_to(endpoints: &[SocketAddr]) -> RouteTable {
    table(&[("*", &[prefix("/", Some("default/web:80"))])], &[("default/web:80", endpoints)])
}
