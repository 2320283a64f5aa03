//! Metrics that are read from the maps and the front at the moment somebody asks.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use lb_common::abi::{self, Stat};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::labels::{
    BackendLabels, ClassLabels, DropLabels, EventLabels, LimitLabels, MapLabels, RouteLabels, RouterLabels,
    SecretLabels, ServiceLabels,
};
use super::{counter_at, weir};
use crate::announce::Listing;
use crate::announce::routers::Routers;
use crate::dataplane::{Conntrack, CounterSnapshot};
use crate::l7::counters::FrontCounters;
use crate::l7::hits::Hit;
use crate::l7::traffic::Traffic;
use crate::model::Tls;
use crate::status::View;
use crate::status::row::FrontRow;
use crate::tables::{IpFamily, ServiceId};

type Counters<L> = Family<L, Counter>;
type Gauges<L> = Family<L, Gauge>;

/// What a scrape shows.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    /// What the agent knows.
    pub view: View,
    /// What the front counts.
    pub front: Option<FrontCounters>,
    /// What it counts of routes.
    pub traffic: Arc<Traffic>,
    /// The names of ingress-nginx are there as well.
    pub as_ingress_nginx: bool,
    /// The kernel's connection tracking.
    pub conntrack: Option<Conntrack>,
}

impl Scrape {
    pub(super) fn registry(&self) -> Registry {
        let mut registry = weir();
        self.agent(&mut registry);
        self.maps(&mut registry);
        if let Some(counts) = &self.view.counts {
            self.services(&mut registry, counts);
            self.backends(&mut registry, counts);
            drops(&mut registry, counts);
            events(&mut registry, counts);
        }
        if let Some(front_row) = &self.view.front {
            front(&mut registry, front_row);
        }
        certificates(&mut registry, &self.view.routes.tls);
        if let Some(counters) = &self.front {
            requests(&mut registry, counters);
        }
        routes(&mut registry, &self.traffic);
        registry
    }

    fn agent(&self, registry: &mut Registry) {
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of weir", build);
        gauge(registry, "ready", "1 if /readyz answers 200", u64::from(self.view.missing.is_empty()));
        if let Some(listing) = &self.view.announcing {
            announced(registry, listing);
        }
        if let Some(found) = &self.view.routers {
            routers(registry, found);
        }
        if let Some(conntrack) = self.conntrack {
            gauge(registry, "conntrack_entries", "Connections that the kernel tracks", conntrack.entries);
            gauge(registry, "conntrack_capacity", "Connections that the kernel can track", conntrack.capacity);
        }
    }

    fn maps(&self, registry: &mut Registry) {
        let (entries, capacity) = (Gauges::<MapLabels>::default(), Gauges::<MapLabels>::default());
        let pressure = Family::<MapLabels, Gauge<f64, AtomicU64>>::default();
        for map in &self.view.maps {
            let labels = MapLabels { map: map.name.clone() };
            capacity.get_or_create(&labels).set(signed(map.capacity));
            if let Some(used) = map.entries {
                entries.get_or_create(&labels).set(signed(used));
                pressure.get_or_create(&labels).set(used as f64 / map.capacity.max(1) as f64);
            }
        }
        registry.register("map_entries", "Entries in use of a map", entries);
        registry.register("map_capacity", "Most entries of a map", capacity);
        registry.register("map_pressure_ratio", "Part of a map that is in use, from 0 to 1", pressure);
    }

    /// A service has an id per family and policy; its counters are their sum.
    fn services(&self, registry: &mut Registry, counts: &CounterSnapshot) {
        let rows = self.view.service_ids.iter().map(|((key, ..), id): (_, &ServiceId)| {
            (ServiceLabels::of(key), counts.services.get(id).copied().unwrap_or_default())
        });
        let names = ["service_packets", "service_bytes", "service_flows", "service_snat_exhausted"];
        traffic(registry, names, "a service", rows);
    }

    fn backends(&self, registry: &mut Registry, counts: &CounterSnapshot) {
        let rows = self.view.backend_ids.iter().map(|((family, key), id): (&(IpFamily, _), _)| {
            (BackendLabels::of(key), counts.backends.get(&(*family, *id)).copied().unwrap_or_default())
        });
        let names = ["backend_packets", "backend_bytes", "backend_flows", "backend_snat_exhausted"];
        traffic(registry, names, "a backend", rows);
    }
}

