//! The manifests.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::ENDPOINTS;

/// Services in one file.
const IN_A_FILE: usize = 500;

/// The files of so many Services.
pub(crate) fn crowd(services: usize) -> impl Iterator<Item = (String, String)> {
    (0..services.div_ceil(IN_A_FILE)).map(move |file| {
        let numbers = file * IN_A_FILE..services.min((file + 1) * IN_A_FILE);
        (format!("crowd-{file}.yaml"), numbers.map(service).collect())
    })
}

/// A NodePort Service whose endpoint is this pod.
pub(crate) fn changing(node_port: u16, pod: Ipv4Addr) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: changing}}\nspec:\n  type: NodePort\n  \
         ports: [{{port: 7070, nodePort: {node_port}}}]\n"
    ) + &slice("changing", 7070, &[pod])
}

fn service(number: usize) -> String {
    let [_, _, _, _, _, a, b, c] = (number as u64 + 1).to_be_bytes();
    let name = format!("service-{number}");
    let pods: Vec<_> = (0..ENDPOINTS).map(|index| pod(number * ENDPOINTS + index)).collect();
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{clusterIP: 96.{a}.{b}.{c}, \
         ports: [{{port: 80, targetPort: 8080}}]}}\n"
    ) + &slice(&name, 8080, &pods)
}

fn pod(number: usize) -> Ipv4Addr {
    let [_, _, _, _, _, a, b, c] = (number as u64 + 1).to_be_bytes();
    Ipv4Addr::new(11, a, b, c)
}

fn slice(service: &str, port: u16, pods: &[Ipv4Addr]) -> String {
    let mut text = format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: {{name: {service}-1, \
         labels: {{kubernetes.io/service-name: {service}}}}}\nports: [{{port: {port}}}]\nendpoints:\n"
    );
    for pod in pods {
        let _ = writeln!(text, "- {{addresses: [{pod}], conditions: {{ready: true}}}}");
    }
    text
}
