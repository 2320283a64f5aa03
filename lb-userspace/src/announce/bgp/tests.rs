use std::path::Path;

use super::*;
use crate::source::{SourceEvent, parse};
use crate::translate;

pub(in crate::announce) const NODES: &str = "
kind: Node
apiVersion: v1
metadata: {name: a, labels: {rack: one}}
---
kind: Node
apiVersion: v1
metadata: {name: b, labels: {rack: two}}
---
kind: AddressPool
apiVersion: weir.io/v1alpha1
metadata: {name: outer}
spec: {addresses: [192.0.2.0/24, '2001:db8::/64']}
---
";

fn announcement(name: &str, spec: &str) -> String {
    format!("kind: Announcement\napiVersion: weir.io/v1alpha1\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n")
}

/// To one router, with more of the Announcement's `bgp`.
fn to_router(name: &str, more: &str) -> String {
    announcement(name, &format!("{{bgp: {{localASN: 64512, peers: [{{address: 198.51.100.1, asn: 64513}}]{more}}}}}"))
}

fn service(name: &str, addresses: &[&str], more: &str) -> String {
    let ingress: Vec<_> = addresses.iter().map(|address| format!("{{ip: '{address}'}}")).collect();
    format!(
        "kind: Service\napiVersion: v1\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\n\
         spec: {{type: LoadBalancer, ipFamilyPolicy: PreferDualStack, ports: [{{port: 80}}], {more}}}\n\
         status: {{loadBalancer: {{ingress: [{}]}}}}\n---\n",
        ingress.join(", ")
    )
}

fn slice(name: &str, nodes: &[&str]) -> String {
    let endpoint = |(number, node): (usize, &&str)| format!("{{addresses: [10.0.0.{number}], nodeName: {node}}}");
    let endpoints: Vec<_> = nodes.iter().enumerate().map(endpoint).collect();
    format!(
        "kind: EndpointSlice\napiVersion: discovery.k8s.io/v1\naddressType: IPv4\n\
         metadata: {{name: {name}, labels: {{kubernetes.io/service-name: {name}}}}}\n\
         ports: [{{port: 80}}]\nendpoints: [{}]\n---\n",
        endpoints.join(", ")
    )
}

fn me(name: &str) -> Me<'_> {
    const ADDRESSES: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::new(198, 51, 100, 11))];
    Me { name, addresses: &ADDRESSES, front_serves: true }
}

pub(in crate::announce) fn plan_of(yaml: &str, me: Me<'_>) -> Plan {
    let parsed = parse::parse(&Arc::from(Path::new("x.yaml")), yaml.as_bytes());
    assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
    let mut objects = Objects::new(1);
    parsed.objects.into_iter().for_each(|object| objects.handle(0, SourceEvent::Apply(object)));
    let settings = translate::Settings::default();
    let pools = Pools::new(&objects, &mut Vec::new());
    let desired = translate::translate(&objects, &settings).0;
    Plan::new(&objects, &desired, &pools, me)
}

fn routes(yaml: &str, node: &str) -> Vec<String> {
    plan_of(&format!("{NODES}{yaml}"), me(node)).routes.iter().map(ToString::to_string).collect()
}

fn codes(plan: &Plan) -> Vec<&str> {
    plan.problems.iter().map(|problem| problem.code.as_str()).collect()
}

#[test]
fn every_node_tells_all_addresses() {
    let all = to_router("one", "") + &service("web", &["192.0.2.1", "2001:db8::1"], "");
    assert_eq!(routes(&all, "a"), ["192.0.2.1/32", "2001:db8::1/128"]);
    assert_eq!(routes(&all, "b"), ["192.0.2.1/32", "2001:db8::1/128"]);
    let of_rack = to_router("one", "").replace("spec: {", "spec: {nodeSelectors: [{matchLabels: {rack: two}}], ");
    let plan = plan_of(&format!("{NODES}{of_rack}{}", service("web", &["192.0.2.1"], "")), me("a"));
    assert!(plan.routes.is_empty() && plan.peers.is_empty() && plan.told.is_empty(), "{plan:?}");
}

#[test]
fn with_the_policy_local_only_nodes_with_a_backend_do() {
    let local = to_router("one", "") + &service("web", &["192.0.2.1"], "externalTrafficPolicy: Local");
    assert_eq!(routes(&local, "a"), [""; 0]);
    let at_b = local + &slice("web", &["b"]);
    assert_eq!(routes(&at_b, "a"), [""; 0]);
    assert_eq!(routes(&at_b, "b"), ["192.0.2.1/32"]);
}

/// `b` as it says, in place of the node that is always well.
fn with_b(yaml: &str, b: &str) -> String {
    let nodes = NODES.replace("metadata: {name: b, labels: {rack: two}}", &format!("metadata: {{name: b}}\n{b}"));
    format!("{nodes}{yaml}")
}

