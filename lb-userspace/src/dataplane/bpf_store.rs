//! The kernel's maps as a [`MapStore`].

mod side;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::Pod;
use aya::maps::{Array, HashMap, IterableMap as _, MapData, MapError};
use ipnet::IpNet;
use lb_common::abi::{ServiceEntry, map, setting};
use lb_common::addr::{Addr6, V4, V6};
use lb_common::ip::Ip as _;
use lb_common::limits::RING_LINE_SLOTS;

use super::entry::{addr4, addr6, pack, pair, service_word, unpack};
use super::error::{DataplaneError, map_io};
use super::family::MapFamily;
use super::grace::Grace;
use super::hop_watch;
use super::mapped::{Access, MappedArray};
use super::maps::Maps;
use super::node_counts::NodeCounts;
use super::policies::{self, Networks};
use super::ring_area::RingArea;
use super::slices::Slice;
use super::spec;
use super::stats::CounterReset;
use super::store::{MapStore, StoreError};
use super::tunnels::{self, Tunnels};
use crate::tables::{
    BackendId, BackendKey, Frontend, FrontendKey, IpFamily, Ring, ServiceId, ServicePolicy, Settings, Tables,
};
use side::Side;

/// The maps of one pin path.
pub(crate) struct BpfStore {
    v4: Side<V4>,
    v6: Side<V6>,
    services: MappedArray<ServiceEntry>,
    rings: RingArea,
    settings: Array<MapData, u64>,
    tunnels: Tunnels,
    networks: Networks,
    counters: CounterReset,
    grace: Grace,
}

impl BpfStore {
    /// Opens the maps and finds out which lines of the ring area are in use.
    pub(crate) fn open(maps: &Maps, access: Access) -> Result<Self, DataplaneError> {
        let services = maps.mapped(map::SERVICES, access)?;
        let mut rings = RingArea::open(maps, access, &services)?;
        Ok(Self {
            tunnels: Tunnels::open(maps, access, &mut rings)?,
            networks: Networks::open(maps)?,
            v4: Side::open(maps, access)?,
            v6: Side::open(maps, access)?,
            rings,
            services,
            settings: maps.array(map::SETTINGS)?,
            counters: CounterReset::open(maps)?,
            grace: Grace::default(),
        })
    }

