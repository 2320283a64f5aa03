//! Ports of the node that layer 4 leads to Services, beside those that Services ask for themselves.

use std::fmt;

use super::{Protocol, ServiceKey};

/// A port on the addresses on which the front answers (`--tcp-services-configmap`, `--udp-services-configmap`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamPort {
    /// The port.
    pub port: u16,
    /// Protocol; that of the service.
    pub protocol: Protocol,
    /// The balanced port that it leads to.
    pub service: ServiceKey,
}

impl fmt::Display for StreamPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {}/{} -> {}", self.port, self.protocol, self.service)
    }
}