#[test]
fn nodes_that_are_not_well_withdraw_while_others_serve() {
    let cluster = to_router("one", "") + &service("web", &["192.0.2.1"], "");
    let local = to_router("one", "") + &service("web", &["192.0.2.1"], "externalTrafficPolicy: Local");
    let only_b = local + &slice("web", &["b"]);
    let drains = "spec: {unschedulable: true}";
    let is_down = "status: {conditions: [{type: Ready, status: Unknown}]}";
    let has_no_network =
        "status: {conditions: [{type: Ready, status: 'True'}, {type: NetworkUnavailable, status: 'True'}]}";
    let tells = |yaml: &str, b: &str| !plan_of(&with_b(yaml, b), me("b")).routes.is_empty();
    for b in [drains, is_down, has_no_network] {
        assert!(!tells(&cluster, b), "{b}");
        assert!(tells(&only_b, b), "nobody else serves: {b}");
    }
    assert!(tells(&cluster, "status: {conditions: [{type: Ready, status: 'True'}]}"));
    let excluded = "node.kubernetes.io/exclude-from-external-load-balancers";
    let out = with_b(&only_b, "")
        .replace("metadata: {name: b}", &format!("metadata: {{name: b, labels: {{{excluded}: ''}}}}"));
    let plan = plan_of(&out, me("b"));
    assert!(plan.routes.is_empty() && plan.peers.len() == 1, "the session stays: {plan:?}");
}

#[test]
fn without_a_front_its_addresses_are_not_told() {
    let front = to_router("one", "") + &service("front", &["192.0.2.1"], "selector: {app.kubernetes.io/name: weir}");
    assert_eq!(routes(&front, "a"), ["192.0.2.1/32"]);
    let without = Me { front_serves: false, ..me("a") };
    assert!(plan_of(&format!("{NODES}{front}"), without).routes.is_empty());
}

#[test]
fn addresses_are_told_as_networks() {
    let services = service("web", &["192.0.2.1", "2001:db8::1"], "") + &service("other", &["192.0.2.9"], "");
    let of = |more: &str| routes(&(to_router("one", more) + &services), "a");
    assert_eq!(of(", aggregationLength: 28, aggregationLengthV6: 64"), ["192.0.2.0/28", "2001:db8::/64"]);
    let chosen = to_router("one", "").replace("spec: {", "spec: {serviceSelectors: [{matchLabels: {app: other}}], ");
    assert_eq!(routes(&(chosen + &services), "a"), ["192.0.2.9/32"]);
}

#[test]
fn announcements_share_a_session_with_a_router() {
    let other = to_router("two", ", localPreference: 7, gracefulRestartSeconds: 0");
    let plan = plan_of(&format!("{NODES}{}{other}", to_router("one", "")), me("a"));
    let [(_, peer)] = plan.peers.iter().collect::<Vec<_>>()[..] else { panic!("{plan:?}") };
    assert_eq!(peer.told.iter().collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!((peer.session.graceful_restart, codes(&plan)), (120, vec!["bgp-peer-conflict"]));
}

#[test]
fn passwords_are_in_secrets() {
    let secret = |data: &str| {
        format!("kind: Secret\napiVersion: v1\nmetadata: {{name: tor, namespace: x}}\nstringData: {{{data}}}\n---\n")
    };
    let of = |key: &str, data: &str| {
        let signed = to_router("one", "")
            .replace("asn: 64513", &format!("asn: 64513, passwordSecret: {{namespace: x, name: tor{key}}}"));
        plan_of(&format!("{NODES}{signed}{}", secret(data)), me("a"))
    };
    let good = of("", "password: s3cret");
    let password = good.peers.values().next().and_then(|peer| peer.password.clone()).expect("a password");
    assert_eq!((password.reveal(), format!("{password:?}")), ("s3cret", "(hidden)".to_owned()));
    assert!(!format!("{good:?}").contains("s3cret"));
    assert_eq!(of(", key: bgp-password", "bgp-password: s3cret").peers.len(), 1);
    for (data, code) in
        [("other: x", "secret-missing"), ("password: 'a\"b'", "secret-invalid"), ("password: ''", "secret-invalid")]
    {
        let bad = of("", data);
        assert_eq!((bad.peers.len(), codes(&bad)), (0, vec![code]), "{data}");
    }
}

#[test]
fn a_node_speaks_with_so_many_routers() {
    let peers: Vec<_> =
        (0..=MAX_SESSIONS).map(|n| format!("{{address: 10.0.{}.{}, asn: 2}}", n / 256, n % 256)).collect();
    let many = announcement("one", &format!("{{bgp: {{localASN: 1, peers: [{}]}}}}", peers.join(", ")));
    let plan = plan_of(&format!("{NODES}{many}"), me("a"));
    assert_eq!((plan.peers.len(), codes(&plan)), (MAX_SESSIONS, vec!["bgp-peers-exhausted"]));
}

#[test]
fn a_node_without_ipv4_has_a_number_for_routers_too() {
    let number = |name| {
        Plan::silent(Me { name, addresses: &["2001:db8::1".parse().expect("an address")], front_serves: true })
            .router_id
    };
    assert_ne!(number("a"), number("b"));
    assert_eq!(number("a"), number("a"));
}
