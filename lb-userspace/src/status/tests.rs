//! The JSON is compared as a whole: a key that moves breaks scripts.

use std::net::IpAddr;
use std::sync::Arc;

use lb_common::abi;
use serde_json::json;

use super::row::{FrontRow, InterfaceRow, MapRow, ProgramRow, SocketLevelRow, SourceRow, WayRow};
use super::*;
use crate::announce::routers::{Routers, SessionState};
use crate::dataplane::CounterSnapshot;
use crate::l7::table::{RouteEntry, RouteTable};
use crate::model::route::Rewrite;
use crate::model::{
    Backend, BackendState, DesiredState, Forwarding, ForwardingBy, FrontListener, Frontend, FrontendKind, ObjectRef,
    PathMatch, Policy, Problem, Protocol, Service, ServiceKey, ServiceType, Severity, Target, TrafficPolicy,
};
use crate::tables::{BackendId, BackendKey, FrontendKey, IpFamily, ServiceId, Tables};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn backend(address: &str, state: BackendState, local: bool) -> Backend {
    Backend {
        address: ip(address),
        port: 8080,
        weight: 1,
        state,
        node: Some(if local { "node-1" } else { "node-2" }.to_owned()),
        far: false,
        local,
        pod: Some(format!("default/web-{address}")),
    }
}

fn service(name: &str, target: Target, frontends: Vec<Frontend>) -> (ServiceKey, Service) {
    let key = ServiceKey { namespace: "default".into(), name: name.into(), port: 80, protocol: Protocol::Tcp };
    let service = Service {
        key: key.clone(),
        port_name: Some("http".into()),
        service_type: ServiceType::NodePort,
        frontends,
        target,
        families: vec![IpFamily::V4],
        forwarding: Forwarding::Snat,
        policy: Policy::default(),
        source_ranges: None,
        forwarding_by: ForwardingBy::default(),
    };
    (key, service)
}

fn desired() -> DesiredState {
    let web = vec![
        Frontend { kind: FrontendKind::NodePort, address: None, port: 30080 },
        Frontend { kind: FrontendKind::ExternalIP, address: Some(ip("192.0.2.7")), port: 80 },
    ];
    let backends = vec![
        backend("10.1.1.2", BackendState::Active, true),
        backend("10.1.2.2", BackendState::Terminating, false),
        backend("10.1.2.3", BackendState::Unhealthy, false),
    ];
    let front = vec![Frontend { kind: FrontendKind::ExternalIP, address: Some(ip("192.0.2.8")), port: 80 }];
    let services =
        [service("web", Target::Backends(backends), web), service("weir", Target::Front(FrontListener::Http), front)];
    DesiredState { services: services.into(), ..DesiredState::default() }
}

fn tables() -> Tables {
    let mut tables = Tables::default();
    let local = BackendKey { address: ip("10.1.1.2"), port: 8080, protocol: Protocol::Tcp, local: true };
    tables.backends.insert((IpFamily::V4, BackendId(5)), local);
    tables.services.insert(ServiceId(3), vec![BackendId(5); 7].into());
    let node_port = FrontendKey { address: ip("0.0.0.0"), port: 30080, protocol: Protocol::Tcp, inside: false };
    let frontend = crate::tables::Frontend { service: ServiceId(3), front: None, ..Default::default() };
    tables.frontends.insert(node_port, frontend);
    tables
}

fn counts() -> CounterSnapshot {
    let counted = abi::Counters { packets: 12_345, bytes: 6_789_000, new_flows: 17, snat_exhausted: 0 };
    CounterSnapshot {
        services: [(ServiceId(3), counted)].into(),
        backends: [((IpFamily::V4, BackendId(5)), counted)].into(),
        generations: [((IpFamily::V4, BackendId(5)), 2)].into(),
        ..CounterSnapshot::default()
    }
}

