//! The order of the steps. What a step does lives in the module of its name; [`balance`], [`send`] and [`mod@inside`] are those
//! that only the pipeline takes.

mod balance;
mod first;
mod inside;
mod send;
mod tunnel;

use crate::abi::{FrontendEntry, FrontendKey, ReplyEntry, Stat, Task, flow_flag, frontend_flag, setting};
use crate::addr::Address;
use crate::be::Be16;
use crate::conntrack::ticks;
use crate::cookie::{self, Cookies};
use crate::drop_reason::DropReason;
use crate::ethernet::Ethernet;
use crate::flow;
use crate::fragment::{self, Joined};
use crate::hash::flow_hash;
use crate::icmp;
use crate::ip::Ip;
use crate::lookup::{Lookup, Table};
use crate::neighbour::Discovery;
use crate::packet::Packet;
use crate::parse::{Kind, Parsed, parse};
use crate::policy::{self, Policies};
use crate::recent;
use crate::rewrite::{Translation, translate};
use crate::snat;
use crate::transport::tcp_flag;
use crate::verdict::{NO_PORT, Verdict, refused};

use crate::dsr::{self, Nodes, Room, Tunnel};
pub use crate::icmp::{refuse, reset, tell};
use balance::known_flow;
pub(crate) use balance::{may_begin, member, pick, slot_in, source_towards};
pub use first::{begin, first};
pub(crate) use inside::from_inside;
pub use inside::inside;
pub(crate) use inside::turn_round;
pub use send::keeps_tags;
pub(crate) use send::next_hop;
use send::{Onward, send};
pub use tunnel::{tunnel, tunnel_of};

/// A packet that came in by an external interface: from a client, or the reply of a backend on another node. Packets of
/// another family than `F` pass.
///
/// In the kernel the beginnings of flows and the parts of DSR are programs of their own, which go on where [`ingress_of`] ends; here is what they make
/// together.
pub fn ingress<F: Tunnel + Discovery, P: Room, L: Nodes<F> + Policies<F> + Cookies<F>>(
    packet: &mut P,
    lookup: &L,
) -> Verdict {
    if let Some(frame) = question::<F, P, L>(packet, lookup) {
        return F::answer(packet, &frame, lookup);
    }
    let mut verdict = once(packet, lookup);
    if verdict == Verdict::Tunnel {
        verdict = match dsr::open(packet, Ethernet::parse(packet), lookup) {
            Ok(()) => once(packet, lookup),
            Err(verdict) => return verdict,
        };
    }
    if let Verdict::Choose(_) = verdict {
        verdict = policy::choose(packet, Ethernet::parse(packet), lookup);
    }
    if let Verdict::Dsr(0) = verdict {
        verdict = dsr::forward(packet, Ethernet::parse(packet), lookup);
    }
    match verdict {
        Verdict::Cookie(_) => cookie::guard(packet, Ethernet::parse(packet), lookup),
        Verdict::Dsr(_) => match begin(packet, lookup) {
            Ok(()) => first(packet, Ethernet::parse(packet), lookup),
            Err(verdict) => verdict,
        },
        // what comes out of a tunnel is for a frontend; a tunnel in a tunnel is not ours
        Verdict::Tunnel => Verdict::Pass,
        verdict => verdict,
    }
}

/// The header of a frame in which a neighbour asks for an address, or tells of one. In the kernel ARP goes to a program of its own
/// at once, and neighbour discovery where other ICMPv6 would go, so behind the look at who is denied.
fn question<F: Discovery, P: Packet, L: Lookup<F>>(packet: &P, lookup: &L) -> Option<Ethernet> {
    let frame = Ethernet::parse(packet).ok().filter(|frame| F::is_asked(packet, frame))?;
    let may_be_denied = frame.ether_type == F::ETHER_TYPE;
    let denied = may_be_denied && is_denied::<F, P, L>(packet, frame.network, lookup);
    (!denied).then_some(frame)
}

/// The pipeline from its beginning to where it ends in the kernel, too.
fn once<F: Tunnel, P: Room, L: Nodes<F>>(packet: &mut P, lookup: &L) -> Verdict {
    let frame = Ethernet::parse(packet);
    match flows_of(packet, frame, lookup) {
        Some(verdict) => verdict,
        None => dsr::icmp_of(packet, frame, lookup),
    }
}

