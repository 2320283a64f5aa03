//! Services that stand for a name outside of the cluster.

use std::collections::BTreeMap;

use crate::source::Objects;
use crate::source::kinds::Service;

/// The names, by namespace and name of the Service.
pub(super) fn names(objects: &Objects) -> BTreeMap<(String, String), String> {
    let named = objects.services().filter(|object| object.is_external_name()).filter_map(|object| {
        let key = (object.metadata.namespace.clone(), object.metadata.name.clone());
        Some((key, host(object)?))
    });
    named.collect()
}

/// The name that a Service stands for, if it is one.
pub(super) fn host(object: &Service) -> Option<String> {
    let text = object.spec.external_name.as_deref()?.trim().to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let is_name = text.len() <= 253 && text.trim_end_matches('.').split('.').all(is_label);
    (is_name || text.parse::<std::net::IpAddr>().is_ok()).then_some(text)
}
