//! What other backends of a few services mean for a compilation that was made before: new rings, backends that come and
//! that go, and the endpoints of the front. What a frontend is stays, so that nothing else can change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::l4::{self, Owner};
use super::ring::{self, Choice, RingMember};
use super::{Compiled, Ids, Limits, l7};
use crate::model::problem::code;
use crate::model::{Backend, Changed, DesiredState, Forwarding, IpFamily, Service, ServiceKey, Target, TrafficPolicy};
use crate::tables::{BackendId, BackendKey, Ring, ServiceId};

/// What changed of the Tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amended {
    /// Rings of services that have other members.
    pub rings: BTreeMap<ServiceId, Ring>,
    /// Backends that are new.
    pub come: BTreeMap<(IpFamily, BackendId), BackendKey>,
    /// Backends that nobody has any more.
    pub gone: BTreeSet<(IpFamily, BackendId)>,
    /// The route table is another one.
    pub routes: bool,
    /// So many hosts have other routes.
    pub hosts: usize,
}

/// Brings the ids and the routes of a compilation up to date with `desired`, in which no more is other than before than
/// `changed` says; tells what changes in its Tables, which are the caller's to write. The result is that of
/// [`compile`](super::compile) for the same ids.
///
/// `None`: more may change than rings and backends, and everything has to be compiled anew, with the ids as they are now.
pub fn amend(
    compiled: &mut Compiled,
    ids: &mut Ids,
    desired: &DesiredState,
    changed: &Changed,
    limits: Limits,
) -> Option<Amended> {
    let before = &changed.targets;
    let exhausted = |code: &str| [code::BACKENDS_EXHAUSTED, code::SERVICES_EXHAUSTED].contains(&code);
    let bound = before.iter().any(|(key, target)| desired.services.get(key).is_none_or(|now| is_bound(now, target)));
    let exhausts = !before.is_empty() && compiled.problems.iter().any(|problem| exhausted(&problem.code));
    if bound || exhausts {
        return None;
    }
    let steps = steps(compiled, desired, before);
    compiled.backends = Arc::default();
    let amended = walk(&steps, ids, limits);
    compiled.backends = Arc::clone(&ids.backends);
    let mut amended = amended?;
    for key in before.keys() {
        if l7::has_other_endpoints(desired, key, &compiled.routes) {
            l7::put_endpoints(desired, key, Arc::make_mut(&mut compiled.routes));
            amended.routes = true;
        }
    }
    if !changed.hosts.is_empty() || !changed.secrets.is_empty() {
        let routes = Arc::make_mut(&mut compiled.routes);
        amended.hosts = l7::put_hosts(desired, &changed.hosts, routes);
        amended.routes |= l7::put_secrets(desired, changed, routes) | (amended.hosts > 0);
    }
    if changed.front {
        Arc::make_mut(&mut compiled.routes).settings = Arc::new(desired.front.clone());
        amended.routes = true;
    }
    Some(amended)
}

/// More hangs on the backends of this service than its rings: where tunnels lead, or whether there are any elsewhere.
fn is_bound(service: &Service, before: &Target) -> bool {
    let elsewhere = |target: &Target, family| l4::serves_elsewhere(target, family);
    let differs = |family: &IpFamily| elsewhere(before, *family) != elsewhere(&service.target, *family);
    let policy = &service.policy;
    let local = [policy.external, policy.internal].contains(&TrafficPolicy::Local);
    service.forwarding == Forwarding::Dsr || (local && IpFamily::ALL.iter().any(differs))
}

/// A service whose backends are others.
struct Step {
    service: ServiceId,
    family: IpFamily,
    before: Choice,
    now: Choice,
}

/// In the order in which a whole compilation comes to them.
fn steps(compiled: &Compiled, desired: &DesiredState, before: &BTreeMap<ServiceKey, Target>) -> Vec<Step> {
    let mut steps = Vec::new();
    for (key, target) in before {
        let Some(service) = desired.services.get(key) else { continue };
        let first: Owner = (key.clone(), IpFamily::V4, TrafficPolicy::Cluster);
        let owners = compiled.services.range(first..).take_while(|((owner, ..), _)| owner == key);
        for ((_, family, policy), id) in owners {
            let choose = |target| ring::choose(backends(target), *family, *policy, key.protocol);
            let (before, now) = (choose(target), choose(&service.target));
            steps.push(Step { service: *id, family: *family, before, now });
        }
    }
    steps
}

fn backends(target: &Target) -> &[Backend] {
    match target {
        Target::Backends(backends) => backends,
        Target::Front(_) => &[],
    }
}

/// First come all that are new, so that what moves from one service to another keeps its id; then go those that nobody has.
fn walk(steps: &[Step], ids: &mut Ids, limits: Limits) -> Option<Amended> {
    let mut amended = Amended::default();
    for step in steps {
        for key in step.now.keys().filter(|key| !step.before.contains(key)) {
            let is_new = ids.backend(step.family, *key).is_none();
            let id = ids.take(step.family, *key, limits)?;
            if is_new {
                amended.come.insert((step.family, id), *key);
            }
        }
    }
    for step in steps {
        let before = members(&step.before, step.family, ids)?;
        let now = members(&step.now, step.family, ids)?;
        if before != now {
            amended.rings.insert(step.service, ids.rings.replace(&before, now));
        }
    }
    for step in steps {
        for key in step.before.keys().filter(|key| !step.now.contains(key)) {
            amended.gone.extend(ids.leave(step.family, *key).map(|id| (step.family, id)));
        }
    }
    ids.release(amended.gone.iter().map(|(_, id)| *id));
    Some(amended)
}

fn members(choice: &Choice, family: IpFamily, ids: &Ids) -> Option<Vec<RingMember>> {
    let member = |(key, weight): (&BackendKey, &u16)| {
        Some(RingMember { key: *key, weight: *weight, id: ids.backend(family, *key)? })
    };
    choice.in_ring.iter().map(member).collect()
}

#[cfg(test)]
mod tests;