/// [`ingress`], where the Ethernet header is read already.
#[inline(always)]
pub fn ingress_of<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &mut P,
    frame: Result<Ethernet, DropReason>,
    lookup: &L,
) -> Verdict {
    match flows_of(packet, frame, lookup) {
        Some(verdict) => verdict,
        None => icmp_of(packet, frame, lookup),
    }
}

/// [`ingress_of`] for all but ICMP, which is for [`icmp_of`]: `None`. In the kernel these are two programs, so that each
/// stays small for the verifier and has a stack of its own.
#[inline(always)]
pub fn flows_of<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &mut P,
    frame: Result<Ethernet, DropReason>,
    lookup: &L,
) -> Option<Verdict> {
    match frame {
        Ok(frame) if frame.ether_type == F::ETHER_TYPE => {
            if is_denied::<F, P, L>(packet, frame.network, lookup) {
                return Some(dropped(lookup, DropReason::Denied, packet.len()));
            }
            judge(packet, &frame, lookup)
        }
        Ok(_) => Some(Verdict::Pass),
        Err(reason) => Some(dropped(lookup, reason, packet.len())),
    }
}

/// Nothing is taken from the source, whatever it is. While nobody is denied, that costs one word of the settings.
#[inline(always)]
fn is_denied<F: Ip, P: Packet, L: Lookup<F>>(packet: &P, network: usize, lookup: &L) -> bool {
    lookup.setting(setting::DENY) & F::DENY != 0
        && F::addresses(packet, network).is_some_and(|(source, _)| lookup.is_denied(source))
}

/// [`ingress_of`] for ICMP alone.
#[inline(always)]
pub fn icmp_of<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &mut P,
    frame: Result<Ethernet, DropReason>,
    lookup: &L,
) -> Verdict {
    let Ok(frame) = frame else { return Verdict::Pass };
    let Ok(Kind::Icmp(ip)) = parse::<F, P>(packet, frame.network) else { return Verdict::Pass };
    match icmp::ingress(packet, &frame, &ip, lookup) {
        // apart, as in `tunnel_of`
        Verdict::Pass => Verdict::Pass,
        verdict => counted::<F, P, L>(packet, lookup, verdict),
    }
}

/// A packet of the family that came in; `None` if it is ICMP.
#[inline(always)]
fn judge<F: Ip, P: Packet, L: Lookup<F>>(packet: &mut P, frame: &Ethernet, lookup: &L) -> Option<Verdict> {
    let verdict = match parse::<F, P>(packet, frame.network) {
        Ok(Kind::Flow(mut parsed)) => match fragment::join(lookup, &mut parsed) {
            Joined::Known => route_packet(packet, &parsed, lookup),
            Joined::Early => Verdict::Drop(DropReason::FragmentEarly),
            Joined::Unknown => left_to_kernel(lookup, Stat::FragmentsPassed),
        },
        Ok(Kind::Icmp(_)) => return None,
        Ok(Kind::Fragment) => left_to_kernel(lookup, Stat::FragmentsPassed),
        Ok(Kind::Other(number)) if number == F::TUNNEL => Verdict::Tunnel,
        Ok(Kind::Other(_)) => Verdict::Pass,
        Ok(Kind::Refused(destination, reason)) if lookup.is_vip(destination) => Verdict::Drop(reason),
        Ok(Kind::Refused(..)) => left_to_kernel(lookup, Stat::NotOurs),
        Err(reason) => Verdict::Drop(reason),
    };
    Some(counted::<F, P, L>(packet, lookup, verdict))
}

/// The verdict, once it is in the counters.
#[inline(always)]
pub(crate) fn counted<F: Ip, P: Packet, L: Lookup<F>>(packet: &P, lookup: &L, verdict: Verdict) -> Verdict {
    let dropped = match verdict {
        Verdict::Drop(reason) => Some(reason),
        Verdict::Refuse(why) => Some(refused(why).0),
        _ => None,
    };
    if let Some(reason) = dropped {
        lookup.count_drop(reason, packet.len());
    }
    if let Verdict::HandOver(_) = verdict
        && !lookup.resolves()
    {
        lookup.count(Stat::HandedOver); // by XDP; tc egress hands over to a program of its own
    }
    verdict
}

