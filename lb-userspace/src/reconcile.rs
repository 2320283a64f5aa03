//! One step of control: compile the desired state, find the difference to the maps, write it.

mod found;

use std::net::IpAddr;
use std::sync::Arc;

pub use found::Found;

use crate::compile::{Compiled, Ids, Node, amend, compile};
use crate::dataplane::apply::{ApplyError, Failure, apply};
use crate::dataplane::store::{MapStore, StoreError};
use crate::diff::{self, diff};
use crate::model::problem::code;
use crate::model::{Changed, DesiredState, ObjectRef, Problem};
use crate::plan::{Plan, Write};
use crate::tables::Tables;

/// Keeps the maps in step with the desired state. Knows what they hold and which ids are given out.
pub struct Reconciler {
    store: Box<dyn MapStore>,
    actual: Arc<Tables>,
    ids: Ids,
    found: Found,
    /// The node of the last run, if the maps hold all that was compiled then and nothing else.
    settled: Option<Node>,
}

/// What a run may delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prune {
    /// Nothing, and change nothing either: a source is not complete.
    Nothing,
    /// All but what was in the maps at start and was not desired since: a manifest was never read well.
    Known,
    /// Whatever is not desired.
    All,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// What was compiled.
    pub compiled: Compiled,
    /// The Problems of the compilation, and those of the writes.
    pub problems: Vec<Problem>,
    /// How many writes were due.
    pub writes: usize,
    /// Some were not made: run again after a while. How long is for the caller to say.
    pub needs_retry: bool,
    /// All were made that there is room for.
    pub written: bool,
    /// Services that are in the maps, wholly or with their backends, only because they were at start.
    pub kept: usize,
    /// Addresses of new backends on other nodes.
    pub remote: Vec<IpAddr>,
}

/// What following a few changes came to; all writes were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// How many writes were due.
    pub writes: usize,
    /// The route table is another one.
    pub routes: bool,
    /// So many hosts have other routes.
    pub hosts: usize,
    /// Addresses of new backends on other nodes.
    pub remote: Vec<IpAddr>,
}

impl Reconciler {
    /// Reads what the maps hold: ids and rings from before a restart stay.
    pub fn new(mut store: Box<dyn MapStore>) -> Result<Self, StoreError> {
        let actual = Arc::new(store.load()?);
        let (ids, found) = (Ids::restore(&actual), Found::new(&actual));
        Ok(Self { store, actual, ids, found, settled: None })
    }

    /// What the maps hold, as far as known.
    pub fn actual(&self) -> &Tables {
        &self.actual
    }

    /// Brings the maps into step.
    pub fn run_once(&mut self, desired: &DesiredState, node: &Node, prune: Prune) -> Outcome {
        let Step { compiled, ids, plan, kept } = self.prepare(desired, node, prune);
        let result = match plan.is_empty() {
            true => Ok(()),
            false => apply(self.store.as_mut(), Arc::make_mut(&mut self.actual), &plan),
        };
        self.ids = ids;
        let settled = result.is_ok() && prune == Prune::All;
        if !settled {
            self.ids.hold(&self.actual);
        }
        match prune {
            Prune::All => self.found = Found::default(),
            Prune::Nothing | Prune::Known => self.found.know(&compiled.tables),
        }
        self.settled = settled.then(|| node.clone());
        let needs_retry = result.is_err();
        let written = result.as_ref().err().is_none_or(ApplyError::is_full);
        let mut problems = compiled.problems.clone();
        problems.extend(result.err().into_iter().flat_map(write_problems));
        self.adopt(&compiled.tables);
        let remote = plan.writes().iter().filter_map(new_remote_backend).collect();
        Outcome { compiled, problems, writes: plan.writes().len(), needs_retry, written, kept, remote }
    }

    /// Brings the maps into step with a desired state in which nothing changed since the last run but what `changed`
    /// says. `compiled` is what that run came to and becomes what this one comes to; while nobody else holds it, it is changed
    /// in place. `None`: [`Reconciler::run_once`] has to do it.
    pub fn follow(
        &mut self,
        compiled: &mut Compiled,
        desired: &DesiredState,
        changed: &Changed,
        node: &Node,
    ) -> Option<Followed> {
        self.settled.take().filter(|settled| settled == node)?;
        let amended = amend(compiled, &mut self.ids, desired, changed, node.limits)?;
        let plan = diff::of(&self.actual, &amended);
        if !plan.is_empty() {
            compiled.tables = Arc::default();
            let result = apply(self.store.as_mut(), Arc::make_mut(&mut self.actual), &plan);
            compiled.tables = Arc::clone(&self.actual);
            if result.is_err() {
                self.ids.hold(&self.actual);
                return None;
            }
        }
        self.settled = Some(node.clone());
        let remote = plan.writes().iter().filter_map(new_remote_backend).collect();
        Some(Followed { writes: plan.writes().len(), routes: amended.routes, hosts: amended.hosts, remote })
    }

