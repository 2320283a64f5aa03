//! Our own ICMP errors: where a router would send one, since the time to live of a packet ran out on its way through us, or it
//! is too big for the way that it has to go; and where a host would, since nobody has the port.

use core::hint::black_box;

use crate::abi::Stat;
use crate::csum::fold;
use crate::drop_reason::DropReason;
use crate::ethernet::{Addresses, Ethernet};
use crate::ip::{Ip, IpInfo};
use crate::lookup::Lookup;
use crate::packet::Packet;
use crate::verdict::{Verdict, refused};

use super::HEADER;
use super::partial::{Left, left, pseudo_header};

/// Each CPU sends one error in so many nanoseconds, in the long run,
const INTERVAL: u64 = 1_000_000;
/// and so many at once: as Linux bounds its own (`icmp_msgs_burst`).
const BURST: u64 = 50;

/// Turns a packet that the pipeline refused ([`Verdict::Refuse`]) and has counted into the ICMP error that tells its sender
/// why. The packet must be as it came in. It is dropped if there is nobody to tell, or too many were told lately.
#[inline(always)]
pub fn refuse<F: Ip, P: Packet, L: Lookup<F>>(packet: &mut P, frame: &Ethernet, lookup: &L, why: u32) -> Verdict {
    let (reason, mtu) = refused(why);
    let mtu = if mtu == 0 { F::ICMP.unknown_mtu } else { mtu };
    let said = if matches!(reason, DropReason::TooBig) { (F::ICMP.too_big, mtu) } else { (F::ICMP.time_exceeded, 0) };
    let told = match F::parse(packet, frame.network) {
        Ok(ip) => {
            let own = lookup.uplink_address(lookup.ingress());
            own.and_then(|own| error(packet, frame, lookup, &ip, own, (said.0, said.1, false)))
        }
        Err(_) => None,
    };
    if told.is_none() {
        return Verdict::Drop(reason);
    }
    lookup.count(Stat::ErrorsSent);
    Verdict::Answer
}

/// The same where nobody has the port, or there is nobody behind it: said by the address that it was for. A function, and in
/// the kernel a program, of its own: the verifier walks the making of an error once for each.
#[inline(always)]
pub(super) fn unreachable<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &mut P,
    frame: &Ethernet,
    lookup: &L,
    why: u32,
) -> Verdict {
    let told = match F::parse(packet, frame.network) {
        Ok(ip) => {
            let said = (F::ICMP.port_unreachable, 0, true);
            error(packet, frame, lookup, &ip, ip.destination, said)
        }
        Err(_) => None,
    };
    if told.is_none() {
        return Verdict::Drop(refused(why).0);
    }
    lookup.count(Stat::Refused);
    Verdict::Answer
}

/// Turns the packet into an error from an address of ours; `None` if there must be none, or too many were sent lately.
#[inline(always)]
fn error<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &mut P,
    frame: &Ethernet,
    lookup: &L,
    ip: &IpInfo<F::Addr>,
    own: F::Addr,
    (kind, word, judged): ([u8; 2], u32, bool),
) -> Option<()> {
    let addresses = told_to::<F, P, L>(packet, ip, lookup, judged)?;
    let left = match lookup.resolves() {
        true => {
            let transport = frame.network + ip.header_length;
            left(packet, transport, (ip.source, ip.destination), ip.protocol, ip.total_length - ip.header_length)
        }
        false => Left::AsIs, // XDP sees what came over a wire
    };
    if left == Left::Unforeseen {
        return None;
    }
    if !may_send(lookup) {
        return None;
    }
    make_error::<F, P>(packet, frame, &ip.with((), ()), left, (own, ip.source), addresses, (kind, word))
}