    /// Ids of the services in use.
    pub(crate) fn service_ids(&self) -> impl Iterator<Item = ServiceId> + '_ {
        let is_used = |id: &u32| self.services.read(*id).is_some_and(|entry| entry.used != 0);
        (1..self.services.len()).filter(is_used).map(ServiceId)
    }

    /// The backends in use: family, id, and how often the id was used in it.
    pub(crate) fn backends(&self) -> impl Iterator<Item = (IpFamily, BackendId, u32)> + '_ {
        let v4 = self.v4.backends().map(|(id, entry)| (IpFamily::V4, id, entry.generation));
        v4.chain(self.v6.backends().map(|(id, entry)| (IpFamily::V6, id, entry.generation)))
    }

    /// Addresses of the backends on other nodes.
    pub(crate) fn remote_backend_addresses(&self) -> BTreeSet<IpAddr> {
        self.v4.remote_backends().chain(self.v6.remote_backends()).collect()
    }

    /// How many backends each node has that packets of DSR are carried to; walks the maps.
    pub(crate) fn count_by_node(&self) -> Result<BTreeMap<IpAddr, usize>, DataplaneError> {
        self.tunnels.count_by_node()
    }

    /// Keeps these counts up to date with what it writes.
    pub(crate) fn counting(mut self, counts: NodeCounts) -> Self {
        self.tunnels.counts = counts;
        self
    }

    /// Lines of RINGS that hold a ring, or one that is kept for a while.
    pub(crate) fn ring_lines(&self) -> u64 {
        let slots = |id: ServiceId| self.services.read(id.0).map_or(0, |entry| entry.ring_place().1);
        self.service_ids().map(|id| u64::from(slots(id).div_ceil(RING_LINE_SLOTS))).sum::<u64>()
            + self.tunnels.former.lines()
    }

    /// Writes the slots of a ring; an empty ring needs no lines.
    fn write_slots(&mut self, ring: &Ring) -> Result<Option<Slice>, StoreError> {
        if ring.is_empty() {
            return Ok(None);
        }
        let mut slice = self.rings.write(ring);
        if slice.is_none() {
            self.tunnels.before_grace(&mut self.rings);
        }
        if slice.is_none() && self.rings.has_retired() {
            self.grace_period()?;
            slice = self.rings.write(ring);
        }
        slice.map(Some).ok_or_else(|| full(map::RINGS, self.rings.capacity()))
    }

    fn setting(&self, index: u32) -> Result<u64, StoreError> {
        self.settings.get(&index, 0).map_err(|error| failed(map::SETTINGS, "lookup", error))
    }

    fn set_setting(&mut self, index: u32, word: u64) -> Result<(), StoreError> {
        self.settings.set(index, word, 0).map_err(|error| failed(map::SETTINGS, "update", error))
    }

    /// Makes the programs forget what they remember of frontends and of the node's addresses: called behind each change of those.
    fn begin_epoch(&mut self) -> Result<(), StoreError> {
        self.set_setting(setting::HOP_EPOCH, hop_watch::number())
    }

    /// The word for this range. Replies come to the ports of former ranges, too, as long as the maps are there: flows that were
    /// begun under those go on.
    fn snat_ports(&self, leased: (u16, u16)) -> Result<u64, StoreError> {
        let (first, last) = unpack(self.setting(setting::SNAT_PORTS)? >> 32);
        let replies = if last == 0 { leased } else { (leased.0.min(first), leased.1.max(last)) };
        Ok(setting::snat_ports(leased, replies))
    }

    fn read_settings(&self) -> Result<Settings, StoreError> {
        let (node_ports, address4) = (self.setting(setting::NODE_PORTS)?, self.setting(setting::SNAT_ADDRESS4)?);
        let address4 = Ipv4Addr::from((address4 as u32).to_ne_bytes());
        let address6 = [self.setting(setting::SNAT_ADDRESS6)?, self.setting(setting::SNAT_ADDRESS6_LOW)?];
        let address6 = Ipv6Addr::from(Addr6::from_raw(address6).bytes());
        let node4 = Ipv4Addr::from((self.setting(setting::NODE_ADDRESS4)? as u32).to_ne_bytes());
        let node6 = tunnels::join(self.setting(setting::NODE_ADDRESS6)?, self.setting(setting::NODE_ADDRESS6_LOW)?);
        Ok(Settings {
            snat_ports: leased(self.setting(setting::SNAT_PORTS)?),
            node_ports: (node_ports != 0).then(|| unpack(node_ports)),
            snat_address4: (!address4.is_unspecified()).then_some(address4),
            snat_address6: (!address6.is_unspecified()).then_some(address6),
            front_mark: self.setting(setting::FRONT_MARK)? as u32,
            node_address4: (!node4.is_unspecified()).then_some(node4),
            node_address6: (!node6.is_unspecified()).then_some(node6),
            tunnel_mtu: self.setting(setting::TUNNEL_MTU)? as u16,
            syn_limit: setting::syn_limit_of(self.setting(setting::SYN_LIMIT)?),
            denies4: self.setting(setting::DENY)? & V4::DENY != 0,
            denies6: self.setting(setting::DENY)? & V6::DENY != 0,
        })
    }

    /// The two words never stand for an address that is half old and half new: see [`setting::SNAT_ADDRESS6`].
    fn write_address6(&mut self, (first, second): (u32, u32), address: Option<Ipv6Addr>) -> Result<(), StoreError> {
        let [high, low] = address.map_or([0; 2], |address| addr6(address).raw());
        if [self.setting(first)?, self.setting(second)?] == [high, low] {
            return Ok(());
        }
        self.set_setting(first, 0)?;
        self.set_setting(second, low)?;
        self.set_setting(first, high)
    }
}

