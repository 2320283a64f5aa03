use std::path::Path;

use super::*;
use crate::source::{SourceEvent, parse};
use crate::translate;

const NODES: &str = "
kind: Node
apiVersion: v1
metadata: {name: a, labels: {rack: one}}
---
kind: Node
apiVersion: v1
metadata: {name: b, labels: {rack: two}}
---
kind: Node
apiVersion: v1
metadata: {name: c, labels: {rack: two, node.kubernetes.io/exclude-from-external-load-balancers: ''}}
---
kind: AddressPool
apiVersion: weir.io/v1alpha1
metadata: {name: inner, labels: {use: inner}}
spec: {addresses: [192.0.2.0/29]}
---
kind: AddressPool
apiVersion: weir.io/v1alpha1
metadata: {name: outer}
spec: {addresses: [198.51.100.0/29]}
---
";

fn announcement(spec: &str) -> String {
    format!("kind: Announcement\napiVersion: weir.io/v1alpha1\nmetadata: {{name: one}}\nspec: {{{spec}}}\n---\n")
}

fn service(name: &str, address: &str, more: &str) -> String {
    format!(
        "kind: Service\napiVersion: v1\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\n\
         spec: {{type: LoadBalancer, ports: [{{port: 80}}], {more}}}\n\
         status: {{loadBalancer: {{ingress: [{{ip: {address}}}]}}}}\n---\n"
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

/// Each address with the nodes that may announce it, and `!` where the node `a` may do so by the interface `eth1`.
fn lines(yaml: &str) -> Vec<String> {
    let parsed = parse::parse(&Arc::from(Path::new("x.yaml")), yaml.as_bytes());
    assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
    let mut objects = Objects::new(1);
    parsed.objects.into_iter().for_each(|object| objects.handle(0, SourceEvent::Apply(object)));
    let settings = translate::Settings::default();
    let pools = Pools::new(&objects, &mut Vec::new());
    let desired = translate::translate(&objects, &settings).0;
    let wanted = Wanted::new(&objects, &desired, &pools, "a");
    let line = |(address, candidates): (&IpAddr, &Candidates)| {
        let names: Vec<_> = candidates.nodes.iter().map(|node| node.to_string()).collect();
        let mark = if candidates.interfaces.include("eth1") { "!" } else { "" };
        format!("{address} {}{mark}", names.join(","))
    };
    wanted.addresses.iter().map(line).collect()
}

fn both() -> String {
    service("in", "192.0.2.1", "") + &service("out", "198.51.100.1", "")
}

#[test]
fn pools_services_nodes_and_interfaces_are_chosen() {
    let found = |spec: &str| lines(&format!("{NODES}{}{}", announcement(spec), both()));
    assert_eq!(found("l2: {}"), ["192.0.2.1 a,b!", "198.51.100.1 a,b!"]);
    assert_eq!(found("pools: [outer], l2: {}"), ["198.51.100.1 a,b!"]);
    assert_eq!(found("poolSelectors: [{matchLabels: {use: inner}}], l2: {}"), ["192.0.2.1 a,b!"]);
    assert_eq!(found("serviceSelectors: [{matchLabels: {app: out}}], l2: {}"), ["198.51.100.1 a,b!"]);
    assert_eq!(found("nodeSelectors: [{matchLabels: {rack: two}}], l2: {}"), ["192.0.2.1 b", "198.51.100.1 b"]);
    assert_eq!(found("pools: [outer], l2: {interfaces: [eth0]}"), ["198.51.100.1 a,b"]);
    assert_eq!(found("pools: [outer], l2: {interfaces: [eth0, 'et*']}"), ["198.51.100.1 a,b!"]);
    assert_eq!(found("bgp: {localASN: 1, peers: [{address: 192.0.2.9, asn: 2}]}"), [""; 0], "not to neighbours");
}

#[test]
fn several_announcements_add_up_and_an_address_of_no_pool_is_none_of_ours() {
    let second = announcement("pools: [outer], nodeSelectors: [{matchLabels: {rack: one}}], l2: {interfaces: [eth1]}");
    let first = announcement("nodeSelectors: [{matchLabels: {rack: two}}], l2: {}").replace("name: one", "name: two");
    let foreign = service("foreign", "203.0.113.1", "");
    let found = lines(&format!("{NODES}{first}{second}{foreign}{}", both()));
    assert_eq!(found, ["192.0.2.1 b", "198.51.100.1 a,b!"]);
}

#[test]
fn where_clients_keep_their_address_only_nodes_with_a_backend_announce() {
    let local = service("in", "192.0.2.1", "externalTrafficPolicy: Local");
    let found = |nodes: &[&str]| lines(&format!("{NODES}{}{local}{}", announcement("l2: {}"), slice("in", nodes)));
    assert_eq!(found(&["b", "c", "b"]), ["192.0.2.1 b!"]);
    assert_eq!(found(&["a", "b"]), ["192.0.2.1 a,b!"]);
    assert_eq!(found(&[]), [""; 0]);
}

#[test]
fn services_that_share_an_address_are_all_served_where_it_is() {
    let share = |name: &str, port: &str| {
        service(name, "192.0.2.1", "externalTrafficPolicy: Local").replace("port: 80", &format!("port: {port}"))
    };
    let both = share("one", "80") + &share("two", "81") + &slice("one", &["a", "b"]) + &slice("two", &["b", "c"]);
    assert_eq!(lines(&format!("{NODES}{}{both}", announcement("l2: {}"))), ["192.0.2.1 b!"]);
}

#[test]
fn without_objects_for_nodes_this_one_is_alone() {
    let pools = NODES.split_once("kind: AddressPool").map(|(_, rest)| format!("kind: AddressPool{rest}"));
    let text = format!("{}{}{}", pools.unwrap(), announcement("l2: {}"), both());
    assert_eq!(lines(&text), ["192.0.2.1 a!", "198.51.100.1 a!"]);
}
