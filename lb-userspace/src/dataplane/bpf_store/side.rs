//! The maps that each address family has for itself. What is of the other family has no place in them and is nothing.

use std::net::IpAddr;

use aya::maps::{HashMap, MapData};
use lb_common::abi::{self, BackendEntry, FrontendEntry, backend_flag};

use super::{failed, full, insert, remove};
use crate::dataplane::entry::{self, backend_word, pair};
use crate::dataplane::error::DataplaneError;
use crate::dataplane::family::MapFamily;
use crate::dataplane::mapped::{Access, MappedArray};
use crate::dataplane::maps::Maps;
use crate::dataplane::stats::CounterReset;
use crate::dataplane::store::StoreError;
use crate::tables::{BackendId, BackendKey, Frontend, FrontendKey, Tables};

/// Frontends, backends and addresses of one family.
pub(super) struct Side<F: MapFamily> {
    frontends: HashMap<MapData, abi::FrontendKey<F::Addr>, FrontendEntry>,
    backends: MappedArray<BackendEntry<F::Addr>>,
    node_addresses: HashMap<MapData, F::Addr, u32>,
    vips: HashMap<MapData, F::Addr, u32>,
}

impl<F: MapFamily> Side<F> {
    pub(super) fn open(maps: &Maps, access: Access) -> Result<Self, DataplaneError> {
        Ok(Self {
            frontends: maps.hash(F::MAPS.frontends)?,
            backends: maps.mapped(F::MAPS.backends, access)?,
            node_addresses: maps.hash(F::MAPS.node_addresses)?,
            vips: maps.hash(F::MAPS.vips)?,
        })
    }

    /// The backends in use.
    pub(super) fn backends(&self) -> impl Iterator<Item = (BackendId, BackendEntry<F::Addr>)> + '_ {
        let all = (1..self.backends.len()).filter_map(|id| Some((BackendId(id), self.backends.read(id)?)));
        all.filter(|(_, entry)| entry.protocol != 0)
    }

    /// Addresses of those on other nodes.
    pub(super) fn remote_backends(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let remote = self.backends().filter(|(_, entry)| entry.flags & backend_flag::LOCAL == 0);
        remote.map(|(_, entry)| F::ip(entry.address))
    }

    /// Adds what the maps hold.
    pub(super) fn load(&self, tables: &mut Tables) -> Result<(), StoreError> {
        for found in self.frontends.iter() {
            let (key, value) = found.map_err(|error| failed(F::MAPS.frontends, "walk", error))?;
            tables.frontends.extend(entry::frontend_key::<F>(&key).map(|key| (key, entry::frontend(&value))));
        }
        for (id, found) in self.backends() {
            tables.backends.extend(entry::backend_key::<F>(&found).map(|key| ((F::FAMILY, id), key)));
        }
        tables.node_addresses.extend(addresses::<F>(&self.node_addresses, F::MAPS.node_addresses)?);
        tables.vips.extend(addresses::<F>(&self.vips, F::MAPS.vips)?);
        Ok(())
    }

    pub(super) fn upsert_frontend(&mut self, key: &FrontendKey, value: &Frontend) -> Result<(), StoreError> {
        let Some(key) = entry::abi_frontend_key::<F>(key) else { return Ok(()) };
        insert(&mut self.frontends, F::MAPS.frontends, key, entry::frontend_entry(value))
    }

    pub(super) fn delete_frontend(&mut self, key: &FrontendKey) -> Result<(), StoreError> {
        let Some(key) = entry::abi_frontend_key::<F>(key) else { return Ok(()) };
        remove(&mut self.frontends, F::MAPS.frontends, &key)
    }

    pub(super) fn upsert_backend(
        &mut self,
        id: BackendId,
        key: &BackendKey,
        counters: &mut CounterReset,
    ) -> Result<(), StoreError> {
        let old = self.backends.read(id.0).filter(|_| id.0 != 0);
        let old = old.ok_or_else(|| full(F::MAPS.backends, self.backends.len()))?;
        let new = entry::backend_entry::<F>(key, old.generation.wrapping_add(1));
        let Some(new) = new.filter(|_| entry::backend_key::<F>(&old).as_ref() != Some(key)) else { return Ok(()) };
        counters.backend(id)?;
        // The last word holds generation and protocol: with that store the entry is in use.
        self.backends.write(id.0, &new);
        Ok(())
    }

    pub(super) fn delete_backend(&mut self, id: BackendId) {
        if let Some(old) = self.backends.read(id.0) {
            // The address stays: flows may still look at it in this moment.
            self.backends.store(id.0, backend_word::state::<F>(), pair(old.generation, 0));
        }
    }

    pub(super) fn upsert_node_address(&mut self, address: IpAddr) -> Result<(), StoreError> {
        let Some(address) = F::address(address) else { return Ok(()) };
        insert(&mut self.node_addresses, F::MAPS.node_addresses, address, 1)
    }

    pub(super) fn delete_node_address(&mut self, address: IpAddr) -> Result<(), StoreError> {
        let Some(address) = F::address(address) else { return Ok(()) };
        remove(&mut self.node_addresses, F::MAPS.node_addresses, &address)
    }

    pub(super) fn upsert_vip(&mut self, address: IpAddr) -> Result<(), StoreError> {
        let Some(address) = F::address(address) else { return Ok(()) };
        insert(&mut self.vips, F::MAPS.vips, address, 1)
    }

    pub(super) fn delete_vip(&mut self, address: IpAddr) -> Result<(), StoreError> {
        let Some(address) = F::address(address) else { return Ok(()) };
        remove(&mut self.vips, F::MAPS.vips, &address)
    }
}

fn addresses<F: MapFamily>(
    map: &HashMap<MapData, F::Addr, u32>,
    name: &'static str,
) -> Result<Vec<IpAddr>, StoreError> {
    map.keys().map(|address| address.map(F::ip).map_err(|error| failed(name, "walk", error))).collect()
}
