//! The kernel's maps as a [`MapStore`].

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::Pod;
use aya::maps::{Array, HashMap, IterableMap, MapData, MapError};
use lb_common::abi::{BackendEntry4, FrontendEntry, FrontendKey4, ServiceEntry, backend_flag, map, setting};
use lb_common::addr::Addr4;
use lb_common::limits::RING_LINE_SLOTS;

use super::entry::{self, addr4, backend_word, pack, pair, service_word, unpack};
use super::error::{DataplaneError, map_io};
use super::grace::Grace;
use super::mapped::{Access, MappedArray};
use super::maps::Maps;
use super::ring_area::RingArea;
use super::slices::Slice;
use super::spec;
use super::stats::CounterReset;
use super::store::{MapStore, StoreError};
use crate::tables::{BackendId, BackendKey, Frontend, FrontendKey, IpFamily, Ring, ServiceId, Settings, Tables};

/// The maps of one pin path. IPv6 entries have no maps yet: they are counted and passed over.
pub(crate) struct BpfStore {
    frontends: HashMap<MapData, FrontendKey4, FrontendEntry>,
    services: MappedArray<ServiceEntry>,
    backends: MappedArray<BackendEntry4>,
    rings: RingArea,
    node_addresses: HashMap<MapData, Addr4, u32>,
    vips: HashMap<MapData, Addr4, u32>,
    settings: Array<MapData, u64>,
    counters: CounterReset,
    grace: Grace,
    passed_over: Arc<AtomicU64>,
}

impl BpfStore {
    /// Opens the maps and finds out which lines of the ring area are in use.
    pub(crate) fn open(maps: &Maps, access: Access, passed_over: Arc<AtomicU64>) -> Result<Self, DataplaneError> {
        let services = maps.mapped(map::SERVICES, access)?;
        Ok(Self {
            frontends: maps.hash(map::FRONTENDS4)?,
            rings: RingArea::open(maps, access, &services)?,
            services,
            backends: maps.mapped(map::BACKENDS4, access)?,
            node_addresses: maps.hash(map::NODE_ADDRS4)?,
            vips: maps.hash(map::VIPS4)?,
            settings: maps.array(map::SETTINGS)?,
            counters: CounterReset::open(maps)?,
            grace: Grace::default(),
            passed_over,
        })
    }

    /// Ids of the services in use.
    pub(crate) fn service_ids(&self) -> impl Iterator<Item = ServiceId> + '_ {
        let is_used = |id: &u32| self.services.read(*id).is_some_and(|entry| entry.used != 0);
        (1..self.services.len()).filter(is_used).map(ServiceId)
    }

    /// Ids of the backends in use.
    pub(crate) fn backend_ids(&self) -> impl Iterator<Item = BackendId> + '_ {
        let is_used = |id: &u32| self.backends.read(*id).is_some_and(|entry| entry.protocol != 0);
        (1..self.backends.len()).filter(is_used).map(BackendId)
    }

    /// How often the id of each backend in use was used.
    pub(crate) fn generations(&self) -> impl Iterator<Item = (BackendId, u32)> + '_ {
        self.backend_ids().filter_map(|id| Some((id, self.backends.read(id.0)?.generation)))
    }

    /// Addresses of the backends on other nodes.
    pub(crate) fn remote_backend_addresses(&self) -> BTreeSet<Ipv4Addr> {
        let entries = self.backend_ids().filter_map(|id| self.backends.read(id.0));
        let remote = entries.filter(|entry| entry.flags & backend_flag::LOCAL == 0);
        remote.map(|entry| Ipv4Addr::from(entry.address.bytes())).collect()
    }

    /// Lines of RINGS that hold a ring.
    pub(crate) fn ring_lines(&self) -> u64 {
        let slots = |id: ServiceId| self.services.read(id.0).map_or(0, |entry| entry.ring_place().1);
        self.service_ids().map(|id| u64::from(slots(id).div_ceil(RING_LINE_SLOTS))).sum()
    }

    /// Writes the slots of a ring; an empty ring needs no lines.
    fn write_slots(&mut self, ring: &Ring) -> Result<Option<Slice>, StoreError> {
        if ring.is_empty() {
            return Ok(None);
        }
        let mut slice = self.rings.write(ring);
        if slice.is_none() && self.rings.has_retired() {
            self.grace_period()?;
            slice = self.rings.write(ring);
        }
        slice.map(Some).ok_or_else(|| full(map::RINGS, self.rings.capacity()))
    }

    /// There is no map for it: counted.
    fn pass_over(&self) -> Result<(), StoreError> {
        self.passed_over.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn read_settings(&self) -> Result<Settings, StoreError> {
        let word = |index| self.settings.get(&index, 0).map_err(|error| failed(map::SETTINGS, "lookup", error));
        let (node_ports, address) = (word(setting::NODE_PORTS)?, word(setting::SNAT_ADDRESS4)?);
        let address = Ipv4Addr::from((address as u32).to_ne_bytes());
        Ok(Settings {
            snat_ports: unpack(word(setting::SNAT_PORTS)?),
            node_ports: (node_ports != 0).then(|| unpack(node_ports)),
            snat_address4: (!address.is_unspecified()).then_some(address),
            snat_address6: None,
            front_mark: word(setting::FRONT_MARK)? as u32,
        })
    }
}

