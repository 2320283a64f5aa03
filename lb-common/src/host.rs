//! The pipeline's traits on the host: a packet is a vector of bytes, the maps are hash maps, routing is a table of its
//! own. Tests compare it with the kernel; tools run packets through it without sending any.

mod dsr;
mod policies;
pub mod sockets;

use core::cell::{Cell, RefCell, RefMut};
use std::boxed::Box;
use std::collections::HashMap;
use std::vec::Vec;

use crate::abi::{
    AffinityEntry, AffinityKey, AnnouncedEntry, BackendEntry, Counters, DropCounters, FlowEntry, FlowKey, FormerRing,
    FragmentEntry, FragmentKey, FrontendEntry, FrontendKey, LoadEntry, NextHop, Note, Refusals, ReplyEntry, STATS,
    ServiceEntry, Stat, TrackedEntry, setting,
};
use crate::cookie::{Cookies, Headers, Known};
use crate::csum::Delta;
use crate::drop_reason::{DROP_REASONS, DropReason};
use crate::ethernet::{Addresses, Mac};
use crate::ip::Ip;
use crate::limits::RING_LINE_SLOTS;
use crate::lookup::{Lookup, Route, Table};
use crate::packet::{self, Packet};

/// A packet in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Packet for Bytes {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn reframe(&mut self, keep: usize, room: usize) -> Option<()> {
        if keep > self.0.len() {
            return None;
        }
        self.0.truncate(keep);
        self.0.splice(..0, core::iter::repeat_n(0, room));
        Some(())
    }

    fn longs<const N: usize>(&self, offset: usize) -> Option<[u64; N]> {
        let bytes = self.0.get(offset..offset + 8 * N)?;
        let (longs, _) = bytes.as_chunks::<8>();
        Some(core::array::from_fn(|at| u64::from_ne_bytes(longs[at])))
    }

    fn words<const N: usize>(&self, offset: usize) -> Option<[u32; N]> {
        let bytes = self.0.get(offset..offset + 4 * N)?;
        Some(core::array::from_fn(|at| {
            u32::from_ne_bytes([bytes[4 * at], bytes[4 * at + 1], bytes[4 * at + 2], bytes[4 * at + 3]])
        }))
    }

    fn halves<const N: usize>(&self, offset: usize) -> Option<[u16; N]> {
        let bytes = self.0.get(offset..offset + 2 * N)?;
        Some(core::array::from_fn(|at| u16::from_ne_bytes([bytes[2 * at], bytes[2 * at + 1]])))
    }

    fn set_longs<const N: usize>(&mut self, offset: usize, longs: [u64; N]) -> Option<()> {
        let bytes = self.0.get_mut(offset..offset + 8 * N)?;
        for (place, long) in bytes.chunks_exact_mut(8).zip(longs) {
            place.copy_from_slice(&long.to_ne_bytes());
        }
        Some(())
    }

    fn set_words<const N: usize>(&mut self, offset: usize, words: [u32; N]) -> Option<()> {
        let bytes = self.0.get_mut(offset..offset + 4 * N)?;
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        Some(())
    }

    fn set_halves<const N: usize>(&mut self, offset: usize, halves: [u16; N]) -> Option<()> {
        let bytes = self.0.get_mut(offset..offset + 2 * N)?;
        for (place, half) in bytes.chunks_exact_mut(2).zip(halves) {
            place.copy_from_slice(&half.to_ne_bytes());
        }
        Some(())
    }

    fn update_ip_checksum(&mut self, offset: usize, delta: Delta) -> Option<()> {
        packet::update_ip_checksum(self, offset, delta)
    }

    fn update_transport_checksum(&mut self, offset: usize, addresses: Delta, ports: Delta, udp: bool) -> Option<()> {
        packet::update_transport_checksum(self, offset, addresses, ports, udp)
    }
}

/// Both flow tables in one direction, with a limit on entries.
type Flows<K, V> = [RefCell<HashMap<K, V>>; 2];

/// A cookie, and the MSS that it stands for.
type CookieModel = Box<dyn Fn(&Headers) -> Option<(u32, u16)>>;

