//! The packet that an ICMP error quotes: its headers, cut short somewhere behind the ports (RFC 792 promises 8 bytes of
//! payload, RFC 1812 section 4.3.2.3 as many as fit).

use crate::abi::{FlowKey, protocol};
use crate::addr::Address;
use crate::be::Be16;
use crate::csum::Delta;
use crate::ip::{Ip, address_delta};
use crate::packet::Packet;
use crate::rewrite::Translation;
use crate::transport::Transport;

/// How much of the transport header every error quotes.
const LEAST: usize = 8;

/// A TCP, UDP or SCTP packet in a quote.
pub(super) struct Quote<A> {
    /// Its 5-tuple.
    pub(super) key: FlowKey<A>,
    /// Offset of its IP header.
    network: usize,
    /// Offset of its transport header.
    payload: usize,
    /// Offset of its transport checksum, if that much is quoted.
    checksum: Option<usize>,
}

impl<A: Address> Quote<A> {
    /// Reads the quote between `offset` and `end`; `None` if it has no ports.
    #[inline(always)]
    pub(super) fn parse<F: Ip<Addr = A>, P: Packet>(packet: &P, offset: usize, end: usize) -> Option<Self> {
        let ip = F::header(packet, offset).ok()?;
        if ip.later || ip.refused.is_some() || !protocol::is_balanced(ip.protocol) {
            return None;
        }
        let payload = offset + ip.header_length;
        if payload + LEAST > end {
            return None;
        }
        let [source_port, destination_port] =
            packet.halves::<2>(payload)?.map(|raw| Be16::from_bytes(raw.to_ne_bytes()));
        let key = FlowKey {
            source: ip.source,
            destination: ip.destination,
            source_port,
            destination_port,
            protocol: u32::from(ip.protocol),
        };
        let checksum = payload + Transport::checksum_offset(ip.protocol);
        // that of SCTP covers no address, and its ports stay
        let changes = ip.protocol != protocol::SCTP && checksum + 2 <= end;
        Some(Self { key, network: offset, payload, checksum: changes.then_some(checksum) })
    }

    /// The tuple of packets the other way.
    #[inline(always)]
    pub(super) fn reversed(&self) -> FlowKey<A> {
        FlowKey {
            source: self.key.destination,
            destination: self.key.source,
            source_port: self.key.destination_port,
            destination_port: self.key.source_port,
            protocol: self.key.protocol,
        }
    }

    /// Rewrites addresses, ports and what is quoted of the checksums. Gives the change of the sum over the quote.
    ///
    /// The quote is payload to the kernel, so its checksums are changed by arithmetic on tc too.
    #[inline(always)]
    pub(super) fn translate<F: Ip<Addr = A>, P: Packet>(&self, packet: &mut P, to: &Translation<A>) -> Option<Delta> {
        let (source, destination) = F::addresses(packet, self.network)?;
        let addresses = address_delta(Delta::NONE, source, to.source);
        let addresses = address_delta(addresses, destination, to.destination);
        let [source_port, destination_port] = packet.halves::<2>(self.payload)?;
        let ports =
            Delta::NONE.half(source_port, to.source_port.raw()).half(destination_port, to.destination_port.raw());
        F::set_addresses(packet, self.network, to.source, to.destination)?;
        packet.set_halves(self.payload, [to.source_port.raw(), to.destination_port.raw()])?;
        let mut all = addresses.plus(ports);
        if let Some(offset) = F::CHECKSUM {
            all = all.plus(change(packet, self.network + offset, addresses, false)?);
        }
        if let Some(offset) = self.checksum {
            let udp = self.key.protocol == u32::from(protocol::UDP);
            all = all.plus(change(packet, offset, addresses.plus(ports), udp)?);
        }
        Some(all)
    }
}

/// Brings a checksum up to date and gives the change of the field itself. `udp`: zero means "none" and stays zero.
#[inline(always)]
fn change<P: Packet>(packet: &mut P, offset: usize, delta: Delta, udp: bool) -> Option<Delta> {
    let [old] = packet.halves::<1>(offset)?;
    if udp && old == 0 {
        return Some(Delta::NONE); // RFC 768: the sender made no checksum
    }
    let new = delta.apply(old);
    let new = if udp && new == 0 { 0xffff } else { new };
    packet.set_halves(offset, [new])?;
    Some(Delta::NONE.half(old, new))
}