/// Not for us. XDP leaves no word with such packets: the companion sees them again, and they have been counted.
#[inline(always)]
fn left_to_kernel<F: Ip, L: Lookup<F>>(lookup: &L, stat: Stat) -> Verdict {
    if !lookup.resolves() {
        lookup.count(stat);
    }
    Verdict::Pass
}

/// A packet that leaves by an external interface: the reply of a backend on this node gets the VIP back as its source; it is
/// an [`Verdict::Answer`] where its client is on this node, too. What goes to a frontend is handed over to [`inside()`].
#[inline(always)]
pub fn egress<F: Ip, P: Packet, L: Lookup<F>>(packet: &mut P, lookup: &L) -> Verdict {
    let frame = Ethernet::parse(packet);
    egress_of(packet, frame, lookup)
}

/// [`egress`], where the Ethernet header is read already.
#[inline(always)]
pub fn egress_of<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &mut P,
    frame: Result<Ethernet, DropReason>,
    lookup: &L,
) -> Verdict {
    match frame {
        Ok(frame) if frame.ether_type == F::ETHER_TYPE => turn_back(packet, &frame, lookup),
        _ => Verdict::Pass,
    }
}

/// A packet of the family that leaves. What the node itself sends is never judged, only looked up.
#[inline(always)]
fn turn_back<F: Ip, P: Packet, L: Lookup<F>>(packet: &mut P, frame: &Ethernet, lookup: &L) -> Verdict {
    let verdict = match parse::<F, P>(packet, frame.network) {
        Ok(Kind::Flow(mut parsed)) => match fragment::join(lookup, &mut parsed) {
            Joined::Known => reply_of_pod(packet, &parsed, lookup),
            Joined::Early | Joined::Unknown => Verdict::Pass,
        },
        Ok(Kind::Icmp(ip)) => icmp::egress(packet, frame, &ip, lookup),
        _ => Verdict::Pass,
    };
    counted::<F, P, L>(packet, lookup, verdict)
}

/// The VIP becomes the source again, if the packet is the reply of a backend on this node.
#[inline(always)]
fn reply_of_pod<F: Ip, P: Packet, L: Lookup<F>>(packet: &mut P, parsed: &Parsed<F::Addr>, lookup: &L) -> Verdict {
    let Some((reply, _)) = find_reply(lookup, parsed) else {
        if inside::frontend_of(lookup, parsed).is_some() {
            return Verdict::HandOver(Task::Forward);
        }
        snat::note_host(lookup, &parsed.key, parsed.transport.tcp_flags);
        return Verdict::Pass;
    };
    if reply.flags & flow_flag::LOCAL == 0 {
        return Verdict::Pass;
    }
    lookup.count(Stat::Replies);
    fragment::remember(lookup, parsed);
    if reply.flags & flow_flag::DSR != 0 {
        lower_mss::<F, P, L>(packet, parsed, lookup);
    }
    match translate::<F, P>(packet, parsed, &to_client(&reply), false) {
        Some(()) if reply.flags & flow_flag::INSIDE != 0 => turn_round(packet),
        Some(()) => Verdict::Deliver,
        None => Verdict::Drop(DropReason::KernelRefused),
    }
}

/// The client's segments may have to come in a tunnel: they must leave room for an outer header.
#[inline(always)]
fn lower_mss<F: Ip, P: Packet, L: Lookup<F>>(packet: &mut P, parsed: &Parsed<F::Addr>, lookup: &L) {
    const FIRST: u8 = tcp_flag::SYN | tcp_flag::ACK;
    let mtu = lookup.setting(setting::TUNNEL_MTU) as usize;
    if parsed.transport.tcp_flags & FIRST != FIRST || mtu <= F::TUNNEL_OVERHEAD {
        return;
    }
    if dsr::clamp(packet, parsed.payload, (mtu - F::TUNNEL_OVERHEAD) as u16) {
        lookup.count(Stat::MssLowered);
    }
}

