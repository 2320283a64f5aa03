//! A store in memory: for tests, and for a dry run where no maps are pinned.
//!
//! It watches over the order of writes and panics where the kernel's maps would lead a packet to something missing.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

use super::store::{MapStore, StoreError};
use crate::tables::{
    BackendId, BackendKey, Frontend, FrontendKey, IpFamily, Ring, ServiceId, ServicePolicy, Settings, Tables,
};

/// Maps in memory. Clones share their contents, so that a second agent can find what the first left.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    tables: Tables,
    /// What a packet in flight may still use: it lost a frontend or a slot since the last grace period.
    services_in_flight: HashSet<ServiceId>,
    backends_in_flight: HashSet<(IpFamily, BackendId)>,
}

impl MemoryStore {
    /// A store that holds these tables.
    pub fn holding(tables: Tables) -> Self {
        Self(Arc::new(Mutex::new(State { tables, ..State::default() })))
    }

    /// A copy of what it holds.
    pub fn tables(&self) -> Tables {
        self.state().tables.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The families of the frontends that lead to a service: those in which its slots are looked up.
    fn families(&self, service: ServiceId) -> BTreeSet<IpFamily> {
        let leading = self.tables.frontends.iter().filter(|(_, frontend)| frontend.service == service);
        leading.map(|(key, _)| IpFamily::of(key.address)).collect()
    }

    fn check_slots(&self, service: ServiceId, ring: &Ring, family: IpFamily) {
        for &id in ring.backends() {
            assert!(
                self.tables.backends.contains_key(&(family, id)),
                "a slot of service {service} names backend {family} {id}, which does not exist"
            );
        }
    }

    /// Whether a ring that packets can reach names the backend.
    fn reachable(&self, family: IpFamily, id: BackendId) -> bool {
        let mut rings = self.tables.services.iter();
        rings.any(|(service, ring)| ring.backends().contains(&id) && self.families(*service).contains(&family))
    }
}

impl MapStore for MemoryStore {
    fn load(&mut self) -> Result<Tables, StoreError> {
        Ok(self.tables())
    }

    fn upsert_frontend(&mut self, key: &FrontendKey, value: &Frontend) -> Result<(), StoreError> {
        let mut state = self.state();
        let Some(ring) = state.tables.services.get(&value.service) else {
            panic!("frontend {key} leads to service {}, which does not exist", value.service);
        };
        state.check_slots(value.service, ring, IpFamily::of(key.address));
        if let Some(before) = state.tables.frontends.insert(*key, *value)
            && before.service != value.service
        {
            state.services_in_flight.insert(before.service);
        }
        Ok(())
    }

    fn delete_frontend(&mut self, key: &FrontendKey) -> Result<(), StoreError> {
        let mut state = self.state();
        if let Some(before) = state.tables.frontends.remove(key) {
            state.services_in_flight.insert(before.service);
        }
        Ok(())
    }

    fn upsert_backend(&mut self, family: IpFamily, id: BackendId, key: &BackendKey) -> Result<(), StoreError> {
        let mut state = self.state();
        assert_ne!(id.0, 0, "backend {key} has the id that means none");
        if state.tables.backends.get(&(family, id)) != Some(key) {
            assert!(
                !state.reachable(family, id),
                "backend {family} {id} changes into {key} under a ring that names it"
            );
            assert!(
                !state.backends_in_flight.contains(&(family, id)),
                "backend {family} {id} is reused without a grace period"
            );
        }
        state.tables.backends.insert((family, id), *key);
        Ok(())
    }

    fn delete_backend(&mut self, family: IpFamily, id: BackendId) -> Result<(), StoreError> {
        let mut state = self.state();
        assert!(!state.reachable(family, id), "backend {family} {id} is deleted under a ring that names it");
        assert!(
            !state.backends_in_flight.contains(&(family, id)),
            "backend {family} {id} is deleted without a grace period"
        );
        state.tables.backends.remove(&(family, id));
        Ok(())
    }

    fn upsert_backend_node(&mut self, family: IpFamily, id: BackendId, node: IpAddr) -> Result<(), StoreError> {
        self.state().tables.backend_nodes.insert((family, id), node);
        Ok(())
    }

