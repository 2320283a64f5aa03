//! As much of SCTP (RFC 9260) as an association needs, over raw sockets: kernels without the protocol have no other.
//! Whatever arrives with a wrong checksum is thrown away, as a receiver must.

mod kernel;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::Netns;
use crate::wait::SOON;

pub use kernel::{KernelServer, ask_kernel, has_kernel};

/// Protocol number of SCTP.
pub const SCTP: u8 = 132;
/// CRC32c as RFC 9260, appendix A, has it.
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
/// How long a thread waits for input before it looks round.
const PATIENCE: Duration = Duration::from_millis(100);
/// After so long without an answer a packet is sent again.
const AGAIN: Duration = Duration::from_secs(1);

/// Types of chunks.
pub mod chunk {
    /// Data.
    pub const DATA: u8 = 0;
    /// Begins an association.
    pub const INIT: u8 = 1;
    /// Answers it, with a cookie.
    pub const INIT_ACK: u8 = 2;
    /// Acknowledges data.
    pub const SACK: u8 = 3;
    /// Ends an association at once.
    pub const ABORT: u8 = 6;
    /// Begins to end one.
    pub const SHUTDOWN: u8 = 7;
    /// Answers that.
    pub const SHUTDOWN_ACK: u8 = 8;
    /// Brings the cookie back.
    pub const COOKIE_ECHO: u8 = 10;
    /// The association stands.
    pub const COOKIE_ACK: u8 = 11;
    /// The end.
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

/// An SCTP packet with one chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Source and destination port.
    pub ports: (u16, u16),
    /// Verification tag.
    pub tag: u32,
    /// Type of the chunk, of [`chunk`].
    pub kind: u8,
    /// What the chunk holds.
    pub body: Vec<u8>,
}

impl Message {
    /// The packet, with its checksum.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = [self.ports.0.to_be_bytes(), self.ports.1.to_be_bytes()].concat();
        bytes.extend(self.tag.to_be_bytes());
        bytes.extend([0; 4]);
        let flags = if self.kind == chunk::DATA { 3 } else { 0 }; // the first and the last piece
        bytes.extend([self.kind, flags]);
        bytes.extend(((4 + self.body.len()) as u16).to_be_bytes());
        bytes.extend(&self.body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let sum = CRC.checksum(&bytes);
        bytes[8..12].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a packet; `None` if its checksum is wrong.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let (ports, head) = (word(0)?, word(12)?);
        let mut unsummed = bytes.to_vec();
        unsummed[8..12].fill(0);
        if CRC.checksum(&unsummed).to_le_bytes() != bytes[8..12] {
            return None;
        }
        let body = bytes.get(16..12 + (head & 0xffff) as usize)?.to_vec();
        let ports = ((ports >> 16) as u16, ports as u16);
        Some(Self { ports, tag: word(4)?, kind: (head >> 24) as u8, body })
    }

    fn answer(&self, tag: u32, kind: u8, body: Vec<u8>) -> Self {
        Self { ports: (self.ports.1, self.ports.0), tag, kind, body }
    }
}

/// What INIT and INIT ACK begin with: tag, window, streams, first number.
fn init(tag: u32) -> Vec<u8> {
    [tag.to_be_bytes(), 0x0001_0000u32.to_be_bytes(), 0x000a_000au32.to_be_bytes(), 1u32.to_be_bytes()].concat()
}

fn data(text: &str) -> Vec<u8> {
    [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], text.as_bytes()].concat()
}

/// All SCTP that comes to an address, or to any of its family.
fn raw_socket(at: IpAddr) -> Result<UdpSocket> {
    let domain = Domain::for_address((at, 0).into());
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(SCTP))))?;
    socket.bind(&SocketAddr::from((at, 0)).into())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // only for its `recv_from`: the standard library does not care what kind of socket it holds
    Ok(UdpSocket::from(socket))
}

