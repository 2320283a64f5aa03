//! What all sources hold, as one set of objects.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::kinds::{
    AddressPool, Announcement, ConfigMap, EndpointSlice, HostPolicy, Ingress, IngressClass, LoadBalancerIngress,
    Namespace, Node, Pair, Pod, Secret, Service,
};
use super::{Body, Kind, Object, ObjectKey, SourceEvent};
use crate::model::Problem;
use crate::model::problem::code;
use held::Held;
use slices::SlicesByService;

mod changes;
mod held;
mod slices;

pub use changes::Changes;

type Set = BTreeMap<ObjectKey, Object>;

/// All objects of all sources. Where two sources hold the same object, that of the source named first counts.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    sources: Vec<SourceState>,
    all: BTreeMap<ObjectKey, Held>,
    /// Those that several sources hold.
    held_twice: BTreeSet<ObjectKey>,
    slices: SlicesByService,
    changes: Changes,
}

#[derive(Clone, Debug, Default)]
struct SourceState {
    picture: Option<Set>,
    complete: bool,
    problems: Vec<Problem>,
    unread: BTreeSet<PathBuf>,
}

impl Objects {
    /// An empty store for this many sources.
    pub fn new(sources: usize) -> Self {
        Objects { sources: vec![SourceState::default(); sources], changes: Changes::everything(), ..Self::default() }
    }

    /// Takes what the source with this index says.
    pub fn handle(&mut self, source: usize, event: SourceEvent) {
        if self.sources.len() <= source {
            self.sources.resize_with(source + 1, SourceState::default);
        }
        let state = &mut self.sources[source];
        match event {
            SourceEvent::Init => state.picture = Some(Set::new()),
            SourceEvent::InitApply(mut object) => {
                let key = object.key();
                succeed(&mut object, self.all.get(&key).and_then(|held| held.of(source)));
                state.picture.get_or_insert_default().insert(key, object);
            }
            SourceEvent::InitDone => {
                let picture = state.picture.take().unwrap_or_default();
                state.complete = true;
                self.replace(source, picture);
            }
            SourceEvent::Apply(mut object) => {
                let key = object.key();
                succeed(&mut object, self.all.get(&key).and_then(|held| held.of(source)));
                self.put(source, key, Some(object));
            }
            SourceEvent::Delete(key) => self.put(source, key, None),
            SourceEvent::Problems(problems) => state.problems = problems,
            SourceEvent::Unread(files) => state.unread = files,
        }
    }

    /// What changed since this was asked the last time.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// What changed since it was taken the last time.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Says in the status of a Service of a file which addresses it has, as an API server would have it.
    pub fn tell_addresses(&mut self, key: &ObjectKey, addresses: &[IpAddr]) {
        let Some(held) = self.all.get(key) else { return };
        let held = (0..self.sources.len()).find_map(|source| Some((source, held.of(source)?.clone())));
        let Some((source, mut object)) = held else { return };
        let Body::Service(service) = &mut object.body else { return };
        let row = |address: &IpAddr| LoadBalancerIngress { ip: Some(address.to_string()), ..Default::default() };
        Arc::make_mut(service).status.load_balancer.ingress = addresses.iter().map(row).collect();
        self.handle(source, SourceEvent::Apply(object));
    }

    /// Every source has delivered its first complete picture.
    pub fn complete(&self) -> bool {
        self.sources.iter().all(|source| source.complete)
    }

    /// The source with this index has delivered its first complete picture.
    pub fn source_complete(&self, source: usize) -> bool {
        self.sources.get(source).is_some_and(|source| source.complete)
    }

    /// Files that were not once read well.
    pub fn unread(&self) -> impl Iterator<Item = &Path> {
        self.sources.iter().flat_map(|source| source.unread.iter().map(PathBuf::as_path))
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<&Object> {
        self.all.get(key).map(|held| &held.object)
    }

    /// All objects, by kind, namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectKey, &Object)> {
        self.all.iter().map(|(key, held)| (key, &held.object))
    }

    /// The endpoint slices of a Service, by name.
    pub fn slices_of(&self, namespace: &str, service: &str) -> impl Iterator<Item = &Arc<EndpointSlice>> {
        let names = self.slices.of(namespace, service);
        names.filter_map(|name| self.endpoint_slice(namespace, name))
    }

