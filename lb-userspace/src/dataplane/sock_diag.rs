//! Sockets of one network namespace, listed and closed by the kernel's sock_diag netlink (include/uapi/linux/inet_diag.h).
//! The message is small and fixed, and the packet library has none for it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rtnetlink::sys::protocols::NETLINK_SOCK_DIAG;
use rtnetlink::sys::{self, Socket};

/// Message types (include/uapi/linux/sock_diag.h).
const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
/// Flags and types of every netlink message (include/uapi/linux/netlink.h).
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct inet_diag_sockid`: ports, addresses, interface, cookie.
const SOCKET_ID: usize = 48;
/// `struct inet_diag_req_v2` ends with the socket id.
const REQUEST_HEAD: usize = 8;
/// `struct inet_diag_msg` begins with four bytes and the socket id.
const ANSWER_HEAD: usize = 4;
/// `TCP_LISTEN`, `TCP_TIME_WAIT` and `TCP_NEW_SYN_RECV` are no connections that a process holds (include/net/tcp_states.h).
const HELD: u32 = 0x0fff & !(1 << 10 | 1 << 6) & !1;

/// A socket with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    family: u8,
    protocol: u8,
    id: [u8; SOCKET_ID],
}

impl Found {
    /// The number that programs know it by.
    pub(crate) fn cookie(&self) -> u64 {
        let word = |at: usize| u64::from(u32::from_ne_bytes(self.array(at)));
        word(40) | word(44) << 32
    }

    /// Whom it is connected to; an IPv4 address in IPv6 form as what it is.
    pub(crate) fn peer(&self) -> SocketAddr {
        let port = u16::from_be_bytes(self.array(2));
        let address = if self.family == libc::AF_INET as u8 {
            IpAddr::V4(Ipv4Addr::from(self.array::<4>(20)))
        } else {
            IpAddr::V6(Ipv6Addr::from(self.array::<16>(20))).to_canonical()
        };
        SocketAddr::new(address, port)
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.id[at..at + N]);
        bytes
    }
}

/// A connection to the kernel, in the network namespace of the thread that made it.
pub(crate) struct SockDiag {
    socket: Socket,
}

impl SockDiag {
    pub(crate) fn connect() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        socket.connect(&sys::SocketAddr::new(0, 0))?;
        Ok(Self { socket })
    }

    /// All sockets with a peer, of both families.
    pub(crate) fn connected(&self, protocol: u8) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
            self.send(BY_FAMILY, DUMP, family, protocol, &[0; SOCKET_ID])?;
            while self.answers(|bytes| {
                let Some(id) = bytes.get(ANSWER_HEAD..).and_then(|rest| rest.first_chunk()) else { return };
                found.push(Found { family, protocol, id: *id });
            })? {}
        }
        Ok(found)
    }

    /// Closes a socket: its process gets ECONNABORTED. One that is closed already is success.
    pub(crate) fn close(&self, socket: &Found) -> io::Result<()> {
        self.send(DESTROY, ACK, socket.family, socket.protocol, &socket.id)?;
        match self.answers(|_| {}) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Whether the kernel closes sockets at all (CONFIG_INET_DIAG_DESTROY): it looks for the socket only if so.
    pub(crate) fn can_close(&self) -> io::Result<bool> {
        for protocol in [libc::IPPROTO_TCP, libc::IPPROTO_UDP] {
            let nobody = Found { family: libc::AF_INET as u8, protocol: protocol as u8, id: [0; SOCKET_ID] };
            match self.close(&nobody) {
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(false),
                other => other?,
            }
        }
        Ok(true)
    }

    fn send(&self, kind: u16, flags: u16, family: u8, protocol: u8, id: &[u8; SOCKET_ID]) -> io::Result<()> {
        let length = HEADER + REQUEST_HEAD + SOCKET_ID;
        let mut message = Vec::with_capacity(length);
        message.extend((length as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((REQUEST | flags).to_ne_bytes());
        message.extend([0; 8]);
        message.extend([family, protocol, 0, 0]);
        message.extend(HELD.to_ne_bytes());
        message.extend(id);
        self.socket.send(&message, 0).map(drop)
    }

    /// Reads one datagram of answers; false if it held the end.
    fn answers(&self, mut each: impl FnMut(&[u8])) -> io::Result<bool> {
        let (datagram, _) = self.socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while let Some((length, kind)) = header(rest) {
            let Some(message) = rest.get(HEADER..length) else { break };
            match kind {
                DONE => return Ok(false),
                ERROR => return errno(message).map(|()| false),
                _ => each(message),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        }
        Ok(true)
    }
}

/// Length and type of the message.
fn header(bytes: &[u8]) -> Option<(usize, u16)> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    (length >= HEADER).then_some((length, kind))
}

/// An error message says 0 for success, else the negative number.
fn errno(message: &[u8]) -> io::Result<()> {
    match message.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)) {
        Some(0) => Ok(()),
        Some(number) => Err(io::Error::from_raw_os_error(-number)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_found_by_its_peer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let found = SockDiag::connect().unwrap().connected(libc::IPPROTO_TCP as u8).unwrap();
        let ours: Vec<_> = found.iter().filter(|found| found.peer() == stream.peer_addr().unwrap()).collect();
        assert_eq!(ours.len(), 1);
        assert!(ours[0].cookie() != 0);
        assert!(found.iter().all(|found| found.peer().port() != 0), "a socket without a peer");
    }
}
