//! Services and frontends.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Backend, IpFamily, ObjectRef, Policy, Protocol, TrafficPolicy};

/// Names one balanced port of a Kubernetes Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServiceKey {
    /// Namespace.
    pub namespace: String,
    /// Name of the Service.
    pub name: String,
    /// The Service's port.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
}

/// What stands before the name of a pod whose host port is balanced: no Service has such a name.
const OF_POD: &str = "pod/";

impl ServiceKey {
    /// That of a host port of a pod, with its `hostIP` where it has one.
    pub fn of_pod(namespace: &str, pod: &str, host_ip: Option<IpAddr>, port: u16, protocol: Protocol) -> Self {
        let at = host_ip.map(|ip| format!("@{ip}")).unwrap_or_default();
        Self { namespace: namespace.to_owned(), name: format!("{OF_POD}{pod}{at}"), port, protocol }
    }

    /// The object that asks for it: a Service, or the pod with the host port.
    pub fn object(&self) -> ObjectRef {
        match self.name.strip_prefix(OF_POD) {
            Some(pod) => ObjectRef::new("Pod", &self.namespace, pod.split('@').next().unwrap_or(pod)),
            None => ObjectRef::new("Service", &self.namespace, &self.name),
        }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}/{}", self.namespace, self.name, self.port, self.protocol)
    }
}

/// The `type` of a Service, or what else asks for a balanced port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(clippy::enum_variant_names, reason = "these are the field's terms")]
pub enum ServiceType {
    /// Inside the cluster only (but external IPs count).
    ClusterIP,
    /// A port on every node.
    NodePort,
    /// An address of its own.
    LoadBalancer,
    /// A DNS alias; never balanced at layer 4.
    ExternalName,
    /// No Service: the `hostPort` of a pod.
    HostPort,
}

/// How packets reach backends on other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forwarding {
    /// Source and destination are replaced; replies come back through this node.
    #[default]
    Snat,
    /// The packet is carried to the backend's node in a tunnel; replies leave from there, with the VIP as their source.
    Dsr,
}

impl Forwarding {
    /// The word for it in manifests, flags, tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Forwarding::Snat => "snat",
            Forwarding::Dsr => "dsr",
        }
    }
}

impl fmt::Display for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Forwarding {
    type Err = String;

    /// The error is what would be right.
    fn from_str(text: &str) -> Result<Self, String> {
        [Forwarding::Snat, Forwarding::Dsr]
            .into_iter()
            .find(|way| way.as_str() == text)
            .ok_or_else(|| "snat or dsr".into())
    }
}

/// Who said how a service forwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ForwardingBy {
    /// `--forwarding`, for services that say nothing.
    #[default]
    Flag,
    /// The annotation of the Service.
    Annotation,
}

/// What kind of address a frontend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FrontendKind {
    /// Address inside the cluster; listed, not reachable from outside.
    ClusterIP,
    /// A port on the addresses of every node.
    NodePort,
    /// `spec.externalIPs`.
    ExternalIP,
    /// `status.loadBalancer.ingress` or `spec.loadBalancerIP`.
    LoadBalancer,
    /// A container's `hostPort`.
    HostPort,
}

/// An address and port at which clients arrive. The protocol is the service's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frontend {
    /// Kind.
    pub kind: FrontendKind,
    /// The VIP; `None` for a NodePort or host port: every NodePort address of the node.
    pub address: Option<IpAddr>,
    /// Port.
    pub port: u16,
}

/// Which listener of the front a service leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FrontListener {
    /// `--http-port`.
    Http,
    /// `--https-port`.
    Https,
}

/// Who answers a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// Backends, as the endpoint slices say; sorted by address and port, no duplicates.
    Backends(Vec<Backend>),
    /// The node's own front (`--front-label`).
    Front(FrontListener),
}

/// One balanced port of a Kubernetes Service, with everything that layer 4 needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub key: ServiceKey,
    /// Name of the port, where it has one.
    pub port_name: Option<String>,
    /// Its type.
    pub service_type: ServiceType,
    /// The families in which it is balanced, the preferred one first; its addresses and backends are of these.
    pub families: Vec<IpFamily>,
    /// Where clients arrive; sorted, no duplicates.
    pub frontends: Vec<Frontend>,
    /// Who answers.
    pub target: Target,
    /// How packets reach other nodes.
    pub forwarding: Forwarding,
    /// Who said so.
    pub forwarding_by: ForwardingBy,
    /// Which backends its clients are led to.
    pub policy: Policy,
    /// The networks of the clients that its load-balancer addresses are for; `None`: for everybody.
    pub source_ranges: Option<Vec<IpNet>>,
}

impl FrontendKind {
    /// Where clients from outside arrive; the others are for the cluster itself.
    pub const fn is_external(self) -> bool {
        !matches!(self, FrontendKind::ClusterIP)
    }
}

impl Service {
    /// The policy that a frontend of this kind follows. The node's own front is on every node.
    pub const fn policy_at(&self, kind: FrontendKind) -> TrafficPolicy {
        match &self.target {
            Target::Front(_) => TrafficPolicy::Cluster,
            Target::Backends(_) if kind.is_external() => self.policy.external,
            Target::Backends(_) => self.policy.internal,
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.port_name.as_deref().unwrap_or("-");
        write!(f, "service {} {name} {:?}", self.key, self.service_type)?;
        if self.families != [IpFamily::V4] {
            let families: Vec<_> = self.families.iter().map(|family| family.name()).collect();
            write!(f, " {}", families.join("+"))?;
        }
        writeln!(f, "{}", self.policy)?;
        self.frontends.iter().try_for_each(|frontend| writeln!(f, "  frontend {frontend}"))?;
        if let Some(ranges) = &self.source_ranges {
            let ranges: Vec<_> = ranges.iter().map(ToString::to_string).collect();
            writeln!(f, "  only for {}", if ranges.is_empty() { "nobody".to_owned() } else { ranges.join(" ") })?;
        }
        if self.forwarding != Forwarding::default() {
            writeln!(f, "  forwarding {}", self.forwarding)?;
        }
        match &self.target {
            Target::Backends(backends) => backends.iter().try_for_each(|backend| writeln!(f, "  backend {backend}")),
            Target::Front(listener) => writeln!(f, "  front {listener:?}"),
        }
    }
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{:?} {}", self.kind, SocketAddr::new(address, self.port)),
            None => write!(f, "{:?} *:{}", self.kind, self.port),
        }
    }
}
