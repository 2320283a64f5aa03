//! The maps of DSR as a part of the store: the nodes, where backends are, and the rings that were.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use aya::Pod;
use aya::maps::{HashMap, IterableMap as _, MapData};
use lb_common::abi::{ServiceEntry, map, node_flag};
use lb_common::addr::{Addr4, Addr6};

use super::entry::{addr4, addr6, ip, ip6};
use super::error::{DataplaneError, map_io};
use super::former::{FormerRings, now};
use super::mapped::Access;
use super::maps::Maps;
use super::node_counts::NodeCounts;
use super::ring_area::RingArea;
use super::slices::Slice;
use super::spec;
use super::store::StoreError;
use crate::tables::{BackendId, IpFamily, ServiceId, Tables};

/// An IPv6 address from the two words of SETTINGS.
pub(crate) fn join(high: u64, low: u64) -> Ipv6Addr {
    Ipv6Addr::from(Addr6::from_raw([high, low]).bytes())
}

/// The maps of DSR.
pub(crate) struct Tunnels {
    nodes4: HashMap<MapData, Addr4, u32>,
    nodes6: HashMap<MapData, Addr6, u32>,
    backend_nodes4: HashMap<MapData, u32, Addr4>,
    backend_nodes6: HashMap<MapData, u32, Addr6>,
    pub(crate) former: FormerRings,
    /// Kept up to date by the store that writes.
    pub(crate) counts: NodeCounts,
    /// Backends that a kept ring named until lately: packets in flight may still look at them.
    unsettled: BTreeSet<BackendId>,
}

impl Tunnels {
    pub(crate) fn open(maps: &Maps, access: Access, area: &mut RingArea) -> Result<Self, DataplaneError> {
        Ok(Self {
            nodes4: maps.hash(map::NODES4)?,
            nodes6: maps.hash(map::NODES6)?,
            backend_nodes4: maps.hash(map::BACKEND_NODES4)?,
            backend_nodes6: maps.hash(map::BACKEND_NODES6)?,
            former: FormerRings::open(maps, access, area)?,
            counts: NodeCounts::default(),
            unsettled: BTreeSet::new(),
        })
    }

    /// Adds what the maps hold.
    pub(crate) fn load(&self, tables: &mut Tables) -> Result<(), StoreError> {
        let own = |flags: u32| flags & node_flag::OWN != 0;
        for found in self.nodes4.iter() {
            let (address, flags) = found.map_err(|error| failed(map::NODES4, error))?;
            tables.nodes.insert(ip(address), own(flags));
        }
        for found in self.nodes6.iter() {
            let (address, flags) = found.map_err(|error| failed(map::NODES6, error))?;
            tables.nodes.insert(ip6(address), own(flags));
        }
        for found in self.backend_nodes4.iter() {
            let (id, node) = found.map_err(|error| failed(map::BACKEND_NODES4, error))?;
            tables.backend_nodes.insert((IpFamily::V4, BackendId(id)), ip(node));
        }
        for found in self.backend_nodes6.iter() {
            let (id, node) = found.map_err(|error| failed(map::BACKEND_NODES6, error))?;
            tables.backend_nodes.insert((IpFamily::V6, BackendId(id)), ip6(node));
        }
        Ok(())
    }

    /// How many backends each node has, as the maps say it; walks them all.
    pub(crate) fn count_by_node(&self) -> Result<BTreeMap<IpAddr, usize>, DataplaneError> {
        let failed = |name| move |error| DataplaneError::map(name)(map_io(error));
        let four = self.backend_nodes4.iter();
        let four = four.map(|found| found.map(|(_, node)| ip(node)).map_err(failed(map::BACKEND_NODES4)));
        let six = self.backend_nodes6.iter();
        let six = six.map(|found| found.map(|(_, node)| ip6(node)).map_err(failed(map::BACKEND_NODES6)));
        let mut counts = BTreeMap::new();
        for node in four.chain(six) {
            *counts.entry(node?).or_default() += 1;
        }
        Ok(counts)
    }

