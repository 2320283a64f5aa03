use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use socket2::{Domain, Socket, Type};

use crate::http::{self, Head};
use crate::netns::Netns;

/// A pod: an address of its own on a node, and servers that say who they are.
#[derive(Debug)]
pub struct Pod {
    /// Its name, the same in the manifests and in its answers.
    pub name: String,
    /// Its `metadata.namespace`.
    pub namespace: String,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// The node that it runs on.
    pub node: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// The same of IPv6.
    pub ip6: Ipv6Addr,
    /// Its network namespace.
    pub netns: Netns,
    /// Its servers, until they are stopped.
    pub server: Option<Server>,
}

/// The ports on which a pod serves.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// HTTP servers.
    pub http: Vec<u16>,
    /// TCP servers that greet with their name and then echo lines.
    pub tcp: Vec<u16>,
    /// UDP servers that answer with their name and the datagram.
    pub udp: Vec<u16>,
    /// Addresses on which they answer; all if there are none.
    pub at: Vec<IpAddr>,
    /// Status of every path but `/healthz`: 404 makes a default backend of it.
    pub status: u16,
}

impl Default for ServerOptions {
    /// The ports that the seeds and the examples use.
    fn default() -> Self {
        Self { http: vec![80, 4040, 8080, 8443], tcp: vec![7070, 9000], udp: vec![5353], at: vec![], status: 200 }
    }
}

/// Running servers; dropping it stops them and closes their connections.
#[derive(Debug)]
pub struct Server {
    stop: Arc<AtomicBool>,
}

/// How often a thread that waits for input looks whether it should stop.
const PATIENCE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone)]
struct Identity {
    pod: String,
    node: String,
    status: u16,
}

impl Server {
    /// Starts the servers of a pod in its namespace.
    pub fn start(netns: &Netns, pod: &str, node: &str, options: &ServerOptions) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let server = Self { stop: stop.clone() };
        let identity = Arc::new(Identity { pod: pod.to_owned(), node: node.to_owned(), status: options.status });
        let all = [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
        let addresses = if options.at.is_empty() { &all[..] } else { &options.at };
        netns.run(|| {
            for &at in addresses {
                for port in &options.http {
                    listen((at, *port).into(), &stop, &identity, serve_http)?;
                }
                for port in &options.tcp {
                    listen((at, *port).into(), &stop, &identity, serve_lines)?;
                }
                for port in &options.udp {
                    receive((at, *port).into(), &stop, &identity)?;
                }
            }
            Ok(())
        })?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

type Serve = fn(Connection, SocketAddr, &Identity) -> io::Result<()>;

/// A socket of one family only: so what it sees of a client is the client's address as it is.
fn bind(to: SocketAddr, kind: Type) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), kind, None)?;
    if to.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&to.into()).with_context(|| format!("{to}"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn listen(to: SocketAddr, stop: &Arc<AtomicBool>, identity: &Arc<Identity>, serve: Serve) -> Result<()> {
    let socket = bind(to, Type::STREAM)?;
    socket.listen(128)?;
    let listener = TcpListener::from(socket);
    let (stop, identity) = (stop.clone(), identity.clone());
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let Ok((stream, peer)) = listener.accept() else { continue };
            let (stop, identity) = (stop.clone(), identity.clone());
            // A connection that breaks is the client's news, not ours.
            thread::spawn(move || Connection::new(stream, stop).and_then(|c| serve(c, peer, &identity)));
        }
    });
    Ok(())
}

fn receive(to: SocketAddr, stop: &Arc<AtomicBool>, identity: &Arc<Identity>) -> Result<()> {
    let socket = UdpSocket::from(bind(to, Type::DGRAM)?);
    let (stop, identity) = (stop.clone(), identity.clone());
    thread::spawn(move || {
        let mut datagram = [0; 16_384];
        while !stop.load(Ordering::Relaxed) {
            let Ok((length, peer)) = socket.recv_from(&mut datagram) else { continue };
            let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
            let answer = format!("{} {} {peer} {text}", identity.pod, identity.node);
            let _ = socket.send_to(answer.as_bytes(), peer);
        }
    });
    Ok(())
}

/// A connection that ends when its server is stopped.
struct Connection {
    stream: TcpStream,
    stop: Arc<AtomicBool>,
}

impl Connection {
    fn new(stream: TcpStream, stop: Arc<AtomicBool>) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, stop })
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.stop.load(Ordering::Relaxed) {
            match self.stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
        Ok(0)
    }
}

fn serve_lines(mut connection: Connection, peer: SocketAddr, identity: &Identity) -> io::Result<()> {
    writeln!(connection.stream, "{} {} {peer}", identity.pod, identity.node)?;
    let mut writer = connection.stream.try_clone()?;
    let mut reader = BufReader::new(&mut connection);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        writer.write_all(&line)?;
        line.clear();
    }
    Ok(())
}

fn serve_http(connection: Connection, peer: SocketAddr, identity: &Identity) -> io::Result<()> {
    let mut writer = connection.stream.try_clone()?;
    let local = writer.local_addr()?;
    let mut reader = BufReader::new(connection);
    while let Some(head) = http::read_head(&mut reader)? {
        let expects = head.1.iter().any(|(name, _)| name == "expect");
        if expects {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = http::read_body(&mut reader, &head.1, false)?;
        let close = head.1.iter().any(|(name, value)| name == "connection" && value.eq_ignore_ascii_case("close"));
        answer(&mut writer, &head, body.len(), peer, local, identity)?;
        if close {
            break;
        }
    }
    Ok(())
}

fn answer(
    writer: &mut TcpStream,
    (line, headers): &Head,
    received: usize,
    peer: SocketAddr,
    local: SocketAddr,
    identity: &Identity,
) -> io::Result<()> {
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let status = if path == "/healthz" { 200 } else { identity.status };
    if let Some(length) = path.strip_prefix("/bytes/").and_then(|n| n.parse().ok()) {
        write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
        return io::copy(&mut io::repeat(b'w').take(length), writer).map(drop);
    }
    let seen: Map<String, Value> = headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let body = json!({
        "pod": identity.pod, "node": identity.node, "peer": peer.to_string(), "local": local.to_string(),
        "method": method, "path": path, "headers": seen, "bodyBytes": received,
    });
    let body = if method == "HEAD" { String::new() } else { format!("{body}\n") };
    write!(
        writer,
        "HTTP/1.1 {status} Served\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )?;
    writer.write_all(body.as_bytes())
}
