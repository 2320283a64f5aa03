//! Documents of layer 7, of few words, so that they have to do with each other.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::x509::tests::self_signed;

/// An Ingress of up to two rules, with what may tie it to others.
pub(super) fn ingress() -> impl Strategy<Value = String> {
    let host = select(vec![
        "a.example",
        "a.example",
        "b.example",
        "www.a.example",
        "*.example",
        "B.Example",
        "no host",
        "*",
        "",
    ]);
    let path = select(vec!["/", "/x", "/x/", "/x(/|$)(.*)"]);
    let kind = select(vec!["Prefix", "Prefix", "Exact", "ImplementationSpecific"]);
    let service = select(vec!["a", "a", "b", "c", "z"]);
    let rule = (host, path, kind, service).prop_map(|(host, path, kind, service)| {
        format!(
            "{{host: '{host}', http: {{paths: [{{path: '{path}', pathType: {kind}, backend: {{service: {{name: {service}, \
             port: {{number: 80}}}}}}}}]}}}}"
        )
    });
    let tls = select(vec![
        "",
        "",
        "{secretName: good}",
        "{secretName: t, hosts: [a.example]}",
        "{secretName: t, hosts: ['*.example', b.example]}",
        "{hosts: [a.example]}",
    ]);
    let rest =
        select(vec!["", "", "defaultBackend: {service: {name: a, port: {number: 80}}}, ", "ingressClassName: k, "]);
    let annotations = subsequence(ANNOTATIONS, 0..4);
    let head = (select(vec!["i", "j", "k", "l"]), 0..2_u8, annotations);
    (head, rest, proptest::collection::vec(rule, 0..3), tls).prop_map(|((name, age, annotations), rest, rules, tls)| {
        format!(
            "{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: {name}, creationTimestamp: \
             '202{age}-01-01T00:00:00Z', annotations: {{{}}}}}, spec: {{{rest}rules: [{}], tls: [{tls}]}}}}",
            annotations.join(", "),
            rules.join(", ")
        )
    })
}

/// What names hosts or objects, what has a say for others, and what is wrong.
const ANNOTATIONS: &[&str] = &[
    "nginx.ingress.kubernetes.io/server-alias: 'b.example, c.example, A.example'",
    "nginx.ingress.kubernetes.io/from-to-www-redirect: 'true'",
    "nginx.ingress.kubernetes.io/canary: 'true', nginx.ingress.kubernetes.io/canary-weight: '20'",
    "nginx.ingress.kubernetes.io/auth-type: basic, nginx.ingress.kubernetes.io/auth-secret: u",
    "nginx.ingress.kubernetes.io/auth-tls-secret: default/t",
    "nginx.ingress.kubernetes.io/ssl-passthrough: 'true'",
    "nginx.ingress.kubernetes.io/ssl-ciphers: ECDHE-RSA-AES128-GCM-SHA256",
    "nginx.ingress.kubernetes.io/rewrite-target: /$2",
    "nginx.ingress.kubernetes.io/use-regex: 'true'",
    "nginx.ingress.kubernetes.io/default-backend: c",
    "nginx.ingress.kubernetes.io/service-upstream: 'true'",
    "nginx.ingress.kubernetes.io/custom-headers: default/h",
    "nginx.ingress.kubernetes.io/proxy-body-size: odd",
    "nginx.ingress.kubernetes.io/unheard-of: x",
    "weir.io/slash-redirect: 'true'",
    "weir.io/asset-fallback: 'true'",
];

/// Chain and key of a certificate, as lines of `stringData`.
static PAIRS: LazyLock<[String; 2]> = LazyLock::new(|| {
    ["a.example", "*.example"].map(|name| {
        let (chain, key) = self_signed(&[name], &rcgen::PKCS_ED25519);
        format!("tls.crt: {chain:?}, tls.key: {key:?}, ca.crt: {chain:?}")
    })
});

/// A Secret with users, a certificate, or nothing that is good.
pub(super) fn secret() -> impl Strategy<Value = String> {
    let data = select(vec![
        "auth: 'ann:{SHA}x'".to_owned(),
        "auth: 'ann:{SHA}x\\nbob:plain'".replace('\'', "\""),
        PAIRS[0].clone(),
        PAIRS[1].clone(),
        "tls.crt: x".to_owned(),
    ]);
    (select(vec!["u", "t", "good"]), data).prop_map(|(name, data)| {
        format!("{{apiVersion: v1, kind: Secret, metadata: {{name: {name}}}, stringData: {{{data}}}}}")
    })
}

/// The front's ConfigMap, or one with headers.
pub(super) fn config_map() -> impl Strategy<Value = String> {
    let data = select(vec![
        ("front", "use-forwarded-headers: 'true'"),
        ("front", "use-forwarded-headers: 'true', proxy-real-ip-cidr: 10.0.0.0/8"),
        ("front", "proxy-body-size: 1m"),
        ("front", "host-policy: first"),
        ("front", "add-headers: default/h"),
        ("front", "unheard-of: x"),
        ("h", "X-One: '1'"),
        ("h", "X-One: '2', 'bad name': x"),
    ]);
    data.prop_map(|(name, data)| {
        format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}, data: {{{data}}}}}")
    })
}
