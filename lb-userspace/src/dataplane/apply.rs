//! Runs a Plan on the maps, phase by phase.
//!
//! The actual Tables follow each write that succeeded. A write that fails stops only what depends on it: nothing is made
//! to point at something missing, and nothing is deleted while something still points at it. What was put off is in the
//! next Plan again, because the actual Tables do not have it.

use std::collections::HashSet;
use std::sync::Arc;

use super::store::{MapStore, StoreError};
use crate::plan::{Plan, Write};
use crate::tables::{BackendId, ServiceId, ServicePolicy, Tables};

/// A Plan that could not be carried out completely. The rest of it is in force.
#[derive(Debug, thiserror::Error)]
#[error("{failed} of {total} writes failed and {put_off} were put off because of them")]
pub struct ApplyError {
    /// The first failures, at most [`ApplyError::KEPT`].
    pub failures: Vec<Failure>,
    /// How many writes failed.
    pub failed: usize,
    /// How many of those because a map is full.
    pub full: usize,
    /// How many writes were left out because of those.
    pub put_off: usize,
    /// How many writes the Plan has.
    pub total: usize,
}

impl ApplyError {
    /// So many failures are kept in full; a broken map would give one per entry.
    pub const KEPT: usize = 16;

    /// Trying again does not help until something is removed: nothing but full maps is in the way.
    pub fn is_full(&self) -> bool {
        self.failed == self.full
    }
}

/// A step that failed.
#[derive(Debug)]
pub struct Failure {
    /// The line of the Plan, or `grace period`.
    pub step: String,
    /// Why.
    pub error: StoreError,
}

/// Carries out `plan`; `actual` follows each write that succeeded.
pub fn apply(store: &mut dyn MapStore, actual: &mut Tables, plan: &Plan) -> Result<(), ApplyError> {
    let total = plan.writes().len();
    let mut run = Run {
        store,
        actual,
        error: ApplyError { failures: Vec::new(), failed: 0, full: 0, put_off: 0, total },
        networks: Unwritten::default(),
    };
    let (writes, deletions) = plan.halves();
    run.write(writes);
    if !plan.needs_grace() || run.grace_period() {
        run.delete(deletions);
    } else {
        run.error.put_off += deletions.len();
    }
    if run.error.failed == 0 { Ok(()) } else { Err(run.error) }
}

struct Run<'a> {
    store: &'a mut dyn MapStore,
    actual: &'a mut Tables,
    error: ApplyError,
    /// Networks that could not be added, though there is room: what they replace stays.
    networks: Unwritten,
}

/// Whose networks, or whose frontends that ask for them, could not be written.
#[derive(Default)]
struct Unwritten {
    of: HashSet<ServiceId>,
    denied: bool,
}

impl Unwritten {
    fn note(&mut self, write: &Write) {
        match write {
            Write::UpsertRange(service, _) => drop(self.of.insert(*service)),
            Write::UpsertFrontend { frontend, .. } => drop(self.of.insert(frontend.service)),
            Write::UpsertDenied(_) => self.denied = true,
            _ => {}
        }
    }

    fn holds(&self, deletion: &Write) -> bool {
        match deletion {
            Write::DeleteRange(service, _) => self.of.contains(service),
            Write::DeleteDenied(_) => self.denied,
            _ => false,
        }
    }
}

impl Run<'_> {
    fn write(&mut self, writes: &[Write]) {
        // Both families together: a failure may put off more than it must, never less.
        let mut missing = HashSet::new();
        for write in writes {
            let possible = match write {
                Write::WriteRing { ring, .. } => {
                    missing.is_empty() || !ring.backends().iter().any(|id| missing.contains(id))
                }
                Write::WritePolicy(service, _) => self.actual.services.contains_key(service),
                Write::UpsertFrontend { frontend, .. } => self.actual.services.contains_key(&frontend.service),
                _ => true,
            };
            if !possible {
                self.networks.note(write);
                self.error.put_off += 1;
            } else if !self.step(write)
                && let Write::UpsertBackend(_, id, _) = write
            {
                missing.insert(*id);
            }
        }
    }

    /// Deletes what nothing points at. Without a failure before, the Plan itself sees to that.
    fn delete(&mut self, deletions: &[Write]) {
        let (mut frontends_to, mut slots_of) = (None, None);
        for write in deletions {
            let sound = self.error.failed == 0;
            let in_use = !sound
                && match write {
                    Write::DeleteService(id) => {
                        frontends_to.get_or_insert_with(|| services_led_to(self.actual)).contains(id)
                    }
                    Write::DeleteBackend(_, id) => {
                        slots_of.get_or_insert_with(|| backends_in_rings(self.actual)).contains(id)
                    }
                    _ => self.networks.holds(write),
                };
            if in_use {
                self.error.put_off += 1;
            } else {
                self.step(write);
            }
        }
    }

    fn step(&mut self, write: &Write) -> bool {
        match perform(self.store, write) {
            Ok(()) => {
                record(self.actual, write);
                true
            }
            Err(error) => {
                // where there is no room, only deletions make some
                if !matches!(error, StoreError::Full { .. }) {
                    self.networks.note(write);
                }
                self.fail(|| write.to_string(), error);
                false
            }
        }
    }

    fn grace_period(&mut self) -> bool {
        match self.store.grace_period() {
            Ok(()) => true,
            Err(error) => {
                self.fail(|| "grace period".into(), error);
                false
            }
        }
    }

    fn fail(&mut self, step: impl FnOnce() -> String, error: StoreError) {
        self.error.failed += 1;
        self.error.full += usize::from(matches!(error, StoreError::Full { .. }));
        if self.error.failures.len() < ApplyError::KEPT {
            self.error.failures.push(Failure { step: step(), error });
        }
    }
}

