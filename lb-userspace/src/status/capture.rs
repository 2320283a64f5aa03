//! `weir capture`: packets for a file, asked for again and again as long as somebody wants them.

use lb_common::limits::SNAP_MAX;
use lb_common::sample::LARGEST_RATE;
use serde::{Deserialize, Serialize};

use super::filter::ServiceFilter;
use super::query::{Arguments, BadArgument};
use super::view::View;
use crate::model::Protocol;
use crate::tables::FrontendKey;
use std::net::SocketAddr;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureQuery {
    /// Tells captures apart: there is one at a time.
    pub id: String,
    /// Which packets.
    pub what: What,
    /// Packets a second on each CPU.
    pub rate: u32,
    /// Bytes of each packet.
    pub snap: u32,
    /// It is over.
    pub stop: bool,
}

/// Which packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Dropped ones.
    Drops,
    /// From clients to a service.
    Service(ServiceFilter),
    /// From clients to the service that answers there.
    Frontend(SocketAddr),
}

/// A captured packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CapturedRow {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Interface that it came in by.
    pub interface: String,
    /// What became of it.
    pub comment: String,
    /// Bytes of the whole frame.
    pub length: u32,
    /// Its beginning, in hexadecimal digits.
    pub bytes: String,
}

/// What the agent answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaptureListing {
    /// What came since the last time.
    pub capture: Vec<CapturedRow>,
    /// Packets that found no room, on the way to the agent or in it.
    pub lost: u64,
}

impl CaptureQuery {
    /// From the arguments of a request.
    pub fn read(arguments: &Arguments) -> Result<Self, BadArgument> {
        let missing = |name: &str, expected: &str| BadArgument {
            name: name.to_owned(),
            value: String::new(),
            expected: expected.to_owned(),
        };
        let what = match (arguments.parsed("service")?, arguments.one("frontend", frontend)?) {
            (Some(service), _) => What::Service(service),
            (None, Some(at)) => What::Frontend(at),
            (None, None) if arguments.all("drops").next().is_some() => What::Drops,
            (None, None) => return Err(missing("drops", "drops, service or frontend")),
        };
        Ok(Self {
            id: arguments.all("id").last().ok_or_else(|| missing("id", "a word"))?.to_owned(),
            what,
            rate: arguments.one("rate", rate)?.unwrap_or(1),
            snap: arguments.one("snap", snap)?.unwrap_or(SNAP_MAX),
            stop: arguments.all("stop").next().is_some(),
        })
    }

    /// As the arguments of a request.
    pub fn arguments(&self) -> Arguments {
        let mut arguments = Arguments::default();
        arguments.add("id", Some(&self.id));
        match &self.what {
            What::Drops => arguments.add("drops", Some(&1)),
            What::Service(service) => arguments.add("service", Some(service)),
            What::Frontend(at) => arguments.add("frontend", Some(at)),
        }
        arguments.add("rate", Some(&self.rate));
        arguments.add("snap", Some(&self.snap));
        arguments.add("stop", self.stop.then_some(&1));
        arguments
    }
}

/// `IP:PORT`; else what would be right.
pub fn frontend(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "IP:PORT, such as 192.0.2.1:80".to_owned())
}

/// Packets a second; else what would be right.
pub fn rate(text: &str) -> Result<u32, String> {
    let rate = text.parse().ok().filter(|rate| (1..=LARGEST_RATE).contains(rate));
    rate.ok_or_else(|| format!("packets a second from 1 to {LARGEST_RATE}"))
}

/// Bytes of a packet; else what would be right.
pub fn snap(text: &str) -> Result<u32, String> {
    let snap = text.parse().ok().filter(|snap| (14..=SNAP_MAX).contains(snap));
    snap.ok_or_else(|| format!("bytes from 14 to {SNAP_MAX}"))
}

impl View {
    /// The id of the service that is to be captured, the first if there are several; 0 for drops.
    pub fn captured_service(&self, what: &What) -> Result<u32, String> {
        match what {
            What::Drops => Ok(0),
            What::Service(filter) => {
                let names = self.service_names();
                let known = self.tables.services.keys().map(|id| id.0);
                let mut found = known.filter(|id| filter.matches(*id, names.get(id).map(String::as_str)));
                found.next().ok_or_else(|| format!("there is no service {filter} in the maps"))
            }
            What::Frontend(at) => {
                let own = self.tables.node_addresses.contains(&at.ip());
                let any = match at.ip() {
                    std::net::IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
                    std::net::IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
                };
                let places = std::iter::once(at.ip()).chain(own.then_some(any));
                let keys = places.flat_map(|address| {
                    let key = |protocol| FrontendKey { address, port: at.port(), protocol, inside: false };
                    [Protocol::Tcp, Protocol::Udp].map(key)
                });
                let mut found = keys.filter_map(|key| self.tables.frontends.get(&key));
                found.next().map(|frontend| frontend.service.0).ok_or_else(|| format!("there is no frontend at {at}"))
            }
        }
    }

    /// What a captured packet counts for, in words.
    pub(crate) fn captured_for(&self, service: u32, backend: u32) -> String {
        let names = self.service_names();
        let service = names.get(&service).cloned().unwrap_or_else(|| format!("service {service}"));
        let mut backends = self.tables.backends.iter().filter(|((_, id), _)| id.0 == backend);
        match backends.next() {
            Some((_, key)) => format!("{service} to {}", SocketAddr::new(key.address, key.port)),
            None if backend == 0 => format!("{service} to the front"),
            None => format!("{service} to backend {backend}"),
        }
    }
}
