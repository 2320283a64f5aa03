//! The manifests that are served.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// Ingresses in one file: nobody has one file for all of them, nor ten thousand.
const IN_A_FILE: usize = 100;

/// The files of so many Ingresses, each for a host of its own, and their Services, of which each has so many Ingresses.
pub(crate) fn crowd(ingresses: usize, shared: usize, pod: Ipv4Addr) -> Vec<(String, String)> {
    let mut files: Vec<_> = (0..ingresses.div_ceil(IN_A_FILE))
        .map(|file| {
            let numbers = file * IN_A_FILE..ingresses.min((file + 1) * IN_A_FILE);
            let text = numbers.map(|number| {
                let service = format!("service-{}", number / shared);
                ingress(&format!("ingress-{number}"), &host(number), &service, "")
            });
            (format!("ingresses-{file}.yaml"), text.collect())
        })
        .collect();
    let services = ingresses.div_ceil(shared);
    files.extend((0..services.div_ceil(IN_A_FILE)).map(|file| {
        let numbers = file * IN_A_FILE..services.min((file + 1) * IN_A_FILE);
        (format!("services-{file}.yaml"), numbers.map(|number| service(&format!("service-{number}"), pod)).collect())
    }));
    files
}

/// The host of an Ingress of the crowd.
pub(crate) fn host(number: usize) -> String {
    format!("host-{number}.example.com")
}

/// An Ingress for all paths of a host, with lines of annotations.
pub(crate) fn ingress(name: &str, host: &str, service: &str, annotations: &str) -> String {
    let mut text = format!("---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n");
    if !annotations.is_empty() {
        let _ = writeln!(text, "  annotations:\n    {annotations}");
    }
    let _ = write!(
        text,
        "spec:\n  rules:\n  - host: {host}\n    http:\n      paths:\n      - {{path: /, pathType: Prefix, \
         backend: {{service: {{name: {service}, port: {{number: 80}}}}}}}}\n"
    );
    text
}

/// A Service and its endpoint.
pub(crate) fn service(name: &str, pod: Ipv4Addr) -> String {
    let service = format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  ports: [{{port: 80, targetPort: 8080}}]\n"
    );
    service + &slice(name, pod)
}

/// The endpoint of a Service.
pub(crate) fn slice(service: &str, pod: Ipv4Addr) -> String {
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata:\n  name: {service}-1\n  \
         labels: {{kubernetes.io/service-name: {service}}}\nports: [{{port: 8080}}]\n\
         endpoints: [{{addresses: [{pod}], conditions: {{ready: true}}}}]\n"
    )
}

/// The front's ConfigMap with one key.
pub(crate) fn settings(key: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{{key}: \"{value}\"}}\n")
}

/// Annotations that ask for the users of [`users`].
pub(crate) const ASKS_USERS: &str =
    "nginx.ingress.kubernetes.io/auth-type: basic\n    nginx.ingress.kubernetes.io/auth-secret: users";

/// A Secret with one user, whose password is `pw`.
pub(crate) fn users(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: users}}\nstringData: {{auth: \"{name}:{{SHA}}GpHWL3ymc5liWkNopqtdSjuqYHM=\"}}\n"
    )
}
