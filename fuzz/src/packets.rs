//! Packets out of fuzz input: mostly well-formed, between few addresses and ports, so that flows come about.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arbitrary::{Result, Unstructured};
use lb_common::addr::{Addr6, V4, V6};
use lb_common::be::Be32;
use lb_common::dsr::Tunnel;
use lb_common::neighbour::Discovery;

use crate::wire::{self, Datagram, ICMP, ICMP6, IP6IP6, IPIP, SCTP, TCP, UDP};

/// An address family with addresses to play with.
pub(crate) trait Side: Tunnel + Discovery {
    /// The n-th address of a kind.
    fn place(place: Place, number: u8) -> IpAddr;

    /// As it stands in keys.
    fn addr(address: IpAddr) -> Self::Addr;

    /// As people write it.
    fn ip(address: Self::Addr) -> IpAddr;

    /// The address is of this family.
    fn is_of_family(address: IpAddr) -> bool;
}

/// What an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Client,
    Vip,
    Node,
    LocalPod,
    RemotePod,
}

impl Side for V4 {
    fn place(place: Place, number: u8) -> IpAddr {
        let (a, b, c) = match place {
            Place::Client => (192, 0, 2),
            Place::Vip => (10, 100, 0),
            Place::Node => (10, 10, 0),
            Place::LocalPod => (10, 244, 1),
            Place::RemotePod => (10, 244, 2),
        };
        Ipv4Addr::new(a, b, c, number).into()
    }

    fn addr(address: IpAddr) -> Be32 {
        match address {
            IpAddr::V4(address) => Be32::from_bytes(address.octets()),
            IpAddr::V6(_) => Be32::default(),
        }
    }

    fn ip(address: Be32) -> IpAddr {
        Ipv4Addr::from(address.bytes()).into()
    }

    fn is_of_family(address: IpAddr) -> bool {
        address.is_ipv4()
    }
}

impl Side for V6 {
    fn place(place: Place, number: u8) -> IpAddr {
        let (a, b) = match place {
            Place::Client => (0x2001, 0xdb8),
            Place::Vip => (0xfd00, 0x100),
            Place::Node => (0xfd00, 0x10),
            Place::LocalPod => (0xfd00, 0x2441),
            Place::RemotePod => (0xfd00, 0x2442),
        };
        Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, number.into()).into()
    }

    fn addr(address: IpAddr) -> Addr6 {
        match address {
            IpAddr::V4(_) => Addr6::default(),
            IpAddr::V6(address) => Addr6::from_bytes(address.octets()),
        }
    }

    fn ip(address: Addr6) -> IpAddr {
        Ipv6Addr::from(address.bytes()).into()
    }

    fn is_of_family(address: IpAddr) -> bool {
        address.is_ipv6()
    }
}

/// Ports to play with; some lie in the range for source NAT.
pub(crate) const PORTS: &[u16] = &[80, 53, 8080, 30_080, 30_081, 15_000, 15_001, 15_002, 40_000, 40_001, 40_002, 0];
/// Hardware address of the device that packets come in by.
pub(crate) const OURS: [u8; 6] = [2, 0, 0, 0, 0, 0x11];
const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A packet in the making.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) source: (IpAddr, u16),
    pub(crate) destination: (IpAddr, u16),
    pub(crate) protocol: u8,
    pub(crate) flags: u8,
    pub(crate) ttl: u8,
    pub(crate) tags: u8,
    /// Bytes of IPv4 options, a multiple of four.
    pub(crate) options: usize,
    /// Flags and offset of an IPv4 fragment.
    pub(crate) fragment: u16,
    pub(crate) payload: Vec<u8>,
    pub(crate) no_checksum: bool,
    /// Of a tunnel: the node that sends it got the packet in a tunnel itself.
    pub(crate) again: bool,
}

impl Draft {
    /// Between these two, otherwise plain.
    pub(crate) fn between(source: (IpAddr, u16), destination: (IpAddr, u16), protocol: u8) -> Self {
        Self {
            source,
            destination,
            protocol,
            flags: 0x10,
            ttl: 64,
            tags: 0,
            options: 0,
            fragment: 0,
            payload: b"payload".to_vec(),
            no_checksum: false,
            again: false,
        }
    }

    /// A datagram as one node sends it on to another.
    pub(crate) fn tunnel(from: IpAddr, to: IpAddr, inner: Vec<u8>) -> Self {
        let protocol = if from.is_ipv4() { IPIP } else { IP6IP6 };
        Self { payload: inner, ..Self::between((from, 0), (to, 0), protocol) }
    }

    /// Takes the odd details from the input.
    pub(crate) fn vary(mut self, u: &mut Unstructured<'_>) -> Result<Self> {
        self.flags = *u.choose(&[0x02, 0x10, 0x18, 0x11, 0x04, 0x12, 0x14, 0x00, 0x3f])?;
        if u.ratio(1, 4)? {
            self.ttl = *u.choose(&[0, 1, 2, 255])?;
            self.tags = u.int_in_range(0..=2)?;
            self.options = 4 * u.int_in_range(0..=10)?;
            self.no_checksum = u.arbitrary()?;
            let length = u.int_in_range(0..=40)?;
            self.payload = u.bytes(length.min(u.len()))?.to_vec();
        }
        if u.ratio(1, 16)? {
            self.fragment = *u.choose(&[0x2000, 0x2001, 0x0001, 0x4000, 0x2002, 0x8000])?;
        }
        Ok(self)
    }

