//! The choice of a backend for a new flow: a slot of the ring, unless its service asks for more: clients that it is not for,
//! clients that keep their backend, and other ways to choose than the hash of the flow.
//!
//! This is a program of its own, called where the pipeline ends with [`Verdict::Choose`], so that the verifier walks what only
//! first packets need apart from what all need. Under XDP it judges who may come, and leaves choices to the
//! companion: it makes one, which both would not make alike by chance.

use crate::abi::{AffinityEntry, AffinityKey, FrontendEntry, ServiceEntry, Task, frontend_flag, service_flag};
use crate::addr::Address;
use crate::conntrack::{idle_ticks, seconds};
use crate::drop_reason::DropReason;
use crate::dsr::noted;
use crate::ethernet::Ethernet;
use crate::hash::pair_hash;
use crate::ip::Ip;
use crate::lookup::Lookup;
use crate::packet::Packet;
use crate::pipeline::{counted, may_begin, slot_in, source_towards, to_front};
use crate::verdict::{NO_BACKEND, Verdict};

/// What policies look up and record, for one address family.
pub trait Policies<F: Ip>: Lookup<F> {
    /// The client is one of those that the service is for.
    fn in_ranges(&self, service: u32, client: F::Addr) -> bool;

    /// A random number.
    fn chance(&self) -> u32;

    /// The backend that a client keeps.
    fn affinity(&self, key: &AffinityKey) -> Option<Self::Ref<'_, AffinityEntry>>;

    /// Records it; the least recently used goes first.
    fn put_affinity(&self, key: &AffinityKey, entry: &AffinityEntry);

    /// How much a backend has to do ([`crate::abi::LoadEntry::load`]).
    fn load_of(&self, backend: u32) -> u64;

    /// Adds a flow to that.
    fn add_load(&self, backend: u32);
}

/// Whom a flow comes from, as far as it counts for a choice: an [`AffinityKey`] without a service.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    key: AffinityKey,
    hash: u32,
}

impl Client {
    /// A client with an address.
    #[inline(always)]
    pub fn at<A: Address>(address: A) -> Self {
        let of = if A::WORDS == 1 { 4 } else { 6 };
        Self { key: AffinityKey { client: address.words(), of, service: 0 }, hash: client_hash(address) }
    }

    /// The processes of a network namespace, by its cookie: a pod, or the node itself.
    #[inline(always)]
    pub fn within(namespace: u64) -> Self {
        let (low, high) = (namespace as u32, (namespace >> 32) as u32);
        let hash = pair_hash(crate::be::Be32::new(low), crate::be::Be32::new(high));
        Self { key: AffinityKey { client: [low, high, 0, 0], of: 0, service: 0 }, hash }
    }
}

/// The hash of a client alone: the same on every node, so that all choose the same slot.
#[inline(always)]
pub fn client_hash<A: Address>(address: A) -> u32 {
    pair_hash(address, A::ANY)
}

/// Goes on with a packet that is of no flow known here, as the pipeline has noted it.
/// [`Verdict::Dsr`]: a flow is to begin with this backend, or, with 0, DSR goes on.
#[inline(always)]
pub fn choose<F: Ip, P: Packet, L: Policies<F>>(
    packet: &P,
    frame: Result<Ethernet, DropReason>,
    lookup: &L,
) -> Verdict {
    let Ok(frame) = frame else { return Verdict::Pass };
    let verdict = judge(packet, frame.network, lookup);
    counted::<F, P, L>(packet, lookup, verdict)
}

#[inline(always)]
fn judge<F: Ip, P: Packet, L: Policies<F>>(packet: &P, network: usize, lookup: &L) -> Verdict {
    let Some(note) = lookup.note().map(|note| *note) else { return Verdict::Drop(DropReason::KernelRefused) };
    if let Err(verdict) = may_begin(packet, &noted(&note, network), lookup) {
        return verdict;
    }
    let has = |flag| note.flags & flag != 0;
    if has(frontend_flag::RANGES) && !lookup.in_ranges(note.service, note.key.source) {
        return Verdict::Drop(DropReason::SourceRange);
    }
    if has(frontend_flag::FRONT) {
        let frontend = FrontendEntry { service: note.service, flags: note.flags };
        return to_front(&noted(&note, network), lookup, frontend);
    }
    if has(frontend_flag::DSR) {
        // nothing is remembered of the flow there, so that a client keeps its backend only by its own hash
        if has(frontend_flag::CHOOSES)
            && let Some(mut note) = lookup.note()
        {
            note.hash = client_hash(note.key.source);
        }
        return Verdict::Dsr(0);
    }
    let chosen = if !has(frontend_flag::CHOOSES) {
        lookup.service(note.service).map_or(0, |service| slot_in(lookup, &service, note.hash))
    } else if lookup.resolves() {
        select(lookup, note.service, &Client::at(note.key.source), note.hash)
    } else {
        return Verdict::HandOver(Task::Forward);
    };
    if chosen == 0 {
        return unserved(note.flags);
    }
    match source_towards(lookup, &noted(&note, network), chosen) {
        Ok(source) => {
            if let Some(mut note) = lookup.note() {
                (note.chosen, note.snat) = (chosen, source);
            }
            Verdict::Dsr(chosen)
        }
        Err(ended) => ended,
    }
}

