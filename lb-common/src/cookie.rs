//! SYN cookies: while a listener of the front has no room for another half-open connection, first segments are answered in the packet
//! path, and nothing is kept of them (RFC 4987, section 3.6). So neither the front's listeners nor the kernel's connection tracking see
//! a flood of forged ones, and real clients get through.
//!
//! The kernel makes the cookie and takes the connection. Its helper gives the sequence number of an answer as long as the listener's
//! queue is full, and has the listener note that it has overflowed (net/core/filter.c, `bpf_tcp_gen_syncookie`). For two minutes after
//! that the listener takes a segment that acknowledges such a number for the end of a handshake (net/ipv4/syncookies.c,
//! `cookie_v4_check`). In peace every connection begins as usual.
//!
//! An answer with a cookie states an MSS and nothing else: window scale and selective acknowledgements would have to come back in a time
//! stamp, whose offset the kernel keeps to itself (net/core/secure_seq.c, `secure_tcp_ts_off`).

use crate::abi::{FlowKey, FrontendEntry, Stat, budget, frontend_flag, protocol};
use crate::addr::Address as _;
use crate::drop_reason::DropReason;
use crate::ethernet::Ethernet;
use crate::flow::is_first;
use crate::icmp::{TCP_HEADER, Turned, told_to, turn};
use crate::ip::Ip;
use crate::lookup::Lookup;
use crate::packet::Packet;
use crate::parse::{Kind, Parsed, parse};
use crate::pipeline::{counted, find_frontend, to_front};
use crate::transport::tcp_flag;
use crate::verdict::Verdict;

/// Words of what is kept of a TCP header, rounded up to a power of two, a bound that verifiers follow.
pub const KEPT: usize = 8;
/// For so many nanoseconds after a cookie the kernel takes answers to it (`TCP_SYNCOOKIE_VALID`).
const VALID: u64 = 120_000_000_000;
/// The time of the last cookie is written anew after so many nanoseconds, so that the cache line stays shared.
const NOTED: u64 = 1_000_000_000;
/// Segments that a client may send before it hears of anything (RFC 6928, section 2): what the answer's window lets in.
const FIRST_WINDOW: u16 = 10;

/// The headers of a segment, as the kernel's helpers want them: in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// The IP header without options or extensions, the raw words.
    pub network: [u32; 10],
    /// The TCP header with the first word of its options, as if it had no others, and zeroes behind it. There systems state the MSS,
    /// which is all that the kernel looks for; where it stands elsewhere the cookie is for the smallest.
    pub transport: [u32; KEPT],
    /// Bytes of that: 20 or 24.
    pub length: usize,
}

/// What is known of a segment that begins nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is of a connection, or of one that is about to begin.
    Connected,
    /// It acknowledges a cookie.
    Cookie,
    /// Neither.
    Stranger,
}

/// What the kernel's sockets know, for one address family.
pub trait Cookies<F: Ip>: Lookup<F> {
    /// The cookie to answer a first segment with, and the MSS that it stands for. `None` where the listener has room, or there is no
    /// listener, or the segment is of a connection.
    fn cookie(&self, key: &FlowKey<F::Addr>, headers: &Headers) -> Option<(u32, u16)>;

    /// Whether anybody knows a segment that is no first one.
    fn knows(&self, key: &FlowKey<F::Addr>, headers: &Headers) -> Known;
}

/// Goes on with a packet for a frontend of the front that has cookies ([`Verdict::Cookie`]): to the front, or answered, or dropped if
/// there were cookies lately and it is an acknowledgement, but of none, and of no connection.
#[inline(always)]
pub fn guard<F: Ip, P: Packet, L: Cookies<F>>(
    packet: &mut P,
    frame: Result<Ethernet, DropReason>,
    lookup: &L,
) -> Verdict {
    let Ok(frame) = frame else { return Verdict::Pass };
    let Ok(Kind::Flow(parsed)) = parse::<F, P>(packet, frame.network) else { return Verdict::Pass };
    let (key, port) = (&parsed.key, parsed.key.destination_port);
    let Some(found) = find_frontend(lookup, key.destination, port, parsed.ip.protocol) else { return Verdict::Pass };
    let verdict = match judge(packet, &frame, &parsed, lookup, found.service) {
        Some(verdict) => verdict,
        None => {
            let plain = FrontendEntry { flags: found.flags & !frontend_flag::COOKIES, ..found };
            to_front(&parsed, lookup, plain)
        }
    };
    counted::<F, P, L>(packet, lookup, verdict)
}

/// What else becomes of a segment than that it goes to the front.
#[inline(always)]
fn judge<F: Ip, P: Packet, L: Cookies<F>>(
    packet: &mut P,
    frame: &Ethernet,
    parsed: &Parsed<F::Addr>,
    lookup: &L,
    service: u32,
) -> Option<Verdict> {
    let first = is_first(parsed.key.protocol, parsed.transport.tcp_flags);
    if !first && !were_cookies(lookup, service) {
        return None;
    }
    let headers = headers::<F, P>(packet, parsed)?;
    if first {
        return answer(packet, frame, parsed, lookup, service, &headers);
    }
    match lookup.knows(&parsed.key, &headers) {
        Known::Connected => None,
        Known::Cookie => {
            lookup.count(Stat::CookiesTaken);
            None
        }
        Known::Stranger => is_bare(packet, parsed).then_some(Verdict::Drop(DropReason::BadSynCookie)),
    }
}

