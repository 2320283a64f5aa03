//! The outer header of IPv4 in IPv4 (RFC 2003) and IPv6 in IPv6 (RFC 2473): written, and told from others.

use crate::abi::setting;
use crate::addr::{Addr6, V4, V6};
use crate::be::Be32;
use crate::csum::{Delta, fold};
use crate::ip::Ip;
use crate::packet::Packet;

use super::too_big::ICMP_HEADER;

/// Time to live of the outer header (RFC 1700); the inner one counts the node as the router that it is.
const TTL: u8 = 64;
/// IPv4, "don't fragment".
const DONT_FRAGMENT: u32 = 0x4000;
/// What the identification says of a packet that was sent on once. With "don't fragment" the field is free for the sender
/// (RFC 6864, section 4.1).
const AGAIN: u32 = 1;
/// First half word of the header of an error, which is internetwork control (RFC 1812, section 4.3.2.5).
const CONTROL: u32 = 0x45c0 << 16;
/// "Congestion experienced" (RFC 3168, section 5).
const CE: u8 = 3;

/// What an outer header says beside the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The node that sends it got it in a tunnel itself: it must not be sent on again.
    pub again: bool,
    /// The traffic class, of which the tunnel keeps congestion marks.
    pub class: u8,
}

/// A family that can be carried in itself.
pub trait Tunnel: Ip {
    /// Bytes of the outer header.
    const HEADER: usize;

    /// The least MTU that a host believes: RFC 791, section 3.2; RFC 8201, section 4.
    const LEAST_MTU: u32;

    /// Writes an outer header at `offset`, in front of a packet of `length` bytes. `hash` is the flow's.
    fn put_outer<P: Packet>(
        packet: &mut P,
        offset: usize,
        ends: (Self::Addr, Self::Addr),
        length: usize,
        mark: Mark,
        hash: u32,
    ) -> Option<()>;

    /// What the outer header at `offset` says.
    fn mark<P: Packet>(packet: &P, offset: usize) -> Option<Mark>;

    /// The traffic class of the header at `offset`.
    fn class<P: Packet>(packet: &P, offset: usize) -> Option<u8>;

    /// Replaces the traffic class and keeps the header's checksum right.
    fn set_class<P: Packet>(packet: &mut P, offset: usize, class: u8) -> Option<()>;

    /// Writes a whole ICMP error at `offset`, in front of the bytes that it quotes, whose number and sum are given: the packet
    /// is larger than `mtu`.
    fn put_too_big<P: Packet>(
        packet: &mut P,
        offset: usize,
        ends: (Self::Addr, Self::Addr),
        mtu: u16,
        quoted: (usize, u64),
    ) -> Option<()>;

    /// The address of this node among those that other nodes know ([`crate::abi::setting::NODE_ADDRESS4`] and the like).
    fn own(word: impl Fn(u32) -> u64) -> Option<Self::Addr>;
}

/// A congestion mark that a router put on the outer header goes to the inner one, if its ends understand it (RFC 6040,
/// section 4.2). What they do not understand was not marked either: the outer header has the inner one's class.
#[inline(always)]
pub(super) fn keep_congestion<F: Tunnel, P: Packet>(packet: &mut P, offset: usize, outer: u8) -> Option<()> {
    let inner = F::class(packet, offset)?;
    if outer & CE != CE || inner & CE == 0 || inner & CE == CE {
        return Some(());
    }
    F::set_class(packet, offset, inner | CE)
}

impl Tunnel for V4 {
    const HEADER: usize = 20;
    const LEAST_MTU: u32 = 68;

    #[inline(always)]
    fn put_outer<P: Packet>(
        packet: &mut P,
        offset: usize,
        ends: (Be32, Be32),
        length: usize,
        mark: Mark,
        _hash: u32,
    ) -> Option<()> {
        let id = if mark.again { AGAIN } else { 0 };
        let first = (0x4500 | u32::from(mark.class)) << 16;
        let words = header4(first, id, Self::TUNNEL, length + Self::HEADER, ends);
        packet.set_words(offset, words)
    }

    #[inline(always)]
    fn mark<P: Packet>(packet: &P, offset: usize) -> Option<Mark> {
        let [first, _, id] = packet.halves::<3>(offset)?;
        Some(Mark { again: u32::from(u16::from_be(id)) == AGAIN, class: u16::from_be(first) as u8 })
    }

    #[inline(always)]
    fn class<P: Packet>(packet: &P, offset: usize) -> Option<u8> {
        packet.halves::<1>(offset).map(|[first]| u16::from_be(first) as u8)
    }