fn services_led_to(actual: &Tables) -> HashSet<ServiceId> {
    actual.frontends.values().map(|frontend| frontend.service).collect()
}

fn backends_in_rings(actual: &Tables) -> HashSet<BackendId> {
    actual.services.values().flat_map(|ring| ring.backends().iter().copied()).collect()
}

fn perform(store: &mut dyn MapStore, write: &Write) -> Result<(), StoreError> {
    match write {
        Write::DeleteFrontend(key) => store.delete_frontend(key),
        Write::DeleteNodeAddress(address) => store.delete_node_address(*address),
        Write::DeleteVip(address) => store.delete_vip(*address),
        Write::UpsertBackend(family, id, key) => store.upsert_backend(*family, *id, key),
        Write::UpsertBackendNode(family, id, node) => store.upsert_backend_node(*family, *id, *node),
        Write::UpsertNode { address, own } => store.upsert_node(*address, *own),
        Write::DeleteNode(address) => store.delete_node(*address),
        Write::DeleteBackendNode(family, id) => store.delete_backend_node(*family, *id),
        Write::WriteRing { service, ring, keeps, .. } => {
            if *keeps {
                store.keep_ring(*service)?;
            }
            store.write_ring(*service, ring)
        }
        Write::WritePolicy(service, policy) => store.write_policy(*service, policy),
        Write::UpsertRange(service, network) => store.upsert_range(*service, *network),
        Write::DeleteRange(service, network) => store.delete_range(*service, *network),
        Write::UpsertDenied(network) => store.upsert_denied(*network),
        Write::DeleteDenied(network) => store.delete_denied(*network),
        Write::WriteSettings(settings) => store.write_settings(settings),
        Write::UpsertFrontend { key, frontend, .. } => store.upsert_frontend(key, frontend),
        Write::UpsertNodeAddress(address) => store.upsert_node_address(*address),
        Write::UpsertVip(address) => store.upsert_vip(*address),
        Write::DeleteService(service) => store.delete_service(*service),
        Write::DeleteBackend(family, id) => store.delete_backend(*family, *id),
    }
}

fn record(actual: &mut Tables, write: &Write) {
    match write {
        Write::DeleteFrontend(key) => drop(actual.frontends.remove(key)),
        Write::DeleteNodeAddress(address) => drop(actual.node_addresses.remove(address)),
        Write::DeleteVip(address) => drop(actual.vips.remove(address)),
        Write::UpsertBackend(family, id, key) => drop(actual.backends.insert((*family, *id), *key)),
        Write::UpsertBackendNode(family, id, node) => drop(actual.backend_nodes.insert((*family, *id), *node)),
        Write::UpsertNode { address, own } => drop(actual.nodes.insert(*address, *own)),
        Write::DeleteNode(address) => drop(actual.nodes.remove(address)),
        Write::DeleteBackendNode(family, id) => drop(actual.backend_nodes.remove(&(*family, *id))),
        Write::WriteRing { service, ring, .. } => drop(actual.services.insert(*service, ring.clone())),
        Write::WritePolicy(service, policy) => {
            actual.policies.remove(service);
            if *policy != ServicePolicy::default() {
                actual.policies.insert(*service, *policy);
            }
        }
        Write::UpsertRange(service, network) => {
            actual.ranges.insert((*service, *network));
        }
        Write::DeleteRange(service, network) => {
            actual.ranges.remove(&(*service, *network));
        }
        Write::UpsertDenied(network) => {
            Arc::make_mut(&mut actual.denied).insert(*network);
        }
        Write::DeleteDenied(network) => {
            Arc::make_mut(&mut actual.denied).remove(network);
        }
        Write::WriteSettings(settings) => actual.settings = *settings,
        Write::UpsertFrontend { key, frontend, .. } => drop(actual.frontends.insert(*key, *frontend)),
        Write::UpsertNodeAddress(address) => drop(actual.node_addresses.insert(*address)),
        Write::UpsertVip(address) => drop(actual.vips.insert(*address)),
        Write::DeleteService(service) => {
            actual.policies.remove(service);
            actual.services.remove(service);
        }
        Write::DeleteBackend(family, id) => drop(actual.backends.remove(&(*family, *id))),
    }
}

#[cfg(test)]
mod tests;
