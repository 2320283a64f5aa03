//! A process that makes sockets as it is told, line by line: `weir_lab::Process` is its other end. What counts is where it
//! runs: its control group and its namespace decide how its sockets reach a service.

use std::collections::HashMap;
use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use socket2::{Domain, SockAddr, Socket, Type};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    let mut sockets = HashMap::new();
    for order in io::stdin().lock().lines() {
        let answer = match obey(&mut sockets, &order?) {
            Ok(text) => format!("ok {text}"),
            Err(error) => format!("error {error:#}").replace('\n', " "),
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn obey(sockets: &mut HashMap<String, Socket>, order: &str) -> Result<String> {
    let words: Vec<&str> = order.splitn(4, ' ').collect();
    match words.as_slice() {
        ["ready"] => {}
        ["connect", kind, name, to] => drop(sockets.insert((*name).to_owned(), connect(kind, to.parse()?, None)?)),
        ["from", from, "connect", rest] => {
            let [kind, name, to] = rest.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                bail!("from FROM connect KIND NAME TO")
            };
            sockets.insert(name.to_owned(), connect(kind, to.parse()?, Some(from.parse()?))?);
        }
        ["bind", name, address] => {
            let socket = make("udp", address.parse()?)?;
            socket.bind(&SockAddr::from(address.parse::<SocketAddr>()?))?;
            sockets.insert((*name).to_owned(), socket);
        }
        ["close", name] => drop(sockets.remove(*name)),
        ["peer", name] => return address(find(sockets, name)?.peer_addr()?),
        ["receive", name] => return receive(find(sockets, name)?),
        ["recvfrom", name] => return receive_from(find(sockets, name)?),
        ["send", name, text @ ..] => {
            let socket = find(sockets, name)?;
            let line = if socket.r#type()? == Type::STREAM { "\n" } else { "" };
            socket.send(format!("{}{line}", text.join(" ")).as_bytes())?;
        }
        ["sendto", name, to, text] => {
            find(sockets, name)?.send_to(text.as_bytes(), &to.parse::<SocketAddr>()?.into())?;
        }
        _ => bail!("what is {order:?}?"),
    }
    Ok(String::new())
}

fn find<'a>(sockets: &'a HashMap<String, Socket>, name: &str) -> Result<&'a Socket> {
    sockets.get(name).with_context(|| format!("no socket {name}"))
}

fn make(kind: &str, family: SocketAddr) -> Result<Socket> {
    let kind = if kind == "tcp" { Type::STREAM } else { Type::DGRAM };
    let socket = Socket::new(Domain::for_address(family), kind, None)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// An IPv4 address in IPv6 form is given to a socket of IPv6, as it stands.
fn connect(kind: &str, to: SocketAddr, from: Option<SocketAddr>) -> Result<Socket> {
    let socket = make(kind, to)?;
    if let Some(from) = from {
        socket.bind(&from.into())?;
    }
    socket.connect(&to.into())?;
    Ok(socket)
}

fn address(address: SockAddr) -> Result<String> {
    address.as_socket().map(|address| address.to_string()).context("no address of IP")
}

/// A line of a stream, read byte by byte because nothing is kept between orders, or a datagram.
fn receive(socket: &Socket) -> Result<String> {
    let mut stream = socket;
    if socket.r#type()? != Type::STREAM {
        let mut datagram = vec![0; 16_384];
        let length = stream.read(&mut datagram)?;
        return Ok(String::from_utf8_lossy(&datagram[..length]).into_owned());
    }
    let (mut line, mut byte) = (Vec::new(), [0]);
    loop {
        if stream.read(&mut byte)? == 0 {
            bail!("closed after {:?}", String::from_utf8_lossy(&line));
        }
        if byte == *b"\n" {
            return Ok(String::from_utf8_lossy(&line).into_owned());
        }
        line.extend(byte);
    }
}

fn receive_from(socket: &Socket) -> Result<String> {
    let mut datagram = [0; 2_048];
    let (length, from) = UdpSocket::from(socket.try_clone()?).recv_from(&mut datagram)?;
    Ok(format!("{from} {}", String::from_utf8_lossy(&datagram[..length])))
}