    /// What [`Reconciler::run_once`] would do, without doing it.
    pub fn plan(&self, desired: &DesiredState, node: &Node, prune: Prune) -> (Compiled, Plan) {
        let Step { compiled, plan, .. } = self.prepare(desired, node, prune);
        (compiled, plan)
    }

    /// Reads the maps again, in case somebody else wrote to them. The next run repairs what differs: so many entries.
    pub fn reload(&mut self) -> Result<usize, StoreError> {
        let held = self.store.load()?;
        let differ = diff(&held, &self.actual).writes().len();
        if differ > 0 {
            self.actual = Arc::new(held);
            self.ids.hold(&self.actual);
            self.settled = None;
        }
        Ok(differ)
    }

    fn prepare(&self, desired: &DesiredState, node: &Node, prune: Prune) -> Step {
        let (mut compiled, ids) = compile(desired, node, &self.ids);
        if node.denied.is_none() {
            self.keep_denied(Arc::make_mut(&mut compiled.tables));
        }
        let (plan, kept) = match prune {
            Prune::Nothing => (diff(&self.actual, &with_additions(&self.actual, &compiled.tables)), 0),
            Prune::Known => {
                let (tables, kept) = self.found.keep(&self.actual, &compiled.tables);
                (diff(&self.actual, &tables), kept)
            }
            Prune::All => (diff(&self.actual, &compiled.tables), 0),
        };
        Step { compiled, ids, plan, kept }
    }

    /// Who is denied is not known now; what the maps hold was known once.
    fn keep_denied(&self, desired: &mut Tables) {
        desired.denied = Arc::clone(&self.actual.denied);
        desired.settings.denies4 = self.actual.settings.denies4;
        desired.settings.denies6 = self.actual.settings.denies6;
    }

    /// Lets what is equal be the same in memory, so that it needs no room twice and compares by pointer.
    fn adopt(&mut self, compiled: &Arc<Tables>) {
        if self.actual == *compiled {
            self.actual = Arc::clone(compiled);
            return;
        }
        let actual = Arc::make_mut(&mut self.actual);
        for (id, ring) in &mut actual.services {
            if let Some(same) = compiled.services.get(id).filter(|same| *same == ring) {
                *ring = same.clone();
            }
        }
        if actual.denied == compiled.denied {
            actual.denied = Arc::clone(&compiled.denied);
        }
    }
}

/// What a run is about to do.
struct Step {
    compiled: Compiled,
    ids: Ids,
    plan: Plan,
    kept: usize,
}

fn new_remote_backend(write: &Write) -> Option<IpAddr> {
    match write {
        Write::UpsertBackend(_, _, key) if !key.local => Some(key.address),
        _ => None,
    }
}

/// What exists, and what is new in `desired`. Settings are the node's own and not the source's, but the range of NodePorts
/// covers both.
fn with_additions(actual: &Tables, desired: &Tables) -> Tables {
    let mut merged = desired.clone();
    merged.frontends.extend(actual.frontends.iter().map(|(key, frontend)| (*key, *frontend)));
    merged.services.extend(actual.services.iter().map(|(id, ring)| (*id, ring.clone())));
    merged.backends.extend(&actual.backends);
    merged.nodes.extend(&actual.nodes);
    for (backend, node) in &actual.backend_nodes {
        merged.backend_nodes.entry(*backend).or_insert(*node);
    }
    merged.node_addresses.extend(&actual.node_addresses);
    merged.vips.extend(&actual.vips);
    merged.ranges.extend(&actual.ranges);
    for (id, policy) in &actual.policies {
        merged.policies.entry(*id).or_insert(*policy);
    }
    let ranges = [actual.settings.node_ports, desired.settings.node_ports];
    merged.settings.node_ports =
        ranges.into_iter().flatten().reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
    merged
}

/// One Problem per failure that is kept, and the whole in one more where some were put off or not kept.
fn write_problems(error: ApplyError) -> Vec<Problem> {
    let incomplete = (error.put_off > 0 || error.failed > error.failures.len()).then(|| {
        Problem::warning(code::PLAN_INCOMPLETE, &ObjectRef::default(), format!("{error}; they are tried again"))
    });
    error.failures.iter().map(write_problem).chain(incomplete).collect()
}

fn write_problem(Failure { step, error }: &Failure) -> Problem {
    let nobody = ObjectRef::default();
    match error {
        StoreError::Full { .. } => Problem::error(code::MAP_FULL, &nobody, format!("{step}: {error}")),
        StoreError::Io { source, .. } => {
            Problem::error(code::MAP_WRITE_FAILED, &nobody, format!("{step}: {error}: {source}; it is tried again"))
        }
    }
}

#[cfg(test)]
mod tests;
