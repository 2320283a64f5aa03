//! From the first node to the second: the outer header.

use crate::abi::{Stat, Task, protocol, setting};
use crate::conntrack::ticks;
use crate::drop_reason::DropReason;
use crate::ethernet::HEADER;
use crate::flow;
use crate::ip::IpInfo;
use crate::parse::Parsed;
use crate::pipeline::next_hop;
use crate::verdict::{Verdict, refused};

use super::choose::{Choice, track};
use super::too_big::too_big;
use super::{Arrival, Mark, Nodes, Room, Tunnel};

/// Bytes of a UDP header.
const UDP_HEADER: usize = 8;

/// Carries a packet to the node of its backend, or tells its sender that it does not fit.
#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "all of them are known by then, and a struct of them would be built once"
)]
pub(super) fn to_node<F: Tunnel, P: Room, L: Nodes<F>>(
    packet: &mut P,
    parsed: &Parsed<F::Addr>,
    lookup: &L,
    service: u32,
    choice: &Choice<F::Addr>,
    (node, hash): (F::Addr, u32),
    arrival: Arrival,
    clock: u64,
) -> Verdict {
    if arrival == Arrival::Again {
        return Verdict::Drop(DropReason::TunnelledTwice);
    }
    if parsed.is_tagged() && !lookup.resolves() {
        return Verdict::HandOver(task(arrival)); // only tc can take a tag off
    }
    let Some(own) = F::own(|index| lookup.setting(index)) else { return Verdict::Drop(DropReason::NotAnUplink) };
    let tcp = parsed.ip.protocol == protocol::TCP;
    let headers = parsed.ip.header_length + UDP_HEADER;
    let longest = packet.longest(parsed.ip.total_length, headers, tcp) + F::HEADER;
    let mtu = lookup.setting(setting::TUNNEL_MTU) as usize;
    if mtu != 0 && longest > mtu {
        return too_big::<F, P, L>(packet, parsed, lookup, mtu - F::HEADER);
    }
    let outer: IpInfo<()> = IpInfo { protocol: F::TUNNEL, total_length: longest, ..parsed.ip };
    let device = match next_hop(packet, &outer, parsed.is_tagged(), lookup, (own, node), clock) {
        Ok(device) => device,
        // the way is narrower than the interfaces
        Err(Verdict::Refuse(why)) if refused(why).1 as usize > F::HEADER => {
            return too_big::<F, P, L>(packet, parsed, lookup, refused(why).1 as usize - F::HEADER);
        }
        Err(Verdict::HandOver(_)) => return Verdict::HandOver(task(arrival)),
        Err(verdict) => return verdict,
    };
    if arrival != Arrival::Error {
        lookup.count_packet(service, choice.id, parsed.ip.total_length);
    }
    if flow::is_first(parsed.key.protocol, parsed.transport.tcp_flags) && arrival == Arrival::Direct {
        lookup.count_flow(service, choice.id);
    }
    if choice.track && arrival != Arrival::Error {
        track(lookup, parsed, choice.id, ticks(clock));
    }
    lookup.count(Stat::Tunnelled);
    match wrap::<F, P>(packet, parsed, (own, node), hash, arrival) {
        Some(()) => Verdict::Transmit(device),
        None => Verdict::Drop(DropReason::KernelRefused),
    }
}

/// What the companion is to do with a packet that XDP cannot send on.
#[inline(always)]
fn task(arrival: Arrival) -> Task {
    if arrival == Arrival::Tunnel { Task::SendOn } else { Task::Forward }
}

/// The inner header counts the node as the router that it is (RFC 2003, section 3.1).
#[inline(always)]
fn wrap<F: Tunnel, P: Room>(
    packet: &mut P,
    parsed: &Parsed<F::Addr>,
    ends: (F::Addr, F::Addr),
    hash: u32,
    arrival: Arrival,
) -> Option<()> {
    // read anew: an ICMP error about a flow has other addresses than the flow
    let (source, destination) = F::addresses(packet, parsed.network)?;
    let mut inner = parsed.ip.with(source, destination);
    if arrival == Arrival::Error {
        inner.protocol = F::ICMP.protocol;
    }
    F::rewrite(packet, parsed.network, &inner, source, destination, inner.ttl - 1)?;
    let mark = Mark { again: arrival != Arrival::Direct, class: F::class(packet, parsed.network)? };
    packet.wrap::<F>()?;
    F::put_outer(packet, HEADER, ends, parsed.ip.total_length, mark, hash)
}
