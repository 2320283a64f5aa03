use std::net::{IpAddr, Ipv4Addr, SocketAddr};

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