/// Who finds no backend is told at once; but where all are on other nodes, and clients are led to none of them, the packet is
/// dropped, as kube-proxy does it: outer load balancers have been told, and will come to another node.
#[inline(always)]
pub(crate) const fn unserved(flags: u32) -> Verdict {
    if flags & frontend_flag::ELSEWHERE != 0 {
        Verdict::Drop(DropReason::NoLocalBackend)
    } else {
        Verdict::Refuse(NO_BACKEND)
    }
}

/// The backend for a new flow with this hash, as the service wants it to be chosen; 0 if there is none.
#[inline(always)]
pub(crate) fn select<F: Ip, L: Policies<F>>(lookup: &L, service: u32, client: &Client, hash: u32) -> u32 {
    let Some(entry) = lookup.service(service) else { return 0 };
    let kept_for = entry.flags & service_flag::AFFINITY;
    if kept_for == 0 {
        return by_algorithm(lookup, &entry, client, hash);
    }
    let (key, now) = (AffinityKey { service, ..client.key }, lookup.now());
    let kept = kept(lookup, &key, kept_for, now);
    if kept != 0 {
        return kept;
    }
    // nodes choose alike where nothing else is asked for
    let hash = if entry.flags & service_flag::ALGORITHM == service_flag::MAGLEV { client.hash } else { hash };
    let chosen = by_algorithm(lookup, &entry, client, hash);
    if let Some(backend) = lookup.backend(chosen).filter(|_| chosen != 0) {
        let entry = AffinityEntry { backend: chosen, generation: backend.generation, last_seen: now };
        lookup.put_affinity(&key, &entry);
    }
    chosen
}

/// The backend that the client keeps, if it is still there and the client has not been away for too long. The time runs from
/// the last flow that began, as with kube-proxy.
#[inline(always)]
fn kept<F: Ip, L: Policies<F>>(lookup: &L, key: &AffinityKey, kept_for: u32, now: u32) -> u32 {
    let Some(mut entry) = lookup.affinity(key) else { return 0 };
    let AffinityEntry { backend: id, generation, last_seen } = *entry;
    let over = idle_ticks(now, last_seen) > seconds(u64::from(kept_for));
    let there = lookup.backend(id).is_some_and(|backend| backend.generation == generation && backend.protocol != 0);
    if over || !there {
        return 0;
    }
    if last_seen != now {
        entry.last_seen = now;
    }
    id
}

#[inline(always)]
fn by_algorithm<F: Ip, L: Policies<F>>(lookup: &L, service: &ServiceEntry, client: &Client, hash: u32) -> u32 {
    match service.flags & service_flag::ALGORITHM {
        service_flag::SOURCE_HASH => slot_in(lookup, service, client.hash),
        service_flag::RANDOM => slot_in(lookup, service, lookup.chance()),
        service_flag::LEAST_CONNECTIONS => less_loaded(lookup, service),
        _ => slot_in(lookup, service, hash),
    }
}

/// The better of two backends by chance, which is nearly as good as the best of all (Mitzenmacher, "The power of two choices in
/// randomized load balancing", 2001).
#[inline(always)]
fn less_loaded<F: Ip, L: Policies<F>>(lookup: &L, service: &ServiceEntry) -> u32 {
    let first = slot_in(lookup, service, lookup.chance());
    let second = slot_in(lookup, service, lookup.chance());
    let chosen = if lookup.load_of(second) < lookup.load_of(first) { second } else { first };
    lookup.add_load(chosen);
    chosen
}

#[cfg(test)]
mod tests;