/// The maps of one family, the routing table and the clock.
pub struct Maps<F: Ip> {
    /// Frontends.
    pub frontends: HashMap<FrontendKey<F::Addr>, FrontendEntry>,
    /// Services by id.
    pub services: HashMap<u32, ServiceEntry>,
    /// Ring slots, sixteen a line.
    pub rings: Vec<u32>,
    /// Backends by id.
    pub backends: HashMap<u32, BackendEntry<F::Addr>>,
    /// Addresses of the node.
    pub node_addresses: Vec<F::Addr>,
    /// Addresses of frontends that are not the node's.
    pub vips: Vec<F::Addr>,
    /// Hardware address of the device that packets come in by; `None`: every frame is for us.
    pub mac: Option<Mac>,
    /// Listeners of the front, by the bits of their kind.
    pub listening: u32,
    /// Settings.
    pub settings: [u64; setting::COUNT as usize],
    /// The routing table: destination to next hop.
    pub routing: Box<dyn Fn(F::Addr) -> Route>,
    /// Stands for the companion on tc: next hops are left to the kernel.
    pub resolves: bool,
    /// Addresses of the external interfaces, by index.
    pub uplink_addresses: HashMap<u32, F::Addr>,
    /// Those of them that are tunnels.
    pub tunnels: Vec<u32>,
    /// VLAN devices stand on the device that packets come in by.
    pub vlans: bool,
    /// Now, in ticks.
    pub now: Cell<u32>,
    /// Nanoseconds into that tick.
    pub into_tick: Cell<u64>,
    /// Index of the device that packets come in by.
    pub ingress: u32,
    /// What neighbours are told of addresses.
    pub announced: RefCell<HashMap<F::Addr, AnnouncedEntry>>,
    /// The device has taken a tag off what comes in.
    pub tagged: bool,
    /// What was spent on ICMP errors.
    pub refusals: RefCell<Refusals>,
    /// Next hops, by slot.
    pub hops: RefCell<HashMap<u32, NextHop<F::Addr>>>,
    /// Forward entries, by table.
    pub flows: Flows<FlowKey<F::Addr>, FlowEntry<F::Addr>>,
    /// Reply entries, by table.
    pub replies: Flows<FlowKey<F::Addr>, ReplyEntry<F::Addr>>,
    /// Addresses of the cluster's nodes.
    pub nodes: HashMap<F::Addr, u32>,
    /// Where the nodes of backends are.
    pub backend_nodes: HashMap<u32, F::Addr>,
    /// The rings before the present ones, by service.
    pub former_rings: HashMap<u32, FormerRing>,
    /// Flows in tunnels.
    pub tracked: RefCell<HashMap<FlowKey<F::Addr>, TrackedEntry>>,
    /// What one program says to the next.
    pub note: RefCell<Note<F::Addr>>,
    /// Networks from which everything is dropped: an address, and how many of its bits count.
    pub denied: Vec<(F::Addr, u32)>,
    /// Networks that services are restricted to.
    pub ranges: Vec<(u32, F::Addr, u32)>,
    /// Clients that keep their backend.
    pub affinities: RefCell<HashMap<AffinityKey, AffinityEntry>>,
    /// How much backends have to do.
    pub loads: RefCell<HashMap<u32, LoadEntry>>,
    /// Allowances for unproven connections.
    pub budgets: RefCell<HashMap<u32, u64>>,
    /// First segments that were dropped.
    pub seen_syns: RefCell<HashMap<u32, u64>>,
    /// What comes next by chance.
    pub chance: Cell<u32>,
    /// Fragmented datagrams.
    pub fragments: RefCell<HashMap<FragmentKey<F::Addr>, FragmentEntry>>,
    /// The cookie and the MSS with which a first segment is answered: stands for a listener that is full.
    pub cookie: CookieModel,
    /// Who knows another segment: stands for the node's sockets.
    pub known: Box<dyn Fn(&Headers) -> Known>,
    /// How many proven flows there is room for.
    pub proven_capacity: usize,
    /// Counters by service.
    pub service_stats: RefCell<HashMap<u32, Counters>>,
    /// Counters by backend.
    pub backend_stats: RefCell<HashMap<u32, Counters>>,
    /// Drops by reason.
    pub drops: RefCell<[DropCounters; DROP_REASONS as usize]>,
    /// Other counters.
    pub stats: RefCell<[u64; STATS as usize]>,
}

