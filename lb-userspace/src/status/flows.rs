//! `weir flows`: which flows there are, the most recently used first, within a bound.

use std::collections::BinaryHeap;
use std::collections::HashMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::filter::{Endpoint, ServiceFilter};
use super::query::{Arguments, BadArgument};
use super::view::View;
use crate::dataplane::{FlowMode, FlowRecord};
use crate::model::Protocol;

/// Rows that are shown unless another number is asked for.
pub const DEFAULT_LIMIT: usize = 1_000;
/// Rows that one answer holds at most: some 40 MiB of JSON.
pub const LARGEST_LIMIT: usize = 200_000;
/// What a flow can be; [`lb_common::conntrack::FlowState::label`].
pub const STATES: [&str; 4] = ["half-open", "established", "closing", "closed"];

/// Which flows are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowQuery {
    /// Of this service.
    pub service: Option<ServiceFilter>,
    /// From this client.
    pub client: Option<Endpoint>,
    /// To this backend.
    pub backend: Option<Endpoint>,
    /// In this state.
    pub state: Option<String>,
    /// So many at most.
    pub limit: usize,
}

impl Default for FlowQuery {
    fn default() -> Self {
        Self { service: None, client: None, backend: None, state: None, limit: DEFAULT_LIMIT }
    }
}

impl FlowQuery {
    /// From the arguments of a request.
    pub fn read(arguments: &Arguments) -> Result<Self, BadArgument> {
        Ok(Self {
            service: arguments.parsed("service")?,
            client: arguments.parsed("client")?,
            backend: arguments.parsed("backend")?,
            state: arguments.one("state", state)?,
            limit: arguments.one("limit", limit)?.unwrap_or(DEFAULT_LIMIT),
        })
    }

    /// As the arguments of a request.
    pub fn arguments(&self) -> Arguments {
        let mut arguments = Arguments::default();
        arguments.add("service", self.service.as_ref());
        arguments.add("client", self.client.as_ref());
        arguments.add("backend", self.backend.as_ref());
        arguments.add("state", self.state.as_ref());
        arguments.add("limit", Some(&self.limit));
        arguments
    }

    fn wants(&self, flow: &FlowRecord, service: Option<&String>) -> bool {
        let at = |filter: &Option<Endpoint>, address: Option<SocketAddr>| {
            filter.as_ref().is_none_or(|filter| address.is_some_and(|address| filter.matches(address)))
        };
        at(&self.client, Some(flow.client))
            && at(&self.backend, flow.backend)
            && self.state.as_ref().is_none_or(|state| state == flow.state)
            && self.service.as_ref().is_none_or(|filter| filter.matches(flow.service, service.map(String::as_str)))
    }
}

/// One of [`STATES`]; else what would be right.
pub fn state(text: &str) -> Result<String, String> {
    if STATES.contains(&text) { Ok(text.to_owned()) } else { Err(format!("one of {}", STATES.join(", "))) }
}

/// A number of rows; else what would be right.
pub fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| (1..=LARGEST_LIMIT).contains(limit));
    limit.ok_or_else(|| format!("a number of rows from 1 to {LARGEST_LIMIT}"))
}

/// A row of `weir flows`. Addresses are `ADDRESS:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowRow {
    /// Protocol; null if it is none that this version knows.
    pub protocol: Option<Protocol>,
    /// Who began the flow.
    pub client: String,
    /// Where it arrived.
    pub frontend: String,
    /// Where it goes; null if its backend is gone: the next packet picks another.
    pub backend: Option<String>,
    /// What the backend sees as its client, where that is not the client itself.
    pub snat: Option<String>,
    /// How the backend is reached: `local`, `dsr` for one here of a service that forwards so, or `snat` for another node.
    pub mode: String,
    /// One of [`STATES`].
    pub state: String,
    /// Since the last packet of either direction, in seconds, right to about one.
    pub idle_seconds: u64,
    /// Packets; null: they are counted by service and backend, not by flow.
    pub packets: Option<u64>,
    /// Bytes; null likewise.
    pub bytes: Option<u64>,
    /// `namespace/name:port` of the Service; null where only the maps were read.
    pub service: Option<String>,
    /// Id of the service in the maps.
    pub service_id: u32,
}

/// What `weir flows` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowListing {
    /// The rows, the most recently used first.
    pub flows: Vec<FlowRow>,
    /// More flows match than there are rows.
    pub truncated: bool,
    /// How many match.
    pub total: u64,
}

/// Takes flows as they are read and keeps those that are wanted.
pub struct FlowCollector<'a> {
    query: &'a FlowQuery,
    services: HashMap<u32, String>,
    kept: BinaryHeap<Kept>,
    total: u64,
}

/// Ordered by how long it was idle, so that the heap gives up the one idle for longest.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Kept(u64, SocketAddr, SocketAddr, u8, FlowRecord);

impl<'a> FlowCollector<'a> {
    /// Names of services come from the view.
    pub fn new(query: &'a FlowQuery, view: &View) -> Self {
        Self { query, services: view.service_names(), kept: BinaryHeap::new(), total: 0 }
    }

    /// One flow more.
    pub fn take(&mut self, flow: FlowRecord) {
        if !self.query.wants(&flow, self.services.get(&flow.service)) {
            return;
        }
        self.total += 1;
        self.kept.push(Kept(flow.idle_seconds, flow.client, flow.frontend, flow.protocol, flow));
        if self.kept.len() > self.query.limit {
            self.kept.pop();
        }
    }

    /// The rows.
    pub fn finish(self) -> FlowListing {
        let services = self.services;
        let kept = self.kept.into_sorted_vec().into_iter();
        let flows: Vec<FlowRow> = kept.map(|kept| row(&kept.4, services.get(&kept.4.service).cloned())).collect();
        FlowListing { truncated: self.total > flows.len() as u64, flows, total: self.total }
    }
}