    fn delete_backend_node(&mut self, family: IpFamily, id: BackendId) -> Result<(), StoreError> {
        self.state().tables.backend_nodes.remove(&(family, id));
        Ok(())
    }

    fn upsert_node(&mut self, address: IpAddr, own: bool) -> Result<(), StoreError> {
        self.state().tables.nodes.insert(address, own);
        Ok(())
    }

    fn delete_node(&mut self, address: IpAddr) -> Result<(), StoreError> {
        self.state().tables.nodes.remove(&address);
        Ok(())
    }

    fn keep_ring(&mut self, service: ServiceId) -> Result<(), StoreError> {
        assert!(self.state().tables.services.contains_key(&service), "service {service} has no ring to keep");
        Ok(())
    }

    fn write_ring(&mut self, service: ServiceId, ring: &Ring) -> Result<(), StoreError> {
        let mut state = self.state();
        assert_ne!(service.0, 0, "a service has the id that means none");
        let families = state.families(service);
        families.iter().for_each(|family| state.check_slots(service, ring, *family));
        match state.tables.services.insert(service, ring.clone()) {
            None => assert!(
                !state.services_in_flight.contains(&service),
                "service {service} is reused without a grace period"
            ),
            Some(before) => {
                let kept: HashSet<BackendId> = ring.backends().iter().copied().collect();
                let lost = before.backends().iter().filter(|id| !kept.contains(id));
                let lost = lost.flat_map(|id| families.iter().map(|family| (*family, *id)));
                state.backends_in_flight.extend(lost);
            }
        }
        Ok(())
    }

    fn delete_service(&mut self, service: ServiceId) -> Result<(), StoreError> {
        let mut state = self.state();
        assert!(state.families(service).is_empty(), "service {service} is deleted under a frontend that leads to it");
        assert!(!state.services_in_flight.contains(&service), "service {service} is deleted without a grace period");
        state.tables.policies.remove(&service);
        state.tables.services.remove(&service);
        Ok(())
    }

    fn upsert_node_address(&mut self, address: IpAddr) -> Result<(), StoreError> {
        self.state().tables.node_addresses.insert(address);
        Ok(())
    }

    fn delete_node_address(&mut self, address: IpAddr) -> Result<(), StoreError> {
        self.state().tables.node_addresses.remove(&address);
        Ok(())
    }

    fn upsert_vip(&mut self, address: IpAddr) -> Result<(), StoreError> {
        self.state().tables.vips.insert(address);
        Ok(())
    }

    fn delete_vip(&mut self, address: IpAddr) -> Result<(), StoreError> {
        self.state().tables.vips.remove(&address);
        Ok(())
    }

    fn write_policy(&mut self, service: ServiceId, policy: &ServicePolicy) -> Result<(), StoreError> {
        let mut state = self.state();
        assert!(state.tables.services.contains_key(&service), "service {service} has a policy and does not exist");
        if *policy == ServicePolicy::default() {
            state.tables.policies.remove(&service);
        } else {
            state.tables.policies.insert(service, *policy);
        }
        Ok(())
    }

    fn upsert_range(&mut self, service: ServiceId, network: IpNet) -> Result<(), StoreError> {
        self.state().tables.ranges.insert((service, network));
        Ok(())
    }

    fn delete_range(&mut self, service: ServiceId, network: IpNet) -> Result<(), StoreError> {
        self.state().tables.ranges.remove(&(service, network));
        Ok(())
    }

    fn upsert_denied(&mut self, network: IpNet) -> Result<(), StoreError> {
        Arc::make_mut(&mut self.state().tables.denied).insert(network);
        Ok(())
    }

    fn delete_denied(&mut self, network: IpNet) -> Result<(), StoreError> {
        Arc::make_mut(&mut self.state().tables.denied).remove(&network);
        Ok(())
    }

    fn write_settings(&mut self, settings: &Settings) -> Result<(), StoreError> {
        self.state().tables.settings = *settings;
        Ok(())
    }

    fn grace_period(&mut self) -> Result<(), StoreError> {
        let mut state = self.state();
        state.services_in_flight.clear();
        state.backends_in_flight.clear();
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod faulty;
pub mod void;
