use std::sync::Arc;

use lb_common::drop_reason::DropReason;
use lb_common::ethernet::Addresses;
use lb_common::lookup::{Route, Table};

use super::*;
use crate::dataplane::explain::{NextHop, Seen, Target};
use crate::l7::table::{RouteEntry, RouteTable};
use crate::model::route::Rewrite;
use crate::model::{PathMatch, Protocol, ServiceKey, TrafficPolicy};
use crate::status::query::Arguments;
use crate::tables::{IpFamily, ServiceId};

fn query(text: &str) -> ExplainQuery {
    ExplainQuery::read(&Arguments::parse(text)).unwrap()
}

fn entry(path: PathMatch, upstream: Option<&str>, rewrite: Option<Rewrite>) -> RouteEntry {
    RouteEntry {
        path,
        ingress: "shop/site".into(),
        service: "shop/web".into(),
        service_port: "http".into(),
        upstream: upstream.map(str::to_owned),
        rewrite,
        filters: Default::default(),
        problem: None,
    }
}

fn view() -> View {
    let key = ServiceKey { namespace: "shop".into(), name: "web".into(), port: 80, protocol: Protocol::Tcp };
    let routes = vec![
        entry(PathMatch::Prefix("/api".into()), Some("shop/web:80"), Some(Rewrite::Prefix("/".into()))),
        entry(PathMatch::Prefix("/down".into()), None, None),
    ];
    let upstreams = [("shop/web:80".to_owned(), vec!["10.1.1.2:8080".parse().unwrap()].into())];
    View {
        node: Some("node-1".into()),
        service_ids: Arc::new([((key, IpFamily::V4, TrafficPolicy::Cluster), ServiceId(5))].into()),
        routes: Arc::new(RouteTable {
            hosts: [("*.shop.example".to_owned(), routes.into())].into(),
            upstreams: upstreams.into(),
            ..RouteTable::default()
        }),
        ..View::default()
    }
}

fn explanation(verdict: Verdict, seen: Vec<Seen>) -> Explanation {
    Explanation {
        device: "eth0".into(),
        xdp: true,
        seen,
        verdict,
        backend: None,
        next_hop: None,
        tunnel: None,
        bytes: vec![],
    }
}

#[test]
fn a_tunnel_is_told() {
    let seen = vec![
        Seen::Frontend { at: "192.0.2.1:80".parse().unwrap(), found: Some((5, false)) },
        Seen::Dsr,
        Seen::RingChanged,
        Seen::Tracked(Some(9)),
        Seen::Node { backend: 9, at: Some("10.0.0.2".parse().unwrap()) },
    ];
    let ends = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    let told = Explanation { tunnel: Some(ends), ..explanation(Verdict::Transmit(3), seen) };
    let row = explain_packet(&query("target=tcp://192.0.2.1:80&from=203.0.113.9:4000"), &told, &view());
    let steps: Vec<_> = row.steps.iter().skip(2).map(|step| format!("{} {}", step.step, step.result)).collect();
    let expected =
        ["forwarding dsr", "ring changed lately", "flow remembered", "node 10.0.0.2", "tunnel IPIP", "verdict forward"];
    assert_eq!(steps, expected);
    assert_eq!(row.steps[6].detail.as_deref(), Some("from 10.0.0.1 to 10.0.0.2"));
}

#[test]
fn a_new_flow_is_told_step_by_step() {
    let direct = Route::Direct { device: 3, addresses: Addresses::new([0; 3], [0; 3]), mtu: 1_500 };
    let seen = vec![
        Seen::Frontend { at: "192.0.2.1:80".parse().unwrap(), found: Some((5, false)) },
        Seen::Flow { table: Table::Proven, entry: None },
        Seen::Flow { table: Table::HalfOpen, entry: None },
        Seen::Service { id: 5, slots: 101 },
        Seen::Backend { id: 9, at: "10.1.2.3:8080".parse().unwrap(), local: false, used: true },
        Seen::Route { to: "10.1.2.3".parse().unwrap(), route: direct },
        Seen::Lease { backend_sees: "10.0.0.1:15000".parse().unwrap() },
        Seen::Counted { service: 5, backend: 9 },
    ];
    let told = Explanation {
        backend: Some(Target { id: 9, at: "10.1.2.3:8080".parse().unwrap(), local: true }),
        next_hop: Some(NextHop { device: 3, name: "eth1".into(), mac: Some([2, 0, 0, 0, 0, 0x1f]) }),
        ..explanation(Verdict::Transmit(3), seen)
    };
    let row = explain_packet(&query("target=tcp://192.0.2.1:80&from=203.0.113.9:4000"), &told, &view());
    let expected = serde_json::json!({
        "input": "tcp://192.0.2.1:80", "from": "203.0.113.9:4000",
        "steps": [
            {"step": "packet", "result": "comes in by eth0", "detail": "from 203.0.113.9:4000; seen first by XDP"},
            {"step": "frontend", "result": "found", "detail": "192.0.2.1:80/TCP leads to shop/web:80 (service 5)"},
            {"step": "flow", "result": "none", "detail": "in the proven table"},
            {"step": "flow", "result": "none", "detail": "in the half-open table"},
            {"step": "ring", "result": "101 slots", "detail": "shop/web:80 (service 5)"},
            {"step": "backend", "result": "10.1.2.3:8080", "detail": "id 9, on another node"},
            {"step": "route", "result": "resolved", "detail": "to 10.1.2.3 out of device 3"},
            {"step": "source", "result": "source NAT", "detail": "the backend sees 10.0.0.1:15000"},
            {"step": "verdict", "result": "forward", "detail": "rewritten and sent to the next hop"},
        ],
        "verdict": "forward", "reason": null, "backend": "10.1.2.3:8080",
        "nextHop": "02:00:00:00:00:1f dev eth1", "node": "node-1", "request": null,
    });
    assert_eq!(serde_json::to_value(&row).unwrap(), expected);
}

