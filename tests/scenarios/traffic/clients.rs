//! Clients without TLS: HTTP/1.1, and lines and datagrams at layer 4.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weir_lab::{Request, Response, Session, greet};

use super::{Client, HOST, Target};

/// Of a POST.
const BODY: usize = 8 * 1024;
/// Nothing is lost on the wires of the lab.
const PATIENCE: Duration = Duration::from_secs(5);

/// The answer of a pod of the site.
pub(super) fn served(answer: &Response) -> Result<()> {
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    let pod = answer.field("pod")?;
    ensure!(pod == "near" || pod == "far", "{pod} answers");
    Ok(())
}

pub(super) struct Http {
    session: Session,
    request: Request,
    body: usize,
}

impl Http {
    pub(super) fn kept(target: &Target) -> Self {
        Http { session: Session::keeping(target.http), request: Request::get(HOST, "/kept"), body: 0 }
    }

    pub(super) fn fresh(target: &Target) -> Self {
        let request = Request::get(HOST, "/fresh").header("Connection", "close");
        Http { session: Session::fresh(target.http), request, body: 0 }
    }

    pub(super) fn post(target: &Target) -> Self {
        let request = Request::post(HOST, "/post", vec![b'p'; BODY]);
        Http { session: Session::keeping(target.http), request, body: BODY }
    }
}

impl Client for Http {
    fn exchange(&mut self) -> Result<()> {
        let answer = self.session.send(&self.request)?;
        served(&answer)?;
        let seen = answer.json()?["bodyBytes"].as_u64();
        ensure!(seen == Some(self.body as u64), "the pod got {seen:?} of {} bytes", self.body);
        Ok(())
    }
}

/// Lines that come back.
pub(super) struct Lines {
    to: SocketAddr,
    keeps: bool,
    stream: Option<BufReader<TcpStream>>,
    number: u64,
}

impl Lines {
    pub(super) fn fresh(target: &Target) -> Self {
        Lines { to: target.tcp, keeps: false, stream: None, number: 0 }
    }

    pub(super) fn kept(target: &Target) -> Self {
        Lines { keeps: true, ..Lines::fresh(target) }
    }
}

impl Client for Lines {
    fn exchange(&mut self) -> Result<()> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => greet(self.to, None)?.0,
        };
        self.number += 1;
        let line = format!("line {}\n", self.number);
        stream.get_mut().write_all(line.as_bytes())?;
        let mut answer = String::new();
        stream.read_line(&mut answer)?;
        ensure!(answer == line, "sent {line:?}, got {answer:?}");
        self.stream = Some(stream).filter(|_| self.keeps);
        Ok(())
    }
}

/// Datagrams, each from a port of its own.
pub(super) struct Datagrams(SocketAddr);

impl Datagrams {
    pub(super) fn new(target: &Target) -> Self {
        Datagrams(target.udp)
    }
}

impl Client for Datagrams {
    fn exchange(&mut self) -> Result<()> {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        socket.connect(self.0)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(b"datagram")?;
        let mut answer = [0; 256];
        let length = socket.recv(&mut answer).context("no answer")?;
        ensure!(answer[..length].ends_with(b"datagram"), "{:?}", String::from_utf8_lossy(&answer[..length]));
        Ok(())
    }
}