/// The next message that came, and from whom; `None` after a while.
fn receive(socket: &UdpSocket) -> Result<Option<(IpAddr, Message)>> {
    let mut packet = [0; 4096];
    match socket.recv_from(&mut packet) {
        Ok((length, peer)) => {
            // raw sockets of IPv4 give the header as well
            let header = if peer.is_ipv4() { usize::from(packet[0] & 15) * 4 } else { 0 };
            Ok(packet.get(header..length).and_then(Message::read).map(|message| (peer.ip(), message)))
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A server in a pod: it answers data with its name and the data, and who sent it. Dropping it stops it.
#[derive(Debug)]
pub struct SctpServer(Arc<AtomicBool>);

impl SctpServer {
    /// Serves a port in a namespace, in both families.
    pub fn start(netns: &Netns, name: &str, port: u16) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        for any in [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()] {
            let socket = netns.run(|| raw_socket(any))?;
            let (flag, name) = (stop.clone(), name.to_owned());
            thread::spawn(move || {
                while !flag.load(Ordering::Relaxed) {
                    let Ok(Some((peer, message))) = receive(&socket) else { continue };
                    if message.ports.1 != port {
                        continue;
                    }
                    for answer in answers(&name, peer, &message) {
                        let _ = socket.send_to(&answer.bytes(), (peer, 0));
                    }
                }
            });
        }
        Ok(Self(stop))
    }
}

impl Drop for SctpServer {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a server says. Its tag is 1 more than the client's, so that it needs no memory; the cookie is its name.
fn answers(name: &str, peer: IpAddr, message: &Message) -> Vec<Message> {
    let theirs = message.tag.wrapping_sub(1);
    match message.kind {
        chunk::INIT => {
            let tag = message.body.get(..4).and_then(|tag| tag.try_into().ok()).map_or(0, u32::from_be_bytes);
            let mut body = init(tag.wrapping_add(1));
            body.extend([[0, 7], ((4 + name.len()) as u16).to_be_bytes()].concat());
            body.extend(name.as_bytes());
            vec![message.answer(tag, chunk::INIT_ACK, body)]
        }
        chunk::COOKIE_ECHO if message.body == name.as_bytes() => {
            vec![message.answer(theirs, chunk::COOKIE_ACK, Vec::new())]
        }
        chunk::COOKIE_ECHO => vec![message.answer(theirs, chunk::ABORT, Vec::new())],
        chunk::DATA => {
            let text = String::from_utf8_lossy(message.body.get(12..).unwrap_or_default()).into_owned();
            let text = format!("{name} {peer}:{} {text}", message.ports.0);
            vec![
                message.answer(theirs, chunk::SACK, [[0, 0, 0, 1], [0, 1, 0, 0], [0; 4]].concat()),
                message.answer(theirs, chunk::DATA, data(&text)),
            ]
        }
        chunk::SHUTDOWN => vec![message.answer(theirs, chunk::SHUTDOWN_ACK, Vec::new())],
        _ => Vec::new(),
    }
}

/// A client's association.
#[derive(Debug)]
pub struct Association {
    socket: UdpSocket,
    to: SocketAddr,
    port: u16,
    tag: u32,
}

impl Association {
    /// Sets one up from a port of one's choice; fails if nobody answers in time.
    pub fn begin(from: &Netns, port: u16, to: SocketAddr) -> Result<Self> {
        let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        Self::begin_at(from, any, port, to)
    }

    /// The same from one of several addresses of the client.
    pub fn begin_at(from: &Netns, address: IpAddr, port: u16, to: SocketAddr) -> Result<Self> {
        let socket = from.run(|| raw_socket(address))?;
        let mut association = Self { socket, to, port, tag: 0 };
        let mine = 0x1000 + u32::from(port);
        let answer = association.exchange(chunk::INIT, init(mine), chunk::INIT_ACK)?;
        ensure!(answer.tag == mine, "the INIT ACK is for another association: {answer:?}");
        association.tag = mine + 1;
        let cookie = answer.body.get(20..).context("no cookie")?.to_vec();
        association.exchange(chunk::COOKIE_ECHO, cookie, chunk::COOKIE_ACK)?;
        Ok(association)
    }

    /// Sends a text and gives what the server makes of it.
    pub fn ask(&mut self, text: &str) -> Result<String> {
        let answer = self.exchange(chunk::DATA, data(text), chunk::DATA)?;
        Ok(String::from_utf8_lossy(answer.body.get(12..).unwrap_or_default()).into_owned())
    }

    /// Ends it in an orderly way.
    pub fn end(mut self) -> Result<()> {
        self.exchange(chunk::SHUTDOWN, vec![0, 0, 0, 1], chunk::SHUTDOWN_ACK)?;
        self.send(chunk::SHUTDOWN_COMPLETE, Vec::new())
    }

    /// Sends a chunk until the chunk that answers it comes.
    fn exchange(&mut self, kind: u8, body: Vec<u8>, expected: u8) -> Result<Message> {
        let begin = Instant::now();
        let mut sent = None::<Instant>;
        while begin.elapsed() < SOON {
            if sent.is_none_or(|sent| sent.elapsed() > AGAIN) {
                self.send(kind, body.clone())?;
                sent = Some(Instant::now());
            }
            let Some((peer, message)) = receive(&self.socket)? else { continue };
            if peer != self.to.ip() || message.ports != (self.to.port(), self.port) {
                continue;
            }
            ensure!(message.kind != chunk::ABORT, "aborted");
            if message.kind == expected {
                return Ok(message);
            }
        }
        bail!("{}: no chunk {expected} in answer to chunk {kind}", self.to)
    }

    fn send(&self, kind: u8, body: Vec<u8>) -> Result<()> {
        let message = Message { ports: (self.port, self.to.port()), tag: self.tag, kind, body };
        self.socket.send_to(&message.bytes(), (self.to.ip(), 0))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_bit_is_seen() {
        let message = Message { ports: (1, 2), tag: 3, kind: chunk::DATA, body: b"text".to_vec() };
        let mut bytes = message.bytes();
        assert_eq!(Message::read(&bytes), Some(message));
        bytes[17] ^= 1;
        assert_eq!(Message::read(&bytes), None);
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // RFC 3720, appendix B.4: 32 bytes of zeroes give AA 36 91 8A on the wire
        assert_eq!(CRC.checksum(&[0; 32]).to_le_bytes(), [0xaa, 0x36, 0x91, 0x8a]);
    }
}