impl<F: Ip> Default for Maps<F> {
    fn default() -> Self {
        Self {
            frontends: HashMap::new(),
            services: HashMap::new(),
            rings: Vec::new(),
            backends: HashMap::new(),
            node_addresses: Vec::new(),
            vips: Vec::new(),
            mac: None,
            listening: 0,
            settings: [0; setting::COUNT as usize],
            routing: Box::new(|_| Route::None(DropReason::NoRoute)),
            resolves: false,
            uplink_addresses: HashMap::new(),
            vlans: false,
            tunnels: Vec::new(),
            now: Cell::new(1_000),
            into_tick: Cell::new(0),
            ingress: 0,
            announced: RefCell::default(),
            tagged: false,
            refusals: RefCell::default(),
            hops: RefCell::default(),
            flows: Default::default(),
            replies: Default::default(),
            nodes: HashMap::new(),
            backend_nodes: HashMap::new(),
            former_rings: HashMap::new(),
            tracked: RefCell::default(),
            note: RefCell::default(),
            denied: Vec::new(),
            ranges: Vec::new(),
            affinities: RefCell::default(),
            loads: RefCell::default(),
            budgets: RefCell::default(),
            seen_syns: RefCell::default(),
            chance: Cell::new(1),
            fragments: RefCell::default(),
            cookie: Box::new(|_| None),
            known: Box::new(|_| Known::Connected),
            proven_capacity: usize::MAX,
            service_stats: RefCell::default(),
            backend_stats: RefCell::default(),
            drops: RefCell::new([DropCounters::default(); DROP_REASONS as usize]),
            stats: RefCell::new([0; STATS as usize]),
        }
    }
}

impl<F: Ip> Maps<F> {
    /// Adds a ring to the ring area and gives the service that points at it.
    pub fn add_ring(&mut self, slots: &[u32]) -> ServiceEntry {
        let first_line = self.rings.len() as u32 / RING_LINE_SLOTS;
        self.rings.extend_from_slice(slots);
        self.rings.resize(self.rings.len().next_multiple_of(RING_LINE_SLOTS as usize), 0);
        ServiceEntry { ring: ServiceEntry::pack_ring(first_line, slots.len() as u32), flags: 0, used: 1 }
    }

    fn full(&self, table: Table, held: usize) -> bool {
        table == Table::Proven && held >= self.proven_capacity
    }
}

impl<F: Ip> Lookup<F> for Maps<F> {
    type Ref<'a, T: 'a>
        = RefMut<'a, T>
    where
        Self: 'a;

    fn resolves(&self) -> bool {
        self.resolves
    }

    fn clock(&self) -> u64 {
        (u64::from(self.now.get()) << 30) + self.into_tick.get()
    }

    fn ingress(&self) -> u32 {
        self.ingress
    }