    #[inline(always)]
    fn set_class<P: Packet>(packet: &mut P, offset: usize, class: u8) -> Option<()> {
        let [old] = packet.halves::<1>(offset)?;
        let new = (u16::from_be(old) & 0xff00 | u16::from(class)).to_be();
        packet.set_halves(offset, [new])?;
        packet.update_ip_checksum(offset + 10, Delta::NONE.half(old, new))
    }

    #[inline(always)]
    fn put_too_big<P: Packet>(
        packet: &mut P,
        offset: usize,
        ends: (Be32, Be32),
        mtu: u16,
        (quote, covered): (usize, u64),
    ) -> Option<()> {
        let [high, low] = mtu.to_be_bytes();
        let ip_header = header4(CONTROL, 0, V4::ICMP.protocol, Self::HEADER + ICMP_HEADER + quote, ends);
        let message = [u32::from_ne_bytes([3, 4, 0, 0]), u32::from_ne_bytes([0, 0, high, low])];
        packet.set_words(offset, ip_header)?;
        packet.set_words(offset + Self::HEADER, with_checksum(message, covered))
    }

    #[inline(always)]
    fn own(word: impl Fn(u32) -> u64) -> Option<Be32> {
        let word = word(setting::NODE_ADDRESS4);
        (word != 0).then(|| Be32::from_bytes((word as u32).to_ne_bytes()))
    }
}

/// An IPv4 header of `total` bytes with its payload; `first` holds the version, the length and the class.
#[inline(always)]
fn header4(first: u32, id: u32, ip_protocol: u8, total: usize, (source, destination): (Be32, Be32)) -> [u32; 5] {
    let mut words = [
        (first | (total as u32 & 0xffff)).to_be(),
        ((id << 16) | DONT_FRAGMENT).to_be(),
        u32::from_ne_bytes([TTL, ip_protocol, 0, 0]),
        source.raw(),
        destination.raw(),
    ];
    let mut sum = 0u64;
    for word in words {
        sum += u64::from(word);
    }
    let [high, low] = (!fold(sum)).to_ne_bytes();
    words[2] = u32::from_ne_bytes([TTL, ip_protocol, high, low]);
    words
}

impl Tunnel for V6 {
    const HEADER: usize = 40;
    const LEAST_MTU: u32 = 1_280;

    /// The flow label spreads flows over the paths between two nodes (RFC 6438); its lowest bit says "again".
    #[inline(always)]
    fn put_outer<P: Packet>(
        packet: &mut P,
        offset: usize,
        (source, destination): (Addr6, Addr6),
        length: usize,
        mark: Mark,
        hash: u32,
    ) -> Option<()> {
        let label = (hash & 0xf_fffe) | u32::from(mark.again);
        let first = (6 << 28) | (u32::from(mark.class) << 20) | label;
        let [high, low] = (length as u16).to_be_bytes();
        let ([a, b], [c, d]) = (source.raw(), destination.raw());
        packet.set_words(offset, [first.to_be(), u32::from_ne_bytes([high, low, Self::TUNNEL, TTL])])?;
        packet.set_longs(offset + 8, [a, b, c, d])
    }

    #[inline(always)]
    fn mark<P: Packet>(packet: &P, offset: usize) -> Option<Mark> {
        let [first] = packet.words::<1>(offset)?;
        let first = u32::from_be(first);
        Some(Mark { again: first & 1 != 0, class: (first >> 20) as u8 })
    }

    #[inline(always)]
    fn class<P: Packet>(packet: &P, offset: usize) -> Option<u8> {
        packet.words::<1>(offset).map(|[first]| (u32::from_be(first) >> 20) as u8)
    }

    #[inline(always)]
    fn set_class<P: Packet>(packet: &mut P, offset: usize, class: u8) -> Option<()> {
        let [first] = packet.words::<1>(offset)?;
        let new = u32::from_be(first) & 0xf00f_ffff | (u32::from(class) << 20);
        packet.set_words(offset, [new.to_be()])
    }

    #[inline(always)]
    fn put_too_big<P: Packet>(
        packet: &mut P,
        offset: usize,
        (source, destination): (Addr6, Addr6),
        mtu: u16,
        (quote, covered): (usize, u64),
    ) -> Option<()> {
        let length = (ICMP_HEADER + quote) as u16;
        let ([a, b], [c, d]) = (source.raw(), destination.raw());
        let ([high, low], [mtu_high, mtu_low]) = (length.to_be_bytes(), mtu.to_be_bytes());
        let message = [u32::from_ne_bytes([2, 0, 0, 0]), u32::from_ne_bytes([0, 0, mtu_high, mtu_low])];
        let mut covered = covered;
        // RFC 8200, section 8.1: the pseudo header
        covered += u64::from(u32::from_ne_bytes([0, 0, high, low]))
            + u64::from(u32::from_ne_bytes([0, 0, 0, V6::ICMP.protocol]));
        for long in [a, b, c, d] {
            covered += (long >> 32) + (long & 0xffff_ffff);
        }
        packet.set_words(offset, [(6u32 << 28).to_be(), u32::from_ne_bytes([high, low, V6::ICMP.protocol, TTL])])?;
        packet.set_longs(offset + 8, [a, b, c, d])?;
        packet.set_words(offset + Self::HEADER, with_checksum(message, covered))
    }