fn row(flow: &FlowRecord, service: Option<String>) -> FlowRow {
    FlowRow {
        protocol: Protocol::from_number(flow.protocol),
        client: flow.client.to_string(),
        frontend: flow.frontend.to_string(),
        backend: flow.backend.map(|backend| backend.to_string()),
        snat: flow.snat.map(|snat| snat.to_string()),
        mode: match flow.mode {
            FlowMode::Local => "local",
            FlowMode::Dsr => "dsr",
            FlowMode::Snat => "snat",
        }
        .to_owned(),
        state: flow.state.to_owned(),
        idle_seconds: flow.idle_seconds,
        packets: None,
        bytes: None,
        service,
        service_id: flow.service,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ServiceKey, TrafficPolicy};
    use crate::tables::{IpFamily, ServiceId};
    use std::sync::Arc;

    fn flow(client: &str, idle_seconds: u64, service: u32) -> FlowRecord {
        FlowRecord {
            protocol: 6,
            client: client.parse().unwrap(),
            frontend: "192.0.2.1:80".parse().unwrap(),
            backend: Some("10.1.1.2:8080".parse().unwrap()),
            snat: (service == 2).then(|| "10.0.0.1:15000".parse().unwrap()),
            mode: if service == 2 { FlowMode::Snat } else { FlowMode::Local },
            state: if idle_seconds > 50 { "closing" } else { "established" },
            idle_seconds,
            service,
        }
    }

    fn listing(query: &FlowQuery) -> FlowListing {
        let key = ServiceKey { namespace: "shop".into(), name: "web".into(), port: 80, protocol: Protocol::Tcp };
        let view = View {
            service_ids: Arc::new([((key, IpFamily::V4, TrafficPolicy::Cluster), ServiceId(1))].into()),
            ..View::default()
        };
        let mut collector = FlowCollector::new(query, &view);
        let flows =
            [("10.9.9.1:5000", 7, 1), ("10.9.9.2:5000", 3, 2), ("10.8.8.1:6000", 90, 1), ("[2001:db8::1]:7", 0, 3)];
        flows.into_iter().for_each(|(client, idle, service)| collector.take(flow(client, idle, service)));
        collector.finish()
    }

    fn clients(query: &str) -> Vec<String> {
        let query = FlowQuery::read(&Arguments::parse(query)).unwrap();
        listing(&query).flows.into_iter().map(|row| row.client).collect()
    }

    #[test]
    fn rows_as_json() {
        let listing = listing(&FlowQuery { limit: 2, ..FlowQuery::default() });
        let expected = serde_json::json!({
            "truncated": true, "total": 4,
            "flows": [
                {
                    "protocol": "TCP", "client": "[2001:db8::1]:7", "frontend": "192.0.2.1:80",
                    "backend": "10.1.1.2:8080", "snat": null, "mode": "local", "state": "established",
                    "idleSeconds": 0, "packets": null, "bytes": null, "service": null, "serviceId": 3,
                },
                {
                    "protocol": "TCP", "client": "10.9.9.2:5000", "frontend": "192.0.2.1:80",
                    "backend": "10.1.1.2:8080", "snat": "10.0.0.1:15000", "mode": "snat", "state": "established",
                    "idleSeconds": 3, "packets": null, "bytes": null, "service": null, "serviceId": 2,
                },
            ],
        });
        assert_eq!(serde_json::to_value(&listing).unwrap(), expected);
    }

    #[test]
    fn each_filter_takes_its_part() {
        assert_eq!(clients(""), ["[2001:db8::1]:7", "10.9.9.2:5000", "10.9.9.1:5000", "10.8.8.1:6000"]);
        assert_eq!(clients("service=shop/web"), ["10.9.9.1:5000", "10.8.8.1:6000"]);
        assert_eq!(clients("service=shop/web:80&state=closing"), ["10.8.8.1:6000"]);
        assert_eq!(clients("service=shop/web:81"), [""; 0]);
        assert_eq!(clients("service=2"), ["10.9.9.2:5000"]);
        assert_eq!(clients("client=10.9.0.0/16"), ["10.9.9.2:5000", "10.9.9.1:5000"]);
        assert_eq!(clients("client=10.9.9.1:5001"), [""; 0]);
        assert_eq!(clients("client=[2001:db8::1]:7"), ["[2001:db8::1]:7"]);
        assert_eq!(clients("backend=10.1.1.2:8080&limit=1"), ["[2001:db8::1]:7"]);
        assert_eq!(clients("backend=10.1.1.3"), [""; 0]);
    }

    #[test]
    fn a_query_survives_the_way_to_the_agent() {
        let text = "service=shop/web:80&client=10.9.0.0/16&backend=10.1.1.2:8080&state=half-open&limit=7";
        let query = FlowQuery::read(&Arguments::parse(text)).unwrap();
        let again = FlowQuery::read(&Arguments::parse(&query.arguments().to_string())).unwrap();
        assert_eq!((&again, query.limit), (&query, 7));
    }

    #[test]
    fn what_is_wrong_names_argument_and_value() {
        let wrong = |text| FlowQuery::read(&Arguments::parse(text)).unwrap_err().to_string();
        assert_eq!(wrong("state=open"), "state 'open': expected one of half-open, established, closing, closed");
        assert_eq!(wrong("limit=0"), "limit '0': expected a number of rows from 1 to 200000");
        assert!(wrong("client=10.9").starts_with("client '10.9': expected an address"));
        assert!(wrong("service=web").starts_with("service 'web': expected NAMESPACE/NAME"));
    }
}
