//! WebSockets: a server in a pod, and its clients.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};
use weir_lab::{Netns, connect};

use super::{Client, HOST, Target};

/// Where the server listens.
pub(crate) const PORT: u16 = 8081;
/// How often the server looks whether it should stop.
const PATIENCE: Duration = Duration::from_millis(100);
/// A client that says nothing for so long has gone with its namespace.
const SILENCE: Duration = Duration::from_secs(120);

/// Says back what it hears, until it is dropped.
pub(crate) struct Echo(Arc<AtomicBool>);

impl Echo {
    /// Starts it in the namespace of a pod.
    pub(crate) fn start(netns: &Netns) -> Result<Self> {
        let listener = netns.run(|| TcpListener::bind(("0.0.0.0", PORT)).context("the port of WebSockets"))?;
        set_socket_timeout(listener.as_fd(), Timeout::Recv, Some(PATIENCE))?;
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => drop(thread::spawn(move || echo(stream))),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        });
        Ok(Echo(stop))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn echo(stream: TcpStream) {
    // Who breaks off is not the server's concern.
    let _ = stream.set_read_timeout(Some(SILENCE));
    let Ok(mut socket) = tungstenite::accept(stream) else { return };
    while let Ok(message) = socket.read() {
        if message.is_text() && socket.send(message).is_err() {
            return;
        }
    }
}

/// A WebSocket through the front.
pub(crate) struct Open {
    socket: WebSocket<TcpStream>,
    number: u64,
}

impl Open {
    pub(crate) fn new(target: &Target) -> Result<Self> {
        let request = format!("ws://{HOST}/socket").into_client_request()?;
        let stream = connect(target.http)?;
        let (socket, _) = tungstenite::client(request, stream).map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(Open { socket, number: 0 })
    }

    /// A message goes there and back.
    pub(crate) fn talk(&mut self) -> Result<()> {
        self.number += 1;
        let message = Message::text(format!("message {}", self.number));
        self.socket.send(message.clone()).context("sending a message")?;
        let answer = self.socket.read().with_context(|| format!("after {} messages", self.number - 1))?;
        ensure!(answer == message, "sent {message:?}, got {answer:?}");
        Ok(())
    }

    /// Both sides say goodbye.
    pub(crate) fn close(mut self) -> Result<()> {
        self.socket.close(None).context("closing")?;
        let farewell = self.socket.read().context("the farewell")?;
        ensure!(farewell.is_close(), "{farewell:?}");
        Ok(())
    }
}

/// One that is opened, used and closed each time.
pub(super) struct Short(Target);

impl Short {
    pub(super) fn new(target: &Target) -> Self {
        Short(target.clone())
    }
}

impl Client for Short {
    fn exchange(&mut self) -> Result<()> {
        let mut socket = Open::new(&self.0)?;
        socket.talk()?;
        socket.talk()?;
        socket.close()
    }
}

/// One that stays open.
pub(super) struct Long {
    target: Target,
    socket: Option<Open>,
}

impl Long {
    pub(super) fn new(target: &Target) -> Self {
        Long { target: target.clone(), socket: None }
    }
}

impl Client for Long {
    fn exchange(&mut self) -> Result<()> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => Open::new(&self.target)?,
        };
        socket.talk()?;
        self.socket = Some(socket);
        Ok(())
    }
}
