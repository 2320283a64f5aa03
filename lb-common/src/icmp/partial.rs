//! Transport checksums that are left to a device, in packets that an ICMP error is made of on tc.
//!
//! The kernel remembers where such a checksum stands and what it covers: from its header to the end of the packet. It goes
//! on doing so when the packet has become an error that quotes it, and completes the checksum there (`skb_checksum_help`)
//! behind the back of the checksum of ICMP, which covers the quote. So that must be made for what will stand there.
//!
//! No helper tells whether a checksum is partial. But then the field holds the sum of the pseudo header (RFC 793, RFC 768,
//! RFC 8200 section 8.1), not complemented, as a complete one does once in 65,536 packets.

use crate::abi::protocol;
use crate::addr::Address;
use crate::csum::fold;
use crate::packet::Packet;
use crate::transport::Transport;

/// What stands in a quote when the error leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// What stands there now.
    AsIs,
    /// The checksum will be completed: from the transport header on, the sum will be the complement of this field.
    Partial(u16),
    /// A CRC will be written, of SCTP, which no sum can foresee.
    Unforeseen,
}

/// How the packet's transport header will be left; `length` are its bytes with the payload, `transport` is where it begins.
#[inline(always)]
pub(crate) fn left<A: Address, P: Packet>(
    packet: &P,
    transport: usize,
    (source, destination): (A, A),
    ip_protocol: u8,
    length: usize,
) -> Left {
    if ip_protocol == protocol::SCTP {
        let crc = packet.words::<1>(transport + 8);
        return if crc == Some([0]) { Left::Unforeseen } else { Left::AsIs };
    }
    if !protocol::is_balanced(ip_protocol) {
        return Left::AsIs;
    }
    let field = packet.halves::<1>(transport + Transport::checksum_offset(ip_protocol));
    let pseudo = fold(pseudo_header(source, destination, length as u32, ip_protocol));
    match field {
        Some([field]) if field == pseudo => Left::Partial(field),
        _ => Left::AsIs,
    }
}

/// The sum over what a checksum covers beside the message (RFC 793, section 3.1; RFC 8200, section 8.1).
#[inline(always)]
pub(super) fn pseudo_header<A: Address>(source: A, destination: A, length: u32, protocol: u8) -> u64 {
    let words = [source.words(), destination.words()];
    let mut sum = u64::from(length.to_be()) + u64::from(u32::from(protocol).to_be());
    let mut at = 0;
    while at < 4 {
        sum += u64::from(words[0][at]) + u64::from(words[1][at]);
        at += 1;
    }
    sum
}
