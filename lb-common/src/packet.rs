//! A packet as the pipeline sees it: bounded reads and writes of words, and the checksum operations.

use crate::csum::Delta;

/// A packet that starts with its Ethernet header.
///
/// Offsets are bytes from the start. Numbers are raw: the bytes as they stand in memory, so in network order. A read or
/// write outside the packet gives `None` and changes nothing.
pub trait Packet {
    /// Length in bytes, with everything beyond the first buffer.
    fn len(&self) -> usize;

    /// It has at least `end` bytes; cheaper than the length where it lies in one piece.
    #[inline(always)]
    fn reaches(&self, end: usize) -> bool {
        end <= self.len()
    }

    /// Cuts it to its first `keep` bytes and puts `room` bytes of any contents before them. After a failure it is of no use.
    fn reframe(&mut self, keep: usize, room: usize) -> Option<()>;

    /// Reads `N` 64-bit words.
    fn longs<const N: usize>(&self, offset: usize) -> Option<[u64; N]>;

    /// Reads `N` 32-bit words.
    fn words<const N: usize>(&self, offset: usize) -> Option<[u32; N]>;

    /// Reads `N` 16-bit words.
    fn halves<const N: usize>(&self, offset: usize) -> Option<[u16; N]>;

    /// Writes `N` 64-bit words.
    fn set_longs<const N: usize>(&mut self, offset: usize, longs: [u64; N]) -> Option<()>;

    /// Writes `N` 32-bit words.
    fn set_words<const N: usize>(&mut self, offset: usize, words: [u32; N]) -> Option<()>;

    /// Writes `N` 16-bit words.
    fn set_halves<const N: usize>(&mut self, offset: usize, halves: [u16; N]) -> Option<()>;

    /// Brings the IPv4 header checksum at `offset` up to date.
    fn update_ip_checksum(&mut self, offset: usize, delta: Delta) -> Option<()>;

    /// Brings a TCP or UDP checksum at `offset` up to date. Where the checksum is partial (tc with offloads), only
    /// addresses are in it, which is why the two deltas come apart. `udp`: zero means "none" and stays zero.
    fn update_transport_checksum(&mut self, offset: usize, addresses: Delta, ports: Delta, udp: bool) -> Option<()>;

    /// The same word, of which a verifier no longer knows how it came about: states that differ only in that become one.
    fn forget(&self, word: u64) -> u64 {
        word
    }

    /// True if there is nothing in it.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What [`Packet::update_ip_checksum`] does where checksums are complete: XDP and the host.
#[inline(always)]
pub fn update_ip_checksum<P: Packet>(packet: &mut P, offset: usize, delta: Delta) -> Option<()> {
    let [old] = packet.halves::<1>(offset)?;
    packet.set_halves(offset, [delta.apply(old)])
}

/// What [`Packet::update_transport_checksum`] does where checksums are complete: XDP and the host.
#[inline(always)]
pub fn update_transport_checksum<P: Packet>(
    packet: &mut P,
    offset: usize,
    addresses: Delta,
    ports: Delta,
    udp: bool,
) -> Option<()> {
    let [old] = packet.halves::<1>(offset)?;
    if udp && old == 0 {
        return Some(()); // RFC 768: the sender made no checksum
    }
    let new = addresses.plus(ports).apply(old);
    // RFC 768: a computed zero is sent as all ones
    let new = if udp && new == 0 { 0xffff } else { new };
    packet.set_halves(offset, [new])
}