impl MapStore for BpfStore {
    fn load(&mut self) -> Result<Tables, StoreError> {
        let mut tables = Tables { settings: self.read_settings()?, ..Tables::default() };
        for found in self.frontends.iter() {
            let (key, value) = found.map_err(|error| failed(map::FRONTENDS4, "walk", error))?;
            tables.frontends.extend(entry::frontend_key(&key).map(|key| (key, entry::frontend(&value))));
        }
        for id in self.service_ids() {
            let ring = self.services.read(id.0).and_then(|found| self.rings.read(id, &found));
            tables.services.extend(ring.map(|ring| (id, ring)));
        }
        for id in self.backend_ids() {
            let key = self.backends.read(id.0).and_then(|found| entry::backend_key(&found));
            tables.backends.extend(key.map(|key| ((IpFamily::V4, id), key)));
        }
        for address in self.node_addresses.keys() {
            let address = address.map_err(|error| failed(map::NODE_ADDRS4, "walk", error))?;
            tables.node_addresses.insert(entry::ip(address));
        }
        for address in self.vips.keys() {
            tables.vips.insert(entry::ip(address.map_err(|error| failed(map::VIPS4, "walk", error))?));
        }
        Ok(tables)
    }

    fn upsert_frontend(&mut self, key: &FrontendKey, value: &Frontend) -> Result<(), StoreError> {
        let Some(key) = entry::frontend_key4(key) else { return self.pass_over() };
        insert(&mut self.frontends, map::FRONTENDS4, key, entry::frontend_entry(value))
    }

    fn delete_frontend(&mut self, key: &FrontendKey) -> Result<(), StoreError> {
        entry::frontend_key4(key).map_or(Ok(()), |key| remove(&mut self.frontends, map::FRONTENDS4, &key))
    }

    fn upsert_backend(&mut self, _: IpFamily, id: BackendId, key: &BackendKey) -> Result<(), StoreError> {
        let old = self.backends.read(id.0).filter(|_| id.0 != 0);
        let old = old.ok_or_else(|| full(map::BACKENDS4, self.backends.len()))?;
        let new = entry::backend_entry(key, old.generation.wrapping_add(1));
        let Some(new) = new else { return self.pass_over() };
        if entry::backend_key(&old).as_ref() == Some(key) {
            return Ok(());
        }
        self.counters.backend(id)?;
        // The last word holds generation and protocol: with that store the entry is in use.
        self.backends.write(id.0, &new);
        Ok(())
    }

    fn delete_backend(&mut self, family: IpFamily, id: BackendId) -> Result<(), StoreError> {
        if let (IpFamily::V4, Some(old)) = (family, self.backends.read(id.0)) {
            // The address stays: flows may still look at it in this moment.
            self.backends.store(id.0, backend_word::STATE, pair(old.generation, 0));
        }
        Ok(())
    }

