//! What a listing is narrowed to: a service, an address, a network.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

/// A service by name, or by its id where no agent knows names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceFilter {
    /// `NAMESPACE/NAME`, perhaps with a port.
    Named {
        /// `NAMESPACE/NAME`.
        name: String,
        /// The Service's port.
        port: Option<u16>,
    },
    /// Its id in the maps.
    Id(u32),
}

impl ServiceFilter {
    /// The service has this id, and this name (`namespace/name:port`) if it is known.
    pub fn matches(&self, id: u32, known: Option<&str>) -> bool {
        match self {
            ServiceFilter::Id(wanted) => *wanted == id,
            ServiceFilter::Named { name, port } => known
                .and_then(|known| known.rsplit_once(':'))
                .is_some_and(|known| known.0 == name && port.is_none_or(|port| known.1.parse() == Ok(port))),
        }
    }
}

impl FromStr for ServiceFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "NAMESPACE/NAME, NAMESPACE/NAME:PORT or the id of a service".to_owned();
        if let Ok(id) = text.parse() {
            return Ok(ServiceFilter::Id(id));
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(port.parse().map_err(|_| expected())?)),
            None => (text, None),
        };
        let is_whole = |(namespace, name): (&str, &str)| !namespace.is_empty() && !name.is_empty();
        if name.split_once('/').is_some_and(is_whole) {
            Ok(ServiceFilter::Named { name: name.to_owned(), port })
        } else {
            Err(expected())
        }
    }
}

impl fmt::Display for ServiceFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceFilter::Id(id) => write!(f, "{id}"),
            ServiceFilter::Named { name, port: Some(port) } => write!(f, "{name}:{port}"),
            ServiceFilter::Named { name, port: None } => f.write_str(name),
        }
    }
}

/// An address or a network, perhaps with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    net: IpNet,
    port: Option<u16>,
}

impl Endpoint {
    /// Address and port lie in it.
    pub fn matches(&self, at: SocketAddr) -> bool {
        self.net.contains(&at.ip()) && self.port.is_none_or(|port| port == at.port())
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse::<SocketAddr>() {
            return Ok(Self { net: at.ip().into(), port: Some(at.port()) });
        }
        let net = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        let net = net.ok_or_else(|| "an address, ADDRESS:PORT or a network, such as 10.0.0.1:80".to_owned())?;
        Ok(Self { net, port: None })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}", SocketAddr::new(self.net.addr(), port)),
            None => write!(f, "{}", self.net),
        }
    }
}