#[test]
fn a_drop_tells_its_reason() {
    let told = explanation(Verdict::Drop(DropReason::NoBackend), vec![Seen::Service { id: 7, slots: 0 }]);
    let row = explain_packet(&query("target=udp://192.0.2.1:53"), &told, &view());
    assert_eq!((row.verdict.as_str(), row.reason.as_deref()), ("drop", Some("no_backend")));
    assert_eq!(row.from, "198.51.100.1:40000");
    assert_eq!(row.steps[1], StepRow::new("ring", "empty", "service 7 has no backend"));
}

#[test]
fn requests_take_the_way_of_the_router() {
    let explain = |text: &str| explain_request(&query(text), &view());
    let found = explain("target=http://a.shop.example/api/x%3Fy=1");
    assert_eq!((found.verdict.as_str(), found.backend.as_deref()), ("forward", Some("10.1.1.2:8080")));
    let steps: Vec<_> = found.steps.iter().map(|step| (step.step.as_str(), step.result.as_str())).collect();
    let expected = [
        ("host", "a.shop.example"),
        ("route", "Prefix /api"),
        ("filter", "rewrite-target /"),
        ("not", "Prefix /down"),
        ("endpoints", "1"),
        ("verdict", "forward"),
    ];
    assert_eq!(steps, expected);
    assert_eq!(found.steps[2].detail.as_deref(), Some("/api/x becomes /x"));
    let refused = |text: &str| explain(text).reason;
    assert_eq!(refused("target=http://a.shop.example/other").as_deref(), Some("404"));
    assert_eq!(refused("target=http://a.shop.example/down").as_deref(), Some("503"));
    assert_eq!(refused("target=http://a.shop.example/..").as_deref(), Some("400"));
    assert_eq!(refused("target=http://shop.example/api").as_deref(), Some("404"));
    let by_header = "target=http://192.0.2.1/api&header=Host:b.shop.example";
    assert_eq!(explain(by_header).verdict, "forward");
}

#[test]
fn targets_are_read_as_people_write_them() {
    let read = |text: &str| text.parse::<ExplainTarget>().map(|target| target.to_string());
    for (text, expected) in [
        ("tcp://192.0.2.1:80", "tcp://192.0.2.1:80"),
        ("udp://[2001:db8::1]:53", "udp://[2001:db8::1]:53"),
        ("http://shop.example", "http://shop.example:80/"),
        ("https://shop.example/a/b?c", "https://shop.example:443/a/b?c"),
        ("http://[::1]:8080/x:y", "http://[::1]:8080/x:y"),
    ] {
        assert_eq!(read(text).as_deref(), Ok(expected));
    }
    for wrong in ["192.0.2.1:80", "tcp://192.0.2.1", "tcp://shop.example:80", "tcp://192.0.2.1:80/x", "tcp://1.1.1.1:0"]
    {
        assert!(read(wrong).is_err_and(|expected| expected.starts_with("tcp://IP:PORT")), "{wrong}");
    }
}

#[test]
fn a_query_survives_the_way_to_the_agent() {
    let text = "target=http://shop.example/a%3Fb%26c&from=192.0.2.7&header=Host:+x&header=Cookie:a%3Db&interface=eth0";
    let asked = query(text);
    assert_eq!(ExplainQuery::read(&Arguments::parse(&asked.arguments().to_string())).unwrap(), asked);
    assert_eq!(asked.from.unwrap().to_string(), "192.0.2.7:40000");
}