    fn refusals(&self) -> Option<RefMut<'_, Refusals>> {
        Some(self.refusals.borrow_mut())
    }

    fn hop(&self, slot: u32) -> Option<RefMut<'_, NextHop<F::Addr>>> {
        Some(RefMut::map(self.hops.borrow_mut(), |hops| hops.entry(slot).or_default()))
    }

    fn setting(&self, index: u32) -> u64 {
        self.settings[index as usize]
    }

    fn frontend(&self, key: &FrontendKey<F::Addr>) -> Option<FrontendEntry> {
        self.frontends.get(key).copied()
    }

    fn is_denied(&self, source: F::Addr) -> bool {
        self.denied.iter().any(|&(network, length)| policies::contains(network, length, source))
    }

    fn is_node_address(&self, address: F::Addr) -> bool {
        self.node_addresses.contains(&address)
    }

    fn is_vip(&self, address: F::Addr) -> bool {
        self.vips.contains(&address)
    }

    fn is_for_us<P: Packet>(&self, packet: &P) -> bool {
        self.mac.is_none_or(|own| Addresses::of(packet).is_some_and(|frame| frame.destination() == own))
    }

    fn front_listens(&self, flags: u32, _hash: u32) -> bool {
        self.listening & flags != 0
    }

    fn service(&self, id: u32) -> Option<ServiceEntry> {
        self.services.get(&id).copied()
    }

    fn ring_slot(&self, line: u32, slot: u32) -> u32 {
        self.rings.get((line * RING_LINE_SLOTS + slot) as usize).copied().unwrap_or(0)
    }

    fn backend(&self, id: u32) -> Option<BackendEntry<F::Addr>> {
        Some(self.backends.get(&id).copied().unwrap_or_default())
    }

    fn flow(&self, table: Table, key: &FlowKey<F::Addr>) -> Option<RefMut<'_, FlowEntry<F::Addr>>> {
        RefMut::filter_map(self.flows[table as usize].borrow_mut(), |flows| flows.get_mut(key)).ok()
    }

    fn reply(&self, table: Table, key: &FlowKey<F::Addr>) -> Option<RefMut<'_, ReplyEntry<F::Addr>>> {
        RefMut::filter_map(self.replies[table as usize].borrow_mut(), |replies| replies.get_mut(key)).ok()
    }

    fn put_flow(&self, table: Table, key: &FlowKey<F::Addr>, entry: &FlowEntry<F::Addr>) -> bool {
        let mut flows = self.flows[table as usize].borrow_mut();
        if !flows.contains_key(key) && self.full(table, flows.len()) {
            return false;
        }
        flows.insert(*key, *entry);
        true
    }

    fn add_reply(&self, table: Table, key: &FlowKey<F::Addr>, entry: &ReplyEntry<F::Addr>) -> bool {
        let mut replies = self.replies[table as usize].borrow_mut();
        if replies.contains_key(key) || self.full(table, replies.len()) {
            return false;
        }
        replies.insert(*key, *entry);
        true
    }

    fn remove_flow(&self, table: Table, key: &FlowKey<F::Addr>) {
        self.flows[table as usize].borrow_mut().remove(key);
    }

    fn remove_reply(&self, table: Table, key: &FlowKey<F::Addr>) {
        self.replies[table as usize].borrow_mut().remove(key);
    }

    fn fragment(&self, key: &FragmentKey<F::Addr>) -> Option<FragmentEntry> {
        self.fragments.borrow().get(key).copied()
    }

    fn put_fragment(&self, key: &FragmentKey<F::Addr>, entry: &FragmentEntry) {
        self.fragments.borrow_mut().insert(*key, *entry);
    }

    fn route(&self, _source: F::Addr, destination: F::Addr, _protocol: u8, length: usize) -> Route {
        match (self.routing)(destination) {
            Route::Direct { mtu, .. } if self.resolves && length > mtu as usize => Route::TooBig { mtu },
            Route::Direct { device, .. } if self.resolves => Route::Kernel { device },
            route => route,
        }
    }

    fn uplink_address(&self, device: u32) -> Option<F::Addr> {
        self.uplink_addresses.get(&device).copied()
    }

    fn carries_vlans(&self, _device: u32) -> bool {
        self.vlans
    }

    fn is_tunnel(&self, device: u32) -> bool {
        self.tunnels.contains(&device)
    }

    fn announced(&self, address: F::Addr) -> Option<RefMut<'_, AnnouncedEntry>> {
        RefMut::filter_map(self.announced.borrow_mut(), |announced| announced.get_mut(&address)).ok()
    }

    fn is_tagged(&self) -> bool {
        self.tagged
    }

    fn note(&self) -> Option<RefMut<'_, Note<F::Addr>>> {
        Some(self.note.borrow_mut())
    }

    fn count_packet(&self, service: u32, backend: u32, bytes: usize) {
        for (stats, id) in [(&self.service_stats, service), (&self.backend_stats, backend)] {
            if id != 0 {
                let mut stats = stats.borrow_mut();
                let counters = stats.entry(id).or_default();
                counters.packets += 1;
                counters.bytes += bytes as u64;
            }
        }
    }

    fn count_flow(&self, service: u32, backend: u32) {
        for (stats, id) in [(&self.service_stats, service), (&self.backend_stats, backend)] {
            if id != 0 {
                stats.borrow_mut().entry(id).or_default().new_flows += 1;
            }
        }
    }

    fn budget(&self, index: u32) -> Option<RefMut<'_, u64>> {
        Some(RefMut::map(self.budgets.borrow_mut(), |budgets| budgets.entry(index).or_default()))
    }

    fn seen_syn(&self, index: u32) -> Option<RefMut<'_, u64>> {
        Some(RefMut::map(self.seen_syns.borrow_mut(), |seen| seen.entry(index).or_default()))
    }

    fn count_exhausted(&self, service: u32, backend: u32) {
        for (stats, id) in [(&self.service_stats, service), (&self.backend_stats, backend)] {
            stats.borrow_mut().entry(id).or_default().snat_exhausted += 1;
        }
    }

    fn count(&self, stat: Stat) {
        self.stats.borrow_mut()[stat as usize] += 1;
    }

    fn count_drop(&self, reason: DropReason, bytes: usize) {
        let counters = &mut self.drops.borrow_mut()[reason as usize];
        counters.packets += 1;
        counters.bytes += bytes as u64;
    }
}

impl<F: Ip> Cookies<F> for Maps<F> {
    fn cookie(&self, _key: &FlowKey<F::Addr>, headers: &Headers) -> Option<(u32, u16)> {
        (self.cookie)(headers)
    }

    fn knows(&self, _key: &FlowKey<F::Addr>, headers: &Headers) -> Known {
        (self.known)(headers)
    }
}
