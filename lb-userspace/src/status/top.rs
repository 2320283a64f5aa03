//! `weir top`: what happens in a second, from two readings of the counters.

mod query;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_common::abi;
use lb_common::drop_reason::DropReason;
use serde::{Deserialize, Serialize};

use super::row::{BackendRow, Counters, ServiceRow};
use super::view::View;
use super::{backends, services};
use crate::l7::counters::FrontCounters;
use crate::l7::traffic::Traffic;
use crate::model::{IpFamily, Protocol};

pub use query::{TopQuery, TopSort, limit, seconds};

/// What stood in the counters at one moment.
#[derive(Clone, Debug)]
pub struct TopReading {
    /// Counters, and when they were read.
    pub view: View,
    /// What the front counted; `None` if nobody can be asked.
    pub front: Option<FrontCounters>,
    /// What it counted of routes.
    pub traffic: Arc<Traffic>,
    /// When the front was asked.
    pub asked: Instant,
}

/// What happens in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rates {
    /// Packets from clients.
    pub packets_per_second: f64,
    /// Bytes from clients.
    pub bytes_per_second: f64,
    /// Flows begun.
    pub new_flows_per_second: f64,
}

/// A service. Names are null where only the maps were read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopService {
    /// Namespace.
    pub namespace: Option<String>,
    /// Name of the Service.
    pub name: Option<String>,
    /// The Service's port.
    pub port: Option<u16>,
    /// Protocol.
    pub protocol: Option<Protocol>,
    /// Id in the maps, that of the preferred family.
    pub id: Option<u32>,
    /// Its rates, of all families together.
    #[serde(flatten)]
    pub rates: Rates,
}

/// A backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopBackend {
    /// `ADDRESS:PORT`.
    pub backend: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Node it runs on.
    pub node: Option<String>,
    /// `namespace/name` of the pod.
    pub pod: Option<String>,
    /// Its rates.
    #[serde(flatten)]
    pub rates: Rates,
}

/// A reason for which packets were dropped between the readings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopDrop {
    /// Label of the reason.
    pub reason: String,
    /// Packets.
    pub packets_per_second: f64,
    /// Bytes.
    pub bytes_per_second: f64,
}

/// The layer 7 process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopFront {
    /// Requests answered.
    pub requests_per_second: f64,
    /// Of those, with a status from 400 to 499.
    pub client_errors_per_second: f64,
    /// Of those, with a status from 500 on.
    pub server_errors_per_second: f64,
    /// Connections accepted.
    pub connections_per_second: f64,
    /// Connections open now.
    pub active_connections: u64,
}

/// A host that the front serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopHost {
    /// The host of its rules; `*`: any. Null: requests that no rule was for.
    pub host: Option<String>,
    /// Requests answered.
    pub requests_per_second: f64,
    /// Of those, with a status from 400 to 499.
    pub client_errors_per_second: f64,
    /// Of those, with a status from 500 on.
    pub server_errors_per_second: f64,
    /// Bytes of the bodies of answers.
    pub bytes_per_second: f64,
    /// How long a request took, in the mean.
    pub milliseconds: f64,
}

/// What `weir top` shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Top {
    /// Name of the node; null where only the maps were read.
    pub node: Option<String>,
    /// Between the readings of the counters.
    pub seconds: f64,
    /// What comes first.
    pub sort: String,
    /// The services, sorted.
    pub services: Vec<TopService>,
    /// The backends, sorted.
    pub backends: Vec<TopBackend>,
    /// There are more services or backends than are shown.
    pub truncated: bool,
    /// Why packets were dropped between the readings, the most packets first.
    pub drops: Vec<TopDrop>,
    /// The front; null where only the maps were read.
    pub front: Option<TopFront>,
    /// Its hosts, the most requests first.
    #[serde(default)]
    pub hosts: Vec<TopHost>,
}

/// The same as JSON: one object whose only key is the command's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopListing {
    /// The rates.
    pub top: Top,
}

