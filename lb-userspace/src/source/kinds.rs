//! The kinds that are read, each with just the fields that are used, the same for every source.
//!
//! Field names are those of the Kubernetes API; what a field means is said here only where weir adds to it. Values that
//! the API restricts (types, ports, addresses) are kept as written: `translate` judges them, so that one bad value costs
//! one port or path and not the object.

use std::collections::BTreeMap;

use serde::Deserialize;

mod address_pool;
mod announcement;
mod cluster;
mod condition;
#[cfg(test)]
mod crd;
mod endpoints;
mod host_policy;
mod ingress;
mod int_or_string;
mod pod;
mod secret;
mod selector;
mod service;

pub use address_pool::{AddressPool, AddressPoolSpec, AddressPoolStatus};
pub use announcement::{
    Announcement, AnnouncementSpec, Bfd, BgpAnnouncement, BgpPeer, L2Announcement, SecretReference,
};
pub use cluster::{ConfigMap, Namespace, Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus};
pub use condition::{Condition, OwnStatus};
pub use endpoints::{
    Endpoint, EndpointAddress, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, EndpointSubset,
    Endpoints, HintFor, ObjectReference, SERVICE_NAME_LABEL,
};
pub use host_policy::{HostPolicy, HostPolicySpec};
pub use ingress::{
    HttpIngressPath, HttpIngressRuleValue, Ingress, IngressBackend, IngressClass, IngressClassSpec, IngressRule,
    IngressServiceBackend, IngressSpec, IngressTls, ServiceBackendPort, TypedReference,
};
pub use int_or_string::IntOrString;
pub use pod::{Container, ContainerPort, Pod, PodCondition, PodIp, PodSpec, PodStatus};
pub use secret::{Pair, Secret, SecretValue};
pub use selector::{LabelRequirement, LabelSelector, any_matches};
pub use service::{LoadBalancerIngress, LoadBalancerStatus, Service, ServicePort, ServiceSpec, ServiceStatus};

/// What every object has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs, reason = "fields of the Kubernetes API")]
pub struct Metadata {
    pub name: String,
    /// Empty for kinds that have none; filled with `default` where a kind has one and none was written.
    pub namespace: String,
    /// Given by the API; files rarely have one.
    pub uid: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// RFC 3339 in UTC, so the order of the text is that of time.
    pub creation_timestamp: Option<String>,
    pub deletion_timestamp: Option<String>,
    /// Counts changes of what is asked for; given by the API.
    pub generation: Option<i64>,
}

/// The annotation of a Pod or EndpointSlice with its share of new flows relative to other backends; 0: none.
pub const WEIGHT: &str = "weir.io/weight";

/// The label of a Node with the zone that it is in.
pub const ZONE: &str = "topology.kubernetes.io/zone";

/// The label that says the name of a namespace; API servers before 1.21 and people leave it out.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The labels of a namespace, with that of its name; a directory rarely has an object for it.
pub fn labels_of_namespace(object: Option<&Namespace>, name: &str) -> BTreeMap<String, String> {
    let mut labels = object.map(|object| object.metadata.labels.clone()).unwrap_or_default();
    labels.entry(NAME_LABEL.to_owned()).or_insert_with(|| name.to_owned());
    labels
}

/// An object of any kind that is read.
pub trait Named {
    /// The metadata, to be completed.
    fn metadata_mut(&mut self) -> &mut Metadata;
}

macro_rules! named {
    ($($kind:ident),*) => {
        $(impl Named for $kind {
            fn metadata_mut(&mut self) -> &mut Metadata {
                &mut self.metadata
            }
        })*
    };
}

named!(
    Service,
    EndpointSlice,
    Endpoints,
    Pod,
    Node,
    Ingress,
    IngressClass,
    Secret,
    ConfigMap,
    Namespace,
    AddressPool,
    Announcement,
    HostPolicy
);
