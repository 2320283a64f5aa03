use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::netns::Netns;

/// A long-lived TCP connection over which numbered messages go back and forth, to see whether it is ever disturbed.
#[derive(Debug)]
pub struct Flow {
    greeting: String,
    exchanged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<FlowReport>,
}

/// How a flow fared.
#[derive(Debug, Clone)]
pub struct FlowReport {
    /// Messages that came back.
    pub exchanged: u64,
    /// The longest time between two of them.
    pub longest_gap: Duration,
    /// Why it ended early.
    pub error: Option<String>,
}

const MESSAGE_DEADLINE: Duration = Duration::from_secs(30);
/// Some tests wait for it in vain on purpose.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const PACE: Duration = Duration::from_millis(5);

impl Flow {
    /// Connects to one of the pods' TCP servers and starts to exchange.
    pub fn start(from: &Netns, to: SocketAddr) -> Result<Self> {
        Self::connect(from, to, None)
    }

    /// The same from a source port of one's choice.
    pub fn start_from(from: &Netns, to: SocketAddr, port: u16) -> Result<Self> {
        Self::connect(from, to, Some(port))
    }

    fn connect(from: &Netns, to: SocketAddr, port: Option<u16>) -> Result<Self> {
        let (exchanged, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (stream, greeting) = from.run(|| greet(to, port))?;
        let (count, flag) = (exchanged.clone(), stop.clone());
        let thread = thread::spawn(move || exchange(stream, &count, &flag));
        Ok(Self { greeting, exchanged, stop, thread })
    }

    /// The pod at the other end.
    pub fn pod(&self) -> &str {
        self.greeting.split(' ').next().unwrap_or_default()
    }

    /// Messages so far.
    pub fn exchanged(&self) -> u64 {
        self.exchanged.load(Ordering::Relaxed)
    }

    /// Whether it ended by itself.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until `more` further messages have come back.
    pub fn goes_on(&self, more: u64) -> Result<()> {
        let goal = self.exchanged() + more;
        crate::eventually("a flow to go on", crate::SOON, || {
            anyhow::ensure!(self.exchanged() >= goal, "{} of {goal} messages", self.exchanged());
            Ok(())
        })
    }

    /// Ends the flow.
    pub fn stop(self) -> Result<FlowReport> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the flow's thread panicked"))
    }
}

/// Connects to a pod's TCP server, from `port` if one is given, and gives its greeting: `pod node peer`.
pub fn ask_tcp(from: &Netns, to: SocketAddr, port: Option<u16>) -> Result<String> {
    from.run(|| greet(to, port).map(|(_, greeting)| greeting))
}

/// Sends one datagram and gives the answer: `pod node peer text`.
pub fn ask_udp(from: &Netns, to: SocketAddr, port: Option<u16>, text: &str) -> Result<String> {
    from.run(|| {
        let socket = std::net::UdpSocket::bind((unspecified(to), port.unwrap_or(0)))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(Duration::from_secs(3)))?;
        socket.send(text.as_bytes())?;
        let mut answer = [0; 16_384];
        let length = socket.recv(&mut answer).with_context(|| format!("no answer from {to}/udp"))?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    })
}

/// The unspecified address of the other end's family.
fn unspecified(to: SocketAddr) -> IpAddr {
    if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

/// The same from the namespace that the thread is in, with the connection, on which lines come back.
pub fn greet(to: SocketAddr, port: Option<u16>) -> Result<(BufReader<TcpStream>, String)> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(port) = port {
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(SocketAddr::from((unspecified(to), port))))?;
    }
    socket.connect_timeout(&to.into(), CONNECT_DEADLINE).with_context(|| format!("connecting to {to}"))?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(MESSAGE_DEADLINE))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut greeting = String::new();
    reader.read_line(&mut greeting).with_context(|| format!("no greeting from {to}"))?;
    Ok((reader, greeting.trim_end().to_owned()))
}

fn exchange(mut stream: BufReader<TcpStream>, count: &AtomicU64, stop: &AtomicBool) -> FlowReport {
    let mut report = FlowReport { exchanged: 0, longest_gap: Duration::ZERO, error: None };
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if let Err(error) = message(&mut stream, report.exchanged) {
            report.error = Some(format!("after {} messages: {error:#}", report.exchanged));
            break;
        }
        report.longest_gap = report.longest_gap.max(last.elapsed());
        last = Instant::now();
        report.exchanged += 1;
        count.store(report.exchanged, Ordering::Relaxed);
        thread::sleep(PACE);
    }
    report
}

fn message(stream: &mut BufReader<TcpStream>, number: u64) -> Result<()> {
    let sent = format!("message {number}\n");
    stream.get_mut().write_all(sent.as_bytes())?;
    let mut answer = String::new();
    anyhow::ensure!(stream.read_line(&mut answer)? > 0, "the connection was closed");
    anyhow::ensure!(answer == sent, "sent {sent:?}, got {answer:?}");
    Ok(())
}
