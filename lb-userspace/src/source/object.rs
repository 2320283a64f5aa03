//! One object as a source delivered it.

use std::path::Path;
use std::sync::Arc;

use super::kinds::{
    AddressPool, Announcement, ConfigMap, EndpointSlice, Endpoints, HostPolicy, Ingress, IngressClass, Metadata,
    Namespace, Node, Pod, Secret, Service,
};
use super::yaml;
use crate::model::ObjectRef;

/// The kinds that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Kind {
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
    HostPolicy,
}

/// Names one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Kind.
    pub kind: Kind,
    /// Namespace; empty for kinds that have none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// One object. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// What it is about.
    pub body: Body,
    /// Where it was written, if in a file.
    pub origin: Option<Arc<Origin>>,
}

/// What an object says.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Body {
    Service(Arc<Service>),
    EndpointSlice(Arc<EndpointSlice>),
    Endpoints(Arc<Endpoints>),
    Pod(Arc<Pod>),
    Node(Arc<Node>),
    Ingress(Arc<Ingress>),
    IngressClass(Arc<IngressClass>),
    Secret(Arc<Secret>),
    ConfigMap(Arc<ConfigMap>),
    Namespace(Arc<Namespace>),
    AddressPool(Arc<AddressPool>),
    Announcement(Arc<Announcement>),
    HostPolicy(Arc<HostPolicy>),
}

/// The place in a file where an object was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// The file.
    pub file: Arc<Path>,
    /// The lines of its fields.
    pub lines: yaml::Outline,
}

impl Kind {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Service => "Service",
            Kind::EndpointSlice => "EndpointSlice",
            Kind::Endpoints => "Endpoints",
            Kind::Pod => "Pod",
            Kind::Node => "Node",
            Kind::Ingress => "Ingress",
            Kind::IngressClass => "IngressClass",
            Kind::Secret => "Secret",
            Kind::ConfigMap => "ConfigMap",
            Kind::Namespace => "Namespace",
            Kind::AddressPool => "AddressPool",
            Kind::Announcement => "Announcement",
            Kind::HostPolicy => "HostPolicy",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        super::parse::KINDS.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Its objects live in namespaces.
    pub const fn is_namespaced(self) -> bool {
        !matches!(self, Kind::Node | Kind::IngressClass | Kind::Namespace) && !self.is_own()
    }

    /// One of our own kinds, which a server has only if somebody installed them.
    pub const fn is_own(self) -> bool {
        matches!(self, Kind::AddressPool | Kind::Announcement | Kind::HostPolicy)
    }
}

impl ObjectKey {
    /// The same, for a Problem.
    pub fn reference(&self) -> ObjectRef {
        ObjectRef::new(self.kind.as_str(), &self.namespace, &self.name)
    }
}

impl Object {
    /// The key.
    pub fn key(&self) -> ObjectKey {
        let metadata = self.metadata();
        ObjectKey { kind: self.body.kind(), namespace: metadata.namespace.clone(), name: metadata.name.clone() }
    }

    /// Says the same and stands at the same place. What was read once is known by its pointer.
    pub fn is_same(&self, other: &Object) -> bool {
        let same_origin = match (&self.origin, &other.origin) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
            (None, None) => true,
            _ => false,
        };
        same_origin && self.body == other.body
    }

    /// The Ingress that it is.
    pub fn as_ingress(&self) -> Option<&Ingress> {
        match &self.body {
            Body::Ingress(ingress) => Some(ingress),
            _ => None,
        }
    }

    /// The metadata.
    pub fn metadata(&self) -> &Metadata {
        match &self.body {
            Body::Service(object) => &object.metadata,
            Body::EndpointSlice(object) => &object.metadata,
            Body::Endpoints(object) => &object.metadata,
            Body::Pod(object) => &object.metadata,
            Body::Node(object) => &object.metadata,
            Body::Ingress(object) => &object.metadata,
            Body::IngressClass(object) => &object.metadata,
            Body::Secret(object) => &object.metadata,
            Body::ConfigMap(object) => &object.metadata,
            Body::Namespace(object) => &object.metadata,
            Body::AddressPool(object) => &object.metadata,
            Body::Announcement(object) => &object.metadata,
            Body::HostPolicy(object) => &object.metadata,
        }
    }
}

impl Body {
    /// The kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Body::Service(_) => Kind::Service,
            Body::EndpointSlice(_) => Kind::EndpointSlice,
            Body::Endpoints(_) => Kind::Endpoints,
            Body::Pod(_) => Kind::Pod,
            Body::Node(_) => Kind::Node,
            Body::Ingress(_) => Kind::Ingress,
            Body::IngressClass(_) => Kind::IngressClass,
            Body::Secret(_) => Kind::Secret,
            Body::ConfigMap(_) => Kind::ConfigMap,
            Body::Namespace(_) => Kind::Namespace,
            Body::AddressPool(_) => Kind::AddressPool,
            Body::Announcement(_) => Kind::Announcement,
            Body::HostPolicy(_) => Kind::HostPolicy,
        }
    }
}
