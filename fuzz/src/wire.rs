//! A packet as its receiver reads it: written without the pipeline's code, and checksums are summed from nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// ICMP.
pub(crate) const ICMP: u8 = 1;
/// IPv4 in IPv4 (RFC 2003).
pub(crate) const IPIP: u8 = 4;
/// TCP.
pub(crate) const TCP: u8 = 6;
/// UDP.
pub(crate) const UDP: u8 = 17;
/// IPv6 in IPv6 (RFC 2473).
pub(crate) const IP6IP6: u8 = 41;
/// ICMPv6.
pub(crate) const ICMP6: u8 = 58;
/// SCTP.
pub(crate) const SCTP: u8 = 132;
/// Its checksum (RFC 9260, appendix A).
pub(crate) const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);

/// An IP packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram<'a> {
    /// From its header to the end that the header states, or to the end of what is there.
    pub(crate) bytes: &'a [u8],
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) ttl: u8,
    /// Protocol behind the extension headers.
    pub(crate) protocol: u8,
    /// Offset of the fragment in eights of bytes, and whether more follow.
    pub(crate) fragment: Option<(u16, bool)>,
    /// Where the transport header begins in `bytes`.
    pub(crate) transport: usize,
    /// All bytes that the header states are there.
    pub(crate) whole: bool,
}

/// The IP packet of a frame, behind up to two tags, and where it begins.
pub(crate) fn network(frame: &[u8]) -> Option<(u16, usize)> {
    let mut at = 12;
    for _ in 0..3 {
        let kind = u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?);
        match kind {
            0x8100 | 0x88a8 if at < 20 => at += 4,
            _ => return Some((kind, at + 2)),
        }
    }
    None
}

impl<'a> Datagram<'a> {
    /// The packet of a frame; `None` if it is none, or contradicts itself.
    pub(crate) fn of_frame(frame: &'a [u8]) -> Option<Self> {
        let (kind, at) = network(frame)?;
        let datagram = Self::of(frame.get(at..)?)?;
        let expected = if datagram.source.is_ipv4() { 0x0800 } else { 0x86dd };
        (kind == expected).then_some(datagram)
    }

