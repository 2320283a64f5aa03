//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers: all that differs between the families.

use crate::abi::setting;
use crate::addr::{Addr6, Address, Family, V4, V6};
use crate::be::Be32;
use crate::csum::{Delta, fold};
use crate::drop_reason::DropReason;
use crate::extension::Chain;
use crate::packet::Packet;

/// What the pipeline needs of an IP header.
#[derive(Clone, Copy, Debug)]
pub struct IpInfo<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Part of a fragmented datagram.
    pub fragment: bool,
    /// A part of it that is not the first, and so begins behind the ports.
    pub later: bool,
    /// What the parts of a datagram have in common: for IPv4 the identification in bits 16–31 and the protocol in bits 0–15,
    /// for IPv6 the identification.
    pub id: u32,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Why it is not forwarded if it is for a VIP, whatever it carries.
    pub refused: Option<DropReason>,
    /// Bytes of the header with its options, or its extension headers.
    pub header_length: usize,
    /// Bytes of the packet, header included, as the header states them.
    pub total_length: usize,
}

impl<A> IpInfo<A> {
    /// The same with other addresses, or with none: `()`.
    #[inline(always)]
    pub fn with<B>(&self, source: B, destination: B) -> IpInfo<B> {
        let Self { protocol, fragment, later, id, ttl, refused, header_length, total_length, .. } = *self;
        IpInfo { source, destination, protocol, fragment, later, id, ttl, refused, header_length, total_length }
    }
}

/// How to read and change the IP header of a family.
pub trait Ip: Family {
    /// Offset of the header's own checksum, where it has one.
    const CHECKSUM: Option<usize>;

    /// UDP must have a checksum (RFC 8200, section 8.1); with IPv4, zero says that it has none (RFC 768).
    const UDP_IS_CHECKED: bool;

    /// How the family's ICMP differs.
    const ICMP: IcmpNumbers;

    /// Protocol number of the family carried in itself (RFC 2003, RFC 2473).
    const TUNNEL: u8;

    /// The family's bit in [`setting::DENY`].
    const DENY: u64;

    /// What an outer header, an inner one and one of TCP take of an MTU.
    const TUNNEL_OVERHEAD: usize;

    /// Reads the header at `offset`, whatever is left of the packet behind it; an error if its lengths contradict each
    /// other.
    fn header<P: Packet>(packet: &P, offset: usize) -> Result<IpInfo<Self::Addr>, DropReason>;

    /// Reads the header of a packet that must be whole.
    #[inline(always)]
    fn parse<P: Packet>(packet: &P, offset: usize) -> Result<IpInfo<Self::Addr>, DropReason> {
        let ip = Self::header(packet, offset)?;
        if packet.reaches(offset + ip.total_length) { Ok(ip) } else { Err(DropReason::TruncatedIp) }
    }

    /// The header's own checksum is right.
    fn checksum_is_right<P: Packet>(packet: &P, offset: usize, header_length: usize) -> bool;

    /// The addresses of the header at `offset`: source and destination.
    fn addresses<P: Packet>(packet: &P, offset: usize) -> Option<(Self::Addr, Self::Addr)>;

    /// Replaces the addresses and nothing else.
    fn set_addresses<P: Packet>(
        packet: &mut P,
        offset: usize,
        source: Self::Addr,
        destination: Self::Addr,
    ) -> Option<()>;

    /// Replaces the addresses and the time to live, and keeps the header's checksum right.
    fn rewrite<P: Packet>(
        packet: &mut P,
        offset: usize,
        old: &IpInfo<Self::Addr>,
        source: Self::Addr,
        destination: Self::Addr,
        ttl: u8,
    ) -> Option<()>;

    /// Writes a header without options for a packet of our own: its protocol, and its bytes behind the header.
    fn write_header<P: Packet>(
        packet: &mut P,
        offset: usize,
        source: Self::Addr,
        destination: Self::Addr,
        payload: (u8, usize),
    ) -> Option<()>;

    /// An address that a client can have.
    fn is_unicast(address: Self::Addr) -> bool;

    /// The address that the settings give SNAT for the family ([`crate::abi::setting::SNAT_ADDRESS4`] and the like).
    fn from_settings(word: impl Fn(u32) -> u64) -> Option<Self::Addr>;
}

