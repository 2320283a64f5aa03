//! A router between two nodes says that a packet does not fit in its tunnel. It says it to the node, whose kernel knows
//! nothing of the tunnel; the one to tell is the sender of what is inside (RFC 2003, section 5.1, RFC 2473, section 8).

use crate::abi::{Stat, node_flag};
use crate::drop_reason::DropReason;
use crate::ethernet::{Ethernet, HEADER};
use crate::ip::IpInfo;
use crate::parse::{Kind, parse};
use crate::pipeline::{self, next_hop};
use crate::verdict::Verdict;

use super::too_big::{ICMP_HEADER, QUOTE, sum};
use super::{Nodes, Room, Tunnel};

/// How much of the transport header must be quoted: the ports, by which the sender finds its socket.
const LEAST: usize = 8;

/// ICMP that came in: [`pipeline::icmp_of`], and errors about tunnels of this node, on tc.
#[inline(always)]
pub fn icmp_of<F: Tunnel, P: Room, L: Nodes<F>>(
    packet: &mut P,
    frame: Result<Ethernet, DropReason>,
    lookup: &L,
) -> Verdict {
    if lookup.resolves()
        && let Ok(Ethernet { network: HEADER, .. }) = frame
        && let Some(found) = quoted::<F, P, L>(packet, lookup)
    {
        let verdict = tell(packet, lookup, &found);
        return pipeline::counted::<F, P, L>(packet, lookup, verdict);
    }
    pipeline::icmp_of(packet, frame, lookup)
}

/// An error about a tunnel of this node.
struct Narrow<A> {
    /// Its own header.
    ip: IpInfo<()>,
    /// The sender of what is inside, and the VIP that it sent it to.
    ends: (A, A),
    /// What fits into the tunnel.
    mtu: u16,
    /// Bytes of what is inside that are quoted.
    quote: usize,
}

/// Reads such an error; `None` if it is something else.
#[inline(always)]
fn quoted<F: Tunnel, P: Room, L: Nodes<F>>(packet: &P, lookup: &L) -> Option<Narrow<F::Addr>> {
    let Ok(Kind::Icmp(ip)) = parse::<F, P>(packet, HEADER) else { return None };
    let message = HEADER + F::HEADER;
    let [first, second] = packet.words::<2>(message)?;
    let [kind, code, ..] = first.to_ne_bytes();
    if ip.header_length != F::HEADER || [kind, code] != F::ICMP.too_big {
        return None;
    }
    let outer = F::header(packet, message + ICMP_HEADER).ok()?;
    let is_tunnel = outer.protocol == F::TUNNEL && outer.header_length == F::HEADER && outer.source == ip.destination;
    if !is_tunnel || lookup.node(outer.destination) & node_flag::PEER == 0 {
        return None;
    }
    let at = message + ICMP_HEADER + F::HEADER;
    let inner = F::header(packet, at).ok()?;
    let quote = (HEADER + ip.total_length).checked_sub(at)?;
    let has_ports = !inner.later && inner.protocol != F::ICMP.protocol && quote >= inner.header_length + LEAST;
    let mtu = u32::from_be(second).checked_sub(F::HEADER as u32)?;
    if !has_ports
        || mtu < F::LEAST_MTU
        || mtu > 0xffff
        || !F::is_unicast(inner.source)
        || !lookup.is_vip(inner.destination)
    {
        return None;
    }
    let quote = if quote < QUOTE { quote & !3 } else { QUOTE };
    Some(Narrow { ip: ip.with((), ()), ends: (inner.source, inner.destination), mtu: mtu as u16, quote })
}

/// Turns the error into one from the VIP to the sender of what is inside.
#[inline(always)]
fn tell<F: Tunnel, P: Room, L: Nodes<F>>(packet: &mut P, lookup: &L, found: &Narrow<F::Addr>) -> Verdict {
    if !F::checksum_is_right(packet, HEADER, F::HEADER) {
        return Verdict::Drop(DropReason::BadIpChecksum);
    }
    let (client, vip) = found.ends;
    let device = match next_hop(packet, &found.ip, false, lookup, (vip, client), lookup.clock()) {
        Ok(device) => device,
        Err(verdict) => return verdict,
    };
    lookup.count(Stat::TunnelErrors);
    match replace::<F, P>(packet, (vip, client), found.mtu, found.quote) {
        Some(()) => Verdict::Transmit(device),
        None => Verdict::Drop(DropReason::KernelRefused),
    }
}

/// The outer header of the quote goes, which makes the header of the error and that of ICMP end where it ended.
#[inline(always)]
fn replace<F: Tunnel, P: Room>(packet: &mut P, ends: (F::Addr, F::Addr), mtu: u16, quote: usize) -> Option<()> {
    packet.unwrap(HEADER, F::HEADER)?;
    packet.cut(HEADER + F::HEADER + ICMP_HEADER + quote)?;
    let covered = sum(packet, HEADER + F::HEADER + ICMP_HEADER, quote)?;
    F::put_too_big(packet, HEADER, ends, mtu, (quote, covered))
}
