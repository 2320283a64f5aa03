//! Which endpoint slices belong to which Service: slices name their Service, and nothing names its slices.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::ObjectKey;

/// Names of slices, by namespace and name of their Service.
#[derive(Clone, Debug, Default)]
pub(super) struct SlicesByService(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl SlicesByService {
    /// The names of the slices of a Service, sorted.
    pub(super) fn of(&self, namespace: &str, service: &str) -> impl Iterator<Item = &str> {
        let names = self.0.get(namespace).and_then(|services| services.get(service));
        names.into_iter().flatten().map(String::as_str)
    }

    /// A slice has gone from one Service to another; `None`: to or from nowhere.
    pub(super) fn moved(&mut self, slice: &ObjectKey, from: Option<String>, to: Option<String>) {
        if from == to {
            return;
        }
        let services = self.0.entry(slice.namespace.clone()).or_default();
        if let Some(service) = from
            && let Some(names) = services.get_mut(&service)
        {
            names.remove(&slice.name);
            if names.is_empty() {
                services.remove(&service);
            }
        }
        if let Some(service) = to {
            services.entry(service).or_default().insert(slice.name.clone());
        }
        if services.is_empty() {
            self.0.remove(&slice.namespace);
        }
    }
}
