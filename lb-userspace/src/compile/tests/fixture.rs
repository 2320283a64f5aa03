//! Small desired states, by hand and at random.

use std::net::IpAddr;

use proptest::prelude::*;

use crate::compile::{Limits, Node};
use crate::model::{
    Backend, BackendState, DesiredState, Forwarding, ForwardingBy, FrontListener, Frontend, FrontendKind, IpFamily,
    Policy, Protocol, Service, ServiceKey, ServiceType, Target, TrafficPolicy,
};
use crate::tables::Settings;

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn node() -> Node {
    Node {
        own_addresses: [address("192.0.2.10")].into(),
        node_addresses: [address("192.0.2.10")].into(),
        front_addresses: [address("192.0.2.10")].into(),
        tls_addresses: [address("192.0.2.10")].into(),
        settings: Settings {
            snat_ports: (15_000, 29_999),
            front_mark: 0x77,
            node_address4: None,
            node_address6: None,
            tunnel_mtu: 0,
            ..Settings::default()
        },
        http_port: 0,
        https_port: 0,
        external_cluster_ips: false,
        source_ranges_everywhere: false,
        denied: None,
        limits: Limits::default(),
    }
}

pub(crate) fn key(name: &str) -> ServiceKey {
    ServiceKey { namespace: "shop".into(), name: name.into(), port: 80, protocol: Protocol::Tcp }
}

pub(crate) fn service(name: &str, frontends: &[Frontend], target: Target) -> Service {
    Service {
        key: key(name),
        port_name: None,
        service_type: ServiceType::NodePort,
        families: families(frontends, &target),
        frontends: frontends.to_vec(),
        target,
        forwarding: Forwarding::Snat,
        policy: Policy::default(),
        source_ranges: None,
        forwarding_by: ForwardingBy::default(),
    }
}

/// Those of its addresses and backends.
fn families(frontends: &[Frontend], target: &Target) -> Vec<IpFamily> {
    let backends = match target {
        Target::Backends(backends) => backends.as_slice(),
        Target::Front(_) => &[],
    };
    let addresses = frontends.iter().filter_map(|frontend| frontend.address);
    let families: std::collections::BTreeSet<_> =
        addresses.chain(backends.iter().map(|backend| backend.address)).map(IpFamily::of).collect();
    if families.is_empty() { vec![IpFamily::V4] } else { families.into_iter().collect() }
}

pub(crate) fn desired(services: impl IntoIterator<Item = Service>) -> DesiredState {
    let services = services.into_iter().map(|service| (service.key.clone(), service)).collect();
    DesiredState { services, ..DesiredState::default() }
}

pub(crate) fn node_port(port: u16) -> Frontend {
    Frontend { kind: FrontendKind::NodePort, address: None, port }
}

pub(crate) fn external(text: &str, port: u16) -> Frontend {
    Frontend { kind: FrontendKind::ExternalIP, address: Some(address(text)), port }
}

pub(crate) fn cluster_ip(text: &str) -> Frontend {
    Frontend { kind: FrontendKind::ClusterIP, address: Some(address(text)), port: 80 }
}

/// An active backend on port 8080 with weight 1.
pub(crate) fn backend(text: &str) -> Backend {
    Backend {
        address: address(text),
        port: 8080,
        weight: 1,
        state: BackendState::Active,
        node: None,
        local: false,
        far: false,
        pod: None,
    }
}

pub(crate) fn in_state(text: &str, state: BackendState) -> Backend {
    Backend { state, ..backend(text) }
}

/// Desired states over few names and addresses, so that they share and fight over ids and frontends.
pub(crate) fn any_desired() -> impl Strategy<Value = DesiredState> {
    proptest::collection::vec(any_service(), 0..6).prop_map(desired)
}

/// A node whose front comes and goes, also from single addresses.
pub(crate) fn any_node() -> impl Strategy<Value = Node> {
    let some = || proptest::sample::subsequence(vec!["192.0.2.10", "192.0.2.11", "2001:db8::10"], 0..=3);
    let ports = (prop_oneof![Just(0), Just(80)], prop_oneof![Just(0), Just(443)]);
    (some(), some(), some(), ports).prop_map(|(addresses, fronts, secured, (http_port, https_port))| Node {
        node_addresses: addresses.into_iter().map(address).collect(),
        front_addresses: fronts.into_iter().map(address).collect(),
        tls_addresses: secured.into_iter().map(address).collect(),
        http_port,
        https_port,
        ..node()
    })
}

fn any_service() -> impl Strategy<Value = Service> {
    (proptest::sample::select(vec!["a", "b", "c", "d", "e"]), any_frontends(), any_target(), any_policy())
        .prop_map(|(name, frontends, target, policy)| Service { policy, ..service(name, &frontends, target) })
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let any = || proptest::sample::select(vec![TrafficPolicy::Cluster, TrafficPolicy::Local]);
    (any(), any()).prop_map(|(external, internal)| Policy { external, internal, ..Policy::default() })
}

fn any_frontends() -> impl Strategy<Value = Vec<Frontend>> {
    let all = vec![
        cluster_ip("10.96.0.1"),
        external("192.0.2.10", 80),
        external("198.51.100.1", 80),
        external("198.51.100.2", 80),
        external("2001:db8::99", 80),
        node_port(80),
        node_port(30_001),
        node_port(30_002),
    ];
    proptest::sample::subsequence(all, 0..=4).prop_shuffle()
}

pub(crate) fn any_target() -> impl Strategy<Value = Target> {
    prop_oneof![
        8 => any_backends().prop_map(Target::Backends),
        1 => Just(Target::Front(FrontListener::Http)),
    ]
}

/// Each address once, in any order.
fn any_backends() -> impl Strategy<Value = Vec<Backend>> {
    let all = vec!["10.244.0.1", "10.244.0.2", "10.244.1.1", "10.244.1.2", "2001:db8:1::1", "2001:db8:1::2"];
    let addresses = proptest::sample::subsequence(all, 0..=6).prop_shuffle();
    (addresses, proptest::collection::vec(any_kind(), 6)).prop_map(|(addresses, kinds)| {
        let pods = addresses.into_iter().zip(kinds);
        pods.map(|(address, (state, weight, local))| Backend { state, weight, local, ..backend(address) }).collect()
    })
}

fn any_kind() -> impl Strategy<Value = (BackendState, u16, bool)> {
    let states = vec![BackendState::Active, BackendState::Active, BackendState::Terminating, BackendState::Unhealthy];
    (proptest::sample::select(states), 1..3_u16, any::<bool>())
}
