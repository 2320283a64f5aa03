//! "Fragmentation needed" (RFC 792) and "packet too big" (RFC 4443) to the sender of a packet that does not fit with an
//! outer header.

use core::hint::black_box;

use crate::abi::Stat;
use crate::drop_reason::DropReason;
use crate::ethernet::{Addresses, HEADER};
use crate::icmp::{Left, left, may_send};
use crate::packet::Packet;
use crate::parse::Parsed;
use crate::verdict::{Verdict, too_big as refused_as_too_big};

use super::{Nodes, Room, Tunnel};

/// Bytes of the ICMP header.
pub(super) const ICMP_HEADER: usize = 8;
/// How much of the packet an error quotes: the headers of every protocol that is balanced, with all options.
pub(super) const QUOTE: usize = 128;

/// Turns the packet into an error to its sender, which comes from the VIP: the client knows no other address. Where it
/// cannot be (a later fragment, RFC 1122 section 3.2.2; too many errors lately) it is dropped alone. A packet that may be
/// fragmented gets its answer too: its sender can do it, and we cannot. Where there are tags between the headers, which
/// `bpf_skb_adjust_room` does not step over, the node says it as any router would, under its own address and with the tags.
#[inline(always)]
pub(super) fn too_big<F: Tunnel, P: Room, L: Nodes<F>>(
    packet: &mut P,
    parsed: &Parsed<F::Addr>,
    lookup: &L,
    mtu: usize,
) -> Verdict {
    if parsed.ip.later {
        return Verdict::Drop(DropReason::TooBig);
    }
    if parsed.is_tagged() {
        return Verdict::Refuse(refused_as_too_big(mtu as u32));
    }
    let left = match lookup.resolves() {
        true => {
            let ends = (parsed.key.source, parsed.key.destination);
            let transport = parsed.network + parsed.ip.header_length;
            left(packet, transport, ends, parsed.ip.protocol, parsed.ip.total_length - parsed.ip.header_length)
        }
        false => Left::AsIs, // XDP sees what came over a wire
    };
    if left == Left::Unforeseen || !may_send(lookup) {
        return Verdict::Drop(DropReason::TooBig);
    }
    lookup.count_drop(DropReason::TooBig, packet.len());
    match answer::<F, P>(packet, parsed, left, mtu) {
        Some(()) => {
            lookup.count(Stat::ErrorsSent);
            Verdict::Answer
        }
        None => Verdict::Drop(DropReason::KernelRefused),
    }
}

#[inline(always)]
fn answer<F: Tunnel, P: Room>(packet: &mut P, parsed: &Parsed<F::Addr>, left: Left, mtu: usize) -> Option<()> {
    let quote = if parsed.ip.total_length < QUOTE { parsed.ip.total_length & !3 } else { QUOTE };
    Addresses::of(packet)?.reversed().write(packet)?;
    packet.recast(HEADER + quote, F::HEADER + ICMP_HEADER)?;
    let at = HEADER + F::HEADER + ICMP_HEADER;
    let covered = match left {
        Left::Partial(field) => sum(packet, at, parsed.ip.header_length)? + u64::from(!field),
        Left::AsIs | Left::Unforeseen => sum(packet, at, quote)?,
    };
    F::put_too_big(packet, HEADER, (parsed.key.destination, parsed.key.source), mtu as u16, (quote, covered))
}

/// The sum over the `length` bytes at `offset`, whole words and no more than a quote has.
#[inline(always)]
pub(super) fn sum<P: Packet>(packet: &P, offset: usize, length: usize) -> Option<u64> {
    let (mut sum, mut at, mut step) = (0u64, 0, 0);
    while step < QUOTE / 4 && at < length {
        let [word] = packet.words::<1>(offset + at)?;
        sum += u64::from(word);
        at += 4;
        // where LLVM does not see it, which would else leave out the first bound: a loop without it is one without end to
        // kernels such as 6.1, to which states that differ in a place only are the same
        step = black_box(step + 1);
    }
    Some(sum)
}
