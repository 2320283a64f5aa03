//! What must hold of any packet and its verdict.

use lb_common::drop_reason::DropReason;
use lb_common::verdict::Verdict;

use super::Hook;
use crate::wire::{self, Datagram, ICMP, ICMP6, IP6IP6, IPIP, SCTP, TCP, UDP};

/// Panics if the verdict and what became of the bytes do not fit.
pub(super) fn judge(hook: Hook, before: &[u8], after: &[u8], verdict: Verdict) {
    let inside = opened(before, after);
    let before = inside.as_deref().unwrap_or(before);
    match verdict {
        Verdict::Drop(DropReason::KernelRefused) => panic!("on the host there is nothing to refuse"),
        Verdict::Pass
        | Verdict::Front
        | Verdict::HandOver(_)
        | Verdict::Drop(_)
        | Verdict::Refuse(_)
        | Verdict::Dsr(_)
        | Verdict::Choose(_)
        | Verdict::Cookie(_)
        | Verdict::Tunnel => {
            let unmarked = |frame: &[u8]| if inside.is_some() { without_class(frame) } else { frame.to_vec() };
            assert_eq!(unmarked(before), unmarked(after), "{verdict:?}, and yet the packet was touched");
        }
        Verdict::Deliver => forwarded(hook, before, after, 0),
        Verdict::Transmit(_) => forwarded(hook, before, after, 1),
        Verdict::Answer => {
            assert_right(hook, before, after);
        }
    }
}

/// The reset that a refused packet became is right; the ICMP error is, and quotes it as it came.
pub(super) fn told(before: &[u8], after: &[u8]) {
    let old = Datagram::of_frame(before).expect("only IP packets are refused");
    let new = Datagram::of_frame(after).expect("an error is an IP packet");
    assert!(new.header_sum_is_right() && new.sum_is_right(), "a checksum of the error is wrong");
    assert_eq!(new.destination, old.source, "it goes to the sender");
    if new.protocol == TCP {
        assert_eq!(old.protocol, TCP, "only a segment is reset");
        return;
    }
    let quote = &new.payload()[8..];
    assert!(old.bytes.starts_with(quote) && quote.len() >= 28, "it quotes another packet");
}

/// The frame inside a tunnel, if the outer header was taken off.
pub(super) fn opened(before: &[u8], after: &[u8]) -> Option<Vec<u8>> {
    let outer = Datagram::of_frame(before).filter(|outer| is_tunnel(outer) && before != after)?;
    let (_, network) = wire::network(before)?;
    let (header, rest) = (outer.transport, before.get(network..)?);
    Some([&before[..network], rest.get(header..)?].concat())
}

fn is_tunnel(seen: &Datagram<'_>) -> bool {
    matches!((seen.source.is_ipv4(), seen.protocol), (true, IPIP) | (false, IP6IP6))
}

/// The frame without what the end of a tunnel may change (RFC 6040): the traffic class, and the checksum over it.
fn without_class(frame: &[u8]) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    let Some((kind, network)) = wire::network(frame) else { return bytes };
    let cleared: &[usize] = if kind == 0x0800 { &[1, 10, 11] } else { &[0, 1] };
    for at in cleared {
        if let Some(byte) = bytes.get_mut(network + at) {
            *byte = 0;
        }
    }
    bytes
}

/// In a tunnel a packet is the one that came, a hop later, behind a right header and without tags.
fn wrapped(before: &[u8], outer: &Datagram<'_>) {
    let old = Datagram::of_frame(before).expect("only IP packets are sent");
    let new = Datagram::of(outer.payload()).expect("what is in a tunnel stays an IP packet");
    assert!(outer.header_sum_is_right() && outer.is_complete() && outer.ttl == 64, "the outer header is wrong");
    assert_eq!(old.ttl - 1, new.ttl, "the time to live");
    assert!(new.header_sum_is_right() || !old.header_sum_is_right(), "the checksum of the inner header is wrong now");
    assert_eq!((old.source, old.destination, old.payload()), (new.source, new.destination, new.payload()));
}

/// A packet that goes on is the one that came, with other addresses and ports.
fn forwarded(hook: Hook, before: &[u8], after: &[u8], hops: u8) {
    if let Some(outer) = Datagram::of_frame(after).filter(is_tunnel) {
        return wrapped(before, &outer);
    }
    if before.len() > after.len() {
        return narrowed(before, after);
    }
    assert_eq!(before.len(), after.len(), "the packet grew");
    let (old, new) = assert_right(hook, before, after);
    assert_eq!(old.ttl - hops, new.ttl, "the time to live");
    assert_eq!(
        (old.protocol, old.fragment, old.transport, old.bytes.len()),
        (new.protocol, new.fragment, new.transport, new.bytes.len()),
    );
    if matches!(old.protocol, TCP | UDP | SCTP) {
        same_payload(&old, &new);
    }
}

/// What a router said of a tunnel is told to the sender of what is inside, without the outer header.
fn narrowed(before: &[u8], after: &[u8]) {
    let old = Datagram::of_frame(before).expect("only IP packets are rewritten");
    let new = Datagram::of_frame(after).expect("what is rewritten stays an IP packet");
    assert!(matches!(old.protocol, ICMP | ICMP6) && old.protocol == new.protocol, "the packet shrank");
    assert!(new.header_sum_is_right(), "the checksum of the IP header is wrong");
    assert!(new.sum_is_right() || !old.sum_is_right(), "the checksum of the error is wrong now");
}

/// What left the node is right wherever what came in was.
fn assert_right<'a>(hook: Hook, before: &'a [u8], after: &'a [u8]) -> (Datagram<'a>, Datagram<'a>) {
    let old = Datagram::of_frame(before).expect("only IP packets are rewritten");
    let new = Datagram::of_frame(after).expect("what is rewritten stays an IP packet");
    assert!(old.header_sum_is_right() || hook == Hook::Egress, "a wrong IP header was forwarded");
    assert!(new.header_sum_is_right() || !old.header_sum_is_right(), "the checksum of the IP header is wrong now");
    let right = if new.is_complete() { new.sum_is_right() } else { true };
    assert!(right || !old.sum_is_right(), "the checksum of the transport is wrong now");
    if matches!(old.protocol, ICMP | ICMP6) {
        quote_stays_right(&old, &new);
    }
    (old, new)
}

/// Nothing but ports and checksum changes behind the IP header; in a later fragment, nothing at all.
fn same_payload(old: &Datagram<'_>, new: &Datagram<'_>) {
    let (mut a, mut b) = (old.payload().to_vec(), new.payload().to_vec());
    // nor in SCTP, whose checksum covers the ports
    if old.protocol != SCTP && old.fragment.is_none_or(|(offset, _)| offset == 0) {
        let sum = old.sum_place().unwrap_or(0);
        for at in (0..4).chain(sum..sum + 2) {
            (a[at], b[at]) = (0, 0);
        }
    }
    assert_eq!(a, b, "the payload changed");
}

/// The packet that an error quotes keeps its checksums.
fn quote_stays_right(old: &Datagram<'_>, new: &Datagram<'_>) {
    const HEADER: usize = 8;
    let (Some(old), Some(new)) = (old.payload().get(HEADER..), new.payload().get(HEADER..)) else { return };
    let (Some(old), Some(new)) = (Datagram::of(old), Datagram::of(new)) else { return };
    assert!(new.header_sum_is_right() || !old.header_sum_is_right(), "the checksum of the quoted header is wrong now");
    assert!(new.sum_is_right() || !old.sum_is_right(), "the checksum of the quoted packet is wrong now");
}