impl MapStore for BpfStore {
    fn load(&mut self) -> Result<Tables, StoreError> {
        let mut tables = Tables { settings: self.read_settings()?, ..Tables::default() };
        self.tunnels.load(&mut tables)?;
        self.networks.load(&mut tables)?;
        for id in self.service_ids() {
            let ring = self.services.read(id.0).and_then(|found| self.rings.read(id, &found));
            tables.services.extend(ring.map(|ring| (id, ring)));
            let policy = self.services.read(id.0).and_then(|found| policies::policy(found.flags));
            tables.policies.extend(policy.map(|policy| (id, policy)));
        }
        self.v4.load(&mut tables)?;
        self.v6.load(&mut tables)?;
        Ok(tables)
    }

    fn upsert_frontend(&mut self, key: &FrontendKey, value: &Frontend) -> Result<(), StoreError> {
        match IpFamily::of(key.address) {
            IpFamily::V4 => self.v4.upsert_frontend(key, value),
            IpFamily::V6 => self.v6.upsert_frontend(key, value),
        }?;
        self.begin_epoch()
    }

    fn delete_frontend(&mut self, key: &FrontendKey) -> Result<(), StoreError> {
        match IpFamily::of(key.address) {
            IpFamily::V4 => self.v4.delete_frontend(key),
            IpFamily::V6 => self.v6.delete_frontend(key),
        }?;
        self.begin_epoch()
    }

    fn upsert_backend(&mut self, _: IpFamily, id: BackendId, key: &BackendKey) -> Result<(), StoreError> {
        if self.tunnels.is_unsettled(id) {
            self.grace_period()?;
        }
        match IpFamily::of(key.address) {
            IpFamily::V4 => self.v4.upsert_backend(id, key, &mut self.counters),
            IpFamily::V6 => self.v6.upsert_backend(id, key, &mut self.counters),
        }
    }

    fn delete_backend(&mut self, family: IpFamily, id: BackendId) -> Result<(), StoreError> {
        match family {
            IpFamily::V4 => self.v4.delete_backend(id),
            IpFamily::V6 => self.v6.delete_backend(id),
        }
        self.tunnels.backend_gone(id, &self.rings);
        Ok(())
    }

    fn keep_ring(&mut self, service: ServiceId) -> Result<(), StoreError> {
        if let Some(entry) = self.services.read(service.0).filter(|entry| entry.used != 0) {
            self.tunnels.keep(service, &entry, &mut self.rings);
        }
        Ok(())
    }

    fn upsert_backend_node(&mut self, _: IpFamily, id: BackendId, node: IpAddr) -> Result<(), StoreError> {
        self.tunnels.upsert_backend_node(id, node)
    }

    fn delete_backend_node(&mut self, family: IpFamily, id: BackendId) -> Result<(), StoreError> {
        self.tunnels.delete_backend_node(family, id)
    }

    fn upsert_node(&mut self, address: IpAddr, own: bool) -> Result<(), StoreError> {
        self.tunnels.upsert_node(address, own)
    }

    fn delete_node(&mut self, address: IpAddr) -> Result<(), StoreError> {
        self.tunnels.delete_node(address)
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
        let old = self.rings.hold(service, slice);
        self.tunnels.replaced(service, old, &mut self.rings);
        Ok(())
    }

    fn delete_service(&mut self, service: ServiceId) -> Result<(), StoreError> {
        self.services.store(service.0, service_word::USED, 0);
        self.services.store(service.0, service_word::RING, 0);
        let old = self.rings.hold(service, None);
        self.tunnels.replaced(service, old, &mut self.rings);
        self.tunnels.former.forget(service, &mut self.rings);
        Ok(())
    }

    fn upsert_node_address(&mut self, address: IpAddr) -> Result<(), StoreError> {
        match IpFamily::of(address) {
            IpFamily::V4 => self.v4.upsert_node_address(address),
            IpFamily::V6 => self.v6.upsert_node_address(address),
        }?;
        self.begin_epoch()
    }