/// What happened between two readings.
pub fn top(query: &TopQuery, before: &TopReading, after: &TopReading) -> TopListing {
    let times = after.view.counted_at.zip(before.view.counted_at);
    let elapsed = times.map(|(now, then)| now.saturating_duration_since(then)).unwrap_or_default();
    let mut services = service_rows(&before.view, &after.view, elapsed);
    let mut backends = backend_rows(&before.view, &after.view, elapsed);
    services.sort_by(|a, b| order(query.sort, &a.rates, &b.rates).then_with(|| name(a).cmp(&name(b))));
    backends.sort_by(|a, b| order(query.sort, &a.rates, &b.rates).then_with(|| a.backend.cmp(&b.backend)));
    let truncated = services.len().max(backends.len()) > query.limit;
    services.truncate(query.limit);
    backends.truncate(query.limit);
    let top = Top {
        node: after.view.node.clone(),
        seconds: tenths(elapsed.as_secs_f64()),
        sort: query.sort.as_str().to_owned(),
        services,
        backends,
        truncated,
        drops: drop_rows(&before.view, &after.view, elapsed),
        front: front(before, after),
        hosts: host_rows(before, after, query.limit),
    };
    TopListing { top }
}

/// The most of what is asked for first.
fn order(sort: TopSort, a: &Rates, b: &Rates) -> Ordering {
    match sort {
        TopSort::Packets => b.packets_per_second.total_cmp(&a.packets_per_second),
        TopSort::Bytes => b.bytes_per_second.total_cmp(&a.bytes_per_second),
        TopSort::Flows => b.new_flows_per_second.total_cmp(&a.new_flows_per_second),
        TopSort::Name => Ordering::Equal,
    }
}

fn name(row: &TopService) -> (&Option<String>, &Option<String>, Option<u16>, Option<u32>) {
    (&row.namespace, &row.name, row.port, row.id)
}

/// Ids begin at zero when they are given to somebody: one that was not there before counts from nothing.
fn service_rows(before: &View, after: &View, elapsed: Duration) -> Vec<TopService> {
    let counted = |row: &ServiceRow| {
        let of_family = |part: &super::row::FamilyRow| Some(((part.family, part.id?), part.counters?));
        row.families.iter().filter_map(of_family).collect::<Vec<_>>()
    };
    let then: HashMap<_, _> = services::rows(before).iter().flat_map(counted).collect();
    let row = |row: ServiceRow| TopService {
        rates: sum(&counted(&row), &then, elapsed),
        namespace: row.namespace,
        name: row.name,
        port: row.port,
        protocol: row.protocol,
        id: row.id,
    };
    services::rows(after).into_iter().map(row).collect()
}

fn backend_rows(before: &View, after: &View, elapsed: Duration) -> Vec<TopBackend> {
    // the generation tells who has the id
    let counted = |row: &BackendRow| {
        let key = (IpFamily::of(row.address), row.id?, row.generation);
        Some((key, row.counters?))
    };
    let then: HashMap<_, _> = backends::rows(before).iter().filter_map(counted).collect();
    let row = |row: BackendRow| TopBackend {
        rates: sum(&counted(&row).into_iter().collect::<Vec<_>>(), &then, elapsed),
        backend: std::net::SocketAddr::new(row.address, row.port).to_string(),
        protocol: row.protocol,
        node: row.node,
        pod: row.pod,
    };
    backends::rows(after).into_iter().map(row).collect()
}

fn sum<K: Hash + Eq>(now: &[(K, Counters)], then: &HashMap<K, Counters>, elapsed: Duration) -> Rates {
    let mut rates = Rates::default();
    for (key, now) in now {
        let then = then.get(key).copied().unwrap_or_default();
        rates.packets_per_second += rate(then.packets, now.packets, elapsed);
        rates.bytes_per_second += rate(then.bytes, now.bytes, elapsed);
        rates.new_flows_per_second += rate(then.new_flows, now.new_flows, elapsed);
    }
    rates
}

