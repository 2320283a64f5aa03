use std::sync::Arc;

use lb_common::abi;
use lb_common::drop_reason::DropReason;

use super::*;
use crate::announce::routers::{Routers, SessionState};
use crate::dataplane::{Conntrack, CounterSnapshot};
use crate::l7::counters::FrontCounters;
use crate::l7::table::{RouteEntry, RouteTable};
use crate::l7::traffic::{Buckets, Detail, Traffic, TrafficCounts, TrafficKey};
use crate::model::{ObjectRef, PathMatch, Problem, Protocol, ServiceKey, Severity, TrafficPolicy};
use crate::sink::Sinks;
use crate::status::View;
use crate::status::row::{FrontRow, MapRow};
use crate::tables::{BackendId, BackendKey, IpFamily, ServiceId};

fn lines(scrape: &Scrape) -> Vec<String> {
    Metrics::default().render(scrape).lines().map(str::to_owned).collect()
}

fn scrape() -> Scrape {
    let key = ServiceKey { namespace: "default".into(), name: "web".into(), port: 80, protocol: Protocol::Tcp };
    let counted = abi::Counters { packets: 3, bytes: 300, new_flows: 1, snat_exhausted: 0 };
    let counts = CounterSnapshot {
        services: [(ServiceId(3), counted), (ServiceId(4), counted)].into(),
        drops: [(DropReason::NoBackend, abi::DropCounters { packets: 7, bytes: 70 })].into(),
        events: [(abi::Stat::Replies as u32, 9)].into(),
        ..CounterSnapshot::default()
    };
    let view = View {
        service_ids: Arc::new(
            [
                ((key.clone(), IpFamily::V4, TrafficPolicy::Cluster), ServiceId(3)),
                ((key, IpFamily::V6, TrafficPolicy::Cluster), ServiceId(4)),
            ]
            .into(),
        ),
        counts: Some(Arc::new(counts)),
        maps: vec![MapRow { name: "FLOWS4".into(), entries: Some(5), capacity: 10 }],
        front: Some(FrontRow { listeners: 2, routes: 1, pid: None, restarts: 4, requests: Some(8) }),
        ..View::default()
    };
    let front = FrontCounters { requests: [0, 7, 0, 1, 0], ..FrontCounters::default() };
    let mut traffic = Traffic::default();
    let key = |status, ingress: &str| TrafficKey {
        host: "a.example".into(),
        path: "/x\"".into(),
        ingress: ingress.into(),
        service: "default/web".into(),
        method: "GET".into(),
        status,
        ..TrafficKey::default()
    };
    let buckets = |counts: &[u64], sum| Buckets { counts: counts.into(), sum };
    let detail = Detail { request_time: buckets(&[1, 0, 2], 40_000), ..Detail::default() };
    let counts = TrafficCounts { requests: 3, received: 4, sent: 5, time: 1_500_000, detail: Some(Box::new(detail)) };
    traffic.add(key(200, "default/web"), &counts);
    traffic.add(key(204, "default/web"), &counts);
    let conntrack = Some(Conntrack { entries: 11, capacity: 12 });
    Scrape { view, front: Some(front), conntrack, traffic: Arc::new(traffic), as_ingress_nginx: false }
}

#[test]
fn what_is_read_stands_in_the_text() {
    let lines = lines(&scrape());
    let expected = [
        // Both families of a dual-stack service.
        "weir_service_packets_total{namespace=\"default\",name=\"web\",port=\"80\",protocol=\"TCP\"} 6",
        "weir_drops_total{reason=\"no_backend\"} 7",
        "weir_drop_bytes_total{reason=\"no_backend\"} 70",
        "weir_packet_events_total{event=\"replies\"} 9",
        "weir_map_entries{map=\"FLOWS4\"} 5",
        "weir_map_capacity{map=\"FLOWS4\"} 10",
        "weir_map_pressure_ratio{map=\"FLOWS4\"} 0.5",
        "weir_front_restarts_total 4",
        "weir_front_requests_total{class=\"2xx\"} 7",
        "weir_front_refused_requests_total 0",
        "weir_conntrack_entries 11",
        "weir_ready 1",
    ];
    for line in expected {
        assert!(lines.iter().any(|found| found == line), "{line} is not in\n{}", lines.join("\n"));
    }
    assert!(lines.iter().any(|line| line.starts_with("weir_build_info{version=")));
    assert_eq!(lines.last().map(String::as_str), Some("# EOF"));
}

