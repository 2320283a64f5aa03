use std::io::BufReader;
use std::net::{SocketAddr, TcpStream};

use anyhow::Result;

use crate::http::{Request, Response, connect};

/// A client that sends one request after the other, from the namespace that its thread is in ([`crate::Netns::run`]).
#[derive(Debug)]
pub struct Session {
    to: SocketAddr,
    keeps: bool,
    stream: Option<BufReader<TcpStream>>,
}

impl Session {
    /// On one connection, for as long as the server keeps it.
    pub fn keeping(to: SocketAddr) -> Self {
        Self { to, keeps: true, stream: None }
    }

    /// On a new connection each time.
    pub fn fresh(to: SocketAddr) -> Self {
        Self { to, keeps: false, stream: None }
    }

    /// Sends a request and reads the whole answer.
    pub fn send(&mut self, request: &Request) -> Result<Response> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => BufReader::new(connect(self.to)?),
        };
        let response = request.send_on(&mut stream)?;
        let closes = response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        self.stream = Some(stream).filter(|_| self.keeps && !closes);
        Ok(response)
    }
}