/// Reply of a backend, packet to a frontend, or not ours. Every packet that is ours comes to the one place that sends it: the
/// verifier walks that anew for each way that leads there. What is addressed to another station is that station's, also where
/// the flow is known.
#[inline(always)]
fn route_packet<F: Ip, P: Packet, L: Lookup<F>>(packet: &mut P, parsed: &Parsed<F::Addr>, lookup: &L) -> Verdict {
    match onward(packet, parsed, lookup) {
        // what leaves by XDP is asked in `next_hop`, where that costs no lookup
        Ok((to, _)) if (to.local || lookup.resolves()) && !lookup.is_for_us(packet) => Verdict::Pass,
        Ok((to, clock)) => send(packet, parsed, lookup, &to, clock),
        Err(ended) => ended,
    }
}

/// What becomes of a packet that is to be sent on, and the time; or what else becomes of it.
#[inline(always)]
fn onward<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &P,
    parsed: &Parsed<F::Addr>,
    lookup: &L,
) -> Result<(Onward<F::Addr>, u64), Verdict> {
    let port = parsed.key.destination_port;
    let may_be_reply = snat::may_be_reply(lookup, parsed.ip.protocol, port);
    if may_be_reply && let Some((reply, clock)) = find_reply(lookup, parsed) {
        return backward::<F, P, L>(packet, parsed, lookup, &reply).map(|to| (to, clock));
    }
    let stamp = lookup.stamp(); // before the lookup: a change during it counts
    match recent::frontend(lookup, parsed.key.destination, port, parsed.ip.protocol, stamp) {
        Some(frontend) => checked(packet, parsed, lookup, frontend),
        // XDP leaves that to the companion, which sees what nobody has taken anyway
        None if lookup.resolves() && lookup.is_vip(parsed.key.destination) => Err(no_port(packet, parsed, lookup)),
        None => Err(left_to_kernel(lookup, Stat::NotOurs)),
    }
}

/// The packet is for a VIP, and nobody has this port of it: no interface has the address, so the kernel would send it back to
/// where it came from. What is addressed to another station is that station's.
#[inline(always)]
fn no_port<F: Ip, P: Packet, L: Lookup<F>>(packet: &P, parsed: &Parsed<F::Addr>, lookup: &L) -> Verdict {
    if let Some(reason) = defect::<F, P>(packet, parsed) {
        return Verdict::Drop(reason);
    }
    if lookup.is_for_us(packet) { Verdict::Refuse(NO_PORT) } else { Verdict::Pass }
}

/// The reply of a backend on another node, on its way back to the client.
#[inline(always)]
fn backward<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &P,
    parsed: &Parsed<F::Addr>,
    lookup: &L,
    reply: &ReplyEntry<F::Addr>,
) -> Result<Onward<F::Addr>, Verdict> {
    if reply.flags & flow_flag::LOCAL != 0 {
        return Err(Verdict::Pass); // its replies are turned back at tc egress
    }
    if let Some(reason) = defect::<F, P>(packet, parsed) {
        return Err(Verdict::Drop(reason));
    }
    fragment::remember(lookup, parsed);
    // a client on this node is the stack's
    Ok(Onward { to: to_client(reply), service: 0, backend: 0, local: reply.flags & flow_flag::INSIDE != 0 })
}

/// A packet to a frontend, looked at closely now that it is known to be ours.
#[inline(always)]
fn checked<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &P,
    parsed: &Parsed<F::Addr>,
    lookup: &L,
    frontend: FrontendEntry,
) -> Result<(Onward<F::Addr>, u64), Verdict> {
    if let Some(reason) = defect::<F, P>(packet, parsed) {
        return Err(Verdict::Drop(reason));
    }
    fragment::remember(lookup, parsed);
    if frontend.flags & frontend_flag::FRONT != 0 && frontend.flags & frontend_flag::RANGES == 0 {
        return Err(to_front::<F, L>(parsed, lookup, frontend));
    }
    let clock = lookup.clock();
    match known_flow(lookup, parsed, ticks(clock)) {
        Some(known) => Ok((known.onward(), clock)),
        None => {
            dsr::note(lookup, parsed, frontend);
            // what DSR alone is asked for is mostly of flows that are not to begin here
            let dsr_alone = frontend.flags & (frontend_flag::DSR | frontend_flag::POLICY) == frontend_flag::DSR;
            Err(if dsr_alone { Verdict::Dsr(0) } else { Verdict::Choose(0) })
        }
    }
}

