//! Label sets.

use prometheus_client::encoding::EncodeLabelSet;

use crate::announce::routers::SessionState;
use crate::l7::traffic::TrafficKey;
use crate::model::{Problem, ServiceKey, Severity};
use crate::tables::BackendKey;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ProblemLabels {
    severity: &'static str,
    code: String,
}

impl ProblemLabels {
    pub(super) fn of(problem: &Problem) -> Self {
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        };
        Self { severity, code: problem.code.clone() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RouterLabels {
    peer: String,
    asn: u32,
}

impl RouterLabels {
    pub(super) fn of(session: &SessionState) -> Self {
        Self { peer: session.peer.to_string(), asn: session.asn }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ServiceLabels {
    namespace: String,
    name: String,
    port: u16,
    protocol: String,
}

impl ServiceLabels {
    pub(super) fn of(key: &ServiceKey) -> Self {
        Self {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            port: key.port,
            protocol: key.protocol.to_string(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BackendLabels {
    address: String,
    port: u16,
    protocol: String,
}

impl BackendLabels {
    pub(super) fn of(key: &BackendKey) -> Self {
        Self { address: key.address.to_string(), port: key.port, protocol: key.protocol.to_string() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DropLabels {
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct EventLabels {
    pub(super) event: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SecretLabels {
    namespace: String,
    name: String,
}

impl SecretLabels {
    /// `namespace/name`.
    pub(super) fn of(secret: &str) -> Self {
        let (namespace, name) = secret.split_once('/').unwrap_or(("", secret));
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct MapLabels {
    pub(super) map: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ClassLabels {
    pub(super) class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LimitLabels {
    pub(super) limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RouteLabels {
    host: String,
    path: String,
    ingress: String,
    service: String,
    class: &'static str,
}

impl RouteLabels {
    pub(super) fn of(key: &TrafficKey) -> Self {
        let class = match key.status / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        let TrafficKey { host, path, ingress, service, .. } = key.clone();
        RouteLabels { host, path, ingress, service, class }
    }
}
