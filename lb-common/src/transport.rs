//! TCP (RFC 9293), UDP (RFC 768) and SCTP (RFC 9260) headers.

use crate::abi::protocol;
use crate::be::Be16;
use crate::drop_reason::DropReason;
use crate::packet::Packet;

/// Bits of the TCP flags byte (RFC 9293, section 3.1).
pub mod tcp_flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// First segment.
    pub const SYN: u8 = 0x02;
    /// Reset.
    pub const RST: u8 = 0x04;
    /// The acknowledgement field counts.
    pub const ACK: u8 = 0x10;
}

/// Ports and what else the pipeline needs of a transport header.
#[derive(Clone, Copy, Debug)]
pub struct Transport {
    /// Source port.
    pub source_port: Be16,
    /// Destination port.
    pub destination_port: Be16,
    /// Flags byte of TCP; for SCTP what the first chunk means in the same bits; 0 for UDP.
    pub tcp_flags: u8,
    /// The header contradicts itself; only a drop if the packet is ours.
    pub malformed: bool,
    /// UDP without a checksum.
    pub unchecked: bool,
}

impl Transport {
    /// Reads the header at `offset`, of which `length` bytes belong to the IP packet; those of a `fragment` may be fewer
    /// than the header says.
    #[inline(always)]
    pub fn parse<P: Packet>(
        packet: &P,
        ip_protocol: u8,
        offset: usize,
        length: usize,
        fragment: bool,
    ) -> Result<Self, DropReason> {
        let mut header = match ip_protocol {
            protocol::TCP => Self::tcp(packet, offset, length),
            protocol::SCTP => Self::sctp(packet, offset, length),
            _ => Self::udp(packet, offset, length),
        }?;
        header.malformed &= !fragment;
        Ok(header)
    }

    /// What stands for the header in a fragment that has none.
    #[inline(always)]
    pub const fn none() -> Self {
        let port = Be16::new(0);
        Self { source_port: port, destination_port: port, tcp_flags: 0, malformed: false, unchecked: false }
    }

    #[inline(always)]
    fn tcp<P: Packet>(packet: &P, offset: usize, length: usize) -> Result<Self, DropReason> {
        if length < 20 {
            return Err(DropReason::BadTransportHeader);
        }
        let words = packet.words::<5>(offset).ok_or(DropReason::BadTransportHeader)?;
        let [data_offset, flags, ..] = words[3].to_ne_bytes();
        let header = usize::from(data_offset >> 4) * 4;
        let (source_port, destination_port) = ports(words[0]);
        Ok(Self {
            source_port,
            destination_port,
            tcp_flags: flags,
            malformed: header < 20 || header > length,
            unchecked: false,
        })
    }

    #[inline(always)]
    fn udp<P: Packet>(packet: &P, offset: usize, length: usize) -> Result<Self, DropReason> {
        if length < 8 {
            return Err(DropReason::BadTransportHeader);
        }
        let words = packet.words::<2>(offset).ok_or(DropReason::BadTransportHeader)?;
        let [high, low, checksum @ ..] = words[1].to_ne_bytes();
        let stated = usize::from(u16::from_be_bytes([high, low]));
        let (source_port, destination_port) = ports(words[0]);
        let (malformed, unchecked) = (stated < 8 || stated > length, checksum == [0; 2]);
        Ok(Self { source_port, destination_port, tcp_flags: 0, malformed, unchecked })
    }

    /// The common header and the head of the first chunk (RFC 9260, sections 3.1 and 3.2). Those chunks that begin or end an
    /// association stand first: INIT, INIT ACK and SHUTDOWN COMPLETE are alone (section 6.10), and an ABORT follows others
    /// only where its sender has more to say.
    #[inline(always)]
    fn sctp<P: Packet>(packet: &P, offset: usize, length: usize) -> Result<Self, DropReason> {
        if length < SCTP_HEADER + SCTP_CHUNK {
            return Err(DropReason::BadTransportHeader);
        }
        let words = packet.words::<4>(offset).ok_or(DropReason::BadTransportHeader)?;
        let [kind, _, high, low] = words[3].to_ne_bytes();
        let stated = usize::from(u16::from_be_bytes([high, low]));
        let (source_port, destination_port) = ports(words[0]);
        let malformed = stated < SCTP_CHUNK || stated > length - SCTP_HEADER;
        Ok(Self { source_port, destination_port, tcp_flags: chunk_as_flags(kind), malformed, unchecked: false })
    }

    /// Where the checksum stands in the header, where addresses are in it.
    #[inline(always)]
    pub const fn checksum_offset(ip_protocol: u8) -> usize {
        if ip_protocol == protocol::TCP { 16 } else { 6 }
    }
}

/// Bytes of the common header of SCTP.
const SCTP_HEADER: usize = 12;
/// Bytes of the head of a chunk.
const SCTP_CHUNK: usize = 4;

/// What a chunk means to a flow, in the flags of the TCP segment that means the same.
#[inline(always)]
const fn chunk_as_flags(kind: u8) -> u8 {
    match kind {
        1 => tcp_flag::SYN,                 // INIT
        2 => tcp_flag::SYN | tcp_flag::ACK, // INIT ACK
        6 => tcp_flag::RST,                 // ABORT
        7 | 8 | 14 => tcp_flag::FIN,        // SHUTDOWN, SHUTDOWN ACK, SHUTDOWN COMPLETE
        _ => tcp_flag::ACK,
    }
}

/// The two ports, which are the first word of all headers.
#[inline(always)]
fn ports(word: u32) -> (Be16, Be16) {
    let [a, b, c, d] = word.to_ne_bytes();
    (Be16::from_bytes([a, b]), Be16::from_bytes([c, d]))
}
