//! Which backends the clients of a Service are led to.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Algorithm;

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
    /// For how many seconds after its last flow began a client keeps its backend; `None`: it does not.
    pub affinity: Option<u32>,
    /// How else new flows choose.
    pub algorithm: Algorithm,
    /// Where the front answers: first segments get SYN cookies while its listener is full.
    pub syn_cookies: bool,
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
        if let Some(seconds) = self.affinity {
            write!(f, " affinity={seconds}s")?;
        }
        if self.algorithm != Algorithm::default() {
            write!(f, " {}", self.algorithm)?;
        }
        if self.syn_cookies {
            f.write_str(" syn-cookies")?;
        }
        self.health_check.map_or(Ok(()), |port| write!(f, " health-check={port}"))
    }
}
