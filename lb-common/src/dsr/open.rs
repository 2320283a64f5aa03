//! At the second node: the outer header comes off, if a node of the cluster sent it and what is inside is for a frontend.

use crate::abi::{FrontendEntry, Stat, Task, frontend_flag, node_flag};
use crate::drop_reason::DropReason;
use crate::ethernet::Ethernet;
use crate::hash::flow_hash;
use crate::parse::{Kind, parse};
use crate::pipeline;
use crate::verdict::Verdict;

use super::tunnel::keep_congestion;
use super::{Arrival, Nodes, Room, Tunnel, note_arrival};

/// Takes the outer header off, so that the pipeline can begin with the packet inside; or says what else becomes of the
/// packet, which then is untouched. Tunnels of others between the same nodes, of a CNI for instance, pass.
#[inline(always)]
pub fn open<F: Tunnel, P: Room, L: Nodes<F>>(
    packet: &mut P,
    frame: Result<Ethernet, DropReason>,
    lookup: &L,
) -> Result<(), Verdict> {
    opened(packet, frame, lookup).map_err(|verdict| pipeline::counted::<F, P, L>(packet, lookup, verdict))
}

#[inline(always)]
fn opened<F: Tunnel, P: Room, L: Nodes<F>>(
    packet: &mut P,
    frame: Result<Ethernet, DropReason>,
    lookup: &L,
) -> Result<(), Verdict> {
    let frame = frame.map_err(|_| Verdict::Pass)?;
    let outer = F::parse(packet, frame.network).map_err(|_| Verdict::Pass)?;
    // a header of ours has no options
    let bare = outer.header_length == F::HEADER && !outer.fragment;
    if outer.protocol != F::TUNNEL || !bare || lookup.node(outer.destination) & node_flag::OWN == 0 {
        return Err(Verdict::Pass);
    }
    // what another station is sent, as a promiscuous device hears it, the kernel drops as it came
    if !lookup.is_for_us(packet) {
        return Err(Verdict::Pass);
    }
    let inside = frame.network + F::HEADER;
    let inner = is_ours::<F, P, L>(packet, inside, lookup)?;
    if lookup.node(outer.source) & node_flag::PEER == 0 {
        return Err(Verdict::Drop(DropReason::TunnelSource));
    }
    if !F::checksum_is_right(packet, frame.network, F::HEADER) {
        return Err(Verdict::Drop(DropReason::BadIpChecksum));
    }
    if let Inside::Icmp = inner
        && !lookup.resolves()
    {
        // XDP leaves most of ICMP to tc, and between the two the note may become another packet's
        return Err(Verdict::HandOver(Task::Forward));
    }
    let mark = F::mark(packet, frame.network).ok_or(Verdict::Pass)?;
    let refused = Verdict::Drop(DropReason::KernelRefused);
    keep_congestion::<F, P>(packet, inside, mark.class).ok_or(refused)?;
    packet.unwrap(frame.network, F::HEADER).ok_or(refused)?;
    lookup.count(Stat::Untunnelled);
    let arrival = if mark.again { Arrival::Again } else { Arrival::Tunnel };
    match inner {
        Inside::Flow(hash) => note_arrival(lookup, hash, arrival),
        Inside::Icmp => {
            if let Some(mut note) = lookup.note() {
                note.error = arrival.word();
            }
        }
    }
    Ok(())
}

/// What is inside.
enum Inside {
    /// A packet of a flow with this hash, or a later fragment with this identification.
    Flow(u32),
    /// ICMP.
    Icmp,
}

/// What is inside is for a frontend, or an error about what left from one.
#[inline(always)]
fn is_ours<F: Tunnel, P: Room, L: Nodes<F>>(packet: &P, inside: usize, lookup: &L) -> Result<Inside, Verdict> {
    let malformed = |reason| Verdict::Drop(reason);
    let (key, frontend) = match parse::<F, P>(packet, inside).map_err(malformed)? {
        Kind::Flow(parsed) if parsed.ip.later => {
            let to_vip = lookup.is_vip(parsed.key.destination);
            return if to_vip { Ok(Inside::Flow(parsed.ip.id)) } else { Err(Verdict::Pass) };
        }
        Kind::Flow(parsed) => {
            let key = parsed.key;
            let found = pipeline::find_frontend(lookup, key.destination, key.destination_port, parsed.ip.protocol);
            (key, found)
        }
        Kind::Icmp(ip) => {
            return if lookup.is_vip(ip.destination) { Ok(Inside::Icmp) } else { Err(Verdict::Pass) };
        }
        Kind::Refused(destination, reason) if lookup.is_vip(destination) => return Err(Verdict::Drop(reason)),
        Kind::Refused(..) | Kind::Fragment | Kind::Other(_) => return Err(Verdict::Pass),
    };
    match frontend {
        Some(FrontendEntry { flags, .. }) if flags & frontend_flag::FRONT == 0 => Ok(Inside::Flow(flow_hash(&key))),
        None if !lookup.is_vip(key.destination) => Err(Verdict::Pass),
        Some(_) | None => Err(Verdict::Drop(DropReason::TunnelFrontend)),
    }
}
