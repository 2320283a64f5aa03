use std::cell::Cell;
use std::fs;
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::announce::bgp::Me;
use crate::announce::bgp::tests::{NODES, plan_of};

fn me() -> Me<'static> {
    const ADDRESSES: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 11))];
    Me { name: "a", addresses: &ADDRESSES, front_serves: true }
}

const EVERYTHING: &str = "
kind: Announcement
apiVersion: weir.io/v1alpha1
metadata: {name: one}
spec:
  bgp:
    localASN: 64512
    routerID: 203.0.113.7
    communities: ['64512:100', 'large:64512:1:2', no-export]
    localPreference: 200
    peers:
    - {address: 198.51.100.1, asn: 64513, bfd: {}, passwordSecret: {namespace: x, name: tor}}
    - address: 198.51.100.2
      asn: 64512
      port: 1179
      sourceAddress: 198.51.100.11
      holdTimeSeconds: 9
      keepaliveTimeSeconds: 3
      connectTimeSeconds: 10
      multihop: true
      bfd: {receiveIntervalMilliseconds: 50, transmitIntervalMilliseconds: 60, detectMultiplier: 5, passive: true}
    - {address: '2001:db8:f::1', asn: 64513}
---
kind: Announcement
apiVersion: weir.io/v1alpha1
metadata: {name: two}
spec:
  bgp:
    localASN: 64512
    routerID: 203.0.113.7
    aggregationLength: 24
    localPreference: 100
    peers: [{address: 198.51.100.3, asn: 64512}]
    gracefulRestartSeconds: 0
---
kind: Secret
apiVersion: v1
metadata: {name: tor, namespace: x}
stringData: {password: s3cret}
---
kind: Service
apiVersion: v1
metadata: {name: web}
spec: {type: LoadBalancer, ipFamilyPolicy: PreferDualStack, ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 192.0.2.1}, {ip: 192.0.2.2}, {ip: '2001:db8::1'}]}}
---
";

/// `UPDATE_EXPECT=1` writes it anew.
#[test]
fn the_configuration_is_this() {
    let plan = plan_of(&format!("{NODES}{EVERYTHING}"), me());
    assert_eq!(plan.problems, []);
    let made = configuration(&plan, 30_566);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/announce/bird/bird.conf");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(path, &made).expect("written");
    }
    assert_eq!(fs::read_to_string(path).expect("bird.conf"), made, "UPDATE_EXPECT=1 accepts this");
    accepts(&made);
}

#[test]
fn silence_is_a_configuration_too() {
    accepts(&configuration(&Plan::silent(me()), 1));
}

#[test]
fn names_of_sessions_are_told_apart() {
    let name = |text: &str| session_name(text.parse().expect("an address"));
    assert_eq!(
        (name("192.0.2.1"), name("2001:db8::1")),
        ("weir4_192_0_2_1".to_owned(), "weir6_2001_db8__1".to_owned())
    );
}

thread_local! {
    /// It was said that there is no BIRD: once for each test, which has a thread of its own.
    static LACKS_BIRD: Cell<bool> = const { Cell::new(false) };
}

/// BIRD itself takes it, where there is one.
fn accepts(text: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bird.conf");
    fs::write(&file, text).expect("written");
    let Ok(output) = Command::new("bird").args(["-p", "-c"]).arg(&file).output() else {
        if !LACKS_BIRD.replace(true) {
            weir_lab::lacks("bird");
        }
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{text}");
}

/// What people write, well or not.
fn word() -> impl Strategy<Value = String> {
    let address = prop::sample::select(vec![
        "192.0.2.9",
        "2001:db8::9",
        "127.0.0.1",
        "0.0.0.0",
        "::",
        "::1",
        "224.0.0.1",
        "ff02::1",
        "fe80::1",
    ]);
    let community =
        prop::sample::select(vec!["1:2", "65535:65535", "large:1:2:3", "no-export", "1:2); password \"x\"; ("]);
    prop_oneof![
        "[ -~]{0,20}",
        "\\PC{0,12}",
        Just("\"; }\n protocol static {".to_owned()),
        address.prop_map(str::to_owned),
        community.prop_map(str::to_owned),
    ]
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), Just(1), Just(i64::MIN), Just(i64::MAX), Just(4_294_967_295), -5..70_000_i64]
}

fn maybe<T: std::fmt::Debug + Clone>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::of(value)
}

prop_compose! {
    fn peer()(words in prop::collection::vec(word(), 4), numbers in prop::collection::vec(maybe(number()), 11),
              multihop in maybe(any::<bool>()), has in any::<[bool; 3]>()) -> serde_json::Value {
        serde_json::json!({
            "address": words[0], "asn": numbers[0], "port": numbers[1], "localASN": numbers[2],
            "sourceAddress": has[0].then(|| words[1].clone()),
            "passwordSecret": has[1].then(|| serde_json::json!({"namespace": "x", "name": "tor"})),
            "holdTimeSeconds": numbers[3], "keepaliveTimeSeconds": numbers[4], "connectTimeSeconds": numbers[5],
            "multihop": multihop,
            "bfd": has[2].then(|| serde_json::json!({
                "receiveIntervalMilliseconds": numbers[6], "transmitIntervalMilliseconds": numbers[7],
                "detectMultiplier": numbers[8], "passive": multihop,
            })),
        })
    }
}

prop_compose! {
    fn written()(name in "[a-z]{1,8}", peers in prop::collection::vec(peer(), 1..4),
                 communities in prop::collection::vec(word(), 0..4), numbers in prop::collection::vec(maybe(number()), 5),
                 router_id in maybe(word()), password in word()) -> String {
        let announcement = serde_json::json!({
            "kind": "Announcement", "apiVersion": "weir.io/v1alpha1", "metadata": {"name": name},
            "spec": {"bgp": {
                "peers": peers, "communities": communities, "routerID": router_id, "localASN": 64512,
                "localPreference": numbers[0], "aggregationLength": numbers[1], "aggregationLengthV6": numbers[2],
                "gracefulRestartSeconds": numbers[3],
            }},
        });
        let secret = serde_json::json!({
            "kind": "Secret", "apiVersion": "v1", "metadata": {"name": "tor", "namespace": "x"},
            "stringData": {"password": password},
        });
        let (_, service) = EVERYTHING.rsplit_once("kind: Service\n").expect("a Service");
        format!("{NODES}{announcement}\n---\n{secret}\n---\nkind: Service\n{service}")
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// Whatever stands in an Announcement.
    #[test]
    fn bird_takes_every_configuration(text in written()) {
        accepts(&configuration(&plan_of(&text, me()), 30_566));
    }

    #[test]
    fn what_bird_says_does_not_matter(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(Some(lines)) = control::Answer::default().take(&bytes) {
            let _ = (control::configured(&lines), control::protocols(&lines));
        }
    }
}
