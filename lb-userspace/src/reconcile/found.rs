//! What a run found in the maps at its start and cannot tell yet whether it is still wanted.
//!
//! While a manifest was never read well, nobody knows what it asks for, but an earlier run did: what that one left stays
//! until the manifest is mended or removed.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::tables::{FrontendKey, IpFamily, ServiceId, Tables};

/// Entries from before the start that nothing has asked for since.
#[derive(Clone, Debug, Default)]
pub struct Found {
    frontends: BTreeSet<FrontendKey>,
    /// Services for which no backend is known since.
    services: BTreeSet<ServiceId>,
    /// Addresses of nodes.
    nodes: BTreeSet<IpAddr>,
}

impl Found {
    /// Everything that the maps hold at start.
    pub fn new(actual: &Tables) -> Self {
        Self {
            frontends: actual.frontends.keys().copied().collect(),
            services: actual.services.keys().copied().collect(),
            nodes: actual.nodes.keys().copied().collect(),
        }
    }

    /// Takes note of what is desired: if it goes away later, it is known to be gone.
    pub(super) fn know(&mut self, desired: &Tables) {
        self.frontends.retain(|key| !desired.frontends.contains_key(key));
        self.services.retain(|id| desired.services.get(id).is_none_or(|ring| ring.is_empty()));
        self.nodes.retain(|address| !desired.nodes.contains_key(address));
    }

    /// What is desired together with what was found and is there still: frontends, and the rings of services that have
    /// no backend without them. Also tells how many services that concerns.
    pub fn keep(&self, actual: &Tables, desired: &Tables) -> (Tables, usize) {
        let mut tables = desired.clone();
        for key in &self.frontends {
            let Some(frontend) = actual.frontends.get(key).filter(|_| !desired.frontends.contains_key(key)) else {
                continue;
            };
            // Of a service that was known and is gone, nothing stays.
            if desired.services.contains_key(&frontend.service) || self.services.contains(&frontend.service) {
                tables.frontends.insert(*key, *frontend);
                let of_service = actual.ranges.iter().filter(|(id, _)| *id == frontend.service);
                tables.ranges.extend(of_service);
                let policy = actual.policies.get(&frontend.service);
                tables.policies.extend(policy.map(|policy| (frontend.service, *policy)));
                tables.settings.node_ports = with_node_port(tables.settings.node_ports, key);
                tables.vips.extend(actual.vips.get(&key.address));
            }
        }
        self.keep_rings(actual, &mut tables);
        self.keep_nodes(actual, &mut tables);
        let kept = tables.frontends.iter().filter(|(key, frontend)| {
            let ring = |tables: &Tables| tables.services.get(&frontend.service).is_some_and(|ring| !ring.is_empty());
            !desired.frontends.contains_key(key) || ring(&tables) != ring(desired)
        });
        let services: BTreeSet<_> = kept.map(|(_, frontend)| frontend.service).collect();
        (tables, services.len())
    }

    /// Whoever is not known to be gone may send in tunnels, and is sent to where backends are on it.
    fn keep_nodes(&self, actual: &Tables, tables: &mut Tables) {
        let is_found = |address: IpAddr| self.nodes.contains(&address);
        for (address, own) in actual.nodes.iter().filter(|(address, _)| is_found(**address)) {
            tables.nodes.entry(*address).or_insert(*own);
        }
        let (settings, before) = (&mut tables.settings, &actual.settings);
        let (before4, before6) = (before.node_address4, before.node_address6);
        settings.node_address4 = settings.node_address4.or(before4.filter(|address| is_found((*address).into())));
        settings.node_address6 = settings.node_address6.or(before6.filter(|address| is_found((*address).into())));
        for (slot, node) in actual.backend_nodes.iter().filter(|(_, node)| is_found(**node)) {
            if tables.backends.get(slot).is_some_and(|key| actual.backends.get(slot) == Some(key)) {
                tables.backend_nodes.entry(*slot).or_insert(*node);
            }
        }
    }

    fn keep_rings(&self, actual: &Tables, tables: &mut Tables) {
        for (key, frontend) in &tables.frontends {
            let (family, id) = (IpFamily::of(key.address), frontend.service);
            if !self.services.contains(&id) || tables.services.get(&id).is_some_and(|ring| !ring.is_empty()) {
                continue;
            }
            let Some(ring) = actual.services.get(&id) else { continue };
            let slots = ring.backends().iter().map(|backend| (family, *backend));
            for slot in slots {
                tables.backends.extend(actual.backends.get(&slot).map(|backend| (slot, *backend)));
                tables.backend_nodes.extend(actual.backend_nodes.get(&slot).map(|node| (slot, *node)));
            }
            tables.services.insert(id, ring.clone());
        }
    }
}

/// The range of NodePorts, widened for a frontend that is one.
fn with_node_port(range: Option<(u16, u16)>, key: &FrontendKey) -> Option<(u16, u16)> {
    match range {
        _ if !key.address.is_unspecified() => range,
        Some((first, last)) => Some((first.min(key.port), last.max(key.port))),
        None => Some((key.port, key.port)),
    }
}