    #[inline(always)]
    fn own(word: impl Fn(u32) -> u64) -> Option<Addr6> {
        let (first, second) = (word(setting::NODE_ADDRESS6), word(setting::NODE_ADDRESS6_LOW));
        // the first half once more: what changed meanwhile may be half old, half new
        (first != 0 && first == word(setting::NODE_ADDRESS6)).then(|| Addr6::from_raw([first, second]))
    }
}

/// The header of an ICMP message with its checksum, where `covered` is the sum of all else that the checksum covers.
#[inline(always)]
fn with_checksum([first, second]: [u32; 2], covered: u64) -> [u32; 2] {
    let [a, b, ..] = first.to_ne_bytes();
    let [high, low] = (!fold(covered + u64::from(first) + u64::from(second))).to_ne_bytes();
    [u32::from_ne_bytes([a, b, high, low]), second]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Bytes;
    use std::vec;

    /// A header worked out by hand: 40 bytes of payload, class 0x28, from 10.0.0.1 to 10.0.0.2.
    #[test]
    fn an_outer_header_of_ipv4() {
        let mut packet = Bytes(vec![0; 20]);
        let ends = (Be32::from_bytes([10, 0, 0, 1]), Be32::from_bytes([10, 0, 0, 2]));
        V4::put_outer(&mut packet, 0, ends, 40, Mark { again: false, class: 0x28 }, 0).unwrap();
        // 4528 + 003c + 0000 + 4000 + 4004 + 0a00 + 0001 + 0a00 + 0002 = d96b, complement 2694
        let expected = [0x45, 0x28, 0, 60, 0, 0, 0x40, 0, 64, 4, 0x26, 0x94, 10, 0, 0, 1, 10, 0, 0, 2];
        assert_eq!(packet.0, expected);
        assert_eq!(V4::mark(&packet, 0), Some(Mark { again: false, class: 0x28 }));
    }

    #[test]
    fn what_was_sent_on_says_so() {
        for again in [false, true] {
            let mark = Mark { again, class: 0xb8 };
            let mut packet = Bytes(vec![0; 40]);
            V4::put_outer(&mut packet, 0, (Be32::new(1), Be32::new(2)), 100, mark, 0xffff_ffff).unwrap();
            assert_eq!(V4::mark(&packet, 0), Some(mark));
            assert!(V4::checksum_is_right(&packet, 0, 20));
            V6::put_outer(
                &mut packet,
                0,
                (Addr6::from_bytes([1; 16]), Addr6::from_bytes([2; 16])),
                100,
                mark,
                0xffff_ffff,
            )
            .unwrap();
            assert_eq!(V6::mark(&packet, 0), Some(mark));
            assert_eq!(packet.0[..8], [0x6b, 0x8f, 0xff, 0xfe | u8::from(again), 0, 100, 41, 64]);
        }
    }

    #[test]
    fn a_congestion_mark_reaches_the_inner_header_if_it_is_understood_there() {
        for (outer, inner, expected) in [(3, 1, 3), (3, 2, 3), (3, 0, 0), (1, 1, 1), (0, 2, 2), (3, 3, 3)] {
            let mut packet = Bytes(vec![0; 20]);
            let mark = Mark { again: false, class: 0xb8 | inner };
            V4::put_outer(&mut packet, 0, (Be32::new(1), Be32::new(2)), 100, mark, 0).unwrap();
            keep_congestion::<V4, _>(&mut packet, 0, outer).unwrap();
            assert_eq!(V4::class(&packet, 0), Some(0xb8 | expected), "{outer} over {inner}");
            assert!(V4::checksum_is_right(&packet, 0, 20));
            let mut packet = Bytes(vec![0; 40]);
            V6::put_outer(&mut packet, 0, (Addr6::from_bytes([1; 16]), Addr6::from_bytes([2; 16])), 100, mark, 0)
                .unwrap();
            keep_congestion::<V6, _>(&mut packet, 0, outer).unwrap();
            assert_eq!(V6::class(&packet, 0), Some(0xb8 | expected), "{outer} over {inner}");
        }
    }
}
