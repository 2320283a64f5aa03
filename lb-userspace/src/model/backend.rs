//! Backends.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Whether a backend takes traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendState {
    /// Takes new flows.
    Active,
    /// Keeps the flows it has (terminating but serving).
    Terminating,
    /// Takes nothing new (not ready); connections that are there stay.
    Unhealthy,
}

/// An address and port that receive the traffic of one service. The protocol is the service's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Backend {
    /// Address of the pod.
    pub address: IpAddr,
    /// Port of the pod.
    pub port: u16,
    /// Relative share of new flows; at least 1.
    pub weight: u16,
    /// Whether it takes traffic.
    pub state: BackendState,
    /// Name of the node it runs on, if the source tells.
    pub node: Option<String>,
    /// It runs on this node.
    pub local: bool,
    /// Clients of this node are led to nearer ones (topology hints).
    pub far: bool,
    /// `namespace/name` of the pod, if the source tells.
    pub pod: Option<String>,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.local { "local" } else { "remote" };
        write!(f, "{} {:?} {place}", SocketAddr::new(self.address, self.port), self.state)?;
        if self.weight != 1 {
            write!(f, " weight={}", self.weight)?;
        }
        if self.far {
            f.write_str(" far")?;
        }
        let (node, pod) = (self.node.as_deref().unwrap_or("-"), self.pod.as_deref().unwrap_or("-"));
        write!(f, " node={node} pod={pod}")
    }
}
