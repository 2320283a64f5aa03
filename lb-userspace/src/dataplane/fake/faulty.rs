//! A store that fails now and then, as full maps and short memory make the real ones fail: before anything is written.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;

use super::MemoryStore;
use crate::dataplane::store::{MapStore, StoreError};
use crate::tables::{
    BackendId, BackendKey, Frontend, FrontendKey, IpFamily, Ring, ServiceId, ServicePolicy, Settings, Tables,
};

/// Fails each write and grace period with a probability, in a sequence that the seed determines.
pub(crate) struct FaultyStore {
    inner: MemoryStore,
    percent: u64,
    random: u64,
    /// So many frontends have room.
    frontends: usize,
    /// Why no network can be added, if so.
    networks: Option<fn() -> StoreError>,
}

impl FaultyStore {
    pub(crate) fn new(inner: MemoryStore, percent: u64, seed: u64) -> Self {
        Self { inner, percent, random: seed, frontends: usize::MAX, networks: None }
    }

    /// Fails only when a frontend would be one too many.
    pub(crate) fn with_room_for(inner: MemoryStore, frontends: usize) -> Self {
        Self { frontends, ..Self::new(inner, 0, 0) }
    }

    /// Fails only when a network is to be added.
    pub(crate) fn without_networks(inner: MemoryStore, error: fn() -> StoreError) -> Self {
        Self { networks: Some(error), ..Self::new(inner, 0, 0) }
    }

    fn fail_now_and_then(&mut self, operation: &'static str) -> Result<(), StoreError> {
        // The generator of SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        if (word >> 32) % 100 < self.percent {
            return Err(StoreError::Io { map: "FAULTY", operation, source: io::ErrorKind::OutOfMemory.into() });
        }
        Ok(())
    }
}

impl MapStore for FaultyStore {
    fn load(&mut self) -> Result<Tables, StoreError> {
        self.inner.load()
    }

    fn upsert_frontend(&mut self, key: &FrontendKey, value: &Frontend) -> Result<(), StoreError> {
        self.fail_now_and_then("update")?;
        let held = self.inner.tables().frontends;
        if held.len() >= self.frontends && !held.contains_key(key) {
            let capacity = u32::try_from(self.frontends).unwrap_or(u32::MAX);
            return Err(StoreError::Full { map: "FRONTENDS", capacity, flag: "--max-frontends" });
        }
        self.inner.upsert_frontend(key, value)
    }

    fn delete_frontend(&mut self, key: &FrontendKey) -> Result<(), StoreError> {
        self.fail_now_and_then("delete")?;
        self.inner.delete_frontend(key)
    }

    fn upsert_backend(&mut self, family: IpFamily, id: BackendId, key: &BackendKey) -> Result<(), StoreError> {
        self.fail_now_and_then("update")?;
        self.inner.upsert_backend(family, id, key)
    }

    fn delete_backend(&mut self, family: IpFamily, id: BackendId) -> Result<(), StoreError> {
        self.fail_now_and_then("delete")?;
        self.inner.delete_backend(family, id)
    }

    fn upsert_backend_node(&mut self, family: IpFamily, id: BackendId, node: IpAddr) -> Result<(), StoreError> {
        self.fail_now_and_then("update")?;
        self.inner.upsert_backend_node(family, id, node)
    }

    fn delete_backend_node(&mut self, family: IpFamily, id: BackendId) -> Result<(), StoreError> {
        self.fail_now_and_then("delete")?;
        self.inner.delete_backend_node(family, id)
    }

    fn upsert_node(&mut self, address: IpAddr, own: bool) -> Result<(), StoreError> {
        self.fail_now_and_then("update")?;
        self.inner.upsert_node(address, own)
    }

    fn delete_node(&mut self, address: IpAddr) -> Result<(), StoreError> {
        self.fail_now_and_then("delete")?;
        self.inner.delete_node(address)
    }

    fn keep_ring(&mut self, service: ServiceId) -> Result<(), StoreError> {
        self.fail_now_and_then("update")?;
        self.inner.keep_ring(service)
    }

    fn write_ring(&mut self, service: ServiceId, ring: &Ring) -> Result<(), StoreError> {
        self.fail_now_and_then("update")?;
        self.inner.write_ring(service, ring)
    }

    fn delete_service(&mut self, service: ServiceId) -> Result<(), StoreError> {
        self.fail_now_and_then("delete")?;
        self.inner.delete_service(service)
    }

    fn upsert_node_address(&mut self, address: IpAddr) -> Result<(), StoreError> {
        self.fail_now_and_then("update")?;
        self.inner.upsert_node_address(address)
    }

    fn delete_node_address(&mut self, address: IpAddr) -> Result<(), StoreError> {
        self.fail_now_and_then("delete")?;
        self.inner.delete_node_address(address)
    }

    fn upsert_vip(&mut self, address: IpAddr) -> Result<(), StoreError> {
        self.fail_now_and_then("update")?;
        self.inner.upsert_vip(address)
    }

    fn delete_vip(&mut self, address: IpAddr) -> Result<(), StoreError> {
        self.fail_now_and_then("delete")?;
        self.inner.delete_vip(address)
    }

    fn write_policy(&mut self, service: ServiceId, policy: &ServicePolicy) -> Result<(), StoreError> {
        self.fail_now_and_then("update")?;
        self.inner.write_policy(service, policy)
    }

    fn upsert_range(&mut self, service: ServiceId, network: IpNet) -> Result<(), StoreError> {
        self.networks.map_or(Ok(()), |error| Err(error()))?;
        self.fail_now_and_then("update")?;
        self.inner.upsert_range(service, network)
    }

    fn delete_range(&mut self, service: ServiceId, network: IpNet) -> Result<(), StoreError> {
        self.fail_now_and_then("delete")?;
        self.inner.delete_range(service, network)
    }

    fn upsert_denied(&mut self, network: IpNet) -> Result<(), StoreError> {
        self.networks.map_or(Ok(()), |error| Err(error()))?;
        self.fail_now_and_then("update")?;
        self.inner.upsert_denied(network)
    }

    fn delete_denied(&mut self, network: IpNet) -> Result<(), StoreError> {
        self.fail_now_and_then("delete")?;
        self.inner.delete_denied(network)
    }

    fn write_settings(&mut self, settings: &Settings) -> Result<(), StoreError> {
        self.fail_now_and_then("update")?;
        self.inner.write_settings(settings)
    }

    fn grace_period(&mut self) -> Result<(), StoreError> {
        self.fail_now_and_then("grace period")?;
        self.inner.grace_period()
    }
}