    fn delete_node_address(&mut self, address: IpAddr) -> Result<(), StoreError> {
        match IpFamily::of(address) {
            IpFamily::V4 => self.v4.delete_node_address(address),
            IpFamily::V6 => self.v6.delete_node_address(address),
        }?;
        self.begin_epoch()
    }

    fn upsert_vip(&mut self, address: IpAddr) -> Result<(), StoreError> {
        match IpFamily::of(address) {
            IpFamily::V4 => self.v4.upsert_vip(address),
            IpFamily::V6 => self.v6.upsert_vip(address),
        }
    }

    fn delete_vip(&mut self, address: IpAddr) -> Result<(), StoreError> {
        match IpFamily::of(address) {
            IpFamily::V4 => self.v4.delete_vip(address),
            IpFamily::V6 => self.v6.delete_vip(address),
        }
    }

    fn write_policy(&mut self, service: ServiceId, policy: &ServicePolicy) -> Result<(), StoreError> {
        if let Some(entry) = self.services.read(service.0) {
            self.services.store(service.0, service_word::USED, pair(policies::word(policy), entry.used));
        }
        Ok(())
    }

    fn upsert_range(&mut self, service: ServiceId, network: IpNet) -> Result<(), StoreError> {
        self.networks.upsert_range(service, network)
    }

    fn delete_range(&mut self, service: ServiceId, network: IpNet) -> Result<(), StoreError> {
        self.networks.delete_range(service, network)
    }

    fn upsert_denied(&mut self, network: IpNet) -> Result<(), StoreError> {
        self.networks.upsert_denied(network)
    }

    fn delete_denied(&mut self, network: IpNet) -> Result<(), StoreError> {
        self.networks.delete_denied(network)
    }

    fn write_settings(&mut self, settings: &Settings) -> Result<(), StoreError> {
        let address4 = settings.snat_address4.and_then(|address| V4::address(address.into()));
        let denies = if settings.denies4 { V4::DENY } else { 0 } | if settings.denies6 { V6::DENY } else { 0 };
        let words = [
            (setting::SNAT_PORTS, self.snat_ports(settings.snat_ports)?),
            (setting::NODE_PORTS, settings.node_ports.map_or(0, pack)),
            (setting::SNAT_ADDRESS4, address4.map_or(0, |address| u64::from(address.raw()))),
            (setting::FRONT_MARK, u64::from(settings.front_mark)),
            (setting::TUNNEL_MTU, u64::from(settings.tunnel_mtu)),
            (setting::SYN_LIMIT, setting::syn_limit(settings.syn_limit)),
            (setting::DENY, denies),
            (setting::NODE_ADDRESS4, settings.node_address4.map_or(0, |address| u64::from(addr4(address).raw()))),
        ];
        for (index, word) in words {
            self.set_setting(index, word)?;
        }
        self.begin_epoch()?; // the range of NodePorts may be another
        self.write_address6((setting::NODE_ADDRESS6, setting::NODE_ADDRESS6_LOW), settings.node_address6)?;
        self.write_address6((setting::SNAT_ADDRESS6, setting::SNAT_ADDRESS6_LOW), settings.snat_address6)
    }

    fn grace_period(&mut self) -> Result<(), StoreError> {
        self.tunnels.before_grace(&mut self.rings);
        let waited = self.grace.wait();
        waited.map_err(|source| StoreError::Io { map: map::RINGS, operation: "wait for a grace period", source })?;
        self.rings.release_retired();
        self.tunnels.after_grace();
        Ok(())
    }
}

/// The ports of source NAT in this word; none, so that the word is written anew, where it does not say to which ports replies
/// come: versions before 0.1 left that out, and without it no reply is known.
const fn leased(word: u64) -> (u16, u16) {
    if word >> 32 == 0 { (0, 0) } else { unpack(word) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_does_not_say_where_replies_come_to_is_written_anew() {
        let range = (15_000, 29_999);
        assert_eq!(leased(setting::snat_ports(range, range)), range);
        assert_eq!(leased(pack(range)), (0, 0));
    }
}