fn drop_rows(before: &View, after: &View, elapsed: Duration) -> Vec<TopDrop> {
    let then = before.counts.as_ref().map(|counts| &counts.drops);
    let counts = after.counts.iter().flat_map(|counts| &counts.drops);
    let row = |(reason, now): (&DropReason, &abi::DropCounters)| {
        let then = then.and_then(|drops| drops.get(reason)).copied().unwrap_or_default();
        (now.packets > then.packets).then(|| TopDrop {
            reason: reason.label().to_owned(),
            packets_per_second: rate(then.packets, now.packets, elapsed),
            bytes_per_second: rate(then.bytes, now.bytes, elapsed),
        })
    };
    let mut rows: Vec<TopDrop> = counts.filter_map(row).collect();
    rows.sort_by(|a, b| b.packets_per_second.total_cmp(&a.packets_per_second).then_with(|| a.reason.cmp(&b.reason)));
    rows
}

fn front(before: &TopReading, after: &TopReading) -> Option<TopFront> {
    let (then, now) = (before.front?, after.front?);
    let elapsed = after.asked.saturating_duration_since(before.asked);
    let classes = |counters: &FrontCounters, from: usize| counters.requests.get(from).copied().unwrap_or_default();
    Some(TopFront {
        requests_per_second: rate(then.total_requests(), now.total_requests(), elapsed),
        client_errors_per_second: rate(classes(&then, 3), classes(&now, 3), elapsed),
        server_errors_per_second: rate(classes(&then, 4), classes(&now, 4), elapsed),
        connections_per_second: rate(then.connections, now.connections, elapsed),
        active_connections: now.active_connections,
    })
}

/// Sums of a host: requests, those with 4xx and 5xx, bytes, microseconds.
type HostSums = [u64; 5];

fn host_rows(before: &TopReading, after: &TopReading, limit: usize) -> Vec<TopHost> {
    let elapsed = after.asked.saturating_duration_since(before.asked);
    let (then, now) = (host_sums(&before.traffic), host_sums(&after.traffic));
    let row = |(host, now): (&str, HostSums)| {
        let then = then.get(host).copied().unwrap_or_default();
        let more = now.iter().zip(then).map(|(now, then)| now.saturating_sub(then)).collect::<Vec<_>>();
        let [requests, client_errors, server_errors, bytes, time] = more[..] else { return None };
        (requests > 0).then(|| TopHost {
            host: (!host.is_empty()).then(|| host.to_owned()),
            requests_per_second: rate(0, requests, elapsed),
            client_errors_per_second: rate(0, client_errors, elapsed),
            server_errors_per_second: rate(0, server_errors, elapsed),
            bytes_per_second: rate(0, bytes, elapsed),
            milliseconds: tenths(time as f64 / 1000.0 / requests as f64),
        })
    };
    let mut rows: Vec<_> = now.into_iter().filter_map(row).collect();
    rows.sort_by(|a, b| b.requests_per_second.total_cmp(&a.requests_per_second).then_with(|| a.host.cmp(&b.host)));
    rows.truncate(limit);
    rows
}

fn host_sums(traffic: &Traffic) -> HashMap<&str, HostSums> {
    let mut sums = HashMap::<_, HostSums>::new();
    for (key, counts) in traffic.iter() {
        let sum = sums.entry(key.host.as_str()).or_default();
        sum[0] += counts.requests;
        match key.status {
            400..500 => sum[1] += counts.requests,
            500.. => sum[2] += counts.requests,
            _ => {}
        }
        sum[3] += counts.sent;
        sum[4] += counts.time;
    }
    sums
}

/// How much more in a second. A counter that began anew meanwhile counts from nothing.
fn rate(then: u64, now: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() {
        return 0.0;
    }
    let more = now.checked_sub(then).unwrap_or(now);
    tenths(more as f64 / elapsed.as_secs_f64())
}

/// Rounded to one digit behind the point.
fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests;