/// What forbids to forward a packet that is ours.
#[inline(always)]
fn defect<F: Ip, P: Packet>(packet: &P, parsed: &Parsed<F::Addr>) -> Option<DropReason> {
    if parsed.transport.malformed {
        return Some(DropReason::BadTransportHeader);
    }
    if F::UDP_IS_CHECKED && parsed.transport.unchecked {
        return Some(DropReason::UdpZeroChecksum);
    }
    if !F::checksum_is_right(packet, parsed.network, parsed.ip.header_length) {
        return Some(DropReason::BadIpChecksum);
    }
    None
}

/// To the node's own front: first segments only where a listener is there, since the kernel would refuse them; a client
/// whose SYN is dropped tries again after a second.
#[inline(always)]
pub(crate) fn to_front<F: Ip, L: Lookup<F>>(parsed: &Parsed<F::Addr>, lookup: &L, frontend: FrontendEntry) -> Verdict {
    if frontend.flags & frontend_flag::COOKIES != 0 && !parsed.ip.later {
        return Verdict::Cookie(0);
    }
    let first = flow::is_first(parsed.key.protocol, parsed.transport.tcp_flags);
    if first && !lookup.front_listens(frontend.flags, flow_hash(&parsed.key)) {
        return Verdict::Drop(DropReason::FrontNotListening);
    }
    lookup.count_packet(frontend.service, 0, parsed.ip.total_length);
    if first {
        lookup.count_flow(frontend.service, 0);
    }
    Verdict::Front
}

/// The frontend at exactly this address, else the NodePort if the address is one of the node's. Those of the cluster's
/// inside are none for what comes in by an external interface.
#[inline(always)]
pub fn find_frontend<F: Ip, L: Lookup<F>>(
    lookup: &L,
    address: F::Addr,
    port: Be16,
    ip_protocol: u8,
) -> Option<FrontendEntry> {
    if address == F::Addr::ANY {
        return None; // only NodePorts stand there, and no packet may name them so
    }
    let key = FrontendKey { address, port, protocol: u16::from(ip_protocol), fill: Default::default() };
    if let Some(frontend) = lookup.frontend(&key) {
        return (frontend.flags & frontend_flag::CLUSTER == 0).then_some(frontend);
    }
    if !in_range(lookup.setting(setting::NODE_PORTS), port.host()) || !lookup.is_node_address(address) {
        return None;
    }
    lookup.frontend(&FrontendKey { address: F::Addr::ANY, ..key })
}

/// How to turn this packet back, if it is the reply of a backend, and the time; the reply is recorded.
#[inline(always)]
fn find_reply<F: Ip, L: Lookup<F>>(lookup: &L, parsed: &Parsed<F::Addr>) -> Option<(ReplyEntry<F::Addr>, u64)> {
    if let Some(mut entry) = lookup.reply(Table::Proven, &parsed.key) {
        let clock = lookup.clock();
        flow::note_reply::<F, L>(lookup, &mut entry, parsed.key.protocol, parsed.transport.tcp_flags, ticks(clock));
        return Some((*entry, clock));
    }
    let mut entry = lookup.reply(Table::HalfOpen, &parsed.key)?;
    let clock = lookup.clock();
    flow::note_reply::<F, L>(lookup, &mut entry, parsed.key.protocol, parsed.transport.tcp_flags, ticks(clock));
    if entry.flags & flow_flag::HOST != 0 {
        return None; // an answer to the node itself; or its port is a frontend's
    }
    Some((*entry, clock))
}

/// Turns a reply back.
#[inline(always)]
pub(crate) fn to_client<A: Address>(reply: &ReplyEntry<A>) -> Translation<A> {
    Translation {
        source: reply.frontend_address,
        source_port: reply.frontend_port,
        destination: reply.client_address,
        destination_port: reply.client_port,
    }
}

/// The port lies in a range of the settings (lowest in bits 16–31, highest in bits 0–15).
#[inline(always)]
pub(crate) const fn in_range(word: u64, port: u16) -> bool {
    let (low, high) = ((word >> 16) as u16, word as u16);
    port >= low && port <= high && high != 0
}

#[inline(always)]
fn dropped<F: Ip, L: Lookup<F>>(lookup: &L, reason: DropReason, bytes: usize) -> Verdict {
    lookup.count_drop(reason, bytes);
    Verdict::Drop(reason)
}

#[cfg(test)]
mod tests;
