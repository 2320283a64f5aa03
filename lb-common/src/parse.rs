//! From bytes to a flow key: ours to look at, not ours, or malformed.

use crate::abi::{FlowKey, protocol};
use crate::drop_reason::DropReason;
use crate::ethernet;
use crate::ip::{Ip, IpInfo};
use crate::packet::Packet;
use crate::transport::Transport;

/// A TCP, UDP or SCTP packet, or a fragment of one, with the offsets that rewriting needs.
#[derive(Clone, Copy, Debug)]
pub struct Parsed<A> {
    /// The 5-tuple as the packet carries it.
    pub key: FlowKey<A>,
    /// The IP header, but for the addresses, which stand in the key.
    pub ip: IpInfo<()>,
    /// The ports and flags; none in a later fragment.
    pub transport: Transport,
    /// Offset of the IP header.
    pub network: usize,
    /// Offset of the transport header.
    pub payload: usize,
}

impl<A> Parsed<A> {
    /// There are 802.1Q tags between the headers.
    #[inline(always)]
    pub const fn is_tagged(&self) -> bool {
        self.network != ethernet::HEADER
    }
}

/// What a packet is to the pipeline.
#[derive(Clone, Copy, Debug)]
pub enum Kind<A> {
    /// TCP, UDP or SCTP. A later fragment has no ports yet: [`crate::fragment::join`].
    Flow(Parsed<A>),
    /// Part of a fragmented datagram of another protocol.
    Fragment,
    /// ICMP of the family, whole.
    Icmp(IpInfo<A>),
    /// Another protocol: its number.
    Other(u8),
    /// Headers that are not forwarded to a VIP: the address that the packet is for, and why.
    Refused(A, DropReason),
}

/// Reads the IP header at `network` and the transport header behind it.
#[inline(always)]
pub fn parse<F: Ip, P: Packet>(packet: &P, network: usize) -> Result<Kind<F::Addr>, DropReason> {
    let ip = F::parse(packet, network)?;
    if let Some(reason) = ip.refused {
        return Ok(Kind::Refused(ip.destination, reason));
    }
    if !protocol::is_balanced(ip.protocol) {
        return Ok(match ip.protocol {
            _ if ip.fragment => Kind::Fragment,
            number if number == F::ICMP.protocol => Kind::Icmp(ip),
            number => Kind::Other(number),
        });
    }
    let payload = network + ip.header_length;
    let transport = if ip.later {
        Transport::none()
    } else {
        Transport::parse(packet, ip.protocol, payload, ip.total_length - ip.header_length, ip.fragment)?
    };
    let key = FlowKey {
        source: ip.source,
        destination: ip.destination,
        source_port: transport.source_port,
        destination_port: transport.destination_port,
        protocol: u32::from(ip.protocol),
    };
    Ok(Kind::Flow(Parsed { key, ip: ip.with((), ()), transport, network, payload }))
}
