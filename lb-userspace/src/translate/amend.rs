//! What changes of endpoint slices mean for a translation that was made before: where only backends come and go, nothing but
//! these moves. Whatever else such a change may reach (a port or an address that another Service would have got) is for the
//! whole translation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::backends::Locality;
use super::service::{self, Draft};
use super::{Settings, forwarding};
use crate::model::{DesiredState, NodeAddresses, Problem, Service, ServiceKey, Target};
use crate::source::kinds::EndpointSlice;
use crate::source::{Body, Changes, Kind, Object, ObjectKey, Objects};

pub(super) mod concerned;
pub(super) mod layer7;

use concerned::Name;

/// What a step does not change.
#[derive(Clone, Copy)]
pub(super) struct Fixed<'a> {
    pub(super) objects: &'a Objects,
    pub(super) changes: &'a Changes,
    pub(super) settings: &'a Settings,
    pub(super) locality: &'a Locality,
}

/// What becomes of Services.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// Those that lead elsewhere now.
    services: Vec<Service>,
    /// Problems of each Service before and now.
    pub(super) problems: Vec<(Vec<Problem>, Vec<Problem>)>,
}

/// Lets Services follow changes of their slices; `None` if these reach more than their backends.
pub(super) fn services(touched: &BTreeSet<Name<'_>>, desired: &DesiredState, fixed: Fixed<'_>) -> Option<Followed> {
    let former = former_slices(fixed.changes);
    let mut followed = Followed::default();
    for name in touched {
        let was = Drafts::before(*name, &former, fixed, &desired.nodes);
        let is = Drafts::now(*name, fixed, &desired.nodes);
        let same = was.drafts.len() == is.drafts.len() && was.drafts.iter().zip(&is.drafts).all(differ_by_backends);
        if !same || is.drafts.iter().any(|draft| !desired.services.contains_key(&draft.service.key)) {
            return None;
        }
        followed.problems.push((was.problems, is.problems));
        followed.services.extend(is.drafts.into_iter().map(|draft| draft.service));
    }
    followed
        .services
        .retain(|service| desired.services.get(&service.key).is_some_and(|now| now.target != service.target));
    Some(followed)
}

impl Followed {
    /// Puts them in place, and tells what they led to before.
    pub(super) fn settle(&mut self, desired: &mut Arc<DesiredState>) -> BTreeMap<ServiceKey, Target> {
        let mut targets = BTreeMap::new();
        for service in self.services.drain(..) {
            // frontends and ports are as they were settled among all
            if let Some(settled) = Arc::make_mut(desired).services.get_mut(&service.key) {
                targets.insert(service.key, std::mem::replace(&mut settled.target, service.target));
            }
        }
        targets
    }
}

fn slice(object: &Object) -> Option<&Arc<EndpointSlice>> {
    match &object.body {
        Body::EndpointSlice(slice) => Some(slice),
        _ => None,
    }
}

/// The Service that a slice belongs to.
fn service_of(object: &Object) -> Option<Name<'_>> {
    let slice = slice(object)?;
    Some((&slice.metadata.namespace, slice.service()?))
}

/// Slices as they were before they changed, by Service.
fn former_slices(changes: &Changes) -> BTreeMap<Name<'_>, Vec<&Arc<EndpointSlice>>> {
    let mut former: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for object in changes.iter().filter_map(|(_, before)| before) {
        if let (Some(slice), Some(service)) = (slice(object), service_of(object)) {
            former.entry(service).or_default().push(slice);
        }
    }
    former
}

/// A Service as it is translated by itself.
struct Drafts {
    drafts: Vec<Draft>,
    problems: Vec<Problem>,
}

impl Drafts {
    fn now((namespace, name): Name<'_>, fixed: Fixed<'_>, nodes: &BTreeMap<String, NodeAddresses>) -> Self {
        let slices: Vec<_> = fixed.objects.slices_of(namespace, name).collect();
        Self::of((namespace, name), &slices, fixed, nodes)
    }

    fn before(
        (namespace, name): Name<'_>,
        former: &BTreeMap<Name<'_>, Vec<&Arc<EndpointSlice>>>,
        fixed: Fixed<'_>,
        nodes: &BTreeMap<String, NodeAddresses>,
    ) -> Self {
        let unchanged = fixed.objects.slices_of(namespace, name).filter(|slice| {
            let (namespace, name) = (namespace.to_owned(), slice.metadata.name.clone());
            !fixed.changes.contains(&ObjectKey { kind: Kind::EndpointSlice, namespace, name })
        });
        let changed = former.get(&(namespace, name)).into_iter().flatten().copied();
        let mut slices: Vec<_> = unchanged.chain(changed).collect();
        slices.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        Self::of((namespace, name), &slices, fixed, nodes)
    }

    fn of(
        (namespace, name): Name<'_>,
        slices: &[&Arc<EndpointSlice>],
        fixed: Fixed<'_>,
        nodes: &BTreeMap<String, NodeAddresses>,
    ) -> Self {
        let mut problems = Vec::new();
        let mut drafts = Vec::new();
        if let Some(object) = fixed.objects.service(namespace, name) {
            drafts = service::translate(object, slices, fixed.locality, fixed.settings, &mut problems);
        }
        drafts.iter().for_each(|draft| forwarding::check(&draft.service, nodes, &mut problems));
        Self { drafts, problems }
    }
}

/// At most their backends differ.
fn differ_by_backends((was, is): (&Draft, &Draft)) -> bool {
    let without = |draft: &Draft| {
        let mut draft = draft.clone();
        if let Target::Backends(backends) = &mut draft.service.target {
            backends.clear();
        }
        draft
    };
    without(was) == without(is)
}
