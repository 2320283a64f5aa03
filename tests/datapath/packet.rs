//! A builder of packets with right checksums, and a reader that says what is in one.

use std::net::Ipv4Addr;

use lb_common::csum::fold;

/// Hardware address of the client's router on the uplink.
pub(crate) const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Hardware address of the uplink.
pub(crate) const UPLINK: [u8; 6] = [2, 0, 0, 0, 0, 0x11];

/// TCP flags.
pub(crate) const SYN: u8 = 0x02;
/// TCP flags.
pub(crate) const ACK: u8 = 0x10;
/// TCP flags.
pub(crate) const FIN: u8 = 0x11;
/// TCP flags.
pub(crate) const RST: u8 = 0x04;
/// TCP flags.
pub(crate) const SYN_ACK: u8 = 0x12;

/// A TCP or UDP packet in the making.
#[derive(Clone, Debug)]
pub(crate) struct Builder {
    pub(crate) to_mac: [u8; 6],
    pub(crate) from_mac: [u8; 6],
    pub(crate) tags: Vec<(u16, u16)>,
    pub(crate) options: Vec<u8>,
    pub(crate) ttl: u8,
    pub(crate) source: (Ipv4Addr, u16),
    pub(crate) destination: (Ipv4Addr, u16),
    pub(crate) tcp: Option<u8>,
    pub(crate) udp_checksum: bool,
    pub(crate) payload: Vec<u8>,
    pub(crate) fragment: u16,
    /// Type and code, where it is ICMP; the ports are not used then.
    pub(crate) icmp: Option<(u8, u8)>,
}

/// TCP from client to frontend, as it arrives on the uplink.
pub(crate) fn tcp(source: (&str, u16), destination: (&str, u16), flags: u8) -> Builder {
    Builder {
        to_mac: UPLINK,
        from_mac: ROUTER,
        tags: vec![],
        options: vec![],
        ttl: 64,
        source: (source.0.parse().unwrap(), source.1),
        destination: (destination.0.parse().unwrap(), destination.1),
        tcp: Some(flags),
        udp_checksum: true,
        payload: b"hello".to_vec(),
        fragment: 0,
        icmp: None,
    }
}

/// An ICMP message; its last header word is that of "fragmentation needed" with a next hop of 1,400 bytes.
pub(crate) fn icmp(source: &str, destination: &str, (kind, code): (u8, u8), behind: &[u8]) -> Builder {
    Builder { icmp: Some((kind, code)), ..udp((source, 0), (destination, 0)).payload(behind) }
}

/// UDP from client to frontend.
pub(crate) fn udp(source: (&str, u16), destination: (&str, u16)) -> Builder {
    Builder { tcp: None, ..tcp(source, destination, 0) }
}

impl Builder {
    pub(crate) fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    pub(crate) fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    pub(crate) fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    pub(crate) fn tag(mut self, protocol: u16, id: u16) -> Self {
        self.tags.push((protocol, id));
        self
    }

    pub(crate) fn macs(mut self, to: [u8; 6], from: [u8; 6]) -> Self {
        (self.to_mac, self.from_mac) = (to, from);
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

    pub(crate) fn no_checksum(mut self) -> Self {
        self.udp_checksum = false;
        self
    }

    /// The raw field: flags and offset.
    pub(crate) fn fragment(mut self, field: u16) -> Self {
        self.fragment = field;
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let transport = self.transport();
        let mut frame = Vec::new();
        frame.extend(self.to_mac);
        frame.extend(self.from_mac);
        for (protocol, id) in &self.tags {
            frame.extend(protocol.to_be_bytes());
            frame.extend(id.to_be_bytes());
        }
        frame.extend([8, 0]);
        let header = 20 + self.options.len();
        let mut ip = vec![0x40 | (header / 4) as u8, 0];
        ip.extend(((header + transport.len()) as u16).to_be_bytes());
        ip.extend([0x12, 0x34]);
        ip.extend(self.fragment.to_be_bytes());
        ip.extend([self.ttl, self.protocol(), 0, 0]);
        ip.extend(self.source.0.octets());
        ip.extend(self.destination.0.octets());
        ip.extend(&self.options);
        let sum = checksum(&ip, 0);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        frame.extend(ip);
        frame.extend(transport);
        frame
    }

    /// The IP packet of the frame, as an ICMP error quotes it.
    pub(crate) fn quoted(&self, length: usize) -> Vec<u8> {
        let mut bytes = self.bytes().split_off(14 + 4 * self.tags.len());
        bytes.truncate(length);
        bytes
    }

    fn protocol(&self) -> u8 {
        match (self.icmp, self.tcp) {
            (Some(_), _) => 1,
            (None, Some(_)) => 6,
            (None, None) => 17,
        }
    }

    fn transport(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some((kind, code)) = self.icmp {
            bytes.extend([kind, code, 0, 0, 0, 0, 0x05, 0x78]);
            bytes.extend(&self.payload);
            let sum = checksum(&bytes, 0);
            bytes[2..4].copy_from_slice(&sum.to_be_bytes());
            return bytes;
        }
        bytes.extend(self.source.1.to_be_bytes());
        bytes.extend(self.destination.1.to_be_bytes());
        let at = match self.tcp {
            Some(flags) => {
                bytes.extend([0, 0, 0, 7, 0, 0, 0, 9, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
                16
            }
            None => {
                bytes.extend(((8 + self.payload.len()) as u16).to_be_bytes());
                bytes.extend([0, 0]);
                6
            }
        };
        bytes.extend(&self.payload);
        if self.tcp.is_some() || self.udp_checksum {
            let sum = checksum(&bytes, self.pseudo_header(bytes.len()));
            let sum = if sum == 0 && self.tcp.is_none() { 0xffff } else { sum };
            bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        bytes
    }

    fn pseudo_header(&self, length: usize) -> u64 {
        let mut bytes = Vec::new();
        bytes.extend(self.source.0.octets());
        bytes.extend(self.destination.0.octets());
        bytes.extend([0, self.protocol()]);
        bytes.extend((length as u16).to_be_bytes());
        sum(&bytes)
    }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|pair| u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))).sum()
}

fn checksum(bytes: &[u8], start: u64) -> u16 {
    !fold(start + sum(bytes))
}

/// The fragments of a frame without tags and options, each with `size` bytes of the datagram; a multiple of eight.
pub(crate) fn fragments(frame: &[u8], size: usize) -> Vec<Vec<u8>> {
    let (head, datagram) = frame.split_at(34);
    let count = datagram.len().div_ceil(size);
    let part = |(number, data): (usize, &[u8])| {
        let mut bytes = [head, data].concat();
        let more = if number + 1 < count { 0x2000 } else { 0 };
        bytes[16..18].copy_from_slice(&((20 + data.len()) as u16).to_be_bytes());
        bytes[20..22].copy_from_slice(&(more | (number * size / 8) as u16).to_be_bytes());
        bytes[24..26].fill(0);
        let sum = checksum(&bytes[14..34], 0);
        bytes[24..26].copy_from_slice(&sum.to_be_bytes());
        bytes
    };
    datagram.chunks(size).enumerate().map(part).collect()
}