fn routes() -> RouteTable {
    let entry = |path, upstream: Option<&str>, problem: Option<&str>| RouteEntry {
        filters: Arc::default(),
        path,
        ingress: "default/site".into(),
        service: "default/web".into(),
        service_port: "http".into(),
        upstream: upstream.map(str::to_owned),
        rewrite: problem.is_none().then(|| Rewrite::Prefix("/".into())),
        problem: problem.map(str::to_owned),
    };
    RouteTable {
        hosts: [
            ("*".to_owned(), vec![entry(PathMatch::Prefix("/a".into()), Some("default/web:80"), None)].into()),
            (
                "shop.example".to_owned(),
                vec![entry(PathMatch::Exact("/b".into()), None, Some("port http is missing"))].into(),
            ),
        ]
        .into(),
        upstreams: [("default/web:80".to_owned(), vec!["10.1.1.2:8080".parse().unwrap()].into())].into(),
        default: Some(entry(PathMatch::Default, Some("default/web:80"), None)),
        ..RouteTable::default()
    }
}

fn problem(severity: Severity, name: &str) -> Problem {
    Problem {
        code: "service-port-missing".into(),
        severity,
        object: ObjectRef { kind: Some("Ingress".into()), namespace: Some("default".into()), name: Some(name.into()) },
        field: Some("spec.rules[0]".into()),
        value: Some("http".into()),
        expected: Some("a port of Service web".into()),
        message: format!("Ingress default/{name}: Service web has no port http"),
        file: Some("site.yaml".into()),
        line: Some(12),
    }
}

fn view() -> View {
    let web = ServiceKey { namespace: "default".into(), name: "web".into(), port: 80, protocol: Protocol::Tcp };
    let tables = tables();
    let backend_ids = tables.backends.iter().map(|((family, id), key)| ((*family, *key), *id)).collect();
    View {
        announcing: None,
        routers: Some(Routers {
            bird: true,
            sessions: vec![SessionState {
                peer: "192.0.2.9".parse().unwrap(),
                asn: 64_513,
                established: true,
                info: "Established".into(),
            }],
            networks: 3,
            problems: Vec::new(),
        }),
        unhealthy: Arc::default(),
        node: Some("node-1".into()),
        missing: vec!["front: no socket listens".into()],
        sources: vec![SourceRow { kind: "dir".into(), target: "/m".into(), complete: true }],
        interfaces: vec![InterfaceRow {
            name: "eth0".into(),
            index: Some(2),
            kind: Some("bond".into()),
            mode: Some("native".into()),
            reason: None,
            tc: Some("tcx".into()),
            programs: vec![ProgramRow { name: "weir_xdp".into(), id: Some(41), instructions: Some(2345) }],
        }],
        socket_level: Some(SocketLevelRow {
            attached: true,
            cgroup: Some("/sys/fs/cgroup".into()),
            whole_node: Some(true),
            closes_sockets: None,
            reasons: Vec::new(),
        }),
        kube_proxy: None,
        ways: vec![WayRow {
            way: "tunnel".into(),
            device: Some("flannel.1".into()),
            kind: Some("vxlan".into()),
            backends: 7,
            reason: "routed through flannel.1".into(),
        }],
        maps: vec![MapRow { name: "FLOWS4".into(), entries: Some(1000), capacity: 262_144 }],
        front: Some(FrontRow { listeners: 2, routes: 3, pid: Some(99), restarts: 0, requests: None }),
        problems: Arc::new(vec![problem(Severity::Info, "b"), problem(Severity::Error, "a")]),
        desired: Some(Arc::new(desired())),
        service_ids: Arc::new([((web, IpFamily::V4, TrafficPolicy::Cluster), ServiceId(3))].into()),
        backend_ids: Arc::new(backend_ids),
        tables: Arc::new(tables),
        routes: Arc::new(routes()),
        counts: Some(Arc::new(counts())),
        counted_at: None,
    }
}

fn json(name: Name, view: &View) -> serde_json::Value {
    serde_json::to_value(Listing::new(name, view)).unwrap()
}