#[test]
fn every_metric_has_our_prefix_and_help() {
    let lines = lines(&scrape());
    let help: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("# HELP ")).collect();
    assert!(help.len() > 15, "{help:?}");
    for line in &help {
        let (name, text) = line.split_once(' ').unwrap();
        assert!(name.starts_with("weir_") && text.len() > 10, "{line}");
    }
    let mut names: Vec<_> = help.iter().filter_map(|line| line.split(' ').next()).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "a name stands twice");
}

#[test]
fn problems_are_counted_and_go_away() {
    let metrics = Metrics::default();
    let mut sinks = Sinks::new(vec![Box::new(metrics.problem_sink())]);
    let problem = |name: &str| Problem {
        code: "x".into(),
        severity: Severity::Warning,
        object: ObjectRef { name: Some(name.into()), ..ObjectRef::default() },
        field: None,
        value: None,
        expected: None,
        message: String::new(),
        file: None,
        line: None,
    };
    sinks.publish(vec![problem("a"), problem("b")]);
    assert!(metrics.render(&Scrape::default()).contains("weir_problems{severity=\"warning\",code=\"x\"} 2\n"));
    sinks.publish(vec![]);
    assert!(!metrics.render(&Scrape::default()).contains("weir_problems{"));
}

#[test]
fn passes_are_counted() {
    let metrics = Metrics::default();
    metrics.reconciled(Duration::from_millis(3), 5, false);
    metrics.reconciled(Duration::from_millis(3), 2, true);
    let text = metrics.render(&Scrape::default());
    for line in [
        "weir_reconcile_writes_total 7\n",
        "weir_reconcile_failures_total 1\n",
        "weir_reconcile_duration_seconds_count 2\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn routes_have_the_names_of_ingress_nginx_where_that_is_asked_for() {
    let ours = lines(&scrape());
    let route = r#"host="a.example",path="/x\"",ingress="default/web",service="default/web",class="2xx""#;
    for expected in [
        format!("weir_front_route_requests_total{{{route}}} 6"),
        format!("weir_front_route_sent_bytes_total{{{route}}} 10"),
        format!("weir_front_route_seconds_total{{{route}}} 3.0"),
    ] {
        assert!(ours.contains(&expected), "{expected}: {ours:#?}");
    }
    assert!(!ours.iter().any(|line| line.contains("nginx_ingress_controller")));
    let theirs = lines(&Scrape { as_ingress_nginx: true, ..scrape() });
    let own = r#"controller_class="k8s.io/ingress-nginx",controller_namespace="",controller_pod="""#;
    let route = r#"host="a.example",namespace="default",ingress="web",service="web",path="/x\"",canary="",method="GET",status="204""#;
    let named = "nginx_ingress_controller";
    for expected in [
        format!("{named}_requests{{{own},{route}}} 3"),
        format!("{named}_request_duration_seconds_bucket{{{own},{route},le=\"0.005\"}} 1"),
        format!("{named}_request_duration_seconds_bucket{{{own},{route},le=\"0.025\"}} 3"),
        format!("{named}_request_duration_seconds_bucket{{{own},{route},le=\"+Inf\"}} 3"),
        format!("{named}_request_duration_seconds_sum{{{own},{route}}} 0.04"),
        format!("{named}_request_duration_seconds_count{{{own},{route}}} 3"),
        format!("{named}_nginx_process_requests_total{{{own}}} 8"),
    ] {
        assert!(theirs.contains(&expected), "{expected}: {theirs:#?}");
    }
    assert_eq!(theirs.last().map(String::as_str), Some("# EOF"));
}

#[test]
fn certificates_and_orphans_have_the_names_of_ingress_nginx() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut parameters = rcgen::CertificateParams::new(["a.example".to_owned()]).expect("names");
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "the \"authority\"");
    parameters.distinguished_name.push(rcgen::DnType::OrganizationName, "people");
    parameters.serial_number = Some(vec![1, 0].into());
    let pem = parameters.self_signed(&key).expect("a certificate").pem();
    let certificate = crate::x509::certificate(pem.as_bytes(), key.serialize_pem().as_bytes(), None).expect("good");
    let until = certificate.not_after;
    let entry = |path: &str, upstream: Option<&str>, ingress: &str| RouteEntry {
        ingress: ingress.into(),
        ..crate::l7::testing::entry(PathMatch::Prefix(path.into()), upstream)
    };
    let mut routes = RouteTable::default();
    routes.upstreams.insert("default/web:80".into(), Arc::from([([192, 0, 2, 1], 80).into()]));
    routes.upstreams.insert("default/empty:80".into(), Arc::from([]));
    let entries = [
        entry("/", Some("default/web:80"), "default/good"),
        entry("/a", Some("default/empty:80"), "default/empty"),
        entry("/b", None, "default/gone"),
    ];
    routes.hosts.insert("a.example".into(), Arc::from(entries));
    let host = crate::model::TlsHost { certificate: Some("default/one".to_owned()), ..Default::default() };
    routes.tls.hosts.insert("a.example".to_owned(), host);
    routes.tls.certificates.insert("default/one".to_owned(), Arc::new(certificate));
    let mut asked = Scrape { as_ingress_nginx: true, ..scrape() };
    asked.view.routes = Arc::new(routes);
    let theirs = lines(&asked);
    let ours = |line: &&String| line.starts_with("weir_certificate_expiry_timestamp_seconds{");
    assert!(theirs.iter().find(ours).is_some_and(|line| line.ends_with(&format!(" {until}"))), "{theirs:#?}");
    let named = "nginx_ingress_controller";
    let own = r#"controller_class="k8s.io/ingress-nginx",controller_namespace="",controller_pod="""#;
    let of = r#"host="a.example",namespace="default",secret_name="one",class="k8s.io/ingress-nginx""#;
    let which = r#"identifier="the \"authority\"-256",issuer_common_name="the \"authority\"",issuer_organization="people",serial_number="256",public_key_algorithm="ECDSA""#;
    let orphan = |ingress, kind, value| {
        format!("{named}_orphan_ingress{{{own},namespace=\"default\",ingress=\"{ingress}\",type=\"{kind}\"}} {value}")
    };
    let route = r#"host="a.example",namespace="default",ingress="web",service="web",path="/x\"",canary="",method="GET",status="204""#;
    for expected in [
        format!("{named}_ssl_expire_time_seconds{{{own},{of}}} {until}"),
        format!("{named}_ssl_certificate_info{{{own},{of},{which}}} 1"),
        orphan("good", "no-service", 0),
        orphan("good", "no-endpoint", 0),
        orphan("empty", "no-service", 0),
        orphan("empty", "no-endpoint", 1),
        orphan("gone", "no-service", 1),
        format!("{named}_bytes_sent_count{{{own},{route}}} 0"),
    ] {
        assert!(theirs.contains(&expected), "{expected}: {theirs:#?}");
    }
}

