use std::collections::BTreeSet;

use super::*;
use crate::model::{Forwarding, ForwardingBy, IpFamily, Policy, ServiceType, Target};

fn draft(name: &str, protocol: Protocol, node_port: NodePort) -> Draft {
    let key = ServiceKey { namespace: "default".to_owned(), name: name.to_owned(), port: 80, protocol };
    Draft {
        index: 0,
        node_port,
        health_check: NodePort::No,
        seniority: (true, None, "default".to_owned(), name.to_owned()),
        service: Service {
            key,
            port_name: None,
            service_type: ServiceType::NodePort,
            frontends: Vec::new(),
            target: Target::Backends(Vec::new()),
            families: vec![IpFamily::V4],
            forwarding: Forwarding::Snat,
            policy: Policy::default(),
            source_ranges: None,
            forwarding_by: ForwardingBy::default(),
        },
    }
}

fn assigned(mut drafts: Vec<Draft>) -> (DesiredState, Vec<Problem>) {
    let mut problems = Vec::new();
    assign(&mut drafts, &Settings::default(), &mut problems);
    let services = drafts.into_iter().map(|draft| (draft.service.key.clone(), draft.service)).collect();
    (DesiredState { services, ..DesiredState::default() }, problems)
}

fn many(count: usize) -> Vec<Draft> {
    (0..count).map(|n| draft(&format!("service-{n}"), Protocol::Tcp, NodePort::Any)).collect()
}

#[test]
fn ports_never_change_with_a_version() {
    let first = |name: &str| candidates(&draft(name, Protocol::Tcp, NodePort::Any).service.key.to_string()).next();
    assert_eq!((first("web"), first("shop")), (Some(31814), Some(31136)), "connections of users depend on these");
}

#[test]
fn candidates_are_every_port_once_and_the_static_band_last() {
    let all: Vec<u16> = candidates(&draft("web", Protocol::Tcp, NodePort::Any).service.key.to_string()).collect();
    assert_eq!(all.len(), RANGE.len());
    assert_eq!(all.iter().copied().collect::<BTreeSet<_>>(), RANGE.collect());
    let band = *RANGE.start()..*RANGE.start() + STATIC_BAND;
    assert!(all[..all.len() - band.len()].iter().all(|port| !band.contains(port)));
}

#[test]
fn allocation_goes_round_what_is_asked_for_by_number() {
    let (alone, _) = assigned(vec![draft("web", Protocol::Tcp, NodePort::Any)]);
    let port = node_port(&alone.services.values().next().expect("one").clone()).expect("a port");
    let (both, problems) = assigned(vec![
        draft("web", Protocol::Tcp, NodePort::Any),
        draft("a-wants-it", Protocol::Tcp, NodePort::Fixed(port)),
        draft("b-wants-udp", Protocol::Udp, NodePort::Fixed(port)),
    ]);
    assert!(problems.is_empty(), "{problems:?}");
    let ports: Vec<_> = both.services.values().map(|s| (s.key.name.as_str(), node_port(s).expect("a port"))).collect();
    assert_eq!(ports[..2], [("a-wants-it", port), ("b-wants-udp", port)]);
    assert_ne!(ports[2].1, port);
    assert_eq!(
        moved_node_ports(&alone, &both).iter().map(|p| p.code.as_str()).collect::<Vec<_>>(),
        [code::NODE_PORT_MOVED]
    );
    assert!(moved_node_ports(&both, &both).is_empty());
}

#[test]
fn a_full_range_is_a_problem_for_those_who_come_last() {
    let (desired, problems) = assigned(many(RANGE.len() + 2));
    let ports: BTreeSet<_> = desired.services.values().filter_map(node_port).collect();
    assert_eq!(ports.len(), RANGE.len());
    assert_eq!(problems.len(), 2);
    assert!(problems.iter().all(|problem| problem.code == code::NODE_PORTS_EXHAUSTED));
}

#[test]
fn a_new_service_moves_hardly_any_other() {
    let (before, _) = assigned(many(500));
    let mut more = many(500);
    more.push(draft("a-new-one", Protocol::Tcp, NodePort::Any));
    let (after, _) = assigned(more);
    assert!(moved_node_ports(&before, &after).len() <= 3);
}

#[test]
fn the_front_keeps_its_own_ports() {
    let mut drafts = vec![draft("web", Protocol::Tcp, NodePort::Fixed(30080))];
    let mut problems = Vec::new();
    assign(&mut drafts, &Settings { http_port: 30080, ..Settings::default() }, &mut problems);
    assert!(drafts[0].service.frontends.is_empty());
    assert_eq!(problems[0].code, code::NODE_PORT_CONFLICT);
    assert!(problems[0].message.contains("--http-port"), "{}", problems[0].message);
}

#[test]
fn a_port_that_the_user_changes_has_not_moved() {
    let web = |node_port| assigned(vec![draft("web", Protocol::Tcp, node_port)]).0;
    let (any, fixed, other) = (web(NodePort::Any), web(NodePort::Fixed(30001)), web(NodePort::Fixed(30002)));
    for (old, new) in [(&any, &fixed), (&fixed, &other), (&fixed, &any)] {
        assert_eq!(moved_node_ports(old, new), []);
    }
}