    /// The frame, with right checksums.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut frame = [OURS, THEIRS].concat();
        for _ in 0..self.tags {
            frame.extend([0x81, 0, 0, 5]);
        }
        frame.extend(if self.source.0.is_ipv4() { [8, 0] } else { [0x86, 0xdd] });
        frame.extend(self.datagram());
        frame
    }

    /// The IP packet.
    pub(crate) fn datagram(&self) -> Vec<u8> {
        let transport = self.transport();
        let mut packet = match (self.source.0, self.destination.0) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = 20 + self.options;
                let mut ip = vec![0x40 | (header / 4) as u8, 0];
                ip.extend(((header + transport.len()) as u16).to_be_bytes());
                ip.extend(self.identification());
                ip.extend(self.fragment.to_be_bytes());
                ip.extend([self.ttl, self.protocol, 0, 0]);
                ip.extend(source.octets());
                ip.extend(destination.octets());
                ip.resize(header, 1);
                let sum = !wire::sum(&ip);
                ip[10..12].copy_from_slice(&sum.to_be_bytes());
                ip
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut ip = vec![0x60, 0, 0, u8::from(self.again)];
                ip.extend((transport.len() as u16).to_be_bytes());
                ip.extend([self.protocol, self.ttl]);
                ip.extend(source.octets());
                ip.extend(destination.octets());
                ip
            }
            _ => Vec::new(),
        };
        packet.extend(transport);
        with_sum(packet, self.no_checksum)
    }

    /// In the outer header of a tunnel it says whether the packet was sent on before.
    fn identification(&self) -> [u8; 2] {
        if self.protocol == IPIP { [0, u8::from(self.again)] } else { [0x12, 0x34] }
    }

    fn transport(&self) -> Vec<u8> {
        let mut bytes = [self.source.1.to_be_bytes(), self.destination.1.to_be_bytes()].concat();
        match self.protocol {
            TCP => bytes.extend([0, 0, 0, 7, 0, 0, 0, 9, 0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]),
            UDP => {
                bytes.extend(((8 + self.payload.len()) as u16).to_be_bytes());
                bytes.extend([0, 0]);
            }
            SCTP => {
                let kind = match self.flags {
                    0x02 => 1, // INIT
                    0x12 => 2, // INIT ACK
                    0x04 => 6, // ABORT
                    0x11 => 7, // SHUTDOWN
                    _ => 0,
                };
                bytes.extend([0, 0, 0, 7, 0, 0, 0, 0, kind, 3]);
                bytes.extend(((4 + self.payload.len()) as u16).to_be_bytes());
                bytes.extend(&self.payload);
                let sum = wire::CRC.checksum(&bytes);
                bytes[8..12].copy_from_slice(&sum.to_le_bytes());
                return bytes;
            }
            // type and code stand where ports would
            IPIP | IP6IP6 => bytes.clear(),
            ICMP | ICMP6 => bytes = vec![(self.source.1 >> 8) as u8, self.source.1 as u8, 0, 0, 0, 0, 5, 0x78],
            _ => {}
        }
        bytes.extend(&self.payload);
        bytes
    }
}

/// The packet with the checksum of its transport put in, unless there shall be none.
fn with_sum(mut packet: Vec<u8>, none: bool) -> Vec<u8> {
    let Some(seen) = Datagram::of(&packet) else { return packet };
    let Some(place) = seen.sum_place().filter(|_| !(none && seen.protocol == UDP)) else { return packet };
    let sum = match seen.protocol {
        ICMP => !wire::sum(seen.payload()),
        _ => !seen.sum_with_addresses(seen.payload()),
    };
    let sum = if sum == 0 && seen.protocol == UDP { 0xffff } else { sum };
    let at = seen.transport + place;
    if let Some(field) = packet.get_mut(at..at + 2) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// An ICMP error of this type and code that quotes so much of a packet.
pub(crate) fn error(from: IpAddr, to: IpAddr, (kind, code): (u8, u8), quote: &[u8], length: usize) -> Draft {
    let protocol = if from.is_ipv4() { ICMP } else { ICMP6 };
    let word = u16::from_be_bytes([kind, code]);
    let payload = quote[..quote.len().min(length)].to_vec();
    Draft { payload, ..Draft::between((from, word), (to, 0), protocol) }
}

/// Flips bits and cuts, in few packets.
pub(crate) fn damage(u: &mut Unstructured<'_>, mut frame: Vec<u8>) -> Result<Vec<u8>> {
    if !u.ratio(1, 8)? {
        return Ok(frame);
    }
    for _ in 0..u.int_in_range(0..=3)? {
        let at = u.choose_index(frame.len())?;
        frame[at] = u.arbitrary()?;
    }
    if u.arbitrary()? {
        let length = u.int_in_range(0..=frame.len())?;
        frame.truncate(length);
    }
    Ok(frame)
}