fn announced(registry: &mut Registry, listing: &Listing) {
    gauge(registry, "announced_addresses", "Addresses that this node announces to its neighbours", listing.own);
    let help = "Addresses that this node has taken, from another node or new ones";
    registry.register("announced_taken", help, counter_at(listing.taken));
    let help = "How often another station said that it has an address that this node announces";
    registry.register("announced_rivals", help, counter_at(listing.rivals));
}

fn routers(registry: &mut Registry, found: &Routers) {
    gauge(registry, "bird_up", "1 if BIRD answers the agent", u64::from(found.bird));
    gauge(registry, "bgp_networks", "Networks that routers are told to lead to this node", found.networks);
    let sessions = Gauges::<RouterLabels>::default();
    for session in &found.sessions {
        sessions.get_or_create(&RouterLabels::of(session)).set(i64::from(session.established));
    }
    registry.register("bgp_session_up", "1 if there is a session with a router", sessions);
}

/// Packets, bytes and flows of services or backends.
fn traffic<L>(
    registry: &mut Registry,
    names: [&'static str; 4],
    of: &str,
    rows: impl Iterator<Item = (L, abi::Counters)>,
) where
    L: Clone + std::hash::Hash + Eq + std::fmt::Debug + Send + Sync + 'static,
    L: prometheus_client::encoding::EncodeLabelSet,
{
    let (packets, bytes, flows) = (Counters::<L>::default(), Counters::<L>::default(), Counters::<L>::default());
    let exhausted = Counters::<L>::default();
    for (labels, counters) in rows {
        packets.get_or_create(&labels).inc_by(counters.packets);
        bytes.get_or_create(&labels).inc_by(counters.bytes);
        flows.get_or_create(&labels).inc_by(counters.new_flows);
        exhausted.get_or_create(&labels).inc_by(counters.snat_exhausted);
    }
    registry.register(names[0], format!("Packets from clients to {of}"), packets);
    registry.register(names[1], format!("Bytes from clients to {of}"), bytes);
    registry.register(names[2], format!("Flows that clients began to {of}"), flows);
    registry.register(names[3], format!("Flows to {of} for which no port was free for source NAT"), exhausted);
}

fn drops(registry: &mut Registry, counts: &CounterSnapshot) {
    let (packets, bytes) = (Counters::<DropLabels>::default(), Counters::<DropLabels>::default());
    for (reason, counted) in &counts.drops {
        let labels = DropLabels { reason: reason.label() };
        packets.get_or_create(&labels).inc_by(counted.packets);
        bytes.get_or_create(&labels).inc_by(counted.bytes);
    }
    registry.register("drops", "Packets dropped, by reason", packets);
    registry.register("drop_bytes", "Bytes of packets dropped, by reason", bytes);
}

fn events(registry: &mut Registry, counts: &CounterSnapshot) {
    let events = Counters::<EventLabels>::default();
    for (stat, event) in EVENTS {
        events.get_or_create(&EventLabels { event }).inc_by(counts.event(stat));
    }
    registry.register("packet_events", "What else happened to packets", events);
}

/// Labels of what is counted beside services, backends and drops.
pub(super) const EVENTS: [(Stat, &str); 23] = [
    (Stat::FragmentsPassed, "fragments_passed"),
    (Stat::HandedOver, "handed_over"),
    (Stat::FlowTableFull, "flow_table_full"),
    (Stat::Replies, "replies"),
    (Stat::NotOurs, "not_ours"),
    (Stat::FlowsMoved, "flows_moved"),
    (Stat::IcmpErrors, "icmp_errors"),
    (Stat::EchoReplies, "echo_replies"),
    (Stat::FragmentsFollowed, "fragments_followed"),
    (Stat::ErrorsSent, "icmp_errors_sent"),
    (Stat::ErrorsLimited, "icmp_errors_limited"),
    (Stat::ErrorsByRing, "icmp_errors_by_ring"),
    (Stat::Tunnelled, "tunnelled"),
    (Stat::Untunnelled, "untunnelled"),
    (Stat::FlowsKept, "flows_kept"),
    (Stat::MssLowered, "mss_lowered"),
    (Stat::ErrorsShared, "icmp_errors_shared"),
    (Stat::TunnelErrors, "icmp_errors_of_tunnels"),
    (Stat::Refused, "clients_refused"),
    (Stat::NeighboursTold, "neighbours_told"),
    (Stat::Rivals, "rivals_heard"),
    (Stat::CookiesSent, "syn_cookies_sent"),
    (Stat::CookiesTaken, "syn_cookies_accepted"),
];

fn front(registry: &mut Registry, front: &FrontRow) {
    gauge(registry, "front_listeners", "Sockets of the front that listen", front.listeners as u64);
    gauge(registry, "front_routes", "Routes that the front has in force", front.routes as u64);
    registry.register("front_restarts", "How often the front was started again", counter_at(front.restarts));
}

fn certificates(registry: &mut Registry, tls: &Tls) {
    let ends = Gauges::<SecretLabels>::default();
    for (secret, certificate) in &tls.certificates {
        ends.get_or_create(&SecretLabels::of(secret)).set(certificate.not_after);
    }
    let help = "Until when the certificate of a Secret is valid, in seconds since 1970";
    registry.register("certificate_expiry_timestamp_seconds", help, ends);
}

fn requests(registry: &mut Registry, front: &FrontCounters) {
    let requests = Counters::<ClassLabels>::default();
    for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(front.requests) {
        requests.get_or_create(&ClassLabels { class }).inc_by(count);
    }
    registry.register("front_requests", "Requests that the front answered, by class of the status", requests);
    gauge(registry, "front_active_connections", "Connections to the front that are open", front.active_connections);
    let help = "Endpoints that the front leaves out, by what they answer to health checks";
    gauge(registry, "front_unhealthy_endpoints", help, front.unhealthy_endpoints);
    let counters = [
        ("front_health_checks", "Health checks of endpoints", front.health_checks),
        ("front_health_check_failures", "Of those, not answered well", front.health_check_failures),
        ("front_connections", "Connections that the front accepted", front.connections),
        ("front_refused_requests", "Requests refused for doubtful framing or Host", front.refused),
        ("front_tls_handshakes", "Connections on which TLS was to be spoken", front.tls_handshakes),
        ("front_tls_failures", "Of those, without a good handshake", front.tls_failures),
        ("front_http2_connections", "Connections of clients that speak HTTP/2", front.http2_connections),
        ("front_spans_lost", "Spans that could not be handed over fast enough", front.spans_lost),
        ("front_http3_connections", "Connections of clients that speak HTTP/3", front.http3_connections),
        ("front_upstream_connections", "Connections that the front opened to backends", front.upstream_connections),
        ("front_upstream_reuses", "Requests sent on a connection of an earlier one", front.upstream_reuses),
        ("front_upstream_failures", "Backends that could not be reached or broke off", front.upstream_failures),
        ("front_upstream_retries", "Requests sent again to a backend", front.upstream_retries),
        ("front_log_lines_lost", "Lines of the access log that nobody read fast enough", front.log_lines_lost),
    ];
    for (name, help, value) in counters {
        registry.register(name, help, counter_at(value));
    }
    let limited = Counters::<LimitLabels>::default();
    for (hit, count) in Hit::ALL.into_iter().zip(front.limited) {
        limited.get_or_create(&LimitLabels { limit: hit.label() }).inc_by(count);
    }
    registry.register("front_limited", "How often a client reached a limit of the front, by limit", limited);
}

/// By route and class of the status.
fn routes(registry: &mut Registry, traffic: &Traffic) {
    let [requests, received, sent] = [(); 3].map(|()| Counters::<RouteLabels>::default());
    let seconds = Family::<RouteLabels, Counter<f64, AtomicU64>>::default();
    for (key, counts) in traffic.iter() {
        let labels = RouteLabels::of(key);
        requests.get_or_create(&labels).inc_by(counts.requests);
        received.get_or_create(&labels).inc_by(counts.received);
        sent.get_or_create(&labels).inc_by(counts.sent);
        seconds.get_or_create(&labels).inc_by(counts.time as f64 / 1e6);
    }
    registry.register("front_route_requests", "Requests of a route", requests);
    registry.register("front_route_received_bytes", "Bytes of bodies of its requests", received);
    registry.register("front_route_sent_bytes", "Bytes of bodies of its answers", sent);
    let help = "Requests that are in no count of a route, for want of room";
    registry.register("front_route_dropped_requests", help, counter_at(traffic.dropped()));
    registry.register("front_route_seconds", "Seconds that its requests took, together", seconds);
}

fn gauge(registry: &mut Registry, name: &'static str, help: &str, value: u64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(signed(value));
    registry.register(name, help, gauge);
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
