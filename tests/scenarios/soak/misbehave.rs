//! Clients that do what they should not. Whatever becomes of them, others must not notice.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use weir_lab::Netns;

use crate::traffic::{HOST, Target};

/// So many connections stay open, and are forgotten then.
const HELD: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(2);

/// A thread that misbehaves in one way after the other.
pub(super) struct Rabble {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Rabble {
    pub(super) fn start(netns: &Netns, target: &Target) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (until, target) = (Arc::clone(&stop), target.clone());
        // A thread belongs to the namespace of the one that started it.
        let thread = netns.run(|| Ok(thread::spawn(move || misbehave(&until, &target))))?;
        Ok(Rabble { stop, thread })
    }

    /// Ends it, and gives how often it misbehaved.
    pub(super) fn end(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the thread that misbehaves panicked"))
    }
}

/// A connection that is left behind; some get a byte now and then.
struct Held {
    stream: TcpStream,
    drips: bool,
}

type Manner = fn(&Target) -> Result<Option<Held>>;

const MANNERS: [Manner; 14] = [
    slow_head,
    silence,
    garbage,
    half_a_handshake,
    half_closed,
    broken_head,
    broken_body,
    slow_body,
    two_framings,
    bad_chunks,
    unread,
    broken_answer,
    resets,
    broken_socket,
];

fn misbehave(until: &AtomicBool, target: &Target) -> u64 {
    let mut held: VecDeque<Held> = VecDeque::new();
    let mut times = 0;
    for manner in MANNERS.iter().cycle() {
        if until.load(Ordering::Relaxed) {
            break;
        }
        // An error is what they deserve.
        held.extend(manner(target).ok().flatten());
        times += 1;
        for one in held.iter_mut().filter(|one| one.drips) {
            let _ = one.stream.write(b"x");
        }
        if held.len() > HELD {
            held.pop_front();
        }
        thread::sleep(PAUSE);
    }
    times
}

fn connected(to: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn said(to: SocketAddr, text: &str) -> Result<TcpStream> {
    let mut stream = connected(to)?;
    stream.write_all(text.as_bytes())?;
    Ok(stream)
}

fn left(stream: TcpStream) -> Result<Option<Held>> {
    Ok(Some(Held { stream, drips: false }))
}

fn dripping(stream: TcpStream) -> Result<Option<Held>> {
    Ok(Some(Held { stream, drips: true }))
}

/// Ends with a reset.
fn reset(stream: TcpStream) -> Result<Option<Held>> {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(None)
}

fn slow_head(target: &Target) -> Result<Option<Held>> {
    dripping(said(target.http, &format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Slow: "))?)
}

fn silence(target: &Target) -> Result<Option<Held>> {
    left(connected(target.http)?)
}

fn garbage(target: &Target) -> Result<Option<Held>> {
    left(said(target.https, "GET / HTTP/1.1\r\n\r\n\u{1}\u{2}\u{3}")?)
}

/// A part of a ClientHello, and then nothing.
fn half_a_handshake(target: &Target) -> Result<Option<Held>> {
    let mut hello = Vec::new();
    ClientConnection::new(Arc::clone(&target.tls), ServerName::try_from(HOST)?)?.write_tls(&mut hello)?;
    let mut stream = connected(target.https)?;
    stream.write_all(&hello[..hello.len() / 2])?;
    left(stream)
}

fn half_closed(target: &Target) -> Result<Option<Held>> {
    let stream = said(target.http, &format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))?;
    stream.shutdown(Shutdown::Write)?;
    left(stream)
}

fn broken_head(target: &Target) -> Result<Option<Held>> {
    reset(said(target.http, "GET / HTTP/1.1\r\nHost: si")?)
}

const HALF_A_POST: &str = "POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 100000\r\n\r\nonly so much";

fn broken_body(target: &Target) -> Result<Option<Held>> {
    reset(said(target.http, HALF_A_POST)?)
}

fn slow_body(target: &Target) -> Result<Option<Held>> {
    dripping(said(target.http, HALF_A_POST)?)
}

fn two_framings(target: &Target) -> Result<Option<Held>> {
    let head = "POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    left(said(target.http, head)?)
}

fn bad_chunks(target: &Target) -> Result<Option<Held>> {
    let head = "POST / HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\nzz\r\n";
    left(said(target.http, head)?)
}

const LARGE: &str = "GET /bytes/3000000 HTTP/1.1\r\nHost: site.test\r\n\r\n";

fn unread(target: &Target) -> Result<Option<Held>> {
    left(said(target.http, LARGE)?)
}

fn broken_answer(target: &Target) -> Result<Option<Held>> {
    let mut stream = said(target.http, LARGE)?;
    let mut some = [0; 4096];
    stream.read_exact(&mut some)?;
    reset(stream)
}

/// Requests of HTTP/2 that are given up at once (CVE-2023-44487), fewer than the front allows.
fn resets(target: &Target) -> Result<Option<Held>> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for stream in (1_u32..100).step_by(2) {
        // GET, http, / and the host (RFC 7541, appendix A)
        let mut head = vec![0x82, 0x86, 0x84, 0x41, u8::try_from(HOST.len())?];
        head.extend(HOST.as_bytes());
        bytes.extend([0, 0, u8::try_from(head.len())?, 1, 5]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(head);
        bytes.extend([0, 0, 4, 3, 0]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend([0, 0, 0, 8]);
    }
    let mut stream = connected(target.http)?;
    stream.write_all(&bytes)?;
    left(stream)
}

/// A WebSocket that breaks in the middle of a frame.
fn broken_socket(target: &Target) -> Result<Option<Held>> {
    let head = "GET /socket HTTP/1.1\r\nHost: site.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut stream = said(target.http, head)?;
    let mut answer = [0; 1024];
    let _ = stream.read(&mut answer)?;
    stream.write_all(&[0x81, 0xfe, 0x10])?;
    reset(stream)
}
