//! Which backend a packet goes to that belongs to no flow of this node.
//!
//! The ring says it. Where the ring has changed lately, flows that began before the change must stay where they are; so a
//! packet that can belong to such a flow goes where the ring before would have sent it, and that is remembered ("just
//! enough tracking": Mendelson et al., CoNEXT 2020). A first segment of TCP takes the new ring, and is remembered too where
//! the rings differ: if the ring changes again, nothing else will tell it from an older flow.
//!
//! Ids, not entries, go from step to step: the verifier walks on from each end of each step.

use crate::abi::{Stat, TrackedEntry, backend_flag, protocol};
use crate::conntrack::{FlowState, idle_ticks};
use crate::flow;
use crate::hash::scale;
use crate::limits::RING_LINE_SLOTS;
use crate::parse::Parsed;

use super::{Arrival, Nodes, Tunnel};

/// How many slots are looked through for a backend on this node, where two nodes' rings disagree: of ten backends one is
/// missed once in five times, and then the packet is sent on.
const SEARCH: u32 = 16;

/// Where a packet goes.
pub(super) struct Choice<A> {
    /// Backend id; 0: there is none.
    pub(super) id: u32,
    /// Where the backend's node is; `None` if it is this one, or not known.
    pub(super) node: Option<A>,
    /// The flow is to be remembered.
    pub(super) track: bool,
}

/// Chooses for a packet whose flow has this hash.
#[inline(always)]
pub(super) fn choose<F: Tunnel, L: Nodes<F>>(
    lookup: &L,
    parsed: &Parsed<F::Addr>,
    service: u32,
    hash: u32,
    arrival: Arrival,
    now: u32,
) -> Option<Choice<F::Addr>> {
    let first = flow::is_first(parsed.key.protocol, parsed.transport.tcp_flags);
    let place = lookup.service(service)?.ring_place();
    let former = lookup.former_ring(service)?;
    if former.changed != 0 {
        let id = tracked(lookup, parsed, first, now);
        if id != 0 {
            let node = lookup.node_of(id);
            if node.is_none() && arrival == Arrival::Error {
                return None; // as below
            }
            lookup.count(Stat::FlowsKept);
            return Some(Choice { id, node, track: false });
        }
    }
    let current = slot_of(lookup, place, hash);
    let before = if former.is_open(now) { slot_of(lookup, former.place(), hash) } else { 0 };
    let tcp = parsed.key.protocol == u32::from(protocol::TCP);
    // a flow that a backend here has is known, so a datagram of none begins one: it takes the new ring
    let keeps = before != current && !first && is_used(lookup, before, !tcp);
    let id = if keeps { before } else { current };
    let node = lookup.node_of(id);
    if node.is_some() && (arrival == Arrival::Again || (first && arrival == Arrival::Tunnel)) {
        let id = here(lookup, place, hash);
        if id != 0 {
            return Some(Choice { id, node: None, track: false });
        }
    }
    if node.is_none() && arrival == Arrival::Error {
        return None; // a backend on this node would have had the flow, which this node does not know
    }
    Some(Choice { id, node, track: before != 0 && before != current })
}

/// The backend that was remembered for the flow, if it is still there; else 0. A first segment begins anew.
#[inline(always)]
fn tracked<F: Tunnel, L: Nodes<F>>(lookup: &L, parsed: &Parsed<F::Addr>, first: bool, now: u32) -> u32 {
    let Some(mut kept) = lookup.tracked(&parsed.key) else { return 0 };
    let over = first || flow::is_expired(FlowState::PROVEN.number(), parsed.key.protocol, kept.last_seen, now);
    // nor does an ICMP error keep a flow alive, and later fragments have their first
    if !over && !parsed.ip.later && idle_ticks(now, kept.last_seen) > 0 {
        kept.last_seen = now;
    }
    let (id, generation) = (kept.backend, kept.generation);
    drop(kept);
    let there = lookup.backend(id).is_some_and(|backend| backend.generation == generation && backend.protocol != 0);
    if over || !there {
        lookup.untrack(&parsed.key);
        return 0;
    }
    id
}

/// Remembers where a flow goes.
#[inline(always)]
pub(super) fn track<F: Tunnel, L: Nodes<F>>(lookup: &L, parsed: &Parsed<F::Addr>, id: u32, now: u32) {
    let Some(backend) = lookup.backend(id) else { return };
    lookup.track(&parsed.key, &TrackedEntry { backend: id, generation: backend.generation, last_seen: now });
}

/// The backend in the slot of a ring that the hash names; 0 if there is none.
#[inline(always)]
fn slot_of<F: Tunnel, L: Nodes<F>>(lookup: &L, (line, slots): (u32, u32), hash: u32) -> u32 {
    if slots == 0 {
        return 0;
    }
    let slot = scale(hash, slots);
    lookup.ring_slot(line + slot / RING_LINE_SLOTS, slot % RING_LINE_SLOTS)
}

/// The backend is in use, and where `elsewhere` on another node.
#[inline(always)]
fn is_used<F: Tunnel, L: Nodes<F>>(lookup: &L, id: u32, elsewhere: bool) -> bool {
    let is_here = |flags: u16| flags & backend_flag::LOCAL != 0;
    id != 0 && lookup.backend(id).is_some_and(|backend| backend.protocol != 0 && !(elsewhere && is_here(backend.flags)))
}

/// The next backend on this node from the flow's slot on; 0 if none is near.
#[inline(always)]
fn here<F: Tunnel, L: Nodes<F>>(lookup: &L, (line, slots): (u32, u32), hash: u32) -> u32 {
    if slots == 0 {
        return 0;
    }
    let (start, mut found, mut step) = (scale(hash, slots), 0, 0);
    // bounds by `slots` instead of the remainder would give the verifier other states for each step
    while step < SEARCH && found == 0 {
        let slot = (start + step) % slots;
        let id = lookup.ring_slot(line + slot / RING_LINE_SLOTS, slot % RING_LINE_SLOTS);
        if lookup.backend(id).is_some_and(|backend| backend.flags & backend_flag::LOCAL != 0) {
            found = id;
        }
        step += 1;
    }
    found
}
