use std::sync::Arc;

use super::*;
use crate::clock;
use crate::dataplane::CounterSnapshot;
use crate::l7::traffic::{TrafficCounts, TrafficKey};
use crate::model::{DesiredState, ServiceKey};
use crate::status::print_top;
use crate::status::query::Arguments;
use crate::tables::{BackendId, BackendKey, ServiceId, Tables};

const COUNTED: abi::Counters = abi::Counters { packets: 1_000, bytes: 60_000, new_flows: 10, snat_exhausted: 0 };

/// What the agent knows of two services and two backends; `counts` by service and by backend.
fn reading(at: Instant, services: &[(u32, u64)], backends: &[(u32, u32, u64)], drops: u64) -> TopReading {
    let times = |times: u64| abi::Counters {
        packets: COUNTED.packets * times,
        bytes: COUNTED.bytes * times,
        new_flows: COUNTED.new_flows * times,
        snat_exhausted: 0,
    };
    let mut tables = Tables::default();
    for &(id, ..) in backends {
        let key = BackendKey {
            address: std::net::Ipv4Addr::new(10, 1, 1, id as u8).into(),
            port: 8080,
            protocol: Protocol::Tcp,
            local: true,
        };
        tables.backends.insert((IpFamily::V4, BackendId(id)), key);
    }
    for &(id, _) in services {
        let frontend = crate::tables::FrontendKey {
            address: std::net::Ipv4Addr::new(192, 0, 2, id as u8).into(),
            port: 80,
            protocol: Protocol::Tcp,
            inside: false,
        };
        let value = crate::tables::Frontend { service: ServiceId(id), front: None, ..Default::default() };
        tables.services.insert(ServiceId(id), vec![BackendId(1)].into());
        tables.frontends.insert(frontend, value);
    }
    let counts = CounterSnapshot {
        services: services.iter().map(|&(id, count)| (ServiceId(id), times(count))).collect(),
        backends: backends.iter().map(|&(id, _, count)| ((IpFamily::V4, BackendId(id)), times(count))).collect(),
        generations: backends.iter().map(|&(id, generation, _)| ((IpFamily::V4, BackendId(id)), generation)).collect(),
        drops: [(DropReason::NoBackend, abi::DropCounters { packets: drops, bytes: drops * 60 })].into(),
        ..CounterSnapshot::default()
    };
    let view =
        View { tables: Arc::new(tables), counts: Some(Arc::new(counts)), counted_at: Some(at), ..View::default() };
    let front = FrontCounters { requests: [0, drops, 0, 7, 1], active_connections: 3, ..FrontCounters::default() };
    let mut traffic = Traffic::default();
    for (host, status, times) in [("a.example", 200, 2), ("a.example", 404, 1), ("b.example", 502, 1), ("", 404, 1)] {
        let key = TrafficKey { host: host.into(), status, ..TrafficKey::default() };
        let requests = drops * times;
        traffic
            .add(key, &TrafficCounts { requests, sent: requests * 100, time: requests * 1500, ..Default::default() });
    }
    TopReading { view, front: Some(front), traffic: Arc::new(traffic), asked: at }
}

fn measured(sort: TopSort, limit: usize) -> Top {
    let start = clock::now();
    let before = reading(start, &[(1, 5), (2, 5)], &[(1, 1, 5), (2, 1, 9)], 40);
    // service 2 moves most; backend 2 is another one now, under an id that was used before
    let later = start + Duration::from_secs(4);
    let after = reading(later, &[(1, 6), (2, 9), (3, 1)], &[(1, 1, 7), (2, 2, 1)], 50);
    top(&TopQuery { sort, limit, seconds: 4 }, &before, &after).top
}

#[test]
fn rates_are_differences_by_time() {
    let top = measured(TopSort::Packets, 10);
    let services: Vec<_> = top.services.iter().map(|row| (row.id, row.rates.packets_per_second)).collect();
    assert_eq!(services, [(Some(2), 1_000.0), (Some(1), 250.0), (Some(3), 250.0)]);
    assert_eq!(top.services[0].rates.bytes_per_second, 60_000.0);
    assert_eq!(top.services[0].rates.new_flows_per_second, 10.0);
    let backends: Vec<_> =
        top.backends.iter().map(|row| (row.backend.as_str(), row.rates.packets_per_second)).collect();
    assert_eq!(backends, [("10.1.1.1:8080", 500.0), ("10.1.1.2:8080", 250.0)]);
    assert_eq!((top.seconds, top.truncated), (4.0, false));
    let drops: Vec<_> = top.drops.iter().map(|row| (row.reason.as_str(), row.packets_per_second)).collect();
    assert_eq!(drops, [("no_backend", 2.5)]);
    let front = top.front.unwrap();
    assert_eq!((front.requests_per_second, front.server_errors_per_second, front.active_connections), (2.5, 0.0, 3));
}

