//! The objects of a large cluster, as a cluster of their kind holds them: what controllers write into them is there.

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

/// Endpoints of one Service.
pub(crate) const ENDPOINTS: usize = 10;

/// A kind under the version that the server has.
pub(crate) fn resource(group: &str, version: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// The Service with this number.
pub(crate) fn service(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name(number), "labels": {"app": name(number)}},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]},
    })
}

/// The slice of the Service with this number; `turn` says which of its endpoints is not ready: none with 0.
pub(crate) fn slice(number: usize, turn: usize) -> Value {
    let endpoints: Vec<_> = (0..ENDPOINTS).map(|index| endpoint(number, index, index + 1 != turn)).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1beta1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{}-x7k2p", name(number)), "labels": {
            "kubernetes.io/service-name": name(number), "app": name(number),
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        }},
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints,
    })
}

/// An address that no other has, on one of 200 nodes.
fn endpoint(number: usize, index: usize, ready: bool) -> Value {
    let host = number * ENDPOINTS + index;
    let pod = format!("{}-7c9f6d5b8-{:05}", name(number), index * 7919 % 100_000);
    json!({
        "addresses": [format!("10.{}.{}.{}", 128 + (host >> 16), (host >> 8) & 255, host & 255)],
        "conditions": {"ready": ready},
        "targetRef": {"kind": "Pod", "namespace": "default", "name": pod, "uid": uid(host), "resourceVersion": "4711"},
        "topology": {"kubernetes.io/hostname": format!("node-{}", host % 200)},
    })
}

fn uid(host: usize) -> String {
    format!("{host:08x}-5e1c-4a7e-9d3b-0123456789ab")
}

/// The Ingress with this number: a host of its own, two paths to two Services.
pub(crate) fn ingress(number: usize, services: usize) -> Value {
    let to = |path: &str, number: usize| {
        let port = json!({"name": "http"});
        let backend = json!({"service": {"name": name(number % services), "port": port}});
        json!({"path": path, "pathType": "Prefix", "backend": backend})
    };
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": format!("site-{number}")},
        "spec": {"ingressClassName": "weir", "rules": [{
            "host": format!("site-{number}.example.org"),
            "http": {"paths": [to("/", 2 * number), to("/api", 2 * number + 1)]},
        }]},
    })
}

fn name(number: usize) -> String {
    format!("app-{number}")
}

/// For requests.
pub(crate) fn object(value: Value) -> anyhow::Result<DynamicObject> {
    Ok(serde_json::from_value(value)?)
}