/// The hardware addresses of an error about the packet; `None` if there must be none (RFC 1122, section 3.2.2, RFC 1812,
/// section 4.3.2.7, RFC 4443, section 2.4 (e)): about ICMP, of which only errors are sent on, about a later fragment, about
/// what came to more than one station, or from a source that is not one host. What was addressed to
/// another station is none of ours; whoever finds that nobody is there has `judged` that already, and what is caught on its way
/// out is addressed to a router.
#[inline(always)]
pub(crate) fn told_to<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &P,
    ip: &IpInfo<F::Addr>,
    lookup: &L,
    judged: bool,
) -> Option<Addresses> {
    let frame = Addresses::of(packet)?;
    let [first, ..] = frame.destination();
    let is_group = first.to_ne_bytes()[0] & 1 != 0;
    let may = !ip.later
        && ip.protocol != F::ICMP.protocol
        && !is_group
        && (judged || lookup.is_for_us(packet))
        && F::is_unicast(ip.source)
        && ip.source != ip.destination;
    may.then(|| frame.reversed())
}

/// Takes an error from what this CPU may send: a token bucket, kept as the time at which it is full again (the generic cell
/// rate algorithm of ITU-T I.371). One that must not be sent is counted.
#[inline(always)]
pub(crate) fn may_send<F: Ip, L: Lookup<F>>(lookup: &L) -> bool {
    let Some(mut refusals) = lookup.refusals() else { return false };
    let now = lookup.clock();
    let from = if refusals.paid_until > now { refusals.paid_until } else { now };
    if from - now >= BURST * INTERVAL {
        lookup.count(Stat::ErrorsLimited);
        return false;
    }
    refusals.paid_until = from + INTERVAL;
    true
}

/// Puts the headers of the error before the beginning of the packet, and its Ethernet header with the tags before them.
#[inline(always)]
fn make_error<F: Ip, P: Packet>(
    packet: &mut P,
    frame: &Ethernet,
    ip: &IpInfo<()>,
    left: Left,
    (source, destination): (F::Addr, F::Addr),
    addresses: Addresses,
    ([kind, code], word): ([u8; 2], u32),
) -> Option<()> {
    let whole = ip.total_length & !3; // the sum below goes by whole words
    let quote = if whole < F::ICMP.quote { whole } else { F::ICMP.quote };
    let room = F::ICMP.ip_header + HEADER;
    packet.reframe(frame.network + quote, room)?;
    let mut at = 12;
    while at < frame.network && at < 22 {
        let [half] = packet.halves::<1>(at + room)?;
        packet.set_halves(at, [half])?;
        at += 2;
    }
    addresses.write(packet)?;
    F::write_header(packet, frame.network, source, destination, (F::ICMP.protocol, HEADER + quote))?;
    let message = frame.network + F::ICMP.ip_header;
    packet.set_words(message, [u32::from_ne_bytes([kind, code, 0, 0]), word.to_be()])?;
    let quoted = if let Left::Partial(_) = left { ip.header_length } else { quote };
    let mut sum = sum_of(packet, message, HEADER + quoted)?;
    if let Left::Partial(field) = left {
        sum += u64::from(!field);
    }
    if F::ICMP.covers_addresses {
        sum += pseudo_header(source, destination, (HEADER + quote) as u32, F::ICMP.protocol);
    }
    packet.set_halves(message + 2, [!fold(sum)])
}

/// How many words are added at a time.
const STEP: usize = 8;
/// How many of such steps the longest message has, 1,240 bytes.
const STEPS: usize = 1_280 / (4 * STEP);

/// The sum over `length` bytes, a multiple of four.
///
/// The steps are counted where LLVM does not see it. It knows that there are few, and would leave out the bound, which the
/// verifier does not know; and it would count up to zero, from pointers in front of the packet, which the verifier refuses
/// since 7.0.
#[inline(always)]
fn sum_of<P: Packet>(packet: &P, offset: usize, length: usize) -> Option<u64> {
    let (mut sum, mut at, end) = (0, offset, offset + length);
    let mut step = 0;
    while step < STEPS && at + 4 * STEP <= end {
        let words = packet.words::<STEP>(at)?;
        let mut word = 0;
        while word < STEP {
            sum += u64::from(words[word]);
            word += 1;
        }
        at += 4 * STEP;
        step = black_box(step + 1);
    }
    let mut rest = 0;
    while rest < STEP && at < end {
        let [word] = packet.words::<1>(at)?;
        sum += u64::from(word);
        at += 4;
        rest = black_box(rest + 1);
    }
    Some(sum)
}
