//! What all sources hold, as one set of objects.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::kinds::{
    AddressPool, Announcement, ConfigMap, EndpointSlice, HostPolicy, Ingress, IngressClass, Namespace, Node, Pair, Pod,
    Secret, Service,
};
use super::{Body, Kind, Object, ObjectKey, SourceEvent};
use crate::model::Problem;
use crate::model::problem::code;

type Set = BTreeMap<ObjectKey, Object>;

/// All objects of all sources. Where two sources hold the same object, that of the source named first counts.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    sources: Vec<SourceState>,
    merged: Arc<Set>,
}

#[derive(Clone, Debug, Default)]
struct SourceState {
    objects: Arc<Set>,
    picture: Option<Set>,
    complete: bool,
    problems: Vec<Problem>,
    unread: BTreeSet<PathBuf>,
}

impl Objects {
    /// An empty store for this many sources.
    pub fn new(sources: usize) -> Self {
        Objects { sources: vec![SourceState::default(); sources], merged: Arc::default() }
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
                succeed(&mut object, state.objects.get(&key));
                state.picture.get_or_insert_default().insert(key, object);
            }
            SourceEvent::InitDone => {
                state.objects = Arc::new(state.picture.take().unwrap_or_default());
                state.complete = true;
                self.merge();
            }
            SourceEvent::Apply(mut object) => {
                let key = object.key();
                succeed(&mut object, state.objects.get(&key));
                Arc::make_mut(&mut state.objects).insert(key.clone(), object);
                self.merge_one(&key);
            }
            SourceEvent::Delete(key) => {
                Arc::make_mut(&mut state.objects).remove(&key);
                self.merge_one(&key);
            }
            SourceEvent::Problems(problems) => state.problems = problems,
            SourceEvent::Unread(files) => state.unread = files,
        }
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
        self.merged.is_empty()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.merged.len()
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<&Object> {
        self.merged.get(key)
    }

    /// All objects, by kind, namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectKey, &Object)> {
        self.merged.iter()
    }

    /// What is wrong with the input as such: broken files, and objects that two sources hold.
    pub fn problems(&self) -> Vec<Problem> {
        let own = self.sources.iter().flat_map(|source| source.problems.iter().cloned());
        own.chain(self.held_twice()).collect()
    }

    fn held_twice(&self) -> impl Iterator<Item = Problem> {
        let later = self.sources.iter().enumerate().skip(1);
        later.flat_map(|(index, source)| {
            let earlier = &self.sources[..index];
            source.objects.keys().filter(|key| earlier.iter().any(|other| other.objects.contains_key(key))).map(|key| {
                Problem::warning(
                    code::OBJECT_DUPLICATE,
                    &key.reference(),
                    "two sources hold this object; that of the source named first counts",
                )
            })
        })
    }

    fn merge(&mut self) {
        let mut sources = self.sources.iter().rev();
        let Some(last) = sources.next() else { return };
        let mut merged = Arc::clone(&last.objects);
        for source in sources {
            let objects = source.objects.iter().map(|(key, object)| (key.clone(), object.clone()));
            Arc::make_mut(&mut merged).extend(objects);
        }
        self.merged = merged;
    }

    fn merge_one(&mut self, key: &ObjectKey) {
        let holder = self.sources.iter().find_map(|source| source.objects.get(key));
        let merged = Arc::make_mut(&mut self.merged);
        match holder {
            Some(object) => merged.insert(key.clone(), object.clone()),
            None => merged.remove(key),
        };
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Object> {
        let first = ObjectKey { kind, namespace: String::new(), name: String::new() };
        self.merged.range(first..).map(|(_, object)| object).take_while(move |object| object.body.kind() == kind)
    }
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
                    match &self.merged.get(&key)?.body {
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