    /// What is wrong with the input as such: broken files, and objects that two sources hold.
    pub fn problems(&self) -> Vec<Problem> {
        let own = self.sources.iter().flat_map(|source| source.problems.iter().cloned());
        own.chain(self.held_twice.iter().map(held_twice)).collect()
    }

    /// A whole picture takes the place of what a source held.
    fn replace(&mut self, source: usize, picture: Set) {
        let of_source = self.all.iter().filter(|(key, held)| held.of(source).is_some() && !picture.contains_key(key));
        let gone: Vec<_> = of_source.map(|(key, _)| key.clone()).collect();
        gone.into_iter().for_each(|key| self.put(source, key, None));
        picture.into_iter().for_each(|(key, object)| self.put(source, key, Some(object)));
    }

    /// What a source holds under a key from now on.
    fn put(&mut self, source: usize, key: ObjectKey, object: Option<Object>) {
        let before = self.get(&key).cloned();
        match (self.all.get_mut(&key), object) {
            (None, None) => return,
            (None, Some(object)) => drop(self.all.insert(key.clone(), Held::new(source, object))),
            (Some(held), Some(object)) => held.put(source, object),
            (Some(held), None) => {
                if !held.remove(source) {
                    self.all.remove(&key);
                }
            }
        }
        let held = self.all.get(&key);
        let slice = |object: Option<&Object>| match object.map(|object| &object.body) {
            Some(Body::EndpointSlice(slice)) => slice.service().map(str::to_owned),
            _ => None,
        };
        self.slices.moved(&key, slice(before.as_ref()), slice(held.map(|held| &held.object)));
        match held.is_some_and(Held::is_twice) {
            true => self.held_twice.insert(key.clone()),
            false => self.held_twice.remove(&key),
        };
        self.changes.note(key, before, held.map(|held| &held.object));
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Object> {
        let first = ObjectKey { kind, namespace: String::new(), name: String::new() };
        self.all.range(first..).map(|(_, held)| &held.object).take_while(move |object| object.body.kind() == kind)
    }
}

fn held_twice(key: &ObjectKey) -> Problem {
    let what = "two sources hold this object; that of the source named first counts";
    Problem::warning(code::OBJECT_DUPLICATE, &key.reference(), what)
}

/// What an object takes over from the one in whose place it comes.
fn succeed(object: &mut Object, older: Option<&Object>) {
    if let (Body::Secret(secret), Some(Object { body: Body::Secret(older), .. })) = (&mut object.body, older)
        && matches!(secret.pair, Some(Pair::Bad { .. }))
    {
        Arc::make_mut(secret).succeed(older);
    }
}

macro_rules! typed_access {
    ($($all:ident, $one:ident: $kind:ident;)*) => {
        impl Objects {
            $(
                #[doc = concat!("All objects of kind ", stringify!($kind), ", by namespace and name.")]
                pub fn $all(&self) -> impl Iterator<Item = &Arc<$kind>> {
                    self.of_kind(Kind::$kind).filter_map(|object| match &object.body {
                        Body::$kind(inner) => Some(inner),
                        _ => None,
                    })
                }

                #[doc = concat!("The ", stringify!($kind), " of that namespace and name.")]
                pub fn $one(&self, namespace: &str, name: &str) -> Option<&Arc<$kind>> {
                    let key = ObjectKey { kind: Kind::$kind, namespace: namespace.to_owned(), name: name.to_owned() };
                    match &self.get(&key)?.body {
                        Body::$kind(inner) => Some(inner),
                        _ => None,
                    }
                }
            )*
        }
    };
}

typed_access! {
    services, service: Service;
    endpoint_slices, endpoint_slice: EndpointSlice;
    pods, pod: Pod;
    nodes, node: Node;
    ingresses, ingress: Ingress;
    ingress_classes, ingress_class: IngressClass;
    config_maps, config_map: ConfigMap;
    secrets, secret: Secret;
    namespaces, namespace: Namespace;
    address_pools, address_pool: AddressPool;
    announcements, announcement: Announcement;
    host_policies, host_policy: HostPolicy;
}

#[cfg(test)]
mod tests;