/// It acknowledges and says nothing else, as what ends a handshake does. What has data may be of a connection whose beginning is in the
/// same burst, before the kernel has seen it; and an end may be of one that another node began.
#[inline(always)]
fn is_bare<A, P: Packet>(packet: &P, parsed: &Parsed<A>) -> bool {
    let Some([control]) = packet.words::<1>(parsed.payload + 12) else { return false };
    let header = usize::from(control.to_ne_bytes()[0] >> 4) * 4;
    let is_acknowledgement =
        parsed.transport.tcp_flags & (tcp_flag::ACK | tcp_flag::FIN | tcp_flag::RST) == tcp_flag::ACK;
    is_acknowledgement && parsed.ip.total_length <= parsed.ip.header_length + header
}

/// Turns a first segment into the answer with a cookie, if there is one.
#[inline(always)]
fn answer<F: Ip, P: Packet, L: Cookies<F>>(
    packet: &mut P,
    frame: &Ethernet,
    parsed: &Parsed<F::Addr>,
    lookup: &L,
    service: u32,
    headers: &Headers,
) -> Option<Verdict> {
    let ip = parsed.ip.with(parsed.key.source, parsed.key.destination);
    let turned = Turned::of::<F, P, L>(packet, frame, &ip, lookup, told_to::<F, P, L>(packet, &ip, lookup, false)?)?;
    let (cookie, mss) = lookup.cookie(&parsed.key, headers)?;
    note_cookie(lookup, service);
    let [ports, sequence, ..] = headers.transport;
    let acknowledged = u32::from_be(sequence).wrapping_add(1).to_be();
    let [window_high, window_low] = mss.saturating_mul(FIRST_WINDOW).to_be_bytes();
    let [mss_high, mss_low] = mss.to_be_bytes();
    let control = |words: u8| u32::from_ne_bytes([words << 4, tcp_flag::SYN | tcp_flag::ACK, window_high, window_low]);
    let (ports, cookie) = (ports.rotate_left(16), cookie.to_be()); // the two halves change places
    // the answer is no longer than the segment, so that nothing has to be appended; without an MSS 536 is meant (RFC 9293, 3.7.1)
    let made = if headers.length > TCP_HEADER {
        let option = u32::from_ne_bytes([2, 4, mss_high, mss_low]);
        turn::<F, P, 6>(packet, &turned, [ports, cookie, acknowledged, control(6), 0, option])
    } else {
        turn::<F, P, 5>(packet, &turned, [ports, cookie, acknowledged, control(5), 0])
    };
    if made.is_none() {
        return Some(Verdict::Drop(DropReason::KernelRefused));
    }
    lookup.count(Stat::CookiesSent);
    Some(Verdict::Answer)
}

/// Copies the headers; `None` if they reach beyond the first part of the packet.
#[inline(always)]
fn headers<F: Ip, P: Packet>(packet: &P, parsed: &Parsed<F::Addr>) -> Option<Headers> {
    if parsed.key.protocol != u32::from(protocol::TCP) || parsed.ip.later {
        return None;
    }
    let network = if F::Addr::WORDS > 1 {
        packet.words::<10>(parsed.network)?
    } else {
        let [a, b, c, d, e] = packet.words::<5>(parsed.network)?;
        [a, b, c, d, e, 0, 0, 0, 0, 0]
    };
    let [ports, sequence, acknowledged, control, checksum] = packet.words::<5>(parsed.payload)?;
    let [data_offset, flags, window @ ..] = control.to_ne_bytes();
    let has_options = data_offset >> 4 > 5;
    let option = if has_options { packet.words::<1>(parsed.payload + TCP_HEADER)?[0] } else { 0 };
    let length = TCP_HEADER + if has_options { 4 } else { 0 };
    let control = u32::from_ne_bytes([(length as u8 / 4) << 4, flags, window[0], window[1]]);
    Some(Headers { network, transport: [ports, sequence, acknowledged, control, checksum, option, 0, 0], length })
}

/// A listener of the service was full lately, so segments that belong to nothing may come because of it. A service of the front has no
/// use for the word that the limit on unproven connections keeps for one of pods.
#[inline(always)]
fn were_cookies<F: Ip, L: Lookup<F>>(lookup: &L, service: u32) -> bool {
    let last = lookup.budget(budget::SERVICES + service).map_or(0, |last| *last);
    last != 0 && lookup.clock() < last.saturating_add(VALID)
}

#[inline(always)]
fn note_cookie<F: Ip, L: Lookup<F>>(lookup: &L, service: u32) {
    let clock = lookup.clock();
    if let Some(mut last) = lookup.budget(budget::SERVICES + service)
        && (*last > clock || clock - *last > NOTED)
    {
        *last = clock;
    }
}
