//! What is watched: kinds, the versions under which a server may have them, and which objects of them.

use super::{Wanted, named};
use crate::source::{Kind, ObjectKey};

/// Tells watches apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum WatchId {
    /// All objects of a kind that are of use.
    All(Kind),
    /// One object.
    One(ObjectKey),
}

impl WatchId {
    /// Of a watch of one object.
    pub(super) fn named(key: &ObjectKey) -> Self {
        WatchId::One(key.clone())
    }

    /// Without it the picture is good enough to begin with.
    pub(super) fn can_be_missed(&self) -> bool {
        match self {
            WatchId::One(_) => true,
            WatchId::All(kind) => kind.is_own() || *kind == Kind::Namespace,
        }
    }
}

/// What one watch is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    /// The kind.
    pub(super) kind: Kind,
    /// Only this object.
    pub(super) one: Option<ObjectKey>,
    /// Only objects with these fields.
    pub(super) fields: Option<String>,
}

impl Subject {
    fn all(kind: Kind) -> Self {
        Subject { kind, one: None, fields: None }
    }

    /// One object. A field selector on its name is what a rule of RBAC with `resourceNames` allows to list and watch.
    pub(super) fn named(key: &ObjectKey) -> Self {
        let fields = Some(format!("metadata.name={}", key.name));
        Subject { one: Some(key.clone()), fields, ..Subject::all(key.kind) }
    }

    /// Which watch it is.
    pub(super) fn id(&self) -> WatchId {
        match &self.one {
            Some(key) => WatchId::named(key),
            None => WatchId::All(self.kind),
        }
    }
}

/// What is watched as long as the agent runs. Pods only those of this node, unless the weights of all are of use.
pub(super) fn always(wanted: &Wanted) -> Vec<Subject> {
    let kinds = [
        Kind::Service,
        Kind::EndpointSlice,
        Kind::Node,
        Kind::IngressClass,
        Kind::Ingress,
        Kind::Namespace,
        Kind::AddressPool,
        Kind::Announcement,
        Kind::HostPolicy,
    ];
    let own_pods = (!wanted.pod_weights).then(|| format!("spec.nodeName={}", wanted.node_name));
    let pods = Subject { fields: own_pods, ..Subject::all(Kind::Pod) };
    let config_maps = wanted.config_maps.iter().map(|name| Subject::named(&named(Kind::ConfigMap, name)));
    let secrets = wanted.secrets.iter().map(|name| Subject::named(&named(Kind::Secret, name)));
    kinds.into_iter().map(Subject::all).chain([pods]).chain(config_maps).chain(secrets).collect()
}
