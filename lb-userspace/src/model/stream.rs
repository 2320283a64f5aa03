//! Ports of the node that layer 4 leads to Services, beside those that Services ask for themselves.

use std::fmt;

use serde::{Deserialize, Serialize};

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
    /// The PROXY protocol is spoken, which only the front can: it serves the port then.
    pub proxy: Option<StreamProxy>,
}

/// Where the PROXY protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamProxy {
    /// Connections of clients begin with it.
    pub decode: bool,
    /// Connections to endpoints begin with it.
    pub encode: bool,
}

impl fmt::Display for StreamPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {}/{} -> {}", self.port, self.protocol, self.service)?;
        match self.proxy {
            Some(StreamProxy { decode, encode }) => {
                write!(f, " PROXY{}{}", if decode { " in" } else { "" }, if encode { " out" } else { "" })
            }
            None => Ok(()),
        }
    }
}
