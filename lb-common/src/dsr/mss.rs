//! The largest segment that a client may send (RFC 9293, section 3.7.1): lowered where its packets are carried in a tunnel.

use crate::csum::Delta;
use crate::packet::Packet;

/// Bytes of a TCP header without options.
const HEADER: usize = 20;
/// Where the checksum stands in it.
const CHECKSUM: usize = 16;
/// How many options are looked at: MSS is the first that stacks send; ten fill the header with the smallest of them.
const OPTIONS: usize = 10;
/// Option kinds (RFC 9293, section 3.2).
const END: u8 = 0;
const NOTHING: u8 = 1;
const MSS: u8 = 2;

/// Lowers the MSS option of the TCP segment at `offset` to `limit`, if it has one that is larger. True if it did.
#[inline(always)]
pub fn clamp<P: Packet>(packet: &mut P, offset: usize, limit: u16) -> bool {
    let Some(place) = find(packet, offset) else { return false };
    lower(packet, offset, place, limit).unwrap_or(false)
}

/// Where the value of the option stands.
#[inline(always)]
fn find<P: Packet>(packet: &P, offset: usize) -> Option<usize> {
    let [word] = packet.halves::<1>(offset + 12)?;
    let end = usize::from(word.to_ne_bytes()[0] >> 4) * 4;
    let (mut at, mut seen) = (HEADER, 0);
    while seen < OPTIONS && at + 4 <= end {
        let [word] = packet.halves::<1>(offset + at)?;
        let [kind, length] = word.to_ne_bytes();
        if kind == MSS && length == 4 {
            return Some(at + 2);
        }
        if kind == END || (kind != NOTHING && length < 2) {
            return None;
        }
        at += if kind == NOTHING { 1 } else { usize::from(length) };
        seen += 1;
    }
    None
}

#[inline(always)]
fn lower<P: Packet>(packet: &mut P, offset: usize, place: usize, limit: u16) -> Option<bool> {
    let [old] = packet.halves::<1>(offset + place)?;
    if u16::from_be(old) <= limit {
        return Some(false);
    }
    let new = limit.to_be();
    packet.set_halves(offset + place, [new])?;
    // a word that straddles two of the sum counts with its bytes swapped (RFC 1071, section 2 (B))
    let odd = !place.is_multiple_of(2);
    let (from, to) = if odd { (old.swap_bytes(), new.swap_bytes()) } else { (old, new) };
    packet.update_transport_checksum(offset + CHECKSUM, Delta::NONE, Delta::NONE.half(from, to), false)?;
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Bytes;
    use std::vec::Vec;

    /// A TCP header with these options and a right checksum over itself alone.
    fn segment(options: &[u8]) -> Bytes {
        let mut bytes = [0x1f, 0x90, 0x9c, 0x40, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0x12, 0xfa, 0xf0, 0, 0, 0, 0].to_vec();
        bytes.extend(options);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes[12] = (bytes.len() as u8 / 4) << 4;
        let sum = sum(&bytes);
        bytes[16..18].copy_from_slice(&(!sum).to_be_bytes());
        Bytes(bytes)
    }

    fn sum(bytes: &[u8]) -> u16 {
        let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    fn clamped(options: &[u8], limit: u16) -> (bool, Vec<u8>) {
        let mut packet = segment(options);
        let changed = clamp(&mut packet, 0, limit);
        assert_eq!(sum(&packet.0), 0xffff, "the checksum of {options:02x?}");
        (changed, packet.0[20..20 + options.len()].to_vec())
    }

    #[test]
    fn a_larger_mss_is_lowered_wherever_it_stands() {
        assert_eq!(clamped(&[2, 4, 5, 180], 1440), (true, [2, 4, 5, 160].to_vec()));
        let linux = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7];
        assert_eq!(clamped(&linux, 1440).1[..4], [2, 4, 5, 160]);
        for padding in 0..6 {
            let options = [&[1; 6][..padding], &[2, 4, 5, 180]].concat();
            let (changed, out) = clamped(&options, 1440);
            assert!(changed && out[padding..] == [2, 4, 5, 160], "behind {padding} bytes");
        }
    }

    #[test]
    fn what_fits_or_is_not_there_stays() {
        for options in [&[2, 4, 5, 160][..], &[2, 4, 1, 0], &[4, 2, 1, 1], &[], &[0, 0, 2, 4], &[1, 1, 2, 4]] {
            assert_eq!(clamped(options, 1440), (false, options.to_vec()));
        }
    }

    #[test]
    fn options_that_make_no_sense_end_the_search() {
        for options in [&[8, 0, 2, 4, 5, 180, 0, 0][..], &[8, 1, 2, 4, 5, 180, 0, 0], &[8, 60, 2, 4, 5, 180, 0, 0]] {
            assert_eq!(clamped(options, 1440), (false, options.to_vec()));
        }
        assert!(!clamp(&mut Bytes(Vec::new()), 0, 1440));
    }
}