/// The numbers of a family's ICMP (RFC 792, RFC 4443).
#[derive(Clone, Copy, Debug)]
pub struct IcmpNumbers {
    /// Protocol of the IP header.
    pub protocol: u8,
    /// Type of an echo request.
    pub echo_request: u8,
    /// Type of an echo reply.
    pub echo_reply: u8,
    /// Types of the errors that quote the packet they are about, as bits.
    pub errors: u16,
    /// The checksum covers the addresses of the IP header.
    pub covers_addresses: bool,
    /// Bytes of the IP header before it, without options.
    pub ip_header: usize,
    /// Type and code of the error that the time to live ran out on the way.
    pub time_exceeded: [u8; 2],
    /// Type and code of the error that nobody has the port.
    pub port_unreachable: [u8; 2],
    /// Type and code of the error that a packet is too big; the MTU stands in the second word.
    pub too_big: [u8; 2],
    /// How much of a packet an error quotes at most, in bytes; a multiple of four.
    pub quote: usize,
    /// What an error tells where the MTU is not known.
    pub unknown_mtu: u32,
}

impl IcmpNumbers {
    /// A type that quotes a packet.
    #[inline(always)]
    pub const fn is_error(&self, kind: u8) -> bool {
        kind < 16 && self.errors & (1 << kind) != 0
    }
}

/// The change of a sum over an address.
#[inline(always)]
pub fn address_delta<A: Address>(delta: Delta, from: A, to: A) -> Delta {
    let ([a, b], [c, d]) = (from.longs(), to.longs());
    if A::WORDS == 1 { delta.word(a as u32, c as u32) } else { delta.long(a, c).long(b, d) }
}

/// Time to live of a packet that begins here (RFC 1700).
const FRESH_TTL: u8 = 64;
/// Offset of the checksum in the IPv4 header.
const V4_CHECKSUM: usize = 10;

impl Ip for V4 {
    const CHECKSUM: Option<usize> = Some(V4_CHECKSUM);
    const UDP_IS_CHECKED: bool = false;
    const DENY: u64 = 1;
    const TUNNEL: u8 = 4;
    const TUNNEL_OVERHEAD: usize = 20 + 20 + 20;

    const ICMP: IcmpNumbers = IcmpNumbers {
        protocol: 1,
        echo_request: 8,
        echo_reply: 0,
        // destination unreachable, time exceeded, parameter problem
        errors: 1 << 3 | 1 << 11 | 1 << 12,
        covers_addresses: false,
        ip_header: 20,
        time_exceeded: [11, 0],
        port_unreachable: [3, 3],
        too_big: [3, 4],
        // the error is not to exceed 576 bytes (RFC 1812, section 4.3.2.3)
        quote: 576 - 20 - 8,
        // as routers did before RFC 1191
        unknown_mtu: 0,
    };

    #[inline(always)]
    fn header<P: Packet>(packet: &P, offset: usize) -> Result<IpInfo<Be32>, DropReason> {
        let words = packet.words::<5>(offset).ok_or(DropReason::TruncatedIp)?;
        let [version_ihl, _, length_high, length_low] = words[0].to_ne_bytes();
        let [id_high, id_low, flags, fragment_low] = words[1].to_ne_bytes();
        let [ttl, protocol, ..] = words[2].to_ne_bytes();
        let header_length = usize::from(version_ihl & 0xf) * 4;
        let total_length = v4_length(packet, offset, u16::from_be_bytes([length_high, length_low]));
        if version_ihl >> 4 != 4 || header_length < 20 || total_length < header_length {
            return Err(DropReason::BadIpHeader);
        }
        Ok(IpInfo {
            source: Be32::from_bytes(words[3].to_ne_bytes()),
            destination: Be32::from_bytes(words[4].to_ne_bytes()),
            protocol,
            // "more fragments", or an offset
            fragment: flags & 0x3f != 0 || fragment_low != 0,
            later: flags & 0x1f != 0 || fragment_low != 0,
            id: u32::from(u16::from_be_bytes([id_high, id_low])) << 16 | u32::from(protocol),
            ttl,
            refused: None,
            header_length,
            total_length,
        })
    }

    #[inline(always)]
    fn checksum_is_right<P: Packet>(packet: &P, offset: usize, header_length: usize) -> bool {
        let Some(words) = packet.words::<5>(offset) else { return false };
        let mut sum = 0u64;
        for word in words {
            sum += u64::from(word);
        }
        let mut at = 20;
        while at < header_length && at < 60 {
            let Some([word]) = packet.words::<1>(offset + at) else { return false };
            sum += u64::from(word);
            at += 4;
        }
        fold(sum) == 0xffff
    }

