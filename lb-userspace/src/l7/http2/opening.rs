//! The first bytes of a connection without TLS: they tell whether HTTP/2 is spoken on it.

use std::io;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::l7::guard::Limits;

/// What every connection of HTTP/2 begins with, as far as no request of HTTP/1 does (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI ";
/// Bytes that are read at once; most requests have fewer.
const READ: usize = 2048;

/// How a connection begins.
#[derive(Debug, Default)]
pub(in crate::l7) struct Opening {
    /// What has come.
    pub(in crate::l7) bytes: BytesMut,
    /// When the first of it came.
    pub(in crate::l7) begun: Option<Instant>,
}

impl Opening {
    /// Reads until it is clear what is spoken; true: HTTP/2. A client that begins like that and goes no further has until
    /// the end of the time for a head, and speaks HTTP/1 then.
    pub(in crate::l7) async fn read(&mut self, stream: &TcpStream, limits: &Limits) -> io::Result<bool> {
        while self.is_open() {
            let come = match self.begun {
                None => timeout(limits.idle, stream.readable()).await,
                Some(begun) => timeout_at(begun + limits.head, stream.readable()).await,
            };
            match come {
                Ok(ready) => ready?,
                Err(_) if self.begun.is_some() => return Ok(false),
                Err(late) => return Err(late.into()),
            }
            self.bytes.reserve(READ);
            match stream.try_read_buf(&mut self.bytes) {
                Ok(0) if self.bytes.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(0) => return Ok(false),
                Ok(_) => drop(self.begun.get_or_insert_with(Instant::now)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.bytes.starts_with(PREFACE))
    }

    /// What has come may be either.
    fn is_open(&self) -> bool {
        self.bytes.len() < PREFACE.len() && PREFACE.starts_with(&self.bytes)
    }
}
