//! The flow of a packet to a frontend: found, or begun with a backend from the ring.

use crate::abi::{
    BackendEntry, FlowEntry, FlowKey, FrontendEntry, ServiceEntry, Stat, Task, flow_flag, frontend_flag, protocol,
};
use crate::addr::Address;
use crate::conntrack::{FlowState, ticks};
use crate::drop_reason::DropReason;
use crate::flow;
use crate::hash::flow_hash;
use crate::hop;
use crate::ip::Ip;
use crate::limit;
use crate::lookup::{Lookup, Route, Table};
use crate::packet::Packet;
use crate::parse::Parsed;
use crate::policy::{self, Client, Policies};
use crate::rewrite::Translation;
use crate::snat;
use crate::transport::tcp_flag;
use crate::verdict::{TTL_EXCEEDED, Verdict, too_big};

use super::send::Onward;

/// A flow and its backend, as they are now.
pub(super) struct Known<A: Address> {
    pub(super) entry: FlowEntry<A>,
    pub(super) backend: BackendEntry<A>,
    /// The backend is on this node. Beside the other flags of the entry: the verifier would walk on once for each of their
    /// values.
    pub(super) local: bool,
}

impl<A: Address> Known<A> {
    /// What its packets become.
    #[inline(always)]
    pub(super) fn onward(&self) -> Onward<A> {
        let Self { entry, backend, local } = self;
        let to = Translation {
            source: entry.snat_address,
            source_port: entry.snat_port,
            destination: backend.address,
            destination_port: backend.port,
        };
        Onward { to, service: entry.service, backend: entry.backend, local: *local }
    }
}

/// The flow of a packet to a frontend, if it is known, alive, and its backend still there.
#[inline(always)]
pub(super) fn known_flow<F: Ip, L: Lookup<F>>(
    lookup: &L,
    parsed: &Parsed<F::Addr>,
    now: u32,
) -> Option<Known<F::Addr>> {
    let (table, entry, over) = touched_entry(lookup, parsed, now)?;
    let backend = lookup.backend(entry.backend)?;
    let gone = backend.generation != entry.generation || backend.protocol == 0;
    if !gone && !over && (table == Table::Proven || renew(lookup, parsed, &entry, &backend, now)) {
        return Some(Known { entry, backend, local: entry.flags & flow_flag::LOCAL != 0 });
    }
    if gone {
        lookup.count(Stat::FlowsMoved);
    }
    lookup.remove_flow(table, &parsed.key);
    snat::release(lookup, table, &parsed.key, &backend, &entry);
    None
}

/// The entry of the flow in whichever table holds it, marked as used, and whether that flow is over: idle for too long, or
/// closing while the client begins anew on the same tuple (RFC 9293, section 3.6.1).
#[inline(always)]
fn touched_entry<F: Ip, L: Lookup<F>>(
    lookup: &L,
    parsed: &Parsed<F::Addr>,
    now: u32,
) -> Option<(Table, FlowEntry<F::Addr>, bool)> {
    if let Some(mut entry) = lookup.flow(Table::Proven, &parsed.key) {
        let over = flow::use_by_client(&mut *entry, parsed.key.protocol, parsed.transport.tcp_flags, now);
        return Some((Table::Proven, *entry, over));
    }
    let mut entry = lookup.flow(Table::HalfOpen, &parsed.key)?;
    let over = flow::use_by_client(&mut *entry, parsed.key.protocol, parsed.transport.tcp_flags, now);
    Some((Table::HalfOpen, *entry, over))
}

/// What a further packet of a half-open flow brings: its reply entry again, which may have been evicted, and the proof.
/// False if another flow has taken the reply tuple meanwhile: both would get each other's replies.
#[inline(always)]
fn renew<F: Ip, L: Lookup<F>>(
    lookup: &L,
    parsed: &Parsed<F::Addr>,
    entry: &FlowEntry<F::Addr>,
    backend: &BackendEntry<F::Addr>,
    now: u32,
) -> bool {
    if !snat::claim(lookup, &parsed.key, backend, entry, now, false) {
        return false;
    }
    let (protocol, flags) = (parsed.key.protocol, parsed.transport.tcp_flags);
    // a first segment that comes again goes on from nothing: whoever forged it once can do so twice
    if entry.flags & flow_flag::REPLIED != 0 && flags & tcp_flag::RST == 0 && !flow::is_first(protocol, flags) {
        flow::prove::<F, L>(lookup, &parsed.key, entry, &flow::replies_of(&parsed.key, entry, backend), now);
    }
    true
}

