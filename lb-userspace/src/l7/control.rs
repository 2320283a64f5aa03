//! What agent and front say to each other over the control socket: frames of JSON behind their length, and once, at the
//! start, the listeners: those of HTTP with the first message, those of HTTPS and the sockets for HTTP/3 each with a byte of
//! their own behind it.

use std::collections::BTreeMap;
use std::io::{IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use super::counters::FrontCounters;
use super::delta::TableDelta;
use super::names::{Files, NameError};
use super::table::RouteTable;
use super::traffic::{TrafficCounts, TrafficKey};

/// Raised with every change of the messages. Agent and front are the same binary, so it differs only by mistake.
pub const PROTOCOL: u32 = 1;
/// Most listeners of a front for one scheme in one family: those of both families go in one message, and the kernel takes 253 descriptors in it
/// (`SCM_MAX_FD`, include/net/scm.h).
pub const MAX_LISTENERS: usize = 126;
const _: () = assert!(MAX_LISTENERS <= lb_common::limits::LISTENERS_PER_KIND as usize);
/// Connections that wait to be accepted by one listener; the kernel caps it at net.core.somaxconn.
pub const BACKLOG: i32 = 4096;
/// Longest frame: some hundred thousand routes.
pub const MAX_FRAME: usize = 256 << 20;

/// The first message, with the listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// Number of listeners for HTTP.
    pub listeners: usize,
    /// Number of listeners for HTTPS.
    #[serde(default)]
    pub tls_listeners: usize,
    /// Number of sockets for HTTP/3.
    #[serde(default)]
    pub quic_sockets: usize,
    /// Write the access log to stdout.
    pub access_log: bool,
    /// Where spans go.
    #[serde(default)]
    pub collector: Option<Collector>,
    /// By which names are found.
    #[serde(default)]
    pub files: Files,
    /// Count times and sizes of requests by route.
    #[serde(default)]
    pub in_detail: bool,
}

/// A collector of spans (OTLP over HTTP).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collector {
    /// `HOST:PORT`.
    pub address: String,
    /// Of a million requests with which traces begin so many are sampled.
    pub per_million: u32,
}

/// Longest frame from the front, which may be in the hands of an attacker.
pub const MAX_REPORT: usize = 64 << 10;

/// From the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ToFront {
    /// A whole table.
    Snapshot {
        /// Its version.
        version: u64,
        /// The table.
        table: RouteTable,
    },
    /// A change of the table.
    Delta {
        /// The version it makes.
        version: u64,
        /// The version it changes.
        base: u64,
        /// The change.
        delta: TableDelta,
    },
    /// The files have changed by which names are found.
    Files(Files),
    /// Tell the counters now.
    Report,
    /// Finish what is in flight and end.
    Drain,
}

/// From the front.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FromFront {
    /// Every worker serves from this version.
    InForce {
        /// The version.
        version: u64,
    },
    /// A change of a version that the front does not have; it needs a snapshot.
    Mismatch {
        /// The version it has.
        version: u64,
    },
    /// Names that upstreams stand for and that have no address, and why: all of them, whenever that changes.
    Unresolved(BTreeMap<String, NameError>),
    /// Endpoints that are left out, each by the kind of question that it answers badly: all of them, whenever that changes.
    Unhealthy(Vec<(u64, SocketAddr)>),
    /// The filter of system calls is not in force, and why.
    Unconfined(String),
    /// Somebody else than the agent has told it to end: it drains.
    Leaving,
    /// The counters; at least once a second.
    Counters(Box<FrontCounters>),
    /// What was counted of routes since the last time, or a part of it.
    Traffic(Vec<(TrafficKey, TrafficCounts)>),
}

/// What goes wrong on the control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The socket failed.
    #[error("the control socket failed")]
    Io(#[from] std::io::Error),
    /// A frame that is too long.
    #[error("a control message has {found} bytes, expected at most {limit}")]
    TooLong {
        /// Its length.
        found: usize,
        /// Longest that is taken.
        limit: usize,
    },
    /// A frame that is no message.
    #[error("a control message cannot be read or written")]
    Json(#[from] serde_json::Error),
    /// Agent and front are different programs.
    #[error("the agent speaks version {found} of the control protocol, expected {PROTOCOL}")]
    Protocol {
        /// What the agent speaks.
        found: u32,
    },
    /// The listeners did not arrive.
    #[error("{found} listeners came with the first message, expected {expected}")]
    Listeners {
        /// So many came.
        found: usize,
        /// So many were announced.
        expected: usize,
    },
}

/// Sockets that listen.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Where plain HTTP is spoken.
    pub http: Vec<TcpListener>,
    /// Where TLS is spoken.
    pub https: Vec<TcpListener>,
    /// Where HTTP/3 is spoken.
    pub quic: Vec<UdpSocket>,
}