    /// Where the map says that the backend is.
    fn backend_node(&self, family: IpFamily, id: BackendId) -> Option<IpAddr> {
        match family {
            IpFamily::V4 => self.backend_nodes4.get(&id.0, 0).map(ip).ok(),
            IpFamily::V6 => self.backend_nodes6.get(&id.0, 0).map(ip6).ok(),
        }
    }

    pub(crate) fn upsert_node(&mut self, address: IpAddr, own: bool) -> Result<(), StoreError> {
        let flags = if own { node_flag::OWN } else { node_flag::PEER };
        match address {
            IpAddr::V4(address) => insert(&mut self.nodes4, map::NODES4, addr4(address), flags),
            IpAddr::V6(address) => insert(&mut self.nodes6, map::NODES6, addr6(address), flags),
        }
    }

    pub(crate) fn delete_node(&mut self, address: IpAddr) -> Result<(), StoreError> {
        match address {
            IpAddr::V4(address) => remove(&mut self.nodes4, map::NODES4, &addr4(address)),
            IpAddr::V6(address) => remove(&mut self.nodes6, map::NODES6, &addr6(address)),
        }
    }

    pub(crate) fn upsert_backend_node(&mut self, id: BackendId, node: IpAddr) -> Result<(), StoreError> {
        let family = if node.is_ipv4() { IpFamily::V4 } else { IpFamily::V6 };
        let before = self.backend_node(family, id);
        match node {
            IpAddr::V4(node) => insert(&mut self.backend_nodes4, map::BACKEND_NODES4, id.0, addr4(node)),
            IpAddr::V6(node) => insert(&mut self.backend_nodes6, map::BACKEND_NODES6, id.0, addr6(node)),
        }?;
        self.counts.moved(before, Some(node));
        Ok(())
    }

    pub(crate) fn delete_backend_node(&mut self, family: IpFamily, id: BackendId) -> Result<(), StoreError> {
        let before = self.backend_node(family, id);
        match family {
            IpFamily::V4 => remove(&mut self.backend_nodes4, map::BACKEND_NODES4, &id.0),
            IpFamily::V6 => remove(&mut self.backend_nodes6, map::BACKEND_NODES6, &id.0),
        }?;
        self.counts.moved(before, None);
        Ok(())
    }

    /// Keeps the ring that a service has now.
    pub(crate) fn keep(&mut self, id: ServiceId, entry: &ServiceEntry, area: &mut RingArea) {
        self.former.keep(id, entry, area);
    }

    /// A service has another ring, or none: its old lines are free after the next grace period, unless they are kept.
    pub(crate) fn replaced(&self, id: ServiceId, old: Option<Slice>, area: &mut RingArea) {
        if let Some(old) = old.filter(|old| !self.former.holds(id, *old)) {
            area.retire(id, old);
        }
    }

    /// A backend is gone: no ring that is kept names it any more.
    pub(crate) fn backend_gone(&mut self, id: BackendId, area: &RingArea) {
        if self.former.remove_backend(id, area) {
            self.unsettled.insert(id);
        }
    }

    /// A backend's id may be used only after a grace period.
    pub(crate) fn is_unsettled(&self, id: BackendId) -> bool {
        self.unsettled.contains(&id)
    }

    /// Before a grace period: what nobody needs any more goes to what it will free.
    pub(crate) fn before_grace(&mut self, area: &mut RingArea) {
        self.former.release_expired(now(), area);
    }

    /// A grace period is over.
    pub(crate) fn after_grace(&mut self) {
        self.unsettled.clear();
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
        let capacity = hash.map().info().map_or(0, |info| info.max_entries());
        return Err(StoreError::Full { map: name, capacity, flag: spec::flag(name) });
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

fn failed(map: &'static str, error: aya::maps::MapError) -> StoreError {
    StoreError::Io { map, operation: "walk", source: map_io(error) }
}