/// A scrape in which every metric has a value.
fn everything() -> Vec<String> {
    let mut scrape = scrape();
    let backend = BackendKey { address: [192, 0, 2, 1].into(), port: 80, protocol: Protocol::Tcp, local: true };
    scrape.view.backend_ids = Arc::new([((IpFamily::V4, backend), BackendId(5))].into());
    scrape.view.announcing = Some(crate::announce::Listing::default());
    let peer = "192.0.2.9".parse().expect("an address");
    let session = SessionState { peer, asn: 64_513, established: true, info: "Established".into() };
    scrape.view.routers = Some(Routers { bird: true, sessions: vec![session], networks: 3, problems: Vec::new() });
    let certificate = crate::model::Certificate {
        chain: String::new(),
        key: String::new().into(),
        staple: None,
        names: Vec::new(),
        not_before: 0,
        not_after: 1,
    };
    let mut routes = crate::l7::table::RouteTable::default();
    routes.tls.certificates.insert("a/b".to_owned(), Arc::new(certificate));
    scrape.view.routes = Arc::new(routes);
    let metrics = Metrics::default();
    let mut sinks = Sinks::new(vec![Box::new(metrics.problem_sink())]);
    sinks.publish(vec![Problem::error("map-full", &ObjectRef::default(), "full")]);
    metrics.render(&scrape).lines().map(str::to_owned).collect()
}