/// Sends the first message; the numbers in it are those of the listeners. The socket blocks.
pub fn send_hello(socket: &UnixStream, hello: Hello, listeners: &Listeners) -> Result<(), ControlError> {
    let Listeners { http, https, quic } = listeners;
    let (listeners, tls_listeners, quic_sockets) = (http.len(), https.len(), quic.len());
    let hello = Hello { protocol: PROTOCOL, listeners, tls_listeners, quic_sockets, ..hello };
    send_with(socket, &frame(&hello)?, http)?;
    if !https.is_empty() {
        send_with(socket, &[0], https)?;
    }
    if quic.is_empty() { Ok(()) } else { send_with(socket, &[0], quic) }
}

fn send_with(socket: &UnixStream, bytes: &[u8], listeners: &[impl AsFd]) -> Result<(), ControlError> {
    let descriptors: Vec<BorrowedFd<'_>> = listeners.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2 * MAX_LISTENERS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(ControlError::Listeners { found: listeners.len(), expected: 2 * MAX_LISTENERS });
    }
    // A new socket takes a message of this size whole.
    let sent =
        sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL).map_err(std::io::Error::from)?;
    if sent == bytes.len() { Ok(()) } else { Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into()) }
}

/// Receives the first message. The socket blocks.
pub fn receive_hello(mut socket: &UnixStream) -> Result<(Hello, Listeners), ControlError> {
    let mut length = [0; 4];
    let http = receive_with(socket, &mut length)?;
    let mut bytes = vec![0; checked_length(length, MAX_REPORT)?];
    socket.read_exact(&mut bytes)?;
    let hello: Hello = serde_json::from_slice(&bytes)?;
    if hello.protocol != PROTOCOL {
        return Err(ControlError::Protocol { found: hello.protocol });
    }
    let https = if hello.tls_listeners > 0 { receive_with(socket, &mut [0])? } else { Vec::new() };
    let quic = if hello.quic_sockets > 0 { receive_with(socket, &mut [0])? } else { Vec::new() };
    let (found, expected) =
        ([http.len(), https.len(), quic.len()], [hello.listeners, hello.tls_listeners, hello.quic_sockets]);
    let sum = |numbers: [usize; 3]| numbers.iter().sum::<usize>();
    if found != expected || sum(found) == 0 {
        return Err(ControlError::Listeners { found: sum(found), expected: sum(expected).max(1) });
    }
    Ok((hello, Listeners { http, https, quic }))
}

/// The first bytes of a message, and the listeners that come with them.
fn receive_with<S: From<OwnedFd>>(socket: &UnixStream, bytes: &mut [u8]) -> Result<Vec<S>, ControlError> {
    let expected = bytes.len();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2 * MAX_LISTENERS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    // The descriptors come with the first bytes, and the kernel reads no further than that message.
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL;
    let received =
        recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut ancillary, flags).map_err(std::io::Error::from)?;
    if received.bytes != expected {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    let mut listeners: Vec<S> = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            listeners.extend(descriptors.map(|descriptor: OwnedFd| S::from(descriptor)));
        }
    }
    Ok(listeners)
}

/// Writes one message.
pub async fn write<T: Serialize>(out: &mut (impl AsyncWrite + Unpin), message: &T) -> Result<(), ControlError> {
    // There may be keys in it.
    Ok(out.write_all(&Zeroizing::new(frame(message)?)).await?)
}

/// Reads one message; `None` at the end of the stream.
pub async fn read<T: DeserializeOwned>(
    input: &mut (impl AsyncRead + Unpin),
    limit: usize,
) -> Result<Option<T>, ControlError> {
    let mut length = [0; 4];
    match input.read_exact(&mut length).await {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    };
    let length = checked_length(length, limit)?;
    // What was not received takes no memory, whatever the length claims.
    let mut bytes = Zeroizing::new(Vec::new());
    input.take(length as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < length {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&bytes)?))
}