/// A new flow with the service and the backend that were chosen for it; `flags` are those of the frontend and of the flow,
/// `source` is what [`source_towards`] has found. Where nobody has asked that, as after DSR, XDP leaves the flow to tc: the way to it
/// takes much stack.
#[inline(always)]
pub(super) fn begin_chosen<F: Ip, L: Lookup<F>>(
    lookup: &L,
    parsed: &Parsed<F::Addr>,
    chosen: (u32, u32),
    (frontend, flow): (u32, u32),
    source: F::Addr,
) -> Result<(), Verdict> {
    let time = (lookup.clock(), flow_hash(&parsed.key));
    let Known { entry, local, .. } = lead(lookup, parsed, chosen, time, frontend, (flow | BY_TC, source))?;
    if let Some(mut note) = lookup.note() {
        (note.snat, note.snat_port) = (entry.snat_address, u32::from(entry.snat_port.host()));
        note.local = u32::from(local);
    }
    Ok(())
}

/// The source of packets to a backend that was chosen, if it is on another node: it depends on the way there. All zeroes if it is on this
/// one, or gone.
#[inline(always)]
pub(crate) fn source_towards<F: Ip, L: Lookup<F>>(
    lookup: &L,
    parsed: &Parsed<F::Addr>,
    id: u32,
) -> Result<F::Addr, Verdict> {
    match member(lookup, id) {
        Some((_, backend)) if backend.flags & crate::abi::backend_flag::LOCAL == 0 => {
            own_address(lookup, parsed, backend.address, lookup.clock())
        }
        _ => Ok(F::Addr::ANY),
    }
}

/// A new flow of a client on this node, whose packet was caught on its way out. To a backend on this node it comes from the
/// frontend's own address, so that the reply takes the same way.
#[inline(always)]
pub(super) fn begin_inside<F: Ip, L: Policies<F>>(
    lookup: &L,
    parsed: &Parsed<F::Addr>,
    frontend: FrontendEntry,
    clock: u64,
) -> Result<Known<F::Addr>, Verdict> {
    admissible(lookup, parsed).map_err(Verdict::Drop)?;
    let hash = flow_hash(&parsed.key);
    let chosen = if frontend.flags & frontend_flag::CHOOSES != 0 {
        policy::select(lookup, frontend.service, &Client::at(parsed.key.source), hash)
    } else {
        slot_of(lookup, frontend.service, hash)
    };
    lead(lookup, parsed, (frontend.service, chosen), (clock, hash), frontend.flags, (flow_flag::INSIDE, F::Addr::ANY))
}

/// A bit beside those of [`flow_flag`] that is in no entry: XDP leaves the flow to tc if its source is not known.
const BY_TC: u32 = 1 << 31;

/// A flow of a service with the backend of this id, and with the way back recorded; `frontend` are the flags of that, `flags`
/// those that the flow has beside what its backend makes of it, `source` is that of its packets to another node, if it is known.
#[inline(always)]
fn lead<F: Ip, L: Lookup<F>>(
    lookup: &L,
    parsed: &Parsed<F::Addr>,
    (service, id): (u32, u32),
    (clock, hash): (u64, u32),
    frontend: u32,
    (flags, source): (u32, F::Addr),
) -> Result<Known<F::Addr>, Verdict> {
    let now = ticks(clock);
    let picked = member(lookup, id).filter(|(_, backend)| keeps_port(&parsed.key, backend));
    let (id, backend) = picked.ok_or(policy::unserved(frontend))?;
    let local = backend.flags & crate::abi::backend_flag::LOCAL != 0;
    let mut entry = FlowEntry {
        snat_address: parsed.key.source,
        snat_port: parsed.key.source_port,
        state: FlowState::HALF_OPEN.number(),
        flags: (flags & !BY_TC) | if local { flow_flag::LOCAL } else { flow_flag::SNAT },
        backend: id,
        generation: backend.generation,
        service,
        last_seen: now,
    };
    if flags & flow_flag::INSIDE != 0 {
        entry.flags |= flow_flag::SNAT;
        entry.snat_address = parsed.key.destination;
    }
    if !local {
        entry.snat_address = match source {
            known if known != F::Addr::ANY => known,
            _ if flags & BY_TC != 0 && !lookup.resolves() => return Err(Verdict::HandOver(Task::Forward)),
            _ => own_address(lookup, parsed, backend.address, clock)?,
        };
    }
    // those of the node's own clients and of other nodes' pods are not for the kernel to track twice
    if local && flags & BY_TC != 0 && is_tcp(&parsed.key) {
        entry.flags |= limit::admit(lookup, service, hash, clock).ok_or(Verdict::Drop(DropReason::SynLimited))?;
    }
    snat::lease(lookup, &parsed.key, &backend, &mut entry, hash, now).map_err(Verdict::Drop)?;
    let _ = lookup.put_flow(Table::HalfOpen, &parsed.key, &entry);
    lookup.count_flow(service, id);
    Ok(Known { entry, backend, local })
}

#[inline(always)]
fn is_tcp<A>(key: &FlowKey<A>) -> bool {
    key.protocol == u32::from(protocol::TCP)
}

