//! Clients of this node whose sockets nobody leads: a virtual machine, a process in another control group, a raw socket.
//! Their packets to a VIP leave by an external interface, where they are caught.
//!
//! The packet is turned round, or sent on, as if a load balancer stood on the wire: the stack of the node sees a flow of the
//! client with the VIP, and another one of the VIP with the backend, each in both directions, so that connection tracking,
//! reverse path filters and rules hold as they do for any traffic of that interface. To a backend on this node the source is
//! the VIP itself, since the way to it leads out here again, and so the reply comes by.

use crate::abi::{self, FrontendEntry, FrontendKey, frontend_flag};
use crate::addr::Address;
use crate::conntrack::ticks;
use crate::drop_reason::DropReason;
use crate::ethernet::{Addresses, Ethernet};
use crate::fragment::{self, Joined};
use crate::ip::Ip;
use crate::lookup::Lookup;
use crate::packet::Packet;
use crate::parse::{Kind, Parsed, parse};
use crate::policy::Policies;
use crate::verdict::{self, NO_BACKEND, Verdict, refused};

use super::balance::{begin_inside, known_flow};
use super::send::send;
use super::{counted, defect};

/// A packet of which [`super::egress`] found that it is for a frontend: for a backend on this node it is an
/// [`Verdict::Answer`], which is to come in again where it was about to leave. Where nobody is there its sender is told so by
/// what comes in there ([`verdict::INSIDE`]); other errors of ours go out by the device, so they are not made.
#[inline(always)]
pub fn inside<F: Ip, P: Packet, L: Policies<F>>(packet: &mut P, lookup: &L) -> Verdict {
    let judged = match Ethernet::parse(packet) {
        Ok(frame) if frame.ether_type == F::ETHER_TYPE => caught(packet, &frame, lookup),
        _ => return Verdict::Pass,
    };
    match counted::<F, P, L>(packet, lookup, judged) {
        Verdict::Refuse(NO_BACKEND) => Verdict::Refuse(NO_BACKEND | verdict::INSIDE),
        Verdict::Refuse(why) => Verdict::Drop(refused(why).0),
        verdict => verdict,
    }
}

/// The frontend that a packet which leaves the node is for: at exactly this address, of whatever kind. Those of the front are
/// left to whoever is on the way: it answers what comes in.
#[inline(always)]
pub(super) fn frontend_of<F: Ip, L: Lookup<F>>(lookup: &L, parsed: &Parsed<F::Addr>) -> Option<FrontendEntry> {
    let (address, port) = (parsed.key.destination, parsed.key.destination_port);
    if address == F::Addr::ANY {
        return None;
    }
    let protocol = u16::from(parsed.ip.protocol);
    let key = FrontendKey { address, port, protocol, fill: Default::default() };
    let frontend = lookup.frontend(&key)?;
    (frontend.flags & frontend_flag::FRONT == 0).then(|| from_inside(lookup, key, frontend))
}

/// The frontend as clients on this node see it: the policy for clients from outside is not theirs.
#[inline(always)]
pub(crate) fn from_inside<F: Ip, L: Lookup<F>>(
    lookup: &L,
    key: FrontendKey<F::Addr>,
    frontend: FrontendEntry,
) -> FrontendEntry {
    if frontend.flags & frontend_flag::INSIDE == 0 {
        return frontend;
    }
    lookup.frontend(&FrontendKey { protocol: key.protocol | abi::INSIDE, ..key }).unwrap_or(frontend)
}

/// The packet is addressed to the device itself, as if it had come in by it.
#[inline(always)]
pub(crate) fn turn_round<P: Packet>(packet: &mut P) -> Verdict {
    let turned = Addresses::of(packet).and_then(|frame| frame.reversed().write(packet));
    if turned.is_some() { Verdict::Answer } else { Verdict::Drop(DropReason::KernelRefused) }
}

#[inline(always)]
fn caught<F: Ip, P: Packet, L: Policies<F>>(packet: &mut P, frame: &Ethernet, lookup: &L) -> Verdict {
    let Ok(Kind::Flow(mut parsed)) = parse::<F, P>(packet, frame.network) else { return Verdict::Pass };
    if fragment::join(lookup, &mut parsed) != Joined::Known || defect::<F, P>(packet, &parsed).is_some() {
        return Verdict::Pass; // what the node sends is not judged
    }
    let Some(frontend) = frontend_of(lookup, &parsed) else { return Verdict::Pass };
    fragment::remember(lookup, &parsed);
    let clock = lookup.clock();
    let known = match known_flow(lookup, &parsed, ticks(clock)) {
        Some(known) => known,
        None => match begin_inside(lookup, &parsed, frontend, clock) {
            Ok(known) => known,
            Err(ended) => return ended,
        },
    };
    match send(packet, &parsed, lookup, &known.onward(), clock) {
        Verdict::Deliver => turn_round(packet),
        verdict => verdict,
    }
}