    fn write_ring(&mut self, service: ServiceId, ring: &Ring) -> Result<(), StoreError> {
        let old = self.services.read(service.0).filter(|_| service.0 != 0);
        let old = old.ok_or_else(|| full(map::SERVICES, self.services.len()))?;
        if old.used != 0 && self.rings.read(service, &old).as_ref() == Some(ring) {
            return Ok(());
        }
        let slice = self.write_slots(ring)?;
        if old.used == 0 {
            self.counters.service(service)?;
        }
        let place = ServiceEntry::pack_ring(slice.map_or(0, |slice| slice.first), ring.len() as u32);
        self.services.store(service.0, service_word::RING, place);
        self.services.store(service.0, service_word::USED, pair(old.flags, 1));
        self.rings.hold(service, slice);
        Ok(())
    }

    fn delete_service(&mut self, service: ServiceId) -> Result<(), StoreError> {
        self.services.store(service.0, service_word::USED, 0);
        self.services.store(service.0, service_word::RING, 0);
        self.rings.hold(service, None);
        Ok(())
    }

    fn upsert_node_address(&mut self, address: IpAddr) -> Result<(), StoreError> {
        let IpAddr::V4(address) = address else { return self.pass_over() };
        insert(&mut self.node_addresses, map::NODE_ADDRS4, addr4(address), 1)
    }

    fn delete_node_address(&mut self, address: IpAddr) -> Result<(), StoreError> {
        let IpAddr::V4(address) = address else { return Ok(()) };
        remove(&mut self.node_addresses, map::NODE_ADDRS4, &addr4(address))
    }

    fn upsert_vip(&mut self, address: IpAddr) -> Result<(), StoreError> {
        // One of IPv6 is passed over without being counted: its frontend is.
        let IpAddr::V4(address) = address else { return Ok(()) };
        insert(&mut self.vips, map::VIPS4, addr4(address), 1)
    }

    fn delete_vip(&mut self, address: IpAddr) -> Result<(), StoreError> {
        let IpAddr::V4(address) = address else { return Ok(()) };
        remove(&mut self.vips, map::VIPS4, &addr4(address))
    }

    fn write_settings(&mut self, settings: &Settings) -> Result<(), StoreError> {
        let address = settings.snat_address4.map_or(0, |address| addr4(address).raw());
        let words = [
            (setting::SNAT_PORTS, pack(settings.snat_ports)),
            (setting::NODE_PORTS, settings.node_ports.map_or(0, pack)),
            (setting::SNAT_ADDRESS4, u64::from(address)),
            (setting::FRONT_MARK, u64::from(settings.front_mark)),
        ];
        for (index, word) in words {
            self.settings.set(index, word, 0).map_err(|error| failed(map::SETTINGS, "update", error))?;
        }
        Ok(())
    }

    fn grace_period(&mut self) -> Result<(), StoreError> {
        let waited = self.grace.wait();
        waited.map_err(|source| StoreError::Io { map: map::RINGS, operation: "wait for a grace period", source })?;
        self.rings.release_retired();
        Ok(())
    }
}

fn insert<K: Pod, V: Pod>(
    hash: &mut HashMap<MapData, K, V>,
    name: &'static str,
    key: K,
    value: V,
) -> Result<(), StoreError> {
    let Err(error) = hash.insert(key, value, 0) else { return Ok(()) };
    let source = map_io(error);
    if matches!(source.raw_os_error(), Some(libc::E2BIG | libc::ENOSPC)) {
        return Err(full(name, hash.map().info().map_or(0, |info| info.max_entries())));
    }
    Err(StoreError::Io { map: name, operation: "update", source })
}

fn remove<K: Pod, V: Pod>(hash: &mut HashMap<MapData, K, V>, name: &'static str, key: &K) -> Result<(), StoreError> {
    match hash.remove(key).map_err(map_io) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::Io { map: name, operation: "delete", source })
        }
        _ => Ok(()),
    }
}

fn failed(map: &'static str, operation: &'static str, error: MapError) -> StoreError {
    StoreError::Io { map, operation, source: map_io(error) }
}

fn full(map: &'static str, capacity: u32) -> StoreError {
    StoreError::Full { map, capacity, flag: spec::flag(map) }
}
