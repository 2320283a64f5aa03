use std::path::Path;
use std::sync::Arc;

use super::check;
use crate::source::{Objects, SourceEvent, parse};

/// Code and field of each Problem.
fn problems(yaml: &str) -> Vec<(String, String)> {
    let parsed = parse::parse(&Arc::from(Path::new("x.yaml")), yaml.as_bytes());
    assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
    let mut objects = Objects::new(1);
    parsed.objects.into_iter().for_each(|object| objects.handle(0, SourceEvent::Apply(object)));
    assert!(!objects.is_empty());
    let mut problems = Vec::new();
    check(&objects, &mut problems);
    problems.into_iter().map(|problem| (problem.code, problem.field.unwrap_or_default())).collect()
}

fn of(kind: &str, spec: &str) -> Vec<(String, String)> {
    problems(&format!("apiVersion: weir.io/v1alpha1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n"))
}

fn expect(kind: &str, spec: &str, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(code, field)| ((*code).to_owned(), (*field).to_owned())).collect();
    assert_eq!(of(kind, spec), expected, "{spec}");
}

#[test]
fn pools() {
    let good = "{addresses: [192.0.2.0/28, 192.0.2.32-192.0.2.40, '2001:db8::/64'], avoid: [192.0.2.1], \
        namespaceSelectors: [{matchExpressions: [{key: a, operator: Exists}]}]}";
    expect("AddressPool", good, &[]);
    expect("AddressPool", "{}", &[("field-invalid", "spec.addresses")]);
    let both = [("field-invalid", "spec.addresses[1]"), ("address-invalid", "spec.addresses[1]")];
    expect("AddressPool", "{addresses: [192.0.2.1, some]}", &both);
    expect("AddressPool", "{addresses: [192.0.2.9-192.0.2.1]}", &[("address-invalid", "spec.addresses[0]")]);
    expect("AddressPool", "{addresses: [192.0.2.1], avoid: [192.0.2.0/40]}", &[("address-invalid", "spec.avoid[0]")]);
    let selector = "{addresses: [192.0.2.1], serviceSelectors: [{}, {matchExpressions: [{key: a, operator: Is}]}]}";
    let field = "spec.serviceSelectors[1].matchExpressions[0].operator";
    expect("AddressPool", selector, &[("field-invalid", field)]);
}

#[test]
fn announcements() {
    expect("Announcement", "{l2: {}}", &[]);
    expect(
        "Announcement",
        "{l2: {}, bgp: {localASN: 1, peers: [{address: 192.0.2.1, asn: 2}]}}",
        &[("field-invalid", "spec")],
    );
    expect("Announcement", "{}", &[("field-invalid", "spec")]);
    expect("Announcement", "{bgp: {localASN: 64512, peers: [{address: 192.0.2.1, asn: 64513}]}}", &[]);
    expect("Announcement", "{bgp: {localASN: 64512}}", &[("field-invalid", "spec.bgp.peers")]);
    expect("Announcement", "{bgp: {localASN: 1, peers: [{asn: 2}]}}", &[("field-invalid", "spec.bgp.peers")]);
    expect("Announcement", "{bgp: {peers: [{address: '::1', asn: 2}]}}", &[("field-invalid", "spec.bgp.localASN")]);
    let wrong =
        "{pools: [none], bgp: {routerID: x, peers: [{address: router, asn: 2, localASN: 3, sourceAddress: y}]}}";
    let peer = |field| ("address-invalid", field);
    let found = [
        ("pool-missing", "spec.pools[0]"),
        peer("spec.bgp.routerID"),
        peer("spec.bgp.peers[0].address"),
        peer("spec.bgp.peers[0].sourceAddress"),
    ];
    expect("Announcement", wrong, &found);
    let wrong = "{bgp: {localASN: 1, communities: ['1:2', x], localPreference: -1, peers: [\
        {address: 'fe80::1', asn: 2}, {address: 192.0.2.1, asn: 4294967296}, \
        {address: 192.0.2.1, asn: 2, sourceAddress: '2001:db8::1', bfd: {detectMultiplier: 1}}]}}";
    let invalid = |field| ("field-invalid", field);
    let found = [
        invalid("spec.bgp.communities[1]"),
        invalid("spec.bgp.localPreference"),
        peer("spec.bgp.peers[0].address"),
        invalid("spec.bgp.peers[1].asn"),
        ("address-of-other-family", "spec.bgp.peers[2].sourceAddress"),
        invalid("spec.bgp.peers[2].bfd.detectMultiplier"),
    ];
    expect("Announcement", wrong, &found);
}

#[test]
fn host_policies() {
    expect("HostPolicy", "{hosts: [shop.example, '*.shop.example', '*'], namespaces: [shop]}", &[]);
    expect("HostPolicy", "{namespaces: [shop]}", &[("field-invalid", "spec.hosts")]);
    expect("HostPolicy", "{hosts: [a.example, 'a.*.example']}", &[("field-invalid", "spec.hosts[1]")]);
    expect("HostPolicy", "{hosts: [Shop.example]}", &[("field-invalid", "spec.hosts[0]")]);
}