#[test]
fn a_dual_stack_service_tells_of_each_family_and_counts_both() {
    let mut view = view();
    let mut desired = desired();
    let (key, service) = desired.services.iter_mut().find(|(key, _)| key.name == "web").unwrap();
    service.families = vec![IpFamily::V6, IpFamily::V4];
    let ids = [
        ((key.clone(), IpFamily::V4, TrafficPolicy::Cluster), ServiceId(3)),
        ((key.clone(), IpFamily::V6, TrafficPolicy::Cluster), ServiceId(4)),
    ];
    view.service_ids = Arc::new(ids.into());
    view.desired = Some(Arc::new(desired));
    let mut counts = counts();
    let counted = abi::Counters { packets: 5, bytes: 1_000, new_flows: 3, snat_exhausted: 0 };
    counts.services.insert(ServiceId(4), counted);
    view.counts = Some(Arc::new(counts));
    let services = json(Name::Services, &view);
    let row = &services["services"][0];
    assert_eq!(row["counters"], json!({"packets": 12_350, "bytes": 6_790_000, "newFlows": 20, "snatExhausted": 0}));
    let families: Vec<_> = row["families"].as_array().unwrap().iter().map(|row| (&row["family"], &row["id"])).collect();
    assert_eq!(families, [(&json!("IPv6"), &json!(4)), (&json!("IPv4"), &json!(3))]);
    assert_eq!(row["id"], 4, "that of the preferred family");
}

#[test]
fn services_as_json() {
    let counters = json!({"packets": 12_345, "bytes": 6_789_000, "newFlows": 17, "snatExhausted": 0});
    let expected = json!({"services": [
        {
            "namespace": "default", "name": "web", "portName": "http", "port": 80, "protocol": "TCP",
            "type": "NodePort", "id": 3,
            "families": [{"family": "IPv4", "policy": "Cluster", "id": 3, "ringSlots": 7, "counters": counters}],
            "frontends": [
                {"kind": "NodePort", "address": null, "port": 30080, "announcedBy": null},
                {"kind": "ExternalIP", "address": "192.0.2.7", "port": 80, "announcedBy": null},
            ],
            "backends": {"active": 1, "terminating": 1, "unhealthy": 1},
            "algorithm": "maglev", "forwarding": "snat", "forwardingReason": "--forwarding", "affinity": "none",
            "externalTrafficPolicy": "Cluster", "internalTrafficPolicy": "Cluster", "healthCheckNodePort": null,
            "ringSlots": 7, "counters": counters,
        },
        {
            "namespace": "default", "name": "weir", "portName": "http", "port": 80, "protocol": "TCP",
            "type": "NodePort", "id": null,
            "families": [{"family": "IPv4", "policy": "Cluster", "id": null, "ringSlots": null, "counters": null}],
            "frontends": [{"kind": "ExternalIP", "address": "192.0.2.8", "port": 80, "announcedBy": null}],
            "backends": {"active": 1, "terminating": 0, "unhealthy": 0},
            "algorithm": null, "forwarding": null, "forwardingReason": null, "affinity": "none",
            "externalTrafficPolicy": "Cluster", "internalTrafficPolicy": "Cluster", "healthCheckNodePort": null,
            "ringSlots": null, "counters": null,
        },
    ]});
    assert_eq!(json(Name::Services, &view()), expected);
}

#[test]
fn backends_as_json() {
    let listing = json(Name::Backends, &view());
    let expected = json!({
        "id": 5, "generation": 2, "address": "10.1.1.2", "port": 8080, "protocol": "TCP", "node": "node-1",
        "local": true, "state": "active", "weight": 1, "pod": "default/web-10.1.1.2", "services": ["default/web:80"],
        "counters": {"packets": 12_345, "bytes": 6_789_000, "newFlows": 17, "snatExhausted": 0},
    });
    assert_eq!(listing["backends"][0], expected);
    let states: Vec<_> = listing["backends"].as_array().unwrap().iter().map(|row| row["state"].clone()).collect();
    assert_eq!(states, ["active", "terminating", "unhealthy"]);
    assert_eq!((&listing["backends"][1]["id"], &listing["backends"][1]["counters"]), (&json!(null), &json!(null)));
}

