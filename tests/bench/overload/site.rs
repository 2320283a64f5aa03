//! What is served.

use std::net::Ipv4Addr;

use super::backend::PORT;
use super::load::HOST;

/// A host that leads to a pod, with annotations.
pub(crate) fn manifests(pod: Ipv4Addr, annotations: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: slow}}\nspec: {{ports: [{{port: 80, targetPort: {PORT}}}]}}\n\
         ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n\
         metadata: {{name: slow-1, labels: {{kubernetes.io/service-name: slow}}}}\nports: [{{port: {PORT}}}]\n\
         endpoints: [{{addresses: [{pod}], conditions: {{ready: true}}}}]\n\
         ---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: slow, annotations: {annotations}}}\n\
         spec:\n  rules:\n  - host: {HOST}\n    http:\n      paths:\n      - {{path: /, pathType: Prefix, \
         backend: {{service: {{name: slow, port: {{number: 80}}}}}}}}\n"
    )
}
