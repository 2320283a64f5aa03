//! The pipeline's lookups over the live maps, without writing any: what the pipeline writes stays in memory, where it finds
//! it again, and what it asks is noted.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::net::SocketAddr;

use aya::Pod;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap as Hashed, MapData, MapError};
use lb_common::abi::{
    AffinityEntry, AffinityKey, BackendEntry, DeviceEntry, FlowEntry, FlowKey, FormerRing, FragmentEntry, FragmentKey,
    FrontendEntry, FrontendKey, LoadEntry, NextHop, Note, Refusals, ReplyEntry, RingLine, ServiceEntry, Stat,
    TrackedEntry, device_flag, frontend_flag, map,
};
use lb_common::be::Be16;
use lb_common::cookie::{Cookies, Headers, Known};
use lb_common::drop_reason::DropReason;
use lb_common::dsr::Nodes;
use lb_common::ethernet::Addresses;
use lb_common::lookup::{Lookup, Route, Table};
use lb_common::packet::Packet;
use lb_common::policy::Policies;
use lb_common::question::{Kind, Question};

use super::ask::Oracle;
use super::family::LiveFamily;
use super::seen::Seen;
use crate::dataplane::config::Pins;
use crate::dataplane::error::{DataplaneError, map_io};
use crate::dataplane::mapped::{Access, MappedArray};
use crate::dataplane::maps::Maps;

/// Entries that the pipeline read or wrote; `None`: there is none, or it was removed.
type Overlay<K, V> = RefCell<HashMap<K, Option<V>>>;

/// A hash map of one family: by frontend, by tuple to flow, by tuple to reply.
type Frontends<A> = Hashed<MapData, FrontendKey<A>, FrontendEntry>;
type Flows<A> = Hashed<MapData, FlowKey<A>, FlowEntry<A>>;
type Replies<A> = Hashed<MapData, FlowKey<A>, ReplyEntry<A>>;
type FlowOverlay<A> = Overlay<FlowKey<A>, FlowEntry<A>>;
type ReplyOverlay<A> = Overlay<FlowKey<A>, ReplyEntry<A>>;

/// The maps of DSR of one family.
struct Dsr<A> {
    nodes: Hashed<MapData, A, u32>,
    backend_nodes: Hashed<MapData, u32, A>,
    former: MappedArray<FormerRing>,
    tracked_table: Hashed<MapData, FlowKey<A>, TrackedEntry>,
    tracked: Overlay<FlowKey<A>, TrackedEntry>,
}

/// The networks that are denied, and those that services are for.
struct Networks<F: LiveFamily> {
    denied: LpmTrie<MapData, F::Words, u32>,
    ranges: LpmTrie<MapData, F::RangeKey, u32>,
}

/// The maps of one family as they are.
pub(super) struct Live<F: LiveFamily> {
    frontends: Frontends<F::Addr>,
    services: MappedArray<ServiceEntry>,
    rings: MappedArray<RingLine>,
    backends: MappedArray<BackendEntry<F::Addr>>,
    node_addresses: Hashed<MapData, F::Addr, u32>,
    vips: Hashed<MapData, F::Addr, u32>,
    devices: Hashed<MapData, u32, DeviceEntry>,
    settings: Array<MapData, u64>,
    flow_tables: [Flows<F::Addr>; 2],
    reply_tables: [Replies<F::Addr>; 2],
    fragment_table: Hashed<MapData, FragmentKey<F::Addr>, FragmentEntry>,
    oracle: Oracle,
    /// Index of the device that the packet comes in by.
    pub(super) ingress: u32,
    /// It runs on tc, where the kernel resolves next hops.
    pub(super) resolves: Cell<bool>,
    /// Now, in nanoseconds of the kernel's clock.
    pub(super) clock: u64,
    flows: [FlowOverlay<F::Addr>; 2],
    replies: [ReplyOverlay<F::Addr>; 2],
    fragments: Overlay<FragmentKey<F::Addr>, FragmentEntry>,
    hops: Overlay<u32, NextHop<F::Addr>>,
    note: RefCell<Note<F::Addr>>,
    dsr: Dsr<F::Addr>,
    networks: Networks<F>,
    affinity_table: Hashed<MapData, AffinityKey, AffinityEntry>,
    affinities: Overlay<AffinityKey, AffinityEntry>,
    loads: MappedArray<LoadEntry>,
    seen: RefCell<Vec<Seen>>,
    failed: Cell<Option<DataplaneError>>,
}

