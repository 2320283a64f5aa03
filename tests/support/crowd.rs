use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::flow::greet;
use crate::netns::Netns;

/// Many long-lived TCP connections to pods, which one thread looks after: to count those that a change breaks.
#[derive(Debug)]
pub struct Crowd {
    members: Vec<Member>,
    /// Makes each line another one.
    round: u32,
}

#[derive(Debug)]
struct Member {
    stream: BufReader<TcpStream>,
    /// The node of the pod at the other end.
    node: String,
}

/// A read with no time at all would wait for ever.
const NO_TIME: Duration = Duration::from_millis(1);

impl Crowd {
    /// Connects `count` times to a pods' TCP server, one after the other.
    pub fn connect(from: &Netns, to: SocketAddr, count: usize) -> Result<Self> {
        let member = |number| {
            let (stream, greeting) = greet(to, None).with_context(|| format!("connection {number}"))?;
            let node = greeting.split(' ').nth(1).context("a greeting names the node")?.to_owned();
            Ok(Member { stream, node })
        };
        let members: Result<Vec<_>> = from.run(|| (0..count).map(member).collect());
        Ok(Self { members: members?, round: 0 })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether one's pod is on a node.
    pub fn leads_to(&self, node: &str) -> bool {
        self.members.iter().any(|member| member.node == node)
    }

    /// Lets go of those whose pod is on a node, and gives their number.
    pub fn leave(&mut self, node: &str) -> usize {
        let before = self.members.len();
        self.members.retain(|member| member.node != node);
        before - self.members.len()
    }

    /// Sends a line on each connection and waits, for all of them together no longer than `patience`, until it comes back.
    /// Lets go of those that are broken or do not answer, and gives their number.
    pub fn exchange(&mut self, patience: Duration) -> usize {
        self.round += 1;
        let line = format!("round {}\n", self.round);
        let deadline = Instant::now() + patience;
        let before = self.members.len();
        self.members.retain_mut(|member| member.stream.get_mut().write_all(line.as_bytes()).is_ok());
        self.members.retain_mut(|member| member.hears(&line, deadline).is_ok());
        before - self.members.len()
    }
}

impl Member {
    fn hears(&mut self, line: &str, deadline: Instant) -> Result<()> {
        let left = deadline.saturating_duration_since(Instant::now()).max(NO_TIME);
        self.stream.get_ref().set_read_timeout(Some(left))?;
        let mut answer = String::new();
        self.stream.read_line(&mut answer)?;
        ensure!(answer == line, "sent {line:?}, got {answer:?}");
        Ok(())
    }
}
