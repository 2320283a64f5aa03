//! Direct server return: packets for a backend on another node are carried to that node in a tunnel, and replies leave
//! from there with the VIP as their source.
//!
//! The first node keeps nothing of a flow: the ring, which is the same on all nodes, says where it goes. Only while a ring
//! has changed lately are the flows remembered that the change concerns ([`choose`]). The second node takes the outer
//! header off ([`open`]) and goes on as if the packet had come to it directly.
//!
//! The parts are programs of their own: the pipeline ends with [`Verdict::Dsr`] or [`Verdict::Tunnel`] where they begin.

mod choose;
mod lookup;
mod mss;
mod narrow;
mod open;
mod room;
mod send;
#[cfg(test)]
mod tests;
mod too_big;
mod tunnel;

use crate::abi::{FlowKey, FrontendEntry, Note, frontend_flag};
use crate::addr::Address;
use crate::conntrack::ticks;
use crate::drop_reason::DropReason;
use crate::ethernet::Ethernet;
use crate::hash::flow_hash;
use crate::ip::{Ip, IpInfo};
use crate::lookup::Lookup;
use crate::parse::Parsed;
use crate::pipeline;
use crate::policy::client_hash;
use crate::transport::{Transport, tcp_flag};
use crate::verdict::{NO_BACKEND, Verdict};

pub use lookup::Nodes;
pub use mss::clamp;
pub use narrow::icmp_of;
pub use open::open;
pub use room::Room;
pub use tunnel::{Mark, Tunnel};

use choose::choose;

/// How a packet came to this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrival {
    /// From a client.
    #[default]
    Direct,
    /// From the node that a client sent it to.
    Tunnel,
    /// From a node that got it in a tunnel itself.
    Again,
    /// An ICMP error about a flow, from whoever sent it.
    Error,
}

impl Arrival {
    /// As a word, to be handed from program to program.
    #[inline(always)]
    pub const fn word(self) -> u32 {
        self as u32
    }

    /// From such a word; any other means a client.
    #[inline(always)]
    pub const fn from_word(word: u32) -> Self {
        match word {
            1 => Self::Tunnel,
            2 => Self::Again,
            3 => Self::Error,
            _ => Self::Direct,
        }
    }
}

/// Notes a packet to a frontend that belongs to no flow of this node, for [`forward`] or [`crate::policy::choose`].
#[inline(always)]
pub(crate) fn note<F: Ip, L: Lookup<F>>(lookup: &L, parsed: &Parsed<F::Addr>, frontend: FrontendEntry) {
    let Some(mut note) = lookup.note() else { return };
    let hash = flow_hash(&parsed.key);
    // what comes out of a tunnel has no ports yet where it is a later fragment
    let flow = if parsed.ip.later { parsed.ip.id } else { hash };
    // field by field, into the map: there is no room for another one on the stack
    if note.flow != flow {
        note.arrival = 0;
    }
    note.key = parsed.key;
    note.flow = flow;
    note.hash = hash;
    note.service = frontend.service;
    note.flags = frontend.flags;
    note.header_length = parsed.ip.header_length as u32;
    note.total_length = parsed.ip.total_length as u32;
    note.ttl = u32::from(parsed.ip.ttl);
    note.tcp_flags = u32::from(parsed.transport.tcp_flags);
    note.later = u32::from(parsed.ip.later);
}

/// Notes that another node sent this node a packet in a tunnel, whose flow has this hash; for a later fragment, what it has in
/// common with its first ([`IpInfo::id`]).
#[inline(always)]
pub fn note_arrival<F: Ip, L: Lookup<F>>(lookup: &L, flow: u32, arrival: Arrival) {
    if let Some(mut note) = lookup.note() {
        (note.flow, note.arrival) = (flow, arrival.word());
    }
}

/// Notes an ICMP error about such a flow: it goes where packets of the flow go.
#[inline(always)]
pub(crate) fn note_error<F: Ip, L: Lookup<F>>(
    lookup: &L,
    ip: &IpInfo<F::Addr>,
    flow: &FlowKey<F::Addr>,
    frontend: FrontendEntry,
) {
    let Some(mut note) = lookup.note() else { return };
    note.key = *flow;
    let by_client = frontend.flags & frontend_flag::CHOOSES != 0;
    note.hash = if by_client { client_hash(flow.source) } else { flow_hash(flow) };
    note.arrival = Arrival::Error.word();
    note.service = frontend.service;
    note.flags = frontend.flags;
    note.header_length = ip.header_length as u32;
    note.total_length = ip.total_length as u32;
    note.ttl = u32::from(ip.ttl);
    note.tcp_flags = u32::from(tcp_flag::ACK);
    note.later = 1;
}

/// A packet to a frontend that forwards by DSR, of a flow that this node does not know, as the pipeline has noted it.
/// [`Verdict::Dsr`]: a flow is to begin here ([`pipeline::begin`]).
#[inline(always)]
pub fn forward<F: Tunnel, P: Room, L: Nodes<F>>(
    packet: &mut P,
    frame: Result<Ethernet, DropReason>,
    lookup: &L,
) -> Verdict {
    let Ok(frame) = frame else { return Verdict::Pass };
    let verdict = balance(packet, frame.network, lookup);
    pipeline::counted::<F, P, L>(packet, lookup, verdict)
}

#[inline(always)]
fn balance<F: Tunnel, P: Room, L: Nodes<F>>(packet: &mut P, network: usize, lookup: &L) -> Verdict {
    let Some(note) = lookup.note().map(|mut note| taken(&mut note)) else {
        return Verdict::Drop(DropReason::KernelRefused);
    };
    let parsed = noted(&note, network);
    let (clock, arrival) = (lookup.clock(), Arrival::from_word(note.arrival));
    let now = ticks(clock);
    // those with a policy have been looked at
    if arrival != Arrival::Error
        && note.flags & frontend_flag::POLICY == 0
        && let Err(verdict) = pipeline::may_begin(packet, &parsed, lookup)
    {
        return verdict;
    }
    let Some(choice) = choose(lookup, &parsed, note.service, note.hash, arrival, now) else {
        let is_error = arrival == Arrival::Error;
        return if is_error { Verdict::Drop(DropReason::ErrorUnknown) } else { Verdict::Refuse(NO_BACKEND) };
    };
    match choice.node {
        Some(node) => send::to_node(packet, &parsed, lookup, note.service, &choice, (node, note.hash), arrival, clock),
        None if choice.id == 0 => Verdict::Refuse(NO_BACKEND),
        None => {
            if let Some(mut note) = lookup.note() {
                note.chosen = choice.id;
                note.snat = F::Addr::ANY;
            }
            Verdict::Dsr(0)
        }
    }
}

/// The note, which says nothing any more of how the next packet of the flow comes.
#[inline(always)]
fn taken<A: Address>(note: &mut Note<A>) -> Note<A> {
    let taken = *note;
    note.arrival = 0;
    taken
}

/// What was read of the headers.
#[inline(always)]
pub(crate) fn noted<A: Address>(note: &Note<A>, network: usize) -> Parsed<A> {
    let key = note.key;
    let ip = IpInfo {
        source: (),
        destination: (),
        protocol: key.protocol as u8,
        fragment: false,
        later: note.later != 0,
        id: 0,
        ttl: note.ttl as u8,
        refused: None,
        header_length: note.header_length as usize,
        total_length: note.total_length as usize,
    };
    let transport = Transport { tcp_flags: note.tcp_flags as u8, ..Transport::none() };
    Parsed { key, ip, transport, network, payload: network }
}
