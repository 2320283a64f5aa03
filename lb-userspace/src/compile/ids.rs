//! Stable ids: a service or backend keeps its id as long as it is there, through restarts of the agent too.
//!
//! The maps do not name services. At start a service is known again by its frontends, a backend by its key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::l4::{Claimed, Owner};
use super::ring::Cache;
use super::{Limits, problems};
use crate::model::Problem;
use crate::tables::{BackendId, BackendKey, Frontend, FrontendKey, IpFamily, ServiceId, Tables};

/// What one compilation hands to the next: the ids given out, those that must not be given out, and the rings.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    /// With what never changes under an id: whether it is the front that answers.
    services: BTreeMap<Owner, Frontend>,
    pub(super) backends: Arc<BTreeMap<(IpFamily, BackendKey), BackendId>>,
    /// Services found in the maps, by frontend.
    by_frontend: BTreeMap<FrontendKey, Frontend>,
    /// Ids that the maps hold, whether or not anyone is known to own them.
    held_services: BTreeSet<ServiceId>,
    held_backends: BTreeSet<(IpFamily, BackendId)>,
    /// How many services have a backend beside the first, where there are several.
    shared: BTreeMap<(IpFamily, BackendKey), usize>,
    /// Ids of backends that nobody has, once they were looked for.
    free: Option<FreeIds>,
    pub(super) rings: Cache,
}

impl Ids {
    /// The ids that the maps hold.
    pub fn restore(actual: &Tables) -> Self {
        let mut ids = Self::default();
        ids.hold(actual);
        ids
    }

    /// Takes note of what the maps hold where that may differ from the last compilation: after a write that failed, or
    /// without pruning. Those ids are not given to others, and whoever comes back gets them again.
    pub fn hold(&mut self, actual: &Tables) {
        let backends = Arc::make_mut(&mut self.backends);
        backends.retain(|(family, key), id| actual.backends.get(&(*family, *id)).is_none_or(|held| held == key));
        backends.extend(actual.backends.iter().map(|(&(family, id), &key)| ((family, key), id)));
        self.by_frontend.clone_from(&actual.frontends);
        let led_to = actual.frontends.values().map(|frontend| frontend.service);
        self.held_services = actual.services.keys().copied().chain(led_to).collect();
        self.held_backends = actual.backends.keys().copied().collect();
        self.free = None;
    }

    pub(super) fn after(services: BTreeMap<Owner, Frontend>, allocation: Allocation<'_>, rings: Cache) -> Self {
        let Allocation { backends, shared, .. } = allocation;
        let backends = Arc::new(backends);
        Self { services, backends, shared, rings, ..Self::default() }
    }

    /// The id of a backend.
    pub(super) fn backend(&self, family: IpFamily, key: BackendKey) -> Option<BackendId> {
        self.backends.get(&(family, key)).copied()
    }

    /// One more service has a backend, which gets the lowest free id if it is new; `None` if there is none.
    pub(super) fn take(&mut self, family: IpFamily, key: BackendKey, limits: Limits) -> Option<BackendId> {
        if let Some(id) = self.backend(family, key) {
            *self.shared.entry((family, key)).or_default() += 1;
            return Some(id);
        }
        let taken = self.backends.values().map(|id| id.0);
        let id = BackendId(self.free.get_or_insert_with(|| FreeIds::new(limits.backends, taken)).take()?);
        Arc::make_mut(&mut self.backends).insert((family, key), id);
        Some(id)
    }

    /// One service less has a backend; gives the id if it was the last, which is nobody's then.
    pub(super) fn leave(&mut self, family: IpFamily, key: BackendKey) -> Option<BackendId> {
        if let Some(others) = self.shared.get_mut(&(family, key)) {
            *others -= 1;
            if *others == 0 {
                self.shared.remove(&(family, key));
            }
            return None;
        }
        Arc::make_mut(&mut self.backends).remove(&(family, key))
    }

    /// From now on others may have these ids.
    pub(super) fn release(&mut self, ids: impl Iterator<Item = BackendId>) {
        if let Some(free) = &mut self.free {
            ids.for_each(|id| free.release(id.0));
        }
    }
}

