use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::Netns;
use crate::packet::{checksum, sum};

/// Tells the pings of this process apart.
static NUMBER: AtomicU16 = AtomicU16::new(1);

/// Sends one echo request and waits for its reply, for `patience`; the reply has to come from where the request went,
/// with the same data.
pub fn ping(from: &Netns, to: Ipv4Addr, data: &[u8], patience: Duration) -> Result<()> {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let rest = [&number.to_be_bytes(), &[0, 1], data].concat();
    let mut request = [&[8, 0, 0, 0], &rest[..]].concat();
    let value = checksum(sum(&request));
    request[2..4].copy_from_slice(&value.to_be_bytes());
    from.run(|| {
        let mut socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        socket.send_to(&request, &SocketAddr::from((to, 0)).into()).with_context(|| format!("pinging {to}"))?;
        let start = Instant::now();
        let mut buffer = vec![0; 65_536];
        while start.elapsed() < patience {
            let length = match socket.read(&mut buffer) {
                Ok(length) => length,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => continue,
                Err(error) => bail!("pinging {to}: {error}"),
            };
            // The header of IPv4 comes with it; replies carry no options.
            let (ip, message) = buffer[..length].split_at_checked(20).context("a short packet")?;
            if message.first() == Some(&0) && message.get(4..6) == Some(&number.to_be_bytes()[..]) {
                ensure!(ip[12..16] == to.octets(), "the reply for {to} came from {:?}", &ip[12..16]);
                ensure!(message[4..] == rest[..] && ip[8] > 32, "not what was sent to {to}: {ip:?} {message:?}");
                return Ok(());
            }
        }
        bail!("{to} does not answer within {patience:?}")
    })
}

/// The same for IPv6 (RFC 4443, sections 4.1 and 4.2). The kernel writes and checks the checksums.
pub fn ping6(from: &Netns, to: Ipv6Addr, data: &[u8], patience: Duration) -> Result<()> {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let rest = [&number.to_be_bytes(), &[0, 1], data].concat();
    let request = [&[128, 0, 0, 0], &rest[..]].concat();
    from.run(|| {
        // Only for its `recv_from`: the standard library does not care what kind of socket it holds.
        let socket = UdpSocket::from(Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?);
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        socket.send_to(&request, (to, 0)).with_context(|| format!("pinging {to}"))?;
        let start = Instant::now();
        let mut buffer = vec![0; 65_536];
        while start.elapsed() < patience {
            let (length, source) = match socket.recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => continue,
                Err(error) => bail!("pinging {to}: {error}"),
            };
            let message = &buffer[..length];
            if message.first() == Some(&129) && message.get(4..6) == Some(&number.to_be_bytes()[..]) {
                ensure!(source.ip() == to, "the reply for {to} came from {source}");
                ensure!(message[4..] == rest[..], "not what was sent to {to}: {message:?}");
                return Ok(());
            }
        }
        bail!("{to} does not answer within {patience:?}")
    })
}