impl<F: LiveFamily> Live<F> {
    pub(super) fn open(pins: &Pins, ingress: u32, clock: u64) -> Result<Self, DataplaneError> {
        let maps = Maps::new(pins.clone());
        let names = F::MAPS;
        Ok(Self {
            frontends: maps.hash(names.frontends)?,
            services: maps.mapped(map::SERVICES, Access::Read)?,
            rings: maps.mapped(map::RINGS, Access::Read)?,
            backends: maps.mapped(names.backends, Access::Read)?,
            node_addresses: maps.hash(names.node_addresses)?,
            vips: maps.hash(names.vips)?,
            devices: maps.hash(map::DEVICES)?,
            settings: maps.array(map::SETTINGS)?,
            flow_tables: [maps.hash(names.flows)?, maps.hash(names.half_flows)?],
            reply_tables: [maps.hash(names.replies)?, maps.hash(names.half_replies)?],
            fragment_table: maps.hash(names.fragments)?,
            oracle: Oracle::open(pins)?,
            ingress,
            resolves: Cell::new(false),
            clock,
            flows: Default::default(),
            replies: Default::default(),
            fragments: RefCell::default(),
            hops: RefCell::default(),
            note: RefCell::default(),
            dsr: Dsr {
                nodes: maps.hash(names.nodes)?,
                backend_nodes: maps.hash(names.backend_nodes)?,
                former: maps.mapped(map::FORMER_RINGS, Access::Read)?,
                tracked_table: maps.hash(names.tracked)?,
                tracked: RefCell::default(),
            },
            networks: Networks { denied: maps.networks(names.denied)?, ranges: maps.networks(names.ranges)? },
            affinity_table: maps.hash(map::AFFINITY)?,
            affinities: RefCell::default(),
            loads: maps.mapped(map::LOADS, Access::Read)?,
            seen: RefCell::default(),
            failed: Cell::default(),
        })
    }

    /// Notes a step.
    pub(super) fn saw(&self, seen: Seen) {
        self.seen.borrow_mut().push(seen);
    }

    /// The steps so far; or why a map or the kernel could not be read, which makes them worthless.
    pub(super) fn finish(self) -> Result<Vec<Seen>, DataplaneError> {
        match self.failed.into_inner() {
            Some(error) => Err(error),
            None => Ok(self.seen.into_inner()),
        }
    }

    /// Which way a packet would take from here, without noting it.
    pub(super) fn way(&self, source: F::Addr, destination: F::Addr, protocol: u8, length: usize) -> Route {
        let question = Question {
            kind: F::ROUTE as u32,
            ingress: self.ingress,
            resolves: u32::from(self.resolves.get()),
            protocol: u32::from(protocol),
            length: length as u32,
            source: F::words(source),
            destination: F::words(destination),
            ..Question::default()
        };
        let route = self.oracle.route(&question);
        self.read("the routing table", route.map(Some)).unwrap_or(Route::None(DropReason::NoRoute))
    }

    /// What was read; a failure is kept, and counts as nothing there.
    fn read<T>(&self, what: &'static str, found: io::Result<Option<T>>) -> Option<T> {
        found.unwrap_or_else(|error| {
            self.failed.set(Some(DataplaneError::map(what)(error)));
            None
        })
    }

