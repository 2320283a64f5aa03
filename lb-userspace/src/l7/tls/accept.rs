//! A connection from its first byte to the end of the handshake.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rustls::server::{self, Acceptor};
use rustls::{CipherSuite, ProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use super::certificates::normalise;
use super::leaving::Leaving;
use super::{Choice, H2, Server, Session};
use crate::l7::secure::SUITES;

/// Longest beginning of a handshake: real ones have a few kilobytes.
const MAX_HELLO: usize = 32 * 1024;

/// The alert `unrecognized_name`, fatal (RFC 8446 section 6.2), in a record of its own.
const UNRECOGNISED_NAME: &[u8] = &[21, 3, 3, 0, 2, 2, 112];

/// A connection after the handshake.
#[derive(Debug)]
pub struct Secured {
    /// What the client sends and gets in plain text.
    pub stream: TlsStream<Leaving>,
    /// Bytes that have left it.
    pub left: Arc<AtomicU64>,
    /// HTTP/2 was agreed upon.
    pub is_h2: bool,
    /// What the requests should know.
    pub session: Rc<Session>,
}

/// What became of the beginning of a connection.
#[derive(Debug)]
pub enum Accepted {
    /// TLS ends here.
    Secured(Box<Secured>),
    /// It goes on as it is to an upstream.
    Passed {
        /// The connection.
        stream: TcpStream,
        /// What was read of it.
        read: Vec<u8>,
        /// The upstream's name.
        upstream: Arc<str>,
    },
}

/// Makes the handshake. What goes wrong concerns this connection only; the client is told by an alert.
pub async fn accept(server: &Server, stream: TcpStream) -> io::Result<Accepted> {
    let (hello, mut stream, read) = hello(stream).await?;
    let server_name = hello.client_hello().server_name().map(normalise);
    let (config, judge) = match server.choose(server_name.as_deref()) {
        Choice::Serve(config, judge) => (config, judge),
        Choice::Pass(upstream) => return Ok(Accepted::Passed { stream, read, upstream }),
        Choice::Refuse => {
            stream.write_all(UNRECOGNISED_NAME).await?;
            return Err(io::ErrorKind::InvalidInput.into());
        }
    };
    drop(read);
    let (stream, left) = Leaving::new(stream);
    let stream = StartHandshake::from_parts(hello, stream).into_stream(config).await?;
    let (_, connection) = stream.get_ref();
    let is_h2 = connection.alpn_protocol() == Some(H2);
    let client = judge.map(|judge| judge.judge(connection.peer_certificates()));
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLSv1.2",
    };
    let suite = connection.negotiated_cipher_suite().and_then(|suite| suite_name(suite.suite())).unwrap_or_default();
    let session = Rc::new(Session { server_name, client, version, suite });
    Ok(Accepted::Secured(Box::new(Secured { is_h2, session, stream, left })))
}

fn suite_name(suite: CipherSuite) -> Option<&'static str> {
    SUITES.iter().find_map(|(name, one)| (*one == suite).then_some(*name))
}

/// Reads the ClientHello.
async fn hello(mut stream: TcpStream) -> io::Result<(server::Accepted, TcpStream, Vec<u8>)> {
    let mut acceptor = Acceptor::default();
    let mut chunk = [0; 4096];
    let mut read = Vec::new();
    loop {
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read.extend_from_slice(&chunk[..count]);
        if read.len() > MAX_HELLO {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = &chunk[..count];
        while !bytes.is_empty() {
            if acceptor.read_tls(&mut bytes)? == 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok((accepted, stream, read)),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                alert.write_all(&mut bytes)?;
                stream.write_all(&bytes).await?;
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }
}
