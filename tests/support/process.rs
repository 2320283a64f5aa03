use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::control_group::ControlGroup;
use crate::netns::Netns;

/// A process with sockets, which does what it is told. Unlike the threads of this process it can be in a control group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    /// Starts `program` (the lab's own) in a namespace, and in a control group if one is given.
    pub fn start(program: &Path, netns: &Netns, group: Option<&ControlGroup>) -> Result<Self> {
        let mut command = netns.command(program);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (orders, answers) = (child.stdin.take(), child.stdout.take());
        let (orders, answers) = (orders.context("stdin is a pipe")?, answers.context("stdout is a pipe")?);
        let mut process = Self { child, orders, answers: BufReader::new(answers) };
        // It has made no socket yet: a socket belongs to the group in which it was made.
        process.ask("ready")?;
        group.map_or(Ok(()), |group| group.take(process.child.id()))?;
        Ok(process)
    }

    /// Connects a socket and gives it a name; `kind` is `tcp` or `udp`.
    pub fn connect(&mut self, kind: &str, name: &str, to: SocketAddr) -> Result<()> {
        self.ask(&format!("connect {kind} {name} {to}")).map(drop)
    }

    /// Makes an unconnected UDP socket.
    pub fn bind(&mut self, name: &str, address: SocketAddr) -> Result<()> {
        self.ask(&format!("bind {name} {address}")).map(drop)
    }

    /// Connects a TCP socket that is bound to an address first.
    pub fn connect_from(&mut self, name: &str, from: SocketAddr, to: SocketAddr) -> Result<()> {
        self.ask(&format!("from {from} connect tcp {name} {to}")).map(drop)
    }

    /// What getpeername(2) says.
    pub fn peer(&mut self, name: &str) -> Result<SocketAddr> {
        Ok(self.ask(&format!("peer {name}"))?.parse()?)
    }

    /// Sends a line, or a datagram, on a connected socket.
    pub fn send(&mut self, name: &str, text: &str) -> Result<()> {
        self.ask(&format!("send {name} {text}")).map(drop)
    }

    /// Receives a line, or a datagram.
    pub fn receive(&mut self, name: &str) -> Result<String> {
        self.ask(&format!("receive {name}"))
    }

    /// Sends a datagram to an address.
    pub fn send_to(&mut self, name: &str, to: SocketAddr, text: &str) -> Result<()> {
        self.ask(&format!("sendto {name} {to} {text}")).map(drop)
    }

    /// Receives a datagram, and where it says that it comes from.
    pub fn receive_from(&mut self, name: &str) -> Result<(SocketAddr, String)> {
        let answer = self.ask(&format!("recvfrom {name}"))?;
        let (from, text) = answer.split_once(' ').with_context(|| answer.clone())?;
        Ok((from.parse()?, text.to_owned()))
    }

    /// Sends one datagram from an unconnected socket and waits for the answer.
    pub fn exchange(&mut self, name: &str, to: SocketAddr, text: &str) -> Result<(SocketAddr, String)> {
        self.send_to(name, to, text)?;
        self.receive_from(name)
    }

    /// Closes a socket.
    pub fn close(&mut self, name: &str) -> Result<()> {
        self.ask(&format!("close {name}")).map(drop)
    }

    fn ask(&mut self, order: &str) -> Result<String> {
        writeln!(self.orders, "{order}").with_context(|| order.to_owned())?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        match answer.trim_end_matches('\n').split_once(' ') {
            Some(("ok", text)) => Ok(text.to_owned()),
            Some(("error", text)) => bail!("{order}: {text}"),
            _ => {
                ensure!(!answer.is_empty(), "{order}: the process has ended");
                bail!("{order}: {answer}")
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