    fn get<K: Pod, V: Pod>(&self, name: &'static str, table: &Hashed<MapData, K, V>, key: &K) -> Option<V> {
        let found = match table.get(key, 0) {
            Ok(value) => Ok(Some(value)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(map_io(error)),
        };
        self.read(name, found)
    }

    fn is_in<K: Pod>(&self, name: &'static str, trie: &LpmTrie<MapData, K, u32>, key: &Key<K>) -> bool {
        let found = match trie.get(key, 0) {
            Ok(_) => Ok(Some(())),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(map_io(error)),
        };
        self.read(name, found).is_some()
    }

    fn device(&self, index: u32) -> Option<DeviceEntry> {
        self.get(map::DEVICES, &self.devices, &index)
    }

    fn note_backend(&self, id: u32, backend: &BackendEntry<F::Addr>) {
        let at = SocketAddr::new(F::ip(backend.address), backend.port.host());
        let local = backend.flags & lb_common::abi::backend_flag::LOCAL != 0;
        self.saw(Seen::Backend { id, at, local, used: backend.protocol != 0 });
    }
}

/// A place in the overlay, filled from the table the first time.
fn place<'a, K: Eq + Hash + Copy, V>(
    overlay: &'a Overlay<K, V>,
    key: &K,
    read: impl FnOnce() -> Option<V>,
) -> RefMut<'a, Option<V>> {
    RefMut::map(overlay.borrow_mut(), |entries| entries.entry(*key).or_insert_with(read))
}

fn at<F: LiveFamily>(address: F::Addr, port: Be16) -> SocketAddr {
    SocketAddr::new(F::ip(address), port.host())
}

impl<F: LiveFamily> Lookup<F> for Live<F> {
    type Ref<'a, T: 'a>
        = RefMut<'a, T>
    where
        Self: 'a;

    fn resolves(&self) -> bool {
        self.resolves.get()
    }

    fn clock(&self) -> u64 {
        self.clock
    }

    fn ingress(&self) -> u32 {
        self.ingress
    }

    fn setting(&self, index: u32) -> u64 {
        let found = self.settings.get(&index, 0).map(Some).map_err(map_io);
        self.read(map::SETTINGS, found).unwrap_or(0)
    }

    fn frontend(&self, key: &FrontendKey<F::Addr>) -> Option<FrontendEntry> {
        let found = self.get(F::MAPS.frontends, &self.frontends, key);
        let front = |entry: &FrontendEntry| entry.flags & frontend_flag::FRONT != 0;
        let found_seen = found.as_ref().map(|entry| (entry.service, front(entry)));
        self.saw(Seen::Frontend { at: at::<F>(key.address, key.port), found: found_seen });
        if found.as_ref().is_some_and(|entry| entry.flags & frontend_flag::DSR != 0) {
            self.saw(Seen::Dsr);
        }
        found
    }

    fn is_denied(&self, source: F::Addr) -> bool {
        self.is_in(F::MAPS.denied, &self.networks.denied, &F::denied_key(source))
    }

    fn is_node_address(&self, address: F::Addr) -> bool {
        let own = self.get(F::MAPS.node_addresses, &self.node_addresses, &address).is_some();
        self.saw(Seen::NodeAddress { address: F::ip(address), own });
        own
    }

    fn is_vip(&self, address: F::Addr) -> bool {
        self.get(F::MAPS.vips, &self.vips, &address).is_some()
    }

    fn is_for_us<P: Packet>(&self, packet: &P) -> bool {
        let Some(frame) = Addresses::of(packet) else { return false };
        self.device(self.ingress).is_none_or(|device| device.mac == frame.destination() || device.mac == [0; 3])
    }

    fn front_listens(&self, flags: u32, hash: u32) -> bool {
        let question = Question { kind: Kind::Listens as u32, flags, hash, ..Question::default() };
        let listens = self.read(map::LISTENERS, self.oracle.listens(&question).map(Some)).unwrap_or(false);
        self.saw(Seen::Listens(listens));
        listens
    }

    fn service(&self, id: u32) -> Option<ServiceEntry> {
        let found = self.services.read(id);
        let slots = found.map_or(0, |entry| entry.ring_place().1);
        self.saw(Seen::Service { id, slots });
        found
    }

    fn ring_slot(&self, line: u32, slot: u32) -> u32 {
        let line = self.rings.read(line).map_or([0; 16], |line| line.slots);
        line.get(slot as usize).copied().unwrap_or(0)
    }