/// Names as they are scraped, with the labels that they have, and their help.
fn names() -> std::collections::BTreeMap<String, (String, String)> {
    let lines = everything();
    let mut found = std::collections::BTreeMap::new();
    let (mut help, mut kind) = ("", "");
    for line in &lines {
        if let Some(text) = line.strip_prefix("# HELP ") {
            help = text.split_once(' ').map_or("", |(_, text)| text);
        } else if let Some(text) = line.strip_prefix("# TYPE ") {
            kind = text.rsplit(' ').next().unwrap_or_default();
        } else if !line.starts_with('#') {
            let series = line.split(' ').next().unwrap_or_default();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.trim_end_matches('}').split(',').filter_map(|label| label.split('=').next());
            let labels = labels.filter(|label| !label.is_empty()).collect::<Vec<_>>().join(", ");
            found.insert(name.to_owned(), (labels, format!("{} ({kind})", help.trim_end_matches('.'))));
        }
    }
    found
}

#[test]
fn every_metric_is_listed_in_the_reference() {
    let row = |(name, (labels, help)): (String, (String, String))| format!("| `{name}` | {labels} | {help} |\n");
    let rows: String = names().into_iter().map(row).collect();
    crate::reference::check("metrics", &format!("| metric | labels | |\n|---|---|---|\n{rows}"));
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_exist() {
    let names = names();
    let reasons: Vec<_> = DropReason::ALL.iter().map(|reason| reason.label()).collect();
    let events: Vec<_> = scrape::EVENTS.iter().map(|(_, event)| *event).collect();
    for file in ["rules.yaml", "weir.json"] {
        let path = format!("{}/../deploy/kubernetes/monitoring/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).expect("a file of deploy").replace("\\\"", "\"");
        let mut asked = 0;
        for (at, _) in text.match_indices("weir_") {
            let name: String = text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let (labels, _) = names.get(&name).unwrap_or_else(|| panic!("{file}: there is no {name}"));
            let selector = text[at + name.len()..].strip_prefix('{').and_then(|rest| rest.split('}').next());
            for (label, value) in selector.iter().flat_map(|s| s.split(',')).filter_map(|part| part.split_once('=')) {
                assert!(labels.split(", ").any(|known| known == label), "{file}: {name} has no label {label}");
                let value = value.trim_matches('"');
                let known = match label {
                    "reason" => reasons.contains(&value),
                    "event" => events.contains(&value),
                    "class" => ["1xx", "2xx", "3xx", "4xx", "5xx"].contains(&value),
                    "severity" => ["error", "warning", "info"].contains(&value),
                    _ => false,
                };
                assert!(known, "{file}: {name} never has {label}={value}");
            }
            asked += 1;
        }
        assert!(asked >= 10, "{file}");
    }
}
