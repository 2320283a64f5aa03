//! Out of the node: the next hop, the hardware addresses, the rewritten packet.

use crate::abi::{Stat, Task};
use crate::drop_reason::DropReason;
use crate::ethernet::Addresses;
use crate::hop;
use crate::ip::{Ip, IpInfo};
use crate::lookup::{Lookup, Route};
use crate::packet::Packet;
use crate::parse::Parsed;
use crate::rewrite::{Translation, translate};
use crate::verdict::{TTL_EXCEEDED, Verdict, too_big};

/// What a packet is to become and for whom it counts.
pub(super) struct Onward<A> {
    /// Its addresses and ports.
    pub(super) to: Translation<A>,
    /// Service id; 0 for a reply.
    pub(super) service: u32,
    /// Backend id; 0 for a reply.
    pub(super) backend: u32,
    /// For a backend on this node: the stack finds the way.
    pub(super) local: bool,
}

/// Rewrites a packet and sends it to its next hop or to the stack.
#[inline(always)]
pub(super) fn send<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &mut P,
    parsed: &Parsed<F::Addr>,
    lookup: &L,
    onward: &Onward<F::Addr>,
    clock: u64,
) -> Verdict {
    let mut device = 0;
    if !onward.local {
        let way = (onward.to.source, onward.to.destination);
        device = match next_hop(packet, &parsed.ip, parsed.is_tagged(), lookup, way, clock) {
            Ok(device) => device,
            Err(verdict) => return verdict,
        };
    }
    if onward.service == 0 {
        lookup.count(Stat::Replies);
    } else {
        lookup.count_packet(onward.service, onward.backend, parsed.ip.total_length);
    }
    match translate::<F, P>(packet, parsed, &onward.to, !onward.local) {
        None => Verdict::Drop(DropReason::KernelRefused),
        Some(()) if onward.local => Verdict::Deliver,
        Some(()) => Verdict::Transmit(device),
    }
}

/// Addresses the frame to the next hop on the way between two addresses, and gives the device; or what else becomes of the
/// packet, which then is untouched.
#[inline(always)]
pub(crate) fn next_hop<F: Ip, A, P: Packet, L: Lookup<F>>(
    packet: &mut P,
    ip: &IpInfo<A>,
    tagged: bool,
    lookup: &L,
    (source, destination): (F::Addr, F::Addr),
    clock: u64,
) -> Result<u32, Verdict> {
    if ip.ttl <= 1 {
        return Err(Verdict::Refuse(TTL_EXCEEDED));
    }
    match hop::route(lookup, (source, destination), ip.protocol, ip.total_length, clock) {
        Route::None(reason) => Err(Verdict::Drop(reason)),
        Route::TooBig { mtu } => Err(Verdict::Refuse(too_big(mtu))),
        // only tc can take a tag off
        Route::Direct { device, .. } if tagged && !lookup.resolves() && !keeps_tags(lookup, device) => {
            Err(Verdict::HandOver(Task::Forward))
        }
        Route::Kernel { .. } if !lookup.resolves() => Err(Verdict::HandOver(Task::Forward)),
        Route::Kernel { device } => Ok(device),
        Route::Direct { device, addresses, .. } if is_overheard::<F, P, L>(packet, lookup, device, addresses) => {
            Err(Verdict::Pass)
        }
        Route::Direct { device, addresses, .. } => match addresses.write(packet) {
            Some(()) => Ok(device),
            None => Err(Verdict::Drop(DropReason::KernelRefused)),
        },
    }
}

/// A frame that XDP sees is addressed to another station: a device that listens to all of them, or whose switch floods, hears
/// such. Back out of the same device, the frame's sender will be whom it was for, which needs no lookup.
#[inline(always)]
fn is_overheard<F: Ip, P: Packet, L: Lookup<F>>(packet: &P, lookup: &L, device: u32, addresses: Addresses) -> bool {
    if lookup.resolves() {
        return false;
    }
    if device == lookup.ingress() {
        return Addresses::of(packet).is_none_or(|frame| frame.destination() != addresses.source());
    }
    !lookup.is_for_us(packet)
}

/// A tag is that of the network which the packet came from. It stays if the packet goes back out of the same device, where
/// no VLAN device tells networks apart; another device has networks of its own.
#[inline(always)]
pub fn keeps_tags<F: Ip, L: Lookup<F>>(lookup: &L, device: u32) -> bool {
    device == lookup.ingress() && !lookup.carries_vlans(device)
}
