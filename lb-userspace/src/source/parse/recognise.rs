//! Which kinds are read, and under which versions.

use kube::core::{GroupVersionKind, TypeMeta};

use crate::source::Kind;

/// What is known of a kind.
pub(super) enum Recognised {
    /// A kind that we read.
    Kind(Kind),
    /// A kind that we read, in a group where we read it, but under another version.
    OtherVersion(Kind),
    Other,
}

/// Every kind that is read.
pub(in crate::source) const KINDS: [Kind; 13] = [
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Endpoints,
    Kind::Pod,
    Kind::Node,
    Kind::Ingress,
    Kind::IngressClass,
    Kind::Secret,
    Kind::ConfigMap,
    Kind::Namespace,
    Kind::AddressPool,
    Kind::Announcement,
    Kind::HostPolicy,
];

/// The versions under which a kind is read, the newest first.
pub(in crate::source) fn versions(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::EndpointSlice => &["discovery.k8s.io/v1", "discovery.k8s.io/v1beta1"],
        Kind::Ingress => &["networking.k8s.io/v1", "networking.k8s.io/v1beta1", "extensions/v1beta1"],
        Kind::IngressClass => &["networking.k8s.io/v1", "networking.k8s.io/v1beta1"],
        Kind::AddressPool | Kind::Announcement | Kind::HostPolicy => &["weir.io/v1alpha1"],
        _ => &["v1"],
    }
}

/// Looks a kind up.
pub(super) fn recognise(types: &TypeMeta) -> Recognised {
    let Some(kind) = Kind::from_name(&types.kind) else { return Recognised::Other };
    if versions(kind).contains(&types.api_version.as_str()) {
        return Recognised::Kind(kind);
    }
    // A group of its own with a kind of the same name, such as Knative's Service, is none of ours.
    let ours = ["", "extensions", "networking.k8s.io", "discovery.k8s.io", "weir.io"];
    match GroupVersionKind::try_from(types) {
        Ok(found) if !ours.contains(&found.group.as_str()) => Recognised::Other,
        _ => Recognised::OtherVersion(kind),
    }
}
