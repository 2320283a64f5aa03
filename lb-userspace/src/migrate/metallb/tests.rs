use crate::migrate::{Migrated, migrate};
use crate::source::{Objects, dir};
use crate::translate::Settings;

const METALLB: &str = r#"
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: first, namespace: metallb-system, labels: {zone: a}}
spec:
  addresses: [192.0.2.0/28, 2001:db8::/64]
  autoAssign: false
  avoidBuggyIPs: true
  serviceAllocation:
    priority: 50
    namespaces: [shop]
    namespaceSelectors: [{matchLabels: {team: a}}]
    serviceSelectors: [{matchExpressions: [{key: tier, operator: In, values: [front]}]}]
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: all, namespace: metallb-system}
spec: {ipAddressPools: [first], interfaces: [eth1], nodeSelectors: [{matchLabels: {edge: "yes"}}]}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: all, namespace: metallb-system}
spec:
  ipAddressPoolSelectors: [{matchLabels: {zone: a}}]
  aggregationLength: 28
  aggregationLengthV6: 120
  localPref: 100
  communities: [mine, "65535:65282"]
  peers: [tor]
  newer: 1
---
apiVersion: v1
kind: List
items:
- apiVersion: metallb.io/v1beta2
  kind: BGPPeer
  metadata: {name: tor, namespace: metallb-system}
  spec:
    myASN: 64512
    peerASN: 64513
    peerAddress: 192.0.2.254
    peerPort: 1179
    sourceAddress: 192.0.2.9
    holdTime: 1m30s
    keepaliveTime: 500ms
    connectTime: 5s
    routerID: 192.0.2.9
    passwordSecret: {name: tor}
    bfdProfile: fast
    enableGracefulRestart: true
    ebgpMultiHop: true
    vrf: red
    nodeSelectors: [{matchLabels: {rack: "1"}}]
- apiVersion: metallb.io/v1beta2
  kind: BGPPeer
  metadata: {name: idle, namespace: metallb-system}
  spec: {myASN: 1, peerASN: 2, peerAddress: 192.0.2.253}
---
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: fast, namespace: metallb-system}
spec: {receiveInterval: 280, transmitInterval: 270, detectMultiplier: 4, passiveMode: true, echoMode: true}
---
apiVersion: metallb.io/v1beta1
kind: Community
metadata: {name: names, namespace: metallb-system}
spec: {communities: [{name: mine, value: "64512:7"}]}
"#;

fn run(text: &str) -> (Migrated, Objects) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("metallb.yaml");
    std::fs::write(&file, text).expect("written");
    let migrated = migrate(directory.path(), &Settings::default()).expect("readable");
    std::fs::write(&file, &migrated.text).expect("written");
    let objects = dir::read(directory.path()).expect("readable");
    assert!(objects.problems().is_empty(), "{:?}\n{}", objects.problems(), migrated.text);
    let problems = crate::check::check(directory.path(), &Settings::default()).expect("readable");
    let mistakes: Vec<_> = problems.iter().filter(|problem| problem.code != "not-yet").collect();
    assert!(mistakes.is_empty(), "{problems:?}\n{}", migrated.text);
    (migrated, objects)
}

#[test]
fn pools_and_advertisements_become_ours_with_all_that_has_an_equal() {
    let (migrated, objects) = run(METALLB);
    assert!(!migrated.text.contains("metallb.io"), "{}", migrated.text);
    let pool = objects.address_pool("", "first").expect("a pool");
    assert_eq!(pool.metadata.labels["zone"], "a");
    let spec = &pool.spec;
    assert_eq!(spec.addresses, ["192.0.2.0/28", "2001:db8::/64"]);
    assert_eq!((spec.auto_assign, spec.avoid_buggy_ips, spec.priority), (Some(false), Some(true), Some(50)));
    assert_eq!(spec.namespaces, ["shop"]);
    assert_eq!(spec.namespace_selectors[0].match_labels["team"], "a");
    assert_eq!(spec.service_selectors[0].match_expressions[0].values, ["front"]);

    let layer2 = &objects.announcement("", "all").expect("an Announcement").spec;
    assert_eq!(
        (layer2.pools.as_slice(), layer2.l2.as_ref().map(|l2| l2.interfaces.clone())),
        (&["first".to_owned()][..], Some(vec!["eth1".to_owned()]))
    );
    assert_eq!(layer2.node_selectors[0].match_labels["edge"], "yes");

    let announced = &objects.announcement("", "all-bgp").expect("another").spec;
    assert_eq!(announced.pool_selectors[0].match_labels["zone"], "a");
    let bgp = announced.bgp.as_ref().expect("bgp");
    assert_eq!(
        (bgp.aggregation_length, bgp.aggregation_length_v6, bgp.local_preference),
        (Some(28), Some(120), Some(100))
    );
    assert_eq!(bgp.communities, ["64512:7", "65535:65282"]);
    assert_eq!((bgp.router_id.as_deref(), bgp.graceful_restart_seconds), (Some("192.0.2.9"), Some(120)));
    let [peer] = bgp.peers.as_slice() else { panic!("{:?}", bgp.peers) };
    assert_eq!(
        (peer.address.as_str(), peer.asn, peer.local_asn, peer.port),
        ("192.0.2.254", Some(64513), Some(64512), Some(1179))
    );
    assert_eq!(
        (peer.hold_time_seconds, peer.keepalive_time_seconds, peer.connect_time_seconds),
        (Some(90), None, Some(5))
    );
    assert_eq!((peer.source_address.as_deref(), peer.multihop), (Some("192.0.2.9"), Some(true)));
    let secret = peer.password_secret.as_ref().expect("a Secret");
    assert_eq!((secret.namespace.as_str(), secret.name.as_str()), ("metallb-system", "tor"));
    let bfd = peer.bfd.as_ref().expect("bfd");
    let intervals = (bfd.receive_interval_milliseconds, bfd.transmit_interval_milliseconds);
    assert_eq!((intervals, bfd.detect_multiplier, bfd.passive), ((Some(280), Some(270)), Some(4), Some(true)));
    assert_eq!(peer.node_selectors[0].match_labels["rack"], "1");
}

#[test]
fn what_has_no_equal_is_told() {
    let (migrated, _) = run(METALLB);
    let told: Vec<_> =
        migrated.changes.iter().map(|change| (change.object.as_str(), change.notes.join("; "))).collect();
    let of =
        |object: &str| told.iter().find(|(name, _)| *name == object).map(|(_, notes)| notes.clone()).expect(object);
    assert_eq!(of("IPAddressPool metallb-system/first"), "");
    assert_eq!(
        of("BGPAdvertisement metallb-system/all"),
        "BGPPeer tor: vrf has no equal here and is left out; BGPPeer tor: keepaliveTime: 500ms is no whole number of seconds \
         and is left out; BFDProfile fast: echoMode has no equal here and is left out; newer has no equal here and is left out"
    );
    assert_eq!(of("BGPPeer metallb-system/idle"), "no BGPAdvertisement tells it anything: it is left out");
    assert_eq!(told.len(), 7, "{told:?}");
    let again = run(&migrated.text).0;
    assert!(again.changes.is_empty(), "{:?}", again.changes);
}