/// The giving out of ids during one compilation.
pub(super) struct Allocation<'a> {
    before: &'a Ids,
    pub(super) limits: Limits,
    /// Backends that have their id.
    pub(super) backends: BTreeMap<(IpFamily, BackendKey), BackendId>,
    shared: BTreeMap<(IpFamily, BackendKey), usize>,
    free_backends: FreeIds,
}

impl<'a> Allocation<'a> {
    pub(super) fn new(before: &'a Ids, limits: Limits) -> Self {
        let held = before.held_backends.iter().map(|(_, id)| id.0);
        let taken = held.chain(before.backends.values().map(|id| id.0));
        let free_backends = FreeIds::new(limits.backends, taken);
        Self { before, limits, backends: BTreeMap::new(), shared: BTreeMap::new(), free_backends }
    }

    /// Ids for services. First those that had one keep it, then those come back that the maps know by a frontend, then
    /// the new ones get free ids.
    pub(super) fn services(
        &self,
        claimed: &BTreeMap<Owner, Claimed>,
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<Owner, ServiceId> {
        let known = |(owner, claimed): (&Owner, &Claimed)| {
            let before = self.before.services.get(owner).filter(|before| before.front == claimed.front)?;
            Some((owner.clone(), before.service))
        };
        let mut ids: BTreeMap<_, _> = claimed.iter().filter_map(known).collect();
        for (id, owner) in self.found_by_frontend(claimed) {
            ids.entry(owner.clone()).or_insert(id);
        }
        let owned = self.before.services.values().map(|before| before.service).chain(ids.values().copied());
        let taken = owned.chain(self.before.held_services.iter().copied()).map(|id| id.0);
        let mut free = FreeIds::new(self.limits.services, taken);
        for owner in claimed.keys() {
            if !ids.contains_key(owner) {
                match free.take() {
                    Some(id) => drop(ids.insert(owner.clone(), ServiceId(id))),
                    None => problems.push(problems::services_exhausted(&owner.0, self.limits.services)),
                }
            }
        }
        ids
    }

    /// Ids of the maps that nobody is known to own, with the one service that all their frontends belong to now. Where
    /// these have been split among several services, or one has become the front, none takes the id: the other
    /// frontends would lead to its ring until they are switched.
    fn found_by_frontend<'o>(&self, claimed: &'o BTreeMap<Owner, Claimed>) -> Vec<(ServiceId, &'o Owner)> {
        let mut owners = BTreeMap::<ServiceId, Option<&Owner>>::new();
        for (owner, claimed) in claimed {
            for found in claimed.frontends.iter().filter_map(|key| self.before.by_frontend.get(key)) {
                let candidate = (found.front == claimed.front).then_some(owner);
                let only = owners.entry(found.service).or_insert(candidate);
                if *only != candidate {
                    *only = None;
                }
            }
        }
        for known in self.before.services.values() {
            owners.remove(&known.service);
        }
        owners.into_iter().filter_map(|(id, owner)| Some((id, owner?))).collect()
    }

    /// The id of a backend of one more service; `None` if there is no more.
    pub(super) fn backend(&mut self, family: IpFamily, key: BackendKey) -> Option<BackendId> {
        if let Some(&id) = self.backends.get(&(family, key)) {
            *self.shared.entry((family, key)).or_default() += 1;
            return Some(id);
        }
        let id = match self.before.backends.get(&(family, key)) {
            Some(&id) => id,
            None => BackendId(self.free_backends.take()?),
        };
        self.backends.insert((family, key), id);
        Some(id)
    }
}

/// Free ids, lowest first: the arrays that they index stay dense.
#[derive(Clone, Debug)]
struct FreeIds {
    taken: Vec<bool>,
    next: usize,
}

impl FreeIds {
    fn new(capacity: u32, taken: impl Iterator<Item = u32>) -> Self {
        let mut free = Self { taken: vec![false; capacity as usize], next: 1 };
        for id in taken {
            if let Some(slot) = free.taken.get_mut(id as usize) {
                *slot = true;
            }
        }
        free
    }

    fn take(&mut self) -> Option<u32> {
        self.next += self.taken.get(self.next..)?.iter().position(|taken| !taken)? + 1;
        let id = self.next - 1;
        self.taken[id] = true;
        u32::try_from(id).ok()
    }

    fn release(&mut self, id: u32) {
        if let Some(slot) = self.taken.get_mut(id as usize) {
            *slot = false;
            self.next = self.next.min(id as usize);
        }
    }
}
