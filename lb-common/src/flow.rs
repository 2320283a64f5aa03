//! Flow tracking: find, begin, prove, and end flows.
//!
//! A flow has two entries. The forward one, under the tuple that the client sends, is the master record: backend, state,
//! last use. The reply one, under the tuple that the backend sends, says how to turn replies back. Both begin in the small
//! half-open table; they move to the table of proven flows when a client packet follows a reply that was not an RST, so
//! spoofed packets, of which no reply comes back to a sender that goes on, can never push out proven flows.

use crate::abi::{BackendEntry, FlowEntry, FlowKey, ReplyEntry, Stat, flow_flag, protocol};
use crate::addr::Address;
use crate::conntrack::{FlowState, idle_ticks, timeout_ticks};
use crate::ip::Ip;
use crate::limit;
use crate::lookup::{Lookup, Table};
use crate::transport::tcp_flag;

/// The key of a flow's replies: from the backend to whatever source the backend sees.
#[inline(always)]
pub fn replies_of<A: Address>(key: &FlowKey<A>, entry: &FlowEntry<A>, backend: &BackendEntry<A>) -> FlowKey<A> {
    FlowKey {
        source: backend.address,
        destination: entry.snat_address,
        source_port: backend.port,
        destination_port: entry.snat_port,
        protocol: key.protocol,
    }
}

/// The forward key of the flow that a reply entry belongs to.
#[inline(always)]
pub fn forward_key<A: Address>(reply: &ReplyEntry<A>, ip_protocol: u32) -> FlowKey<A> {
    FlowKey {
        source: reply.client_address,
        destination: reply.frontend_address,
        source_port: reply.client_port,
        destination_port: reply.frontend_port,
        protocol: ip_protocol,
    }
}

/// The reply entry of a flow.
#[inline(always)]
pub fn reply_entry<A: Address>(key: &FlowKey<A>, entry: &FlowEntry<A>, now: u32) -> ReplyEntry<A> {
    ReplyEntry {
        frontend_address: key.destination,
        client_address: key.source,
        frontend_port: key.destination_port,
        client_port: key.source_port,
        service: entry.service,
        backend: entry.backend,
        last_seen: now,
        flags: entry.flags,
        fill: A::Fill::default(),
    }
}

/// Client and frontend are equal: both entries are of one flow.
#[inline(always)]
pub fn is_same_flow<A: Address>(a: &ReplyEntry<A>, b: &ReplyEntry<A>) -> bool {
    a.client_address == b.client_address
        && a.client_port == b.client_port
        && a.frontend_address == b.frontend_address
        && a.frontend_port == b.frontend_port
}

/// A first segment of TCP, SYN without ACK, or an INIT of SCTP.
#[inline(always)]
pub const fn is_first(key_protocol: u32, tcp_flags: u8) -> bool {
    key_protocol != protocol::UDP as u32 && tcp_flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN
}

/// Marks a use of a flow by its client. True, and nothing marked, if the flow is over: idle for longer than its state
/// allows, or closing while this segment begins a new connection.
#[inline(always)]
pub fn use_by_client<A>(entry: &mut FlowEntry<A>, ip_protocol: u32, tcp_flags: u8, now: u32) -> bool {
    let state = FlowState::from_number(entry.state);
    if is_expired(entry.state, ip_protocol, entry.last_seen, now)
        || (state.is_closing() && is_first(ip_protocol, tcp_flags))
    {
        return true;
    }
    if entry.last_seen != now {
        entry.last_seen = now; // once a tick, so that the cache line stays shared
    }
    if tcp_flags & (tcp_flag::FIN | tcp_flag::RST) != 0 {
        entry.state = state.after_client(tcp_flags).number();
    }
    false
}

/// Has been idle for longer than its state allows.
#[inline(always)]
pub const fn is_expired(state: u16, ip_protocol: u32, last_seen: u32, now: u32) -> bool {
    idle_ticks(now, last_seen) > timeout_ticks(state, ip_protocol as u8)
}

/// Records a reply: the first one tells the master record that the backend answers, later ones keep it alive (once a
/// tick) and tell it of FIN and RST.
#[inline(always)]
pub fn note_reply<F: Ip, L: Lookup<F>>(
    lookup: &L,
    entry: &mut ReplyEntry<F::Addr>,
    ip_protocol: u32,
    tcp_flags: u8,
    now: u32,
) {
    let ends = tcp_flags & (tcp_flag::FIN | tcp_flag::RST) != 0;
    if entry.last_seen == now && entry.flags & flow_flag::REPLIED != 0 && !ends {
        return;
    }
    entry.last_seen = now;
    let refused = tcp_flags & tcp_flag::RST != 0;
    if !refused {
        entry.flags |= flow_flag::REPLIED;
    }
    let key = forward_key(entry, ip_protocol);
    for table in [Table::Proven, Table::HalfOpen] {
        if let Some(mut flow) = lookup.flow(table, &key) {
            flow.last_seen = now;
            flow.state = FlowState::from_number(flow.state).after_backend(tcp_flags).number();
            if !refused {
                flow.flags |= flow_flag::REPLIED;
            }
            return;
        }
    }
}

/// What an unproven connection counts against.
const COUNTS: u32 = flow_flag::LIMITED | flow_flag::AGAIN;

/// Moves a flow whose client went on after a reply, and which holds its reply tuple, to the proven ones. If that table is
/// full, the flow stays where it is, and counts no more as unproven all the same.
#[inline(always)]
pub fn prove<F: Ip, L: Lookup<F>>(
    lookup: &L,
    key: &FlowKey<F::Addr>,
    flow: &FlowEntry<F::Addr>,
    replies: &FlowKey<F::Addr>,
    now: u32,
) {
    let counts = flow.flags & COUNTS;
    if counts != 0 {
        limit::give_back(lookup, flow.service, counts);
    }
    let flow = FlowEntry { state: flow.state | FlowState::PROVEN.number(), flags: flow.flags & !COUNTS, ..*flow };
    let reply = reply_entry(key, &flow, now);
    // the reply entry first: a forward entry must never stand without it; another CPU may have written it in this moment
    let recorded = lookup.add_reply(Table::Proven, replies, &reply)
        || lookup.reply(Table::Proven, replies).is_some_and(|held| is_same_flow(&held, &reply));
    if recorded && lookup.put_flow(Table::Proven, key, &flow) {
        lookup.remove_flow(Table::HalfOpen, key);
        lookup.remove_reply(Table::HalfOpen, replies);
        return;
    }
    if recorded {
        lookup.remove_reply(Table::Proven, replies);
    }
    if let Some(mut kept) = lookup.flow(Table::HalfOpen, key) {
        kept.flags &= !COUNTS; // or each further packet would give it back once more
    }
    lookup.count(Stat::FlowTableFull);
}
