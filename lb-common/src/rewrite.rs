//! NAT as header edits and checksum changes.

use crate::abi::protocol;
use crate::be::Be16;
use crate::csum::Delta;
use crate::ip::{Ip, address_delta};
use crate::packet::Packet;
use crate::parse::Parsed;
use crate::transport::Transport;

/// Addresses and ports that a packet gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation<A> {
    /// Source address.
    pub source: A,
    /// Source port.
    pub source_port: Be16,
    /// Destination address.
    pub destination: A,
    /// Destination port.
    pub destination_port: Be16,
}

/// Rewrites addresses, ports and checksums; with `forward` also counts the time to live down, as a router does.
/// `None` if the packet refuses; it may then be half rewritten and must be dropped.
#[inline(always)]
pub fn translate<F: Ip, P: Packet>(
    packet: &mut P,
    parsed: &Parsed<F::Addr>,
    to: &Translation<F::Addr>,
    forward: bool,
) -> Option<()> {
    let from = &parsed.key;
    let ttl = if forward { parsed.ip.ttl - 1 } else { parsed.ip.ttl };
    let ip = parsed.ip.with(from.source, from.destination);
    F::rewrite(packet, parsed.network, &ip, to.source, to.destination, ttl)?;
    if parsed.ip.later {
        return Some(()); // ports and checksum stand in the first fragment
    }
    if parsed.ip.protocol == protocol::SCTP {
        // RFC 9260, section 6.8: CRC32c over the SCTP packet, with its ports and without any address
        return Some(());
    }
    packet.set_halves(parsed.payload, [to.source_port.raw(), to.destination_port.raw()])?;
    let addresses = address_delta(Delta::NONE, from.source, to.source);
    let addresses = address_delta(addresses, from.destination, to.destination);
    let ports = Delta::NONE
        .half(from.source_port.raw(), to.source_port.raw())
        .half(from.destination_port.raw(), to.destination_port.raw());
    let udp = parsed.ip.protocol == protocol::UDP;
    let offset = parsed.payload + Transport::checksum_offset(parsed.ip.protocol);
    packet.update_transport_checksum(offset, addresses, ports, udp)
}
