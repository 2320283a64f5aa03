//! A builder of IPv6 packets with right checksums.

use std::net::Ipv6Addr;

use lb_common::csum::fold;

use crate::packet::{ROUTER, UPLINK};

/// What stands behind the headers of IPv6.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Carries {
    /// TCP with these flags.
    Tcp(u8),
    Udp,
    /// UDP without a checksum.
    UdpUnchecked,
    /// ICMPv6: type and code. The last word of its header is 1,300, as of a "packet too big".
    Icmp(u8, u8),
}

/// An IPv6 packet in the making, as it arrives on the uplink.
#[derive(Clone, Debug)]
pub(crate) struct Builder6 {
    pub(crate) macs: [[u8; 6]; 2],
    pub(crate) source: (Ipv6Addr, u16),
    pub(crate) destination: (Ipv6Addr, u16),
    pub(crate) hop_limit: u8,
    /// Number and contents behind the first byte, which names the next.
    pub(crate) headers: Vec<(u8, Vec<u8>)>,
    pub(crate) carries: Carries,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn packet6(carries: Carries, source: (&str, u16), destination: (&str, u16)) -> Builder6 {
    Builder6 {
        macs: [UPLINK, ROUTER],
        source: (source.0.parse().unwrap(), source.1),
        destination: (destination.0.parse().unwrap(), destination.1),
        hop_limit: 64,
        headers: vec![],
        carries,
        payload: b"hello".to_vec(),
    }
}

impl Builder6 {
    pub(crate) fn hops(mut self, limit: u8) -> Self {
        self.hop_limit = limit;
        self
    }

    pub(crate) fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    pub(crate) fn from(mut self, address: &str, port: u16) -> Self {
        self.source = (address.parse().unwrap(), port);
        self
    }

    pub(crate) fn to(mut self, address: &str, port: u16) -> Self {
        self.destination = (address.parse().unwrap(), port);
        self
    }

    pub(crate) fn macs(mut self, to: [u8; 6], from: [u8; 6]) -> Self {
        self.macs = [to, from];
        self
    }

    /// One more extension header; `rest` is what stands behind its first byte.
    pub(crate) fn header(mut self, number: u8, rest: &[u8]) -> Self {
        assert_eq!((rest.len() + 1) % 4, 0);
        self.headers.push((number, rest.to_vec()));
        self
    }

    /// One of options with nothing in them, of `units` times eight bytes.
    pub(crate) fn options(self, number: u8, units: u8) -> Self {
        let padding = usize::from(units) * 8 - 4;
        let rest = [vec![units - 1, 1, padding as u8], vec![0; padding]].concat();
        self.header(number, &rest)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let transport = self.transport();
        let numbers: Vec<u8> = self.headers.iter().map(|(number, _)| *number).chain([self.protocol()]).collect();
        let mut behind = Vec::new();
        for ((_, rest), next) in self.headers.iter().zip(&numbers[1..]) {
            behind.push(*next);
            behind.extend(rest);
        }
        behind.extend(transport);
        let mut frame = [self.macs.concat(), vec![0x86, 0xdd, 0x60, 0x01, 0x23, 0x45]].concat();
        frame.extend((behind.len() as u16).to_be_bytes());
        frame.extend([numbers[0], self.hop_limit]);
        frame.extend(self.source.0.octets());
        frame.extend(self.destination.0.octets());
        frame.extend(behind);
        frame
    }

    /// The IP packet of the frame, as an ICMP error quotes it.
    pub(crate) fn quoted(&self, length: usize) -> Vec<u8> {
        let mut bytes = self.bytes().split_off(14);
        bytes.truncate(length);
        bytes
    }

    /// The fragments of the packet (RFC 8200, section 4.5), each with `size` bytes; a multiple of eight.
    pub(crate) fn fragments(&self, size: usize, id: u32) -> Vec<Vec<u8>> {
        let transport = self.transport();
        let count = transport.len().div_ceil(size);
        let part = |(number, data): (usize, &[u8])| {
            let field = (number * size) as u16 | u16::from(number + 1 < count);
            let mut bytes = self.bytes();
            bytes.truncate(14 + 40);
            bytes[18..20].copy_from_slice(&((8 + data.len()) as u16).to_be_bytes());
            bytes[20] = 44;
            bytes.extend([self.protocol(), 0]);
            bytes.extend(field.to_be_bytes());
            bytes.extend(id.to_be_bytes());
            bytes.extend(data);
            bytes
        };
        transport.chunks(size).enumerate().map(part).collect()
    }

    fn protocol(&self) -> u8 {
        match self.carries {
            Carries::Tcp(_) => 6,
            Carries::Udp | Carries::UdpUnchecked => 17,
            Carries::Icmp(..) => 58,
        }
    }

    fn transport(&self) -> Vec<u8> {
        let ports = [self.source.1.to_be_bytes(), self.destination.1.to_be_bytes()].concat();
        let (mut bytes, at) = match self.carries {
            Carries::Tcp(flags) => {
                ([ports, vec![0, 0, 0, 7, 0, 0, 0, 9, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]].concat(), 16)
            }
            Carries::Udp | Carries::UdpUnchecked => {
                let length = (8 + self.payload.len()) as u16;
                ([ports, length.to_be_bytes().to_vec(), vec![0, 0]].concat(), 6)
            }
            Carries::Icmp(kind, code) => (vec![kind, code, 0, 0, 0, 0, 0x05, 0x14], 2),
        };
        bytes.extend(&self.payload);
        if !matches!(self.carries, Carries::UdpUnchecked) {
            let sum = self.checksum(&bytes);
            bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        bytes
    }

    fn checksum(&self, transport: &[u8]) -> u16 {
        let mut covered = [self.source.0.octets(), self.destination.0.octets()].concat();
        covered.extend((transport.len() as u32).to_be_bytes());
        covered.extend([0, 0, 0, self.protocol()]);
        covered.extend(transport);
        let pair = |pair: &[u8]| u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        match !fold(covered.chunks(2).map(pair).sum()) {
            0 if self.protocol() == 17 => 0xffff,
            sum => sum,
        }
    }
}