fn frame<T: Serialize>(message: &T) -> Result<Vec<u8>, ControlError> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - 4;
    let prefix = u32::try_from(length)
        .ok()
        .filter(|_| length <= MAX_FRAME)
        .ok_or(ControlError::TooLong { found: length, limit: MAX_FRAME })?;
    bytes[..4].copy_from_slice(&prefix.to_le_bytes());
    Ok(bytes)
}

fn checked_length(bytes: [u8; 4], limit: usize) -> Result<usize, ControlError> {
    let length = u32::from_le_bytes(bytes) as usize;
    if length <= limit { Ok(length) } else { Err(ControlError::TooLong { found: length, limit }) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::l7::testing::tables;
    use proptest::prelude::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    #[test]
    fn listeners_travel_with_the_first_message() {
        let (agent, front) = UnixStream::pair().expect("a pair");
        let open = |count| (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let socket = || UdpSocket::bind("127.0.0.1:0").expect("a port");
        let listeners = Listeners { http: open(2 * MAX_LISTENERS), https: open(3), quic: vec![socket(), socket()] };
        let hello = Hello { access_log: true, in_detail: true, ..Hello::default() };
        send_hello(&agent, hello, &listeners).expect("sent");
        (&agent).write_all(b"next").expect("sent");
        let (hello, received) = receive_hello(&front).expect("received");
        assert!(hello.access_log && hello.in_detail);
        let ports = |listeners: &[TcpListener]| {
            listeners.iter().map(|one| one.local_addr().expect("bound")).collect::<Vec<_>>()
        };
        assert_eq!(ports(&received.http), ports(&listeners.http));
        assert_eq!(ports(&received.https), ports(&listeners.https));
        let places =
            |sockets: &[UdpSocket]| sockets.iter().map(|one| one.local_addr().expect("bound")).collect::<Vec<_>>();
        assert_eq!(places(&received.quic), places(&listeners.quic));
        let mut next = [0; 4];
        (&front).read_exact(&mut next).expect("the next message is untouched");
        assert_eq!(&next, b"next");
    }

    #[test]
    fn a_first_message_that_is_wrong_is_an_error() {
        let hello = |text: &str| {
            let (agent, front) = UnixStream::pair().expect("a pair");
            (&agent)
                .write_all(&(text.len() as u32).to_le_bytes())
                .and_then(|()| (&agent).write_all(text.as_bytes()))
                .expect("sent");
            drop(agent);
            receive_hello(&front).map(|_| ()).expect_err("an error")
        };
        assert!(matches!(
            hello(r#"{"protocol":99,"listeners":1,"access_log":false}"#),
            ControlError::Protocol { found: 99 }
        ));
        let error = hello(r#"{"protocol":1,"listeners":2,"access_log":false}"#);
        assert!(matches!(error, ControlError::Listeners { found: 0, expected: 2 }), "{error:?}");
        assert!(matches!(hello("{}"), ControlError::Json(_)));
        let (agent, front) = UnixStream::pair().expect("a pair");
        drop(agent);
        assert!(matches!(receive_hello(&front), Err(ControlError::Io(_))));
    }

    #[test]
    fn too_long_a_frame_is_an_error() {
        let long = u32::MAX.to_le_bytes();
        assert!(matches!(block_on(read::<ToFront>(&mut &long[..], MAX_FRAME)), Err(ControlError::TooLong { .. })));
        let broken = [5, 0, 0, 0, b'{'];
        assert!(matches!(block_on(read::<ToFront>(&mut &broken[..], MAX_FRAME)), Ok(None)));
    }

    proptest! {
        #[test]
        fn messages_survive(table in tables(), version in any::<u64>()) {
            let message = ToFront::Snapshot { version, table };
            let mut wire = Vec::new();
            block_on(write(&mut wire, &message)).expect("written");
            let mut input = &wire[..];
            prop_assert_eq!(block_on(read(&mut input, MAX_FRAME)).expect("read"), Some(message));
            prop_assert_eq!(block_on(read::<ToFront>(&mut input, MAX_FRAME)).expect("read"), None);
        }
    }
}