    #[inline(always)]
    fn addresses<P: Packet>(packet: &P, offset: usize) -> Option<(Be32, Be32)> {
        let [source, destination] = packet.words::<2>(offset + 12)?;
        Some((Be32::from_bytes(source.to_ne_bytes()), Be32::from_bytes(destination.to_ne_bytes())))
    }

    #[inline(always)]
    fn set_addresses<P: Packet>(packet: &mut P, offset: usize, source: Be32, destination: Be32) -> Option<()> {
        packet.set_words(offset + 12, [source.raw(), destination.raw()])
    }

    #[inline(always)]
    fn rewrite<P: Packet>(
        packet: &mut P,
        offset: usize,
        old: &IpInfo<Be32>,
        source: Be32,
        destination: Be32,
        ttl: u8,
    ) -> Option<()> {
        let mut delta = address_delta(Delta::NONE, old.source, source);
        delta = address_delta(delta, old.destination, destination);
        if ttl != old.ttl {
            let from = u16::from_ne_bytes([old.ttl, old.protocol]);
            let to = u16::from_ne_bytes([ttl, old.protocol]);
            delta = delta.half(from, to);
            packet.set_halves(offset + 8, [to])?;
        }
        Self::set_addresses(packet, offset, source, destination)?;
        packet.update_ip_checksum(offset + V4_CHECKSUM, delta)
    }

    #[inline(always)]
    fn write_header<P: Packet>(
        packet: &mut P,
        offset: usize,
        source: Be32,
        destination: Be32,
        (protocol, payload): (u8, usize),
    ) -> Option<()> {
        let [high, low] = ((20 + payload) as u16).to_be_bytes();
        // precedence "internetwork control" (RFC 1812, section 4.3.2.5); neither identification nor flags
        let first = u32::from_ne_bytes([0x45, 0xc0, high, low]);
        let third = u32::from_ne_bytes([FRESH_TTL, protocol, 0, 0]);
        packet.set_words(offset, [first, 0, third, source.raw(), destination.raw()])?;
        let sum = u64::from(first) + u64::from(third) + u64::from(source.raw()) + u64::from(destination.raw());
        packet.set_halves(offset + V4_CHECKSUM, [!fold(sum)])
    }

    #[inline(always)]
    fn is_unicast(address: Be32) -> bool {
        let [first, ..] = address.bytes();
        // RFC 1122, section 3.2.1.3: this network, loopback, multicast, reserved and broadcast
        first != 0 && first != 127 && first < 224
    }

    #[inline(always)]
    fn from_settings(word: impl Fn(u32) -> u64) -> Option<Be32> {
        let word = word(setting::SNAT_ADDRESS4);
        (word != 0).then(|| Be32::from_bytes((word as u32).to_ne_bytes()))
    }
}

/// The length of the IPv4 packet at `offset`. One that offload has joined to more than the field can say has 0 in it, which
/// tc sees (BIG TCP, since 6.3).
#[inline(always)]
fn v4_length<P: Packet>(packet: &P, offset: usize, stated: u16) -> usize {
    if stated != 0 {
        return usize::from(stated);
    }
    let there = packet.len() - offset;
    if there > usize::from(u16::MAX) { there } else { 0 }
}

impl Ip for V6 {
    const CHECKSUM: Option<usize> = None;
    const UDP_IS_CHECKED: bool = true;
    const DENY: u64 = 2;
    const TUNNEL: u8 = 41;
    const TUNNEL_OVERHEAD: usize = 40 + 40 + 20;

    const ICMP: IcmpNumbers = IcmpNumbers {
        protocol: 58,
        echo_request: 128,
        echo_reply: 129,
        // destination unreachable, packet too big, time exceeded, parameter problem
        errors: 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4,
        covers_addresses: true,
        ip_header: 40,
        time_exceeded: [3, 0],
        port_unreachable: [1, 4],
        too_big: [2, 0],
        // the error is not to exceed the least MTU (RFC 4443, section 2.4 (c))
        quote: 1_280 - 40 - 8,
        unknown_mtu: 1_280,
    };

