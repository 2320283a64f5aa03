use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::Netns;

/// An IPv4 packet that an ordinary client would not send. The kernel fills in the header's checksum and length; all
/// else goes out as it stands here.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Protocol number.
    pub protocol: u8,
    /// Time to live.
    pub ttl: u8,
    /// Flags and fragment offset, as in the header.
    pub fragment: u16,
    /// Options; a multiple of four bytes.
    pub options: Vec<u8>,
    /// What follows the IPv4 header.
    pub payload: Vec<u8>,
}

impl Segment {
    /// A TCP segment from `source` with the given byte for the data offset; checksum included.
    pub fn tcp(source: SocketAddr, destination: SocketAddr, flags: u8, data_offset: u8) -> Result<Self> {
        let mut payload = Vec::new();
        payload.extend(source.port().to_be_bytes());
        payload.extend(destination.port().to_be_bytes());
        payload.extend([0, 0, 0, 1, 0, 0, 0, 0, data_offset << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        Self::new(source, destination, 6, payload, 16)
    }

    /// A UDP datagram with the given length field.
    pub fn udp(source: SocketAddr, destination: SocketAddr, length: u16, data: &[u8]) -> Result<Self> {
        let mut payload = Vec::new();
        payload.extend(source.port().to_be_bytes());
        payload.extend(destination.port().to_be_bytes());
        payload.extend(length.to_be_bytes());
        payload.extend([0, 0]);
        payload.extend(data);
        Self::new(source, destination, 17, payload, 6)
    }

    fn new(from: SocketAddr, to: SocketAddr, protocol: u8, payload: Vec<u8>, checksum_at: usize) -> Result<Self> {
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else { anyhow::bail!("{from} and {to}: not IPv4") };
        let (source, destination) = (*from.ip(), *to.ip());
        let mut packet = Self { source, destination, protocol, ttl: 64, fragment: 0, options: Vec::new(), payload };
        let sum = checksum(
            pseudo_header(source.into(), destination.into(), protocol, packet.payload.len()) + sum(&packet.payload),
        );
        packet.payload[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
        Ok(packet)
    }

    fn bytes(&self) -> Vec<u8> {
        let words = 5 + u8::try_from(self.options.len() / 4).unwrap_or(0);
        let mut bytes = vec![0x40 | words, 0, 0, 0, 0, 0];
        bytes.extend(self.fragment.to_be_bytes());
        bytes.extend([self.ttl, self.protocol, 0, 0]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(&self.options);
        bytes.extend(&self.payload);
        bytes
    }
}

/// An IPv6 packet that an ordinary client would not send; all of it goes out as it stands here.
#[derive(Debug, Clone)]
pub struct Segment6 {
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// Number of what follows the IPv6 header.
    pub next: u8,
    /// Extension headers.
    pub headers: Vec<u8>,
    /// What follows them.
    pub payload: Vec<u8>,
}

impl Segment6 {
    /// A TCP segment with these flags; checksum included.
    pub fn tcp(source: SocketAddr, destination: SocketAddr, flags: u8) -> Result<Self> {
        let rest = [0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0];
        Self::new(source, destination, 6, &rest, 16)
    }

    /// A UDP datagram; checksum included.
    pub fn udp(source: SocketAddr, destination: SocketAddr, data: &[u8]) -> Result<Self> {
        let length = u16::try_from(8 + data.len())?.to_be_bytes();
        Self::new(source, destination, 17, &[&length[..], &[0, 0], data].concat(), 6)
    }

    fn new(from: SocketAddr, to: SocketAddr, next: u8, rest: &[u8], checksum_at: usize) -> Result<Self> {
        let (IpAddr::V6(source), IpAddr::V6(destination)) = (from.ip(), to.ip()) else {
            anyhow::bail!("{from} and {to}: not IPv6")
        };
        let mut payload = [&from.port().to_be_bytes(), &to.port().to_be_bytes(), rest].concat();
        let value = checksum(pseudo_header(from.ip(), to.ip(), next, payload.len()) + sum(&payload));
        payload[checksum_at..checksum_at + 2].copy_from_slice(&value.to_be_bytes());
        Ok(Self { source, destination, next, headers: Vec::new(), payload })
    }

    fn bytes(&self) -> Vec<u8> {
        let length = (self.headers.len() + self.payload.len()) as u16;
        let mut bytes = vec![0x60, 0, 0, 0];
        bytes.extend(length.to_be_bytes());
        bytes.extend([self.next, 64]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(&self.headers);
        bytes.extend(&self.payload);
        bytes
    }
}

/// Sends an IPv6 packet as it is: a raw socket of protocol 255 takes the header with it (ipv6(7)).
pub fn send_raw6(from: &Netns, packet: &Segment6) -> Result<()> {
    from.run(|| {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(255)))?;
        let to = SocketAddr::from((packet.destination, 0));
        socket.send_to(&packet.bytes(), &to.into()).with_context(|| format!("sending {packet:?}"))?;
        Ok(())
    })
}

/// Has `send` send a datagram from `port` to a server, and gives the answer that a socket at that port gets.
pub fn answer_to(from: &Netns, port: u16, to: SocketAddr, send: impl FnOnce() -> Result<()>) -> Result<String> {
    let socket = from.run(|| {
        let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, port))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(Duration::from_secs(3)))?;
        Ok(socket)
    })?;
    send()?;
    let mut answer = [0; 2_048];
    let length = socket.recv(&mut answer).with_context(|| format!("no answer from {to}/udp"))?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// Sends a packet as it is.
pub fn send_raw(from: &Netns, packet: &Segment) -> Result<()> {
    send_raw_all(from, std::iter::once(packet.clone()))
}

/// Sends packets one after the other, as fast as it goes.
pub fn send_raw_all(from: &Netns, packets: impl Iterator<Item = Segment> + Send) -> Result<()> {
    from.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255)))?;
        socket.set_header_included_v4(true)?;
        for packet in packets {
            let to = SocketAddr::from((packet.destination, 0));
            socket.send_to(&packet.bytes(), &to.into()).with_context(|| format!("sending {packet:?}"))?;
        }
        Ok(())
    })
}

/// Sum of 16-bit words (RFC 1071), not yet folded.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|c| u64::from(c[0]) << 8 | u64::from(c.get(1).copied().unwrap_or(0))).sum()
}

/// The pseudo header of RFC 9293, 3.1, RFC 768, and RFC 8200, 8.1.
pub(crate) fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> u64 {
    let address = |address| match address {
        IpAddr::V4(address) => sum(&address.octets()),
        IpAddr::V6(address) => sum(&address.octets()),
    };
    address(source) + address(destination) + u64::from(protocol) + length as u64
}

/// Folds a sum and complements it.
pub(crate) fn checksum(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Folded to 16 bits just above.
    !(sum as u16)
}
