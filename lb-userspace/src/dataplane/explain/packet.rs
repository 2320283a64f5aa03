//! The packet that is asked about: the first of a connection, as a client sends it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::abi::protocol;
use lb_common::csum::fold;
use lb_common::ethernet::Mac;
use lb_common::transport::tcp_flag;

/// Who sends what to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// IP protocol number, TCP or UDP.
    pub protocol: u8,
    /// The client.
    pub from: SocketAddr,
    /// Where it sends to.
    pub to: SocketAddr,
}

/// A probe that no packet can be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{from} and {to} are of two address families; expected one")]
pub struct ProbeError {
    /// The client.
    pub from: IpAddr,
    /// Where it sends to.
    pub to: IpAddr,
}

/// Hops that are left: as Linux sends (RFC 1700 recommends 64).
const TTL: u8 = 64;
/// A hardware address that nobody has (locally administered).
const NEIGHBOUR: [u8; 6] = [2, 0, 0, 0, 0, 1];

impl Probe {
    /// Both ends are of one family.
    pub fn new(protocol: u8, from: SocketAddr, to: SocketAddr) -> Result<Self, ProbeError> {
        if from.is_ipv4() == to.is_ipv4() {
            Ok(Self { protocol, from, to })
        } else {
            Err(ProbeError { from: from.ip(), to: to.ip() })
        }
    }

    /// The frame, addressed to a hardware address: a TCP SYN without options, or an empty datagram.
    pub fn frame(&self, mac: Mac) -> Vec<u8> {
        let transport = self.transport();
        let mut frame: Vec<u8> = mac.iter().flat_map(|half| half.to_ne_bytes()).collect();
        frame.extend(NEIGHBOUR);
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => frame.extend(self.ipv4(from, to, transport.len())),
            (IpAddr::V6(from), IpAddr::V6(to)) => frame.extend(self.ipv6(from, to, transport.len())),
            // `new` lets nothing else in
            _ => {}
        }
        frame.extend(transport);
        frame
    }

    /// EtherType and header.
    fn ipv4(&self, from: Ipv4Addr, to: Ipv4Addr, payload: usize) -> Vec<u8> {
        let mut header = vec![0x45, 0];
        header.extend((20 + payload as u16).to_be_bytes());
        header.extend([0, 0, 0x40, 0, TTL, self.protocol, 0, 0]);
        header.extend(from.octets());
        header.extend(to.octets());
        let checksum = !fold(sum(&header));
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        [vec![8, 0], header].concat()
    }

    fn ipv6(&self, from: Ipv6Addr, to: Ipv6Addr, payload: usize) -> Vec<u8> {
        let mut header = vec![0x86, 0xdd, 0x60, 0, 0, 0];
        header.extend((payload as u16).to_be_bytes());
        header.extend([self.protocol, TTL]);
        header.extend(from.octets());
        header.extend(to.octets());
        header
    }

    fn transport(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.from.port().to_be_bytes());
        bytes.extend(self.to.port().to_be_bytes());
        let field = if self.protocol == protocol::TCP {
            bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, tcp_flag::SYN, 0xff, 0xff, 0, 0, 0, 0]);
            16
        } else {
            bytes.extend([0, 8, 0, 0]);
            6
        };
        let pseudo = self.pseudo_header(bytes.len());
        let checksum = !fold(sum(&bytes) + sum(&pseudo));
        bytes[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// RFC 9293, section 3.1, and RFC 8200, section 8.1: the sums of both are made of the same numbers.
    fn pseudo_header(&self, length: usize) -> Vec<u8> {
        let octets = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let mut bytes = octets(self.from.ip());
        bytes.extend(octets(self.to.ip()));
        bytes.extend((length as u32).to_be_bytes());
        bytes.extend([0, self.protocol]);
        bytes
    }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|pair| u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(protocol: u8, from: &str, to: &str) -> Vec<u8> {
        Probe::new(protocol, from.parse().unwrap(), to.parse().unwrap()).unwrap().frame([0; 3])
    }

    #[test]
    fn checksums_are_right() {
        for (protocol, from, to, header) in [
            (6, "192.0.2.1:4000", "198.51.100.7:80", 20),
            (17, "192.0.2.1:4000", "198.51.100.7:53", 20),
            (6, "[2001:db8::1]:4000", "[2001:db8::2]:80", 40),
        ] {
            let frame = probe(protocol, from, to);
            let (ip, transport) = frame[14..].split_at(header);
            let addresses = if header == 20 { &ip[12..20] } else { &ip[8..40] };
            let pseudo = u64::from(protocol) + transport.len() as u64 + sum(addresses);
            assert_eq!(fold(sum(transport) + pseudo), 0xffff, "{from}");
            assert!(header == 40 || fold(sum(ip)) == 0xffff, "{from}");
        }
    }

    #[test]
    fn one_family_only() {
        let error = Probe::new(6, "10.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "10.0.0.1 and ::1 are of two address families; expected one");
    }
}
