//! A connection from its first byte to the end of the handshake.

use std::io;
use std::rc::Rc;

use rustls::server::{Accepted, Acceptor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use super::certificates::normalise;
use super::{Choice, H2, Server, Session};

/// Longest beginning of a handshake: real ones have a few kilobytes.
const MAX_HELLO: usize = 32 * 1024;

/// A connection after the handshake.
#[derive(Debug)]
pub struct Secured {
    /// What the client sends and gets in plain text.
    pub stream: TlsStream<TcpStream>,
    /// HTTP/2 was agreed upon.
    pub is_h2: bool,
    /// What the requests should know.
    pub session: Rc<Session>,
}

/// Makes the handshake. What goes wrong concerns this connection only; the client is told by an alert.
pub async fn accept(server: &Server, stream: TcpStream) -> io::Result<Secured> {
    let (accepted, stream) = hello(stream).await?;
    let server_name = accepted.client_hello().server_name().map(normalise);
    let Choice::Serve(config) = server.choose(server_name.as_deref());
    let stream = StartHandshake::from_parts(accepted, stream).into_stream(config).await?;
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(H2);
    Ok(Secured { stream, is_h2, session: Rc::new(Session { server_name }) })
}

/// Reads the ClientHello.
async fn hello(mut stream: TcpStream) -> io::Result<(Accepted, TcpStream)> {
    let mut acceptor = Acceptor::default();
    let mut chunk = [0; 4096];
    let mut left = MAX_HELLO;
    loop {
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left = left.checked_sub(count).ok_or(io::ErrorKind::InvalidData)?;
        let mut bytes = &chunk[..count];
        while !bytes.is_empty() {
            if acceptor.read_tls(&mut bytes)? == 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok((accepted, stream)),
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