/// The address that packets to a backend on another node get as their source.
#[inline(always)]
fn own_address<F: Ip, L: Lookup<F>>(
    lookup: &L,
    parsed: &Parsed<F::Addr>,
    backend: F::Addr,
    clock: u64,
) -> Result<F::Addr, Verdict> {
    let ip = &parsed.ip;
    if ip.ttl <= 1 {
        return Err(Verdict::Refuse(TTL_EXCEEDED)); // before it takes a port
    }
    // from no address yet: which one it will be depends on the way, and the client it is not
    match hop::route(lookup, (F::Addr::ANY, backend), ip.protocol, ip.total_length, clock) {
        Route::Direct { device, .. } | Route::Kernel { device } => snat_address(lookup, device),
        Route::TooBig { mtu } => Err(Verdict::Refuse(too_big(mtu))),
        Route::None(reason) => Err(Verdict::Drop(reason)),
    }
}

/// The backend in the slot of the service's ring that the hash names.
#[inline(always)]
pub(crate) fn pick<F: Ip, L: Lookup<F>>(lookup: &L, service: u32, hash: u32) -> Option<(u32, BackendEntry<F::Addr>)> {
    member(lookup, slot_of(lookup, service, hash))
}

/// The id in the slot of the service's ring that the hash names; 0 if there is none.
#[inline(always)]
fn slot_of<F: Ip, L: Lookup<F>>(lookup: &L, service: u32, hash: u32) -> u32 {
    lookup.service(service).map_or(0, |service| slot_in(lookup, &service, hash))
}

/// The same, of a service that was looked up.
#[inline(always)]
pub(crate) fn slot_in<F: Ip, L: Lookup<F>>(lookup: &L, service: &ServiceEntry, hash: u32) -> u32 {
    let (first_line, slots) = service.ring_place();
    if slots == 0 {
        return 0;
    }
    let slot = crate::hash::scale(hash, slots);
    let lines = crate::limits::RING_LINE_SLOTS;
    lookup.ring_slot(first_line + slot / lines, slot % lines)
}

/// A backend in use.
#[inline(always)]
pub(crate) fn member<F: Ip, L: Lookup<F>>(lookup: &L, id: u32) -> Option<(u32, BackendEntry<F::Addr>)> {
    let backend = lookup.backend(id)?;
    (id != 0 && backend.protocol != 0).then_some((id, backend))
}

/// The backend has the port that the client sends to, where that must not be changed: SCTP. Agents see to it.
#[inline(always)]
fn keeps_port<A: Address>(key: &FlowKey<A>, backend: &BackendEntry<A>) -> bool {
    key.protocol != u32::from(protocol::SCTP) || key.destination_port == backend.port
}

/// What else becomes of a packet that may begin no flow: one that is addressed to another station is that station's.
#[inline(always)]
pub(crate) fn may_begin<F: Ip, P: Packet, L: Lookup<F>>(
    packet: &P,
    parsed: &Parsed<F::Addr>,
    lookup: &L,
) -> Result<(), Verdict> {
    admissible(lookup, parsed).map_err(Verdict::Drop)?;
    if lookup.is_for_us(packet) { Ok(()) } else { Err(Verdict::Pass) }
}

/// A packet that may begin a flow. No client has the address of a VIP: the answer to a packet from there would come here, as one
/// more client's, and two services that answer whatever they get would do so for ever.
#[inline(always)]
fn admissible<F: Ip, L: Lookup<F>>(lookup: &L, parsed: &Parsed<F::Addr>) -> Result<(), DropReason> {
    let key = &parsed.key;
    if !F::is_unicast(key.source) || key.source == key.destination || lookup.is_vip(key.source) {
        return Err(DropReason::BadSource);
    }
    let flags = parsed.transport.tcp_flags;
    let syn = flags & tcp_flag::SYN != 0;
    let known = tcp_flag::SYN | tcp_flag::ACK | tcp_flag::FIN | tcp_flag::RST;
    let impossible = flags & known == 0 || (syn && flags & (tcp_flag::FIN | tcp_flag::RST) != 0);
    if is_tcp(key) && impossible && !parsed.ip.later {
        return Err(DropReason::BadTcpFlags);
    }
    Ok(())
}

/// `--snat-address` if there is one for the family, else the device's own. Behind a tunnel only its own will do: replies to
/// any other would not come back through it.
#[inline(always)]
fn snat_address<F: Ip, L: Lookup<F>>(lookup: &L, device: u32) -> Result<F::Addr, Verdict> {
    let own = lookup.uplink_address(device).ok_or(Verdict::Drop(DropReason::NotAnUplink))?;
    if lookup.is_tunnel(device) {
        return Ok(own);
    }
    Ok(F::from_settings(|index| lookup.setting(index)).unwrap_or(own))
}