#[test]
fn the_names_of_a_dual_stack_service_are_kept_and_its_families_added() {
    let start = clock::now();
    let with_names = |mut reading: TopReading| {
        let key = ServiceKey { namespace: "shop".into(), name: "web".into(), port: 80, protocol: Protocol::Tcp };
        let service = crate::model::Service {
            key: key.clone(),
            port_name: None,
            service_type: crate::model::ServiceType::ClusterIP,
            frontends: vec![],
            target: crate::model::Target::Backends(vec![]),
            families: vec![IpFamily::V6, IpFamily::V4],
            forwarding: crate::model::Forwarding::Snat,
            forwarding_by: crate::model::ForwardingBy::default(),
            policy: crate::model::Policy::default(),
            source_ranges: None,
        };
        let cluster = crate::model::TrafficPolicy::Cluster;
        reading.view.desired =
            Some(Arc::new(DesiredState { services: [(key.clone(), service)].into(), ..DesiredState::default() }));
        reading.view.service_ids = Arc::new(
            [((key.clone(), IpFamily::V6, cluster), ServiceId(1)), ((key, IpFamily::V4, cluster), ServiceId(2))].into(),
        );
        reading
    };
    let before = with_names(reading(start, &[(1, 1), (2, 1)], &[], 0));
    let after = with_names(reading(start + Duration::from_secs(1), &[(1, 2), (2, 3)], &[], 0));
    let top = top(&TopQuery::default(), &before, &after).top;
    assert_eq!((top.services.len(), top.services[0].rates.packets_per_second), (1, 3_000.0));
    assert_eq!((top.services[0].name.as_deref(), top.services[0].id), (Some("web"), Some(1)));
}

#[test]
fn hosts_have_their_requests_errors_and_times() {
    let hosts = measured(TopSort::Packets, 10).hosts;
    let row = |host: Option<&str>, rates: [f64; 4]| TopHost {
        host: host.map(str::to_owned),
        requests_per_second: rates[0],
        client_errors_per_second: rates[1],
        server_errors_per_second: rates[2],
        bytes_per_second: rates[3],
        milliseconds: 1.5,
    };
    let expected = [
        row(Some("a.example"), [7.5, 2.5, 0.0, 750.0]),
        row(None, [2.5, 2.5, 0.0, 250.0]),
        row(Some("b.example"), [2.5, 0.0, 2.5, 250.0]),
    ];
    assert_eq!(hosts, expected);
    assert_eq!(measured(TopSort::Packets, 1).hosts, expected[..1]);
    let text = print_top(&TopListing { top: measured(TopSort::Packets, 10) }, 80, 40);
    assert!(text.contains("HOST") && text.contains("a.example"), "{text}");
}

#[test]
fn nothing_is_made_of_one_reading() {
    let now = clock::now();
    let reading = reading(now, &[(1, 5)], &[(1, 1, 5)], 3);
    let top = top(&TopQuery::default(), &reading, &reading).top;
    assert_eq!(top.services[0].rates, Rates::default());
    assert!(top.drops.is_empty());
}

#[test]
fn sorting_and_bound() {
    let ids = |sort, limit| measured(sort, limit).services.iter().filter_map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(TopSort::Name, 10), [1, 2, 3]);
    assert_eq!(ids(TopSort::Flows, 1), [2]);
    assert_eq!(ids(TopSort::Bytes, 2), [2, 1]);
    assert!(measured(TopSort::Packets, 2).truncated);
}

#[test]
fn the_text_fits_the_terminal() {
    let listing = TopListing { top: measured(TopSort::Packets, 10) };
    for (width, height) in [(80, 24), (80, 14), (60, 40), (50, 14)] {
        let text = print_top(&listing, width, height);
        assert!(text.lines().count() <= height, "{height}:\n{text}");
        assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
    }
    let text = print_top(&listing, 80, 24);
    assert!(text.starts_with("weir top of the maps: over 4.0 s, sorted by packets\nfront: 2.5 requests/s"), "{text}");
    assert!(text.contains("58.5Ki") && text.contains("id 2"), "{text}");
    assert!(text.contains("no_backend"), "{text}");
}

#[test]
fn arguments_are_checked_and_survive_the_way() {
    let query = TopQuery { seconds: 30, sort: TopSort::Bytes, limit: 10_000 };
    assert_eq!(TopQuery::read(&Arguments::parse(&query.arguments().to_string())), Ok(query));
    let wrong = |text| TopQuery::read(&Arguments::parse(text)).unwrap_err().to_string();
    assert_eq!(wrong("seconds=0"), "seconds '0': expected a number of seconds from 1 to 30");
    assert_eq!(wrong("seconds=31"), "seconds '31': expected a number of seconds from 1 to 30");
    assert_eq!(wrong("limit=10001"), "limit '10001': expected a number of rows from 1 to 10000");
    assert_eq!(wrong("sort=size"), "sort 'size': expected one of packets, bytes, flows, name");
}