    /// A packet that may be cut short, as in an ICMP error.
    pub(crate) fn of(bytes: &'a [u8]) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => Self::v4(bytes),
            6 => Self::v6(bytes),
            _ => None,
        }
    }

    fn v4(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.get(..20)?;
        let transport = usize::from(header[0] & 15) * 4;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if transport < 20 || total < transport {
            return None;
        }
        let field = u16::from_be_bytes([header[6], header[7]]);
        let (offset, more) = (field & 0x1fff, field & 0x2000 != 0);
        Some(Self {
            bytes: &bytes[..total.min(bytes.len())],
            source: Ipv4Addr::new(header[12], header[13], header[14], header[15]).into(),
            destination: Ipv4Addr::new(header[16], header[17], header[18], header[19]).into(),
            ttl: header[8],
            protocol: header[9],
            fragment: (offset != 0 || more).then_some((offset, more)),
            transport,
            whole: total <= bytes.len(),
        })
    }

    fn v6(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.get(..40)?;
        let total = 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
        let address = |at: usize| <[u8; 16]>::try_from(&header[at..at + 16]).ok().map(Ipv6Addr::from);
        let mut datagram = Self {
            bytes: &bytes[..total.min(bytes.len())],
            source: address(8)?.into(),
            destination: address(24)?.into(),
            ttl: header[7],
            protocol: header[6],
            fragment: None,
            transport: 40,
            whole: total <= bytes.len(),
        };
        while datagram.skip_extension()? {}
        Some(datagram)
    }

    /// Steps over one extension header (RFC 8200, section 4); `None` if it is cut short.
    fn skip_extension(&mut self) -> Option<bool> {
        const HOP_BY_HOP: u8 = 0;
        const ROUTING: u8 = 43;
        const FRAGMENT: u8 = 44;
        const AUTHENTICATION: u8 = 51;
        const OPTIONS: u8 = 60;
        if !matches!(self.protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | OPTIONS)
            || self.fragment.is_some_and(|(offset, _)| offset != 0)
        {
            return Some(false);
        }
        let header = self.bytes.get(self.transport..self.transport + 8)?;
        let length = if self.protocol == FRAGMENT {
            let field = u16::from_be_bytes([header[2], header[3]]);
            let (offset, more) = (field >> 3, field & 1 != 0);
            self.fragment = (offset != 0 || more).then_some((offset, more)).or(self.fragment); // RFC 6946
            8
        } else if self.protocol == AUTHENTICATION {
            8 + 4 * usize::from(header[1]) // RFC 4302, section 2.2
        } else {
            8 + 8 * usize::from(header[1])
        };
        self.protocol = header[0];
        self.transport += length;
        (self.transport <= self.bytes.len()).then_some(true)
    }

    /// What the IP header carries.
    pub(crate) fn payload(&self) -> &'a [u8] {
        self.bytes.get(self.transport..).unwrap_or_default()
    }

    /// No fragment, or one that is all there is.
    pub(crate) fn is_complete(&self) -> bool {
        self.whole && matches!(self.fragment, None | Some((0, false)))
    }

    /// Both ports, of a protocol that has them, where they are in this packet.
    pub(crate) fn ports(&self) -> Option<(u16, u16)> {
        if !matches!(self.protocol, TCP | UDP | SCTP) || self.fragment.is_some_and(|(offset, _)| offset != 0) {
            return None;
        }
        let ports = self.payload().get(..4)?;
        Some((u16::from_be_bytes([ports[0], ports[1]]), u16::from_be_bytes([ports[2], ports[3]])))
    }

    /// The checksum of the IP header is right; IPv6 has none.
    pub(crate) fn header_sum_is_right(&self) -> bool {
        !self.source.is_ipv4() || sum(&self.bytes[..self.transport.min(self.bytes.len())]) == 0xffff
    }

    /// Where the checksum of the transport stands in the payload.
    pub(crate) fn sum_place(&self) -> Option<usize> {
        match self.protocol {
            TCP => Some(16),
            UDP => Some(6),
            ICMP | ICMP6 => Some(2),
            _ => None,
        }
    }

    /// The checksum of the transport is right, or the sender made none where it may (RFC 768). False where the packet is
    /// not complete or contradicts itself.
    pub(crate) fn sum_is_right(&self) -> bool {
        let payload = self.payload();
        if !self.is_complete() {
            return false;
        }
        match self.protocol {
            SCTP if payload.len() >= 16 => {
                let unsummed = [&payload[..8], &[0; 4], &payload[12..]].concat();
                CRC.checksum(&unsummed).to_le_bytes() == payload[8..12]
            }
            TCP if payload.len() >= 20 => self.sum_with_addresses(payload) == 0xffff,
            ICMP if payload.len() >= 8 && self.source.is_ipv4() => sum(payload) == 0xffff,
            ICMP6 if payload.len() >= 8 && self.source.is_ipv6() => self.sum_with_addresses(payload) == 0xffff,
            UDP if payload.len() >= 8 => {
                let length = usize::from(u16::from_be_bytes([payload[4], payload[5]]));
                let none = payload[6..8] == [0, 0];
                (8..=payload.len()).contains(&length)
                    && (none && self.source.is_ipv4() || !none && self.sum_with_addresses(&payload[..length]) == 0xffff)
            }
            _ => false,
        }
    }

    /// The sum over the pseudo header (RFC 9293, section 3.1; RFC 8200, section 8.1) and these bytes.
    pub(crate) fn sum_with_addresses(&self, bytes: &[u8]) -> u16 {
        let mut all = Vec::with_capacity(bytes.len() + 40);
        for address in [self.source, self.destination] {
            match address {
                IpAddr::V4(address) => all.extend(address.octets()),
                IpAddr::V6(address) => all.extend(address.octets()),
            }
        }
        all.extend((bytes.len() as u32).to_be_bytes());
        all.extend([0, 0, 0, self.protocol]);
        all.extend(bytes);
        sum(&all)
    }
}

/// The one's complement sum (RFC 1071, section 4.1); 0xffff over what holds its own right checksum.
pub(crate) fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