#[test]
fn routes_as_json() {
    let row = |host, path, kind, endpoints, filters, problem| {
        json!({
            "host": host, "path": path, "pathType": kind, "ingress": "default/site", "service": "default/web",
            "servicePort": "http", "endpoints": endpoints, "unhealthy": [], "filters": filters, "tls": false, "certificate": null, "problem": problem,
        })
    };
    let rewrite = json!(["rewrite-target /"]);
    let expected = json!({"routes": [
        row("*", "/a", json!("Prefix"), 1, rewrite.clone(), json!(null)),
        row("shop.example", "/b", json!("Exact"), 0, json!([]), json!("port http is missing")),
        row("*", "*", json!(null), 1, rewrite, json!(null)),
    ]});
    assert_eq!(json(Name::Routes, &view()), expected);
}

#[test]
fn a_regular_expression_and_its_rewrite_in_a_row() {
    let table = routes();
    let entry = RouteEntry {
        path: PathMatch::Regex("/api(/|$)(.*)".into()),
        rewrite: Some(Rewrite::Regex("/$2".into())),
        ..table.hosts["*"][0].clone()
    };
    let table = RouteTable { hosts: [("*".to_owned(), vec![entry].into())].into(), default: None, ..table };
    let rows = super::routes::rows(&table, &Default::default());
    assert_eq!((rows[0].path.as_str(), rows[0].path_type.as_deref()), ("/api(/|$)(.*)", Some("Regex")));
    assert_eq!(rows[0].filters, ["rewrite-target /$2 (regex)"]);
}

#[test]
fn status_as_json() {
    let problem = |severity: &str, name: &str| {
        json!({
            "code": "service-port-missing", "severity": severity, "kind": "Ingress", "namespace": "default",
            "name": name, "field": "spec.rules[0]", "value": "http", "expected": "a port of Service web",
            "message": format!("Ingress default/{name}: Service web has no port http"), "file": "site.yaml", "line": 12,
        })
    };
    let expected = json!({"status": {
        "version": env!("CARGO_PKG_VERSION"), "node": "node-1", "ready": false,
        "missing": ["front: no socket listens"],
        "sources": [{"kind": "dir", "target": "/m", "complete": true}],
        "interfaces": [{"name": "eth0", "index": 2, "kind": "bond", "mode": "native", "reason": null, "tc": "tcx",
            "programs": [{"name": "weir_xdp", "id": 41, "instructions": 2345}]}],
        "kubeProxy": null,
        "socketLevel": {"attached": true, "cgroup": "/sys/fs/cgroup", "wholeNode": true, "closesSockets": null,
            "reasons": []},
        "ways": [{"way": "tunnel", "device": "flannel.1", "kind": "vxlan", "backends": 7,
            "reason": "routed through flannel.1"}],
        "routers": [{"address": "192.0.2.9", "asn": 64_513, "established": true, "info": "Established"}],
        "maps": [{"name": "FLOWS4", "entries": 1000, "capacity": 262_144}],
        "forwarding": [{"forwarding": "snat", "reason": "--forwarding", "services": 1}],
        "front": {"listeners": 2, "routes": 3, "pid": 99, "restarts": 0, "requests": null},
        "problems": [problem("error", "a"), problem("info", "b")],
    }});
    assert_eq!(json(Name::Status, &view()), expected);
}

#[test]
fn without_an_agent_names_are_null_and_the_rest_is_from_the_maps() {
    let view = View { tables: Arc::new(tables()), counts: Some(Arc::new(counts())), ..View::default() };
    let services = json(Name::Services, &view);
    assert_eq!(services["services"][0]["name"], json!(null));
    assert_eq!(services["services"][0]["id"], 3);
    let node_port = json!({"kind": "NodePort", "address": null, "port": 30080, "announcedBy": null});
    assert_eq!(services["services"][0]["frontends"], json!([node_port]));
    assert_eq!(services["services"][0]["backends"]["active"], 1);
    assert_eq!(json(Name::Backends, &view)["backends"][0]["address"], "10.1.1.2");
}