    #[inline(always)]
    fn header<P: Packet>(packet: &P, offset: usize) -> Result<IpInfo<Addr6>, DropReason> {
        let [first, second] = packet.words::<2>(offset).ok_or(DropReason::TruncatedIp)?;
        let [a, b, c, d] = packet.longs::<4>(offset + 8).ok_or(DropReason::TruncatedIp)?;
        let [version, ..] = first.to_ne_bytes();
        let [length_high, length_low, next, ttl] = second.to_ne_bytes();
        if version >> 4 != 6 {
            return Err(DropReason::BadIpHeader);
        }
        let total_length = v6_length(packet, offset, u16::from_be_bytes([length_high, length_low]));
        let chain = Chain::walk(packet, offset, next);
        Ok(IpInfo {
            source: Addr6::from_raw([a, b]),
            destination: Addr6::from_raw([c, d]),
            protocol: chain.protocol(),
            fragment: chain.is_fragment(),
            later: chain.is_later(),
            id: chain.id(),
            ttl,
            refused: chain.refusal(total_length),
            header_length: chain.length(),
            total_length,
        })
    }

    #[inline(always)]
    fn checksum_is_right<P: Packet>(_packet: &P, _offset: usize, _header_length: usize) -> bool {
        true // RFC 8200 has none
    }

    #[inline(always)]
    fn addresses<P: Packet>(packet: &P, offset: usize) -> Option<(Addr6, Addr6)> {
        let [a, b, c, d] = packet.longs::<4>(offset + 8)?;
        Some((Addr6::from_raw([a, b]), Addr6::from_raw([c, d])))
    }

    #[inline(always)]
    fn set_addresses<P: Packet>(packet: &mut P, offset: usize, source: Addr6, destination: Addr6) -> Option<()> {
        let ([a, b], [c, d]) = (source.raw(), destination.raw());
        packet.set_longs(offset + 8, [a, b, c, d])
    }

    #[inline(always)]
    fn rewrite<P: Packet>(
        packet: &mut P,
        offset: usize,
        old: &IpInfo<Addr6>,
        source: Addr6,
        destination: Addr6,
        ttl: u8,
    ) -> Option<()> {
        if ttl != old.ttl {
            let [half] = packet.halves::<1>(offset + 6)?;
            let [next, _] = half.to_ne_bytes();
            packet.set_halves(offset + 6, [u16::from_ne_bytes([next, ttl])])?;
        }
        Self::set_addresses(packet, offset, source, destination)
    }

    #[inline(always)]
    fn write_header<P: Packet>(
        packet: &mut P,
        offset: usize,
        source: Addr6,
        destination: Addr6,
        (protocol, payload): (u8, usize),
    ) -> Option<()> {
        let [high, low] = (payload as u16).to_be_bytes();
        let second = u32::from_ne_bytes([high, low, protocol, FRESH_TTL]);
        packet.set_words(offset, [u32::from_ne_bytes([0x60, 0, 0, 0]), second])?;
        Self::set_addresses(packet, offset, source, destination)
    }

    #[inline(always)]
    fn is_unicast(address: Addr6) -> bool {
        let [high, low] = address.raw();
        // RFC 4291, section 2.4: unspecified, loopback, multicast
        let is_low = high == 0 && u64::from_be(low) <= 1;
        u64::from_be(high) >> 56 != 0xff && !is_low
    }

    #[inline(always)]
    fn from_settings(word: impl Fn(u32) -> u64) -> Option<Addr6> {
        let first = word(setting::SNAT_ADDRESS6);
        let second = word(setting::SNAT_ADDRESS6_LOW);
        // the first half once more: what changed meanwhile may be half old, half new
        if first == 0 || first != word(setting::SNAT_ADDRESS6) {
            return None;
        }
        Some(Addr6::from_raw([first, second]))
    }
}

/// The length of the IPv6 packet at `offset`. One that offload has joined to more than the field can say has 0 in it (BIG TCP,
/// since 5.19), as a jumbogram does (RFC 2675).
#[inline(always)]
fn v6_length<P: Packet>(packet: &P, offset: usize, stated: u16) -> usize {
    // Asked for only where it counts, which under XDP costs a call. Forgotten where it does not: the verifier would walk on for it.
    let there = if stated == 0 { packet.len() - offset } else { packet.forget(0) as usize };
    if stated == 0 && there > usize::from(u16::MAX) { there } else { 40 + usize::from(stated) }
}
