//! What is asked: a target, from where, with which headers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use hyper::Method;

use crate::dataplane::explain::{Probe, ProbeError};
use crate::model::Protocol;
use crate::status::query::{Arguments, BadArgument};

/// The client's port if none is named.
pub const DEFAULT_CLIENT_PORT: u16 = 40_000;
/// The client if none is named: addresses for documentation, which nobody has (RFC 5737, RFC 3849).
const DEFAULT_CLIENTS: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(198, 51, 100, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// How it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// The first segment of a connection.
    Tcp,
    /// A datagram.
    Udp,
    /// A request.
    Http,
    /// A request in TLS.
    Https,
}

impl Scheme {
    const ALL: [(Scheme, &str); 4] =
        [(Scheme::Tcp, "tcp"), (Scheme::Udp, "udp"), (Scheme::Http, "http"), (Scheme::Https, "https")];

    fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(scheme, _)| *scheme == self).map_or("", |(_, name)| name)
    }

    /// What carries it.
    pub const fn protocol(self) -> Protocol {
        match self {
            Scheme::Udp => Protocol::Udp,
            _ => Protocol::Tcp,
        }
    }
}

/// `tcp://IP:PORT`, `udp://IP:PORT`, `http://HOST[:PORT]/PATH` or `https://...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainTarget {
    /// How.
    pub scheme: Scheme,
    /// Name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Path and query of a request; empty for packets.
    pub path: String,
}

impl ExplainTarget {
    /// Where a packet goes, if the host is an address.
    pub fn address(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
        Some(SocketAddr::new(ip, self.port))
    }

    /// It is a request, not a packet.
    pub fn is_request(&self) -> bool {
        matches!(self.scheme, Scheme::Http | Scheme::Https)
    }
}

impl FromStr for ExplainTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || "tcp://IP:PORT, udp://IP:PORT or http(s)://HOST[:PORT]/PATH, such as tcp://192.0.2.1:80".to_owned();
        let (scheme, rest) = text.split_once("://").ok_or_else(expected)?;
        let scheme = Scheme::ALL.iter().find(|(_, name)| *name == scheme).map(|(scheme, _)| *scheme);
        let scheme = scheme.ok_or_else(expected)?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let default = match scheme {
            Scheme::Http => Some(80),
            Scheme::Https => Some(443),
            Scheme::Tcp | Scheme::Udp => None,
        };
        let (host, port) = host_and_port(authority, default).ok_or_else(expected)?;
        let is_request = default.is_some();
        let path = if is_request && path.is_empty() { "/" } else { path };
        let target = Self { scheme, host: host.to_owned(), port, path: path.to_owned() };
        let whole = if is_request { !host.is_empty() } else { target.address().is_some() && path.is_empty() };
        if whole && port != 0 { Ok(target) } else { Err(expected()) }
    }
}

/// An IPv6 address stands in brackets (RFC 3986, section 3.2.2).
fn host_and_port(authority: &str, default: Option<u16>) -> Option<(&str, u16)> {
    let bracket = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[bracket..].rfind(':') {
        Some(colon) => Some((&authority[..bracket + colon], authority[bracket + colon + 1..].parse().ok()?)),
        None => Some((authority, default?)),
    }
}

impl fmt::Display for ExplainTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}{}", self.scheme.as_str(), self.host, self.port, self.path)
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainQuery {
    /// What is wanted.
    pub target: ExplainTarget,
    /// By whom.
    pub from: Option<SocketAddr>,
    /// Method of the request.
    pub method: Method,
    /// Headers of the request.
    pub headers: Vec<(String, String)>,
    /// The interface by which the packet comes in.
    pub interface: Option<String>,
}

impl ExplainQuery {
    /// From the arguments of a request to the admin API.
    pub fn read(arguments: &Arguments) -> Result<Self, BadArgument> {
        let missing = || BadArgument { name: "target".into(), value: String::new(), expected: "a target".into() };
        let mut headers = Vec::new();
        for text in arguments.all("header") {
            let bad = |expected| BadArgument { name: "header".into(), value: text.to_owned(), expected };
            headers.push(header(text).map_err(bad)?);
        }
        Ok(Self {
            target: arguments.parsed("target")?.ok_or_else(missing)?,
            from: arguments.one("from", client)?,
            method: arguments.one("method", method)?.unwrap_or_default(),
            headers,
            interface: arguments.all("interface").last().map(str::to_owned),
        })
    }

    /// As the arguments of a request to the admin API.
    pub fn arguments(&self) -> Arguments {
        let mut arguments = Arguments::default();
        arguments.add("target", Some(&self.target));
        arguments.add("from", self.from.as_ref());
        arguments.add("method", Some(&self.method).filter(|method| **method != Method::GET));
        for (name, value) in &self.headers {
            arguments.add("header", Some(&format!("{name}: {value}")));
        }
        arguments.add("interface", self.interface.as_ref());
        arguments
    }

    /// The packet that is asked about; `None` if the target is a name. Fails if client and target are of two families.
    pub fn probe(&self) -> Result<Option<Probe>, ProbeError> {
        let probe = |to| Probe::new(self.target.scheme.protocol().number(), self.client(), to);
        self.target.address().filter(|_| !self.target.is_request()).map(probe).transpose()
    }

    /// Who asks; somebody who does not exist if nobody is named.
    pub fn client(&self) -> SocketAddr {
        let (v4, v6) = DEFAULT_CLIENTS;
        let ip = match self.target.address() {
            Some(SocketAddr::V6(_)) => IpAddr::V6(v6),
            _ => IpAddr::V4(v4),
        };
        self.from.unwrap_or(SocketAddr::new(ip, DEFAULT_CLIENT_PORT))
    }
}

/// `IP` or `IP:PORT`; else what would be right.
pub fn client(text: &str) -> Result<SocketAddr, String> {
    let expected = || "IP or IP:PORT, such as 192.0.2.7 or [2001:db8::7]:40000".to_owned();
    let bare = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DEFAULT_CLIENT_PORT));
    text.parse().or_else(|_| bare()).map_err(|_| expected())
}

/// A method; else what would be right.
pub fn method(text: &str) -> Result<Method, String> {
    text.parse().map_err(|_| "a method, such as GET or POST".to_owned())
}

/// `NAME: VALUE`; else what would be right.
pub fn header(text: &str) -> Result<(String, String), String> {
    let is_token =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    match text.split_once(':') {
        Some((name, value)) if is_token(name) => Ok((name.to_ascii_lowercase(), value.trim().to_owned())),
        _ => Err("NAME: VALUE, such as 'Host: shop.example'".to_owned()),
    }
}
