//! Leases of the tuple that a backend sees, so that its replies find their way back.

use crate::abi::{BackendEntry, FlowEntry, FlowKey, ReplyEntry, flow_flag, protocol, setting};
use crate::be::Be16;
use crate::conntrack::{FlowState, idle_ticks, timeout_ticks};
use crate::drop_reason::DropReason;
use crate::flow::{forward_key, is_first, is_same_flow, replies_of, reply_entry};
use crate::hash::{rehash, scale};
use crate::ip::Ip;
use crate::lookup::{Lookup, Table};
use crate::pipeline::in_range;
use crate::transport::tcp_flag;

/// How many ports are tried for one flow: with nine in ten ports to one backend taken, 16 tries miss less than once in
/// five flows; with half of them taken, once in 65,000.
const PROBES: u32 = 16;
/// If none of them was free, so many are tried again, and half-open flows that have been silent for [`HURRIED`] give way, as
/// do proven ones that are over: a flood of first packets may have leased most ports, for over a minute.
const HURRIED_PROBES: u32 = 2;
/// Two to three seconds, in ticks: longer than any round trip, and than the second in which a client sends its first packet
/// again (RFC 6298, section 2). An answer of the backend is no sign of life: it answers spoofed packets too.
const HURRIED: u32 = 2;

/// Records the way back of a new flow. With SNAT a free port is leased; without, the client's own tuple is used, unless
/// another flow has it already (one client port to two frontends with the same backend): then a port is leased as well.
///
/// SCTP keeps its ports, which are in a checksum over the whole packet: the tuple is its own, or another client has it.
#[inline(always)]
pub fn lease<F: Ip, L: Lookup<F>>(
    lookup: &L,
    key: &FlowKey<F::Addr>,
    backend: &BackendEntry<F::Addr>,
    entry: &mut FlowEntry<F::Addr>,
    hash: u32,
    now: u32,
) -> Result<(), DropReason> {
    let keeps_port = key.protocol == u32::from(protocol::SCTP);
    if keeps_port || entry.flags & flow_flag::SNAT == 0 {
        if claim(lookup, key, backend, entry, now, keeps_port) {
            return Ok(());
        }
        if keeps_port {
            return Err(DropReason::SctpPortTaken);
        }
        entry.flags |= flow_flag::SNAT;
    }
    let ports = Ports::from_setting(lookup.setting(setting::SNAT_PORTS), hash, key.source_port.host());
    let ports = ports.ok_or(DropReason::SnatExhausted)?;
    if lease_free(lookup, key, backend, entry, now, &ports) {
        return Ok(());
    }
    let mut attempt = 0;
    while attempt < HURRIED_PROBES {
        entry.snat_port = ports.at(attempt);
        if claim(lookup, key, backend, entry, now, true) {
            return Ok(());
        }
        attempt += 1;
    }
    lookup.count_exhausted(entry.service, entry.backend);
    Err(DropReason::SnatExhausted)
}

/// The node itself, or a client that it masquerades, begins something from a port of ours: the tuple of the answers is marked
/// as taken, so that no flow of ours gets it, until the node closes it. What has the tuple already keeps it. Only beginnings
/// count, or whoever gets an answer of the node, and be it a reset, could take ports from us. Where source NAT has an address of
/// its own, nothing of the node's has a tuple of ours.
#[inline(always)]
pub(crate) fn note_host<F: Ip, L: Lookup<F>>(lookup: &L, key: &FlowKey<F::Addr>, tcp_flags: u8) {
    if !in_range(lookup.setting(setting::SNAT_PORTS), key.source_port.host())
        || lookup.uplink_address(lookup.ingress()) != Some(key.source)
        || F::from_settings(|index| lookup.setting(index)).is_some_and(|ours| ours != key.source)
    {
        return;
    }
    let now = lookup.now();
    let replies = FlowKey {
        source: key.destination,
        destination: key.source,
        source_port: key.destination_port,
        destination_port: key.source_port,
        protocol: key.protocol,
    };
    if let Some(mut held) = lookup.reply(Table::HalfOpen, &replies) {
        if held.flags & flow_flag::HOST == 0 {
            return;
        }
        if tcp_flags & (tcp_flag::FIN | tcp_flag::RST) == 0 {
            if held.last_seen != now {
                held.last_seen = now; // once a tick, so that the cache line stays shared
            }
            return;
        }
        drop(held);
        lookup.remove_reply(Table::HalfOpen, &replies);
    } else if (key.protocol == u32::from(protocol::UDP) || is_first(key.protocol, tcp_flags))
        && lookup.reply(Table::Proven, &replies).is_none()
    {
        let mark = ReplyEntry { flags: flow_flag::HOST | flow_flag::LOCAL, last_seen: now, ..ReplyEntry::default() };
        lookup.add_reply(Table::HalfOpen, &replies, &mark);
    }
}

/// A packet to this port may be the reply to a flow with SNAT: the port is one of the range, or was when the flow began, or
/// is that of an SCTP client.
#[inline(always)]
pub(crate) fn may_be_reply<F: Ip, L: Lookup<F>>(lookup: &L, ip_protocol: u8, port: Be16) -> bool {
    // no branch: it would change where the compiler joins the verdicts
    (ip_protocol == protocol::SCTP) | in_range(lookup.setting(setting::SNAT_PORTS) >> 32, port.host())
}

/// The ports of SNAT, and where a flow looks for one.
struct Ports {
    first: u16,
    count: u32,
    /// How far the one that is tried first is from the first one: the client's own if that is in the range. Others are as good as
    /// any; a branch would double what the verifier walks.
    kept: u32,
    /// The same of the one before those that are tried then, by the flow's hash: clients with the same port part there.
    start: u32,
}