    fn backend(&self, id: u32) -> Option<BackendEntry<F::Addr>> {
        let found = self.backends.read(id);
        if let Some(backend) = &found {
            self.note_backend(id, backend);
        }
        found
    }

    fn flow(&self, table: Table, key: &FlowKey<F::Addr>) -> Option<RefMut<'_, FlowEntry<F::Addr>>> {
        let names = [F::MAPS.flows, F::MAPS.half_flows];
        let index = table as usize;
        let found = place(&self.flows[index], key, || self.get(names[index], &self.flow_tables[index], key));
        self.saw(Seen::Flow { table, entry: found.as_ref().map(|entry| (entry.state, entry.backend)) });
        RefMut::filter_map(found, Option::as_mut).ok()
    }

    fn reply(&self, table: Table, key: &FlowKey<F::Addr>) -> Option<RefMut<'_, ReplyEntry<F::Addr>>> {
        let names = [F::MAPS.replies, F::MAPS.half_replies];
        let index = table as usize;
        let found = place(&self.replies[index], key, || self.get(names[index], &self.reply_tables[index], key));
        let parties = |entry: &ReplyEntry<F::Addr>| {
            let client = at::<F>(entry.client_address, entry.client_port);
            (client, at::<F>(entry.frontend_address, entry.frontend_port))
        };
        let from = at::<F>(key.source, key.source_port);
        self.saw(Seen::Reply { from, parties: found.as_ref().map(parties) });
        RefMut::filter_map(found, Option::as_mut).ok()
    }

    fn put_flow(&self, table: Table, key: &FlowKey<F::Addr>, entry: &FlowEntry<F::Addr>) -> bool {
        self.flows[table as usize].borrow_mut().insert(*key, Some(*entry));
        true
    }

    fn add_reply(&self, table: Table, key: &FlowKey<F::Addr>, entry: &ReplyEntry<F::Addr>) -> bool {
        let names = [F::MAPS.replies, F::MAPS.half_replies];
        let index = table as usize;
        let mut place = place(&self.replies[index], key, || self.get(names[index], &self.reply_tables[index], key));
        if place.is_some() {
            return false;
        }
        *place = Some(*entry);
        self.saw(Seen::Lease { backend_sees: at::<F>(key.destination, key.destination_port) });
        true
    }

    fn remove_flow(&self, table: Table, key: &FlowKey<F::Addr>) {
        self.flows[table as usize].borrow_mut().insert(*key, None);
        self.saw(Seen::FlowRemoved);
    }

    fn remove_reply(&self, table: Table, key: &FlowKey<F::Addr>) {
        self.replies[table as usize].borrow_mut().insert(*key, None);
    }

    fn fragment(&self, key: &FragmentKey<F::Addr>) -> Option<FragmentEntry> {
        *place(&self.fragments, key, || self.get(F::MAPS.fragments, &self.fragment_table, key))
    }

    fn put_fragment(&self, key: &FragmentKey<F::Addr>, entry: &FragmentEntry) {
        self.fragments.borrow_mut().insert(*key, Some(*entry));
    }

    fn note(&self) -> Option<RefMut<'_, Note<F::Addr>>> {
        Some(self.note.borrow_mut())
    }

    /// What a CPU remembers is not looked at: it is a second old at most, and asking anew gives what it will remember next.
    fn hop(&self, slot: u32) -> Option<RefMut<'_, NextHop<F::Addr>>> {
        RefMut::filter_map(place(&self.hops, &slot, || Some(NextHop::default())), Option::as_mut).ok()
    }

    /// Nobody is told anything.
    fn refusals(&self) -> Option<RefMut<'_, Refusals>> {
        None
    }

    fn route(&self, source: F::Addr, destination: F::Addr, protocol: u8, length: usize) -> Route {
        let route = self.way(source, destination, protocol, length);
        self.saw(Seen::Route { to: F::ip(destination), route });
        route
    }

    fn uplink_address(&self, device: u32) -> Option<F::Addr> {
        let ours = device_flag::UPLINK | device_flag::TUNNEL;
        let entry = self.device(device).filter(|entry| entry.flags & ours != 0)?;
        F::address_of(&entry)
    }

    fn is_tunnel(&self, device: u32) -> bool {
        self.device(device).is_some_and(|entry| entry.flags & device_flag::TUNNEL != 0)
    }

    fn count_packet(&self, service: u32, backend: u32, _bytes: usize) {
        self.saw(Seen::Counted { service, backend });
    }

    fn count_flow(&self, _service: u32, _backend: u32) {}

    /// What it says is of a moment when there is no flood.
    fn budget(&self, _index: u32) -> Option<RefMut<'_, u64>> {
        None
    }

    fn seen_syn(&self, _index: u32) -> Option<RefMut<'_, u64>> {
        None
    }

    fn count_exhausted(&self, _service: u32, _backend: u32) {}

    fn count(&self, stat: Stat) {
        self.saw(Seen::Event(stat));
    }

    fn count_drop(&self, reason: DropReason, _bytes: usize) {
        self.saw(Seen::Dropped(reason));
    }
}

