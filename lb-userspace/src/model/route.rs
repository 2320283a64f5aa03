//! Layer 7 routes, as Ingresses state them: validated, not yet ordered for matching.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::filters::Filters;

/// Where a route applies: a host and a path. Ordered; the order in the table is that of matching and is made in `compile`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RouteKey {
    /// Lower-case host, `*.suffix` for exactly one label more, or `None` for any host.
    pub host: Option<String>,
    /// How the path matches.
    pub path: PathMatch,
}

impl RouteKey {
    /// No key of that host comes before this one: `Exact` is the first kind, and no text is before the empty one.
    pub fn first_of(host: Option<String>) -> Self {
        RouteKey { host, path: PathMatch::Exact(String::new()) }
    }
}

/// How the path of a request is matched.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PathMatch {
    /// `pathType: Exact`.
    Exact(String),
    /// `pathType: Prefix`: element by element.
    Prefix(String),
    /// `pathType: ImplementationSpecific` (also: none given): element by element like `Prefix`.
    ImplementationSpecific(String),
    /// A regular expression (`use-regex`, or what `rewrite-target` implies): matches canonical paths that begin with a
    /// match of it, whatever their case.
    Regex(String),
    /// Neither host nor path matched: a default backend (of an Ingress, for its hosts, or of the whole front).
    Default,
}

/// The Service port that a route names, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendRef {
    /// Namespace (the Ingress's own).
    pub namespace: String,
    /// Name of the Service.
    pub service: String,
    /// The port as written: a number or a name.
    pub port: String,
    /// The balanced port it stands for; `None` if Service or port are missing: requests get 503.
    pub resolved: Option<super::ServiceKey>,
}

/// How the path changes on the way to the backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rewrite {
    /// The matched prefix is replaced by this text.
    Prefix(String),
    /// The whole path is replaced by this text, in which `$1` to `$9` stand for captures. Only with [`PathMatch::Regex`].
    Regex(String),
}

/// One rule of an Ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it applies.
    pub key: RouteKey,
    /// `namespace/name` of the Ingress, or of the Service for `--default-backend-service`.
    pub ingress: String,
    /// Where requests go.
    pub backend: BackendRef,
    /// How the path changes.
    pub rewrite: Option<Rewrite>,
    /// What else the Ingress asks for; shared by its routes.
    pub filters: Arc<Filters>,
    /// What is wrong with it, in a few words, if anything (the Problem itself is in the list of problems).
    pub problem: Option<String>,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BackendRef { namespace, service, port, resolved } = &self.backend;
        write!(f, "route {} -> {namespace}/{service}:{port}", self.key)?;
        match resolved {
            Some(key) => write!(f, " ({key})")?,
            None => write!(f, " (503)")?,
        }
        match &self.rewrite {
            Some(Rewrite::Prefix(target)) => write!(f, " rewrite={target}")?,
            Some(Rewrite::Regex(target)) => write!(f, " rewrite={target} (regex)")?,
            None => {}
        }
        self.filters.labels().iter().try_for_each(|label| write!(f, " [{label}]"))?;
        write!(f, " by {}", self.ingress)
    }
}

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.as_deref().unwrap_or("*");
        match &self.path {
            PathMatch::Exact(path) => write!(f, "{host} Exact {path}"),
            PathMatch::Prefix(path) => write!(f, "{host} Prefix {path}"),
            PathMatch::ImplementationSpecific(path) => write!(f, "{host} ImplementationSpecific {path}"),
            PathMatch::Regex(path) => write!(f, "{host} Regex {path}"),
            PathMatch::Default => write!(f, "{host} Default"),
        }
    }
}