impl Ports {
    /// `None` if there are none.
    #[inline(always)]
    const fn from_setting(word: u64, hash: u32, client: u16) -> Option<Self> {
        let (first, last) = ((word >> 16) as u16, word as u16);
        if first == 0 || last < first {
            return None;
        }
        let count = (last - first) as u32 + 1;
        let kept = client.wrapping_sub(first) as u32 % count;
        Some(Self { first, count, kept, start: scale(rehash(hash), count) })
    }

    /// The port that is tried at first.
    #[inline(always)]
    const fn kept(&self) -> Be16 {
        Be16::new(self.first.wrapping_add(self.kept as u16))
    }

    /// The port that many steps behind the start, round the end of the range. A bound by `count` in the loops instead of
    /// the remainder here would hide from the verifier that they end.
    #[inline(always)]
    const fn at(&self, step: u32) -> Be16 {
        Be16::new(self.first.wrapping_add(((self.start + step) % self.count) as u16))
    }
}

/// Takes the first of so many ports that nobody has. Two lookups a probe and nothing else: the verifier walks the body once
/// for each.
#[inline(always)]
fn lease_free<F: Ip, L: Lookup<F>>(
    lookup: &L,
    key: &FlowKey<F::Addr>,
    backend: &BackendEntry<F::Addr>,
    entry: &mut FlowEntry<F::Addr>,
    now: u32,
    ports: &Ports,
) -> bool {
    let mut probe = 0;
    entry.snat_port = ports.kept();
    while probe < PROBES {
        let replies = replies_of(key, entry, backend);
        let wanted = reply_entry(key, entry, now);
        if lookup.reply(Table::Proven, &replies).is_none() && lookup.add_reply(Table::HalfOpen, &replies, &wanted) {
            return true;
        }
        probe += 1;
        entry.snat_port = ports.at(probe);
    }
    false
}

/// Takes the reply tuple of the entry, or keeps it, unless another living flow has it. In a hurry, half-open flows do not
/// live as long.
#[inline(always)]
pub fn claim<F: Ip, L: Lookup<F>>(
    lookup: &L,
    key: &FlowKey<F::Addr>,
    backend: &BackendEntry<F::Addr>,
    entry: &FlowEntry<F::Addr>,
    now: u32,
    hurried: bool,
) -> bool {
    let replies = replies_of(key, entry, backend);
    let wanted = reply_entry(key, entry, now);
    if !is_free_of_proven(lookup, &replies, &wanted, now) {
        return false;
    }
    if lookup.add_reply(Table::HalfOpen, &replies, &wanted) {
        return true;
    }
    let Some(mut held) = lookup.reply(Table::HalfOpen, &replies) else { return false };
    // what the node uses may be silent for as long as an established flow, once it was answered
    const ANSWERED: u32 = flow_flag::HOST | flow_flag::REPLIED;
    let answered = held.flags & ANSWERED == ANSWERED;
    let state = if answered { FlowState::PROVEN } else { FlowState::HALF_OPEN };
    let hurried = hurried && held.flags & flow_flag::HOST == 0;
    let patience = if hurried { HURRIED } else { timeout_ticks(state.number(), key.protocol as u8) };
    let over = idle_ticks(now, held.last_seen) > patience;
    if over || is_same_flow(&held, &wanted) {
        *held = wanted;
        return true;
    }
    false
}

/// Gives the reply tuple of a flow back, if it is still this flow's: its backend's id may mean another one by now, and
/// then the tuple that they make is another flow's.
#[inline(always)]
pub fn release<F: Ip, L: Lookup<F>>(
    lookup: &L,
    table: Table,
    key: &FlowKey<F::Addr>,
    backend: &BackendEntry<F::Addr>,
    entry: &FlowEntry<F::Addr>,
) {
    let replies = replies_of(key, entry, backend);
    let ours = reply_entry(key, entry, 0);
    if lookup.reply(table, &replies).is_some_and(|held| is_same_flow(&held, &ours)) {
        lookup.remove_reply(table, &replies);
    }
}

/// No other proven flow has the tuple. An entry of this flow, left from before, is brought up to date.
#[inline(always)]
fn is_free_of_proven<F: Ip, L: Lookup<F>>(
    lookup: &L,
    replies: &FlowKey<F::Addr>,
    wanted: &ReplyEntry<F::Addr>,
    now: u32,
) -> bool {
    let Some(mut place) = lookup.reply(Table::Proven, replies) else { return true };
    let held = *place;
    if is_same_flow(&held, wanted) {
        *place = *wanted;
        return true;
    }
    drop(place);
    reclaim(lookup, replies, &held, now)
}

/// Ends a proven flow that has been idle for too long, so that leases come back even while no agent collects them. False
/// if it lives.
#[inline(always)]
fn reclaim<F: Ip, L: Lookup<F>>(lookup: &L, replies: &FlowKey<F::Addr>, held: &ReplyEntry<F::Addr>, now: u32) -> bool {
    let key = forward_key(held, replies.protocol);
    if let Some(flow) = lookup.flow(Table::Proven, &key).map(|entry| *entry) {
        let idle = idle_ticks(now, flow.last_seen).min(idle_ticks(now, held.last_seen));
        if idle <= timeout_ticks(flow.state, replies.protocol as u8) {
            return false;
        }
        lookup.remove_flow(Table::Proven, &key);
    }
    lookup.remove_reply(Table::Proven, replies);
    true
}