impl<F: LiveFamily> Policies<F> for Live<F> {
    fn in_ranges(&self, service: u32, client: F::Addr) -> bool {
        self.is_in(F::MAPS.ranges, &self.networks.ranges, &F::range_key(service, client))
    }

    /// Any number will do: the next packet gets another one.
    fn chance(&self) -> u32 {
        lb_common::hash::rehash(self.clock as u32)
    }

    fn affinity(&self, key: &AffinityKey) -> Option<RefMut<'_, AffinityEntry>> {
        let read = || self.get(map::AFFINITY, &self.affinity_table, key);
        RefMut::filter_map(place(&self.affinities, key, read), Option::as_mut).ok()
    }

    fn put_affinity(&self, key: &AffinityKey, entry: &AffinityEntry) {
        self.affinities.borrow_mut().insert(*key, Some(*entry));
    }

    fn load_of(&self, backend: u32) -> u64 {
        self.loads.read(backend).map_or(0, |entry| entry.load)
    }

    fn add_load(&self, _backend: u32) {}
}

/// Whether a listener is full is not asked: the next moment it may be otherwise.
impl<F: LiveFamily> Cookies<F> for Live<F> {
    fn cookie(&self, _key: &FlowKey<F::Addr>, _headers: &Headers) -> Option<(u32, u16)> {
        None
    }

    fn knows(&self, _key: &FlowKey<F::Addr>, _headers: &Headers) -> Known {
        Known::Connected
    }
}

impl<F: LiveFamily> Nodes<F> for Live<F> {
    fn node(&self, address: F::Addr) -> u32 {
        self.get(F::MAPS.nodes, &self.dsr.nodes, &address).unwrap_or(0)
    }

    fn node_of(&self, backend: u32) -> Option<F::Addr> {
        // the pipeline needs nothing else of a backend that a tunnel leads to; people want to know which it is
        if let Some(entry) = self.backends.read(backend) {
            self.note_backend(backend, &entry);
        }
        let node = self.get(F::MAPS.backend_nodes, &self.dsr.backend_nodes, &backend);
        self.saw(Seen::Node { backend, at: node.map(F::ip) });
        node
    }

    fn former_ring(&self, service: u32) -> Option<FormerRing> {
        let former = self.dsr.former.read(service);
        if former.is_some_and(|former| former.changed != 0) {
            self.saw(Seen::RingChanged);
        }
        former
    }

    fn tracked(&self, key: &FlowKey<F::Addr>) -> Option<RefMut<'_, TrackedEntry>> {
        let read = || self.get(F::MAPS.tracked, &self.dsr.tracked_table, key);
        let found = place(&self.dsr.tracked, key, read);
        self.saw(Seen::Tracked(found.as_ref().map(|entry| entry.backend)));
        RefMut::filter_map(found, Option::as_mut).ok()
    }

    fn track(&self, key: &FlowKey<F::Addr>, entry: &TrackedEntry) {
        self.dsr.tracked.borrow_mut().insert(*key, Some(*entry));
    }

    fn untrack(&self, key: &FlowKey<F::Addr>) {
        self.dsr.tracked.borrow_mut().insert(*key, None);
    }
}
