//! Which backends the clients of a Service are led to.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `externalTrafficPolicy` or `internalTrafficPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TrafficPolicy {
    /// To any backend.
    #[default]
    Cluster,
    /// Only to backends on the node at which they arrive. Towards clients from outside that also keeps their address.
    Local,
}

/// How the clients of a Service are led to its backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// For clients from outside, at node ports, external IPs and addresses of load balancers.
    pub external: TrafficPolicy,
    /// For clients at the cluster IP.
    pub internal: TrafficPolicy,
    /// TCP port of the node under which an outer load balancer asks whether it has local backends.
    pub health_check: Option<u16>,
}

/// What is not as usual, each with a space before it.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.external == TrafficPolicy::Local {
            f.write_str(" external=Local")?;
        }
        if self.internal == TrafficPolicy::Local {
            f.write_str(" internal=Local")?;
        }
        self.health_check.map_or(Ok(()), |port| write!(f, " health-check={port}"))
    }
}