#[test]
fn a_backend_of_two_services_is_one_row_with_its_best_state() {
    let mut desired = desired();
    let other = vec![backend("10.1.2.3", BackendState::Active, false)];
    desired.services.extend([service("other", Target::Backends(other), vec![])]);
    let view = View { desired: Some(Arc::new(desired)), ..view() };
    let listing = json(Name::Backends, &view);
    let shared = listing["backends"].as_array().unwrap().iter().find(|row| row["address"] == "10.1.2.3").unwrap();
    assert_eq!(shared["services"], json!(["default/other:80", "default/web:80"]));
    assert_eq!(shared["state"], "active");
}

#[test]
fn every_listing_reads_back_what_it_writes() {
    for name in Name::ALL {
        let listing = Listing::new(name, &view());
        let text = serde_json::to_string(&listing).unwrap();
        assert_eq!(serde_json::from_str::<Listing>(&text).unwrap(), listing);
        assert!(text.starts_with(&format!("{{\"{}\":", name.as_str())), "{text}");
    }
}

#[test]
fn tables_fit_a_terminal() {
    for name in Name::ALL {
        let listing = Listing::new(name, &view());
        for width in [80, 100, 120] {
            let text = print(&listing, width);
            let tables = text.lines().filter(|line| !line.starts_with("site.yaml:"));
            for line in tables {
                assert!(line.chars().count() <= width, "{} at {width}: {line}", name.as_str());
            }
        }
    }
}

#[test]
fn services_as_a_table() {
    let expected = "\
SERVICE       PORT    TYPE      FRONTENDS              BACKENDS             PACKETS   BYTES  FLOWS
default/web   80/TCP  NodePort  *:30080, 192.0.2.7:80  1 +1 ending +1 down    12.3k  6.47Mi     17
default/weir  80/TCP  NodePort  192.0.2.8:80           1                          -       -      -
";
    assert_eq!(print(&Listing::new(Name::Services, &view()), 120), expected);
}

#[test]
fn status_as_text() {
    let expected = format!(
        "\
weir    {} on node-1, not ready: front: no socket listens
source  dir:/m, read
front   pid 99, 2 listeners, 3 routes, 0 restarts
sockets balanced for /sys/fs/cgroup
forward snat: --forwarding, 1 services

INTERFACE  MODE    PROGRAM   ID  INSTRUCTIONS
eth0       native  weir_xdp  41          2345

WAY     DEVICE     BACKENDS  WHY
tunnel  flannel.1         7  routed through flannel.1

ROUTER       ASN  SESSION      INFO
192.0.2.9  64513  established  Established

MAP     ENTRIES  CAPACITY  FULL
FLOWS4     1000    262144   0 %

site.yaml:12: error[service-port-missing]: Ingress default/a: Service web has no port http
site.yaml:12: info[service-port-missing]: Ingress default/b: Service web has no port http
",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(print(&Listing::new(Name::Status, &view()), 120), expected);
}

#[test]
fn why_an_interface_has_no_xdp_stands_below_the_interfaces() {
    let mut view = view();
    view.interfaces[0].mode = Some("tc".into());
    view.interfaces[0].reason = Some("held by XDP program other (id 7)".into());
    let text = print(&Listing::new(Name::Status, &view), 120);
    assert!(
        text.contains("eth0       tc    weir_xdp") && text.contains("\neth0: held by XDP program other (id 7)\n"),
        "{text}"
    );
}

#[test]
fn nothing_says_so() {
    for name in [Name::Services, Name::Backends, Name::Routes] {
        let text = print(&Listing::new(name, &View::default()), 80);
        assert_eq!(text, format!("no {}\n", name.as_str()));
    }
}
