//! The objects of a large cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use lb_userspace::source::kinds::{
    Endpoint, EndpointPort, EndpointSlice, HttpIngressPath, HttpIngressRuleValue, Ingress, IngressBackend, IngressRule,
    IngressServiceBackend, IngressSpec, Metadata, SERVICE_NAME_LABEL, Service, ServiceBackendPort, ServicePort,
    ServiceSpec,
};
use lb_userspace::source::{Body, Object, Objects, SourceEvent};

/// More endpoints than any Service has here: the addresses of two Services differ.
const MOST_ENDPOINTS: u32 = 10;

/// So many Services, with a slice each; the first of them with an Ingress.
pub(crate) fn cluster(services: u32, endpoints: u32, ingresses: u32) -> Objects {
    let mut objects = Objects::new(1);
    for number in 0..services {
        apply(&mut objects, Body::Service(Arc::new(service(number))));
        apply(&mut objects, slice(number, endpoints));
    }
    (0..ingresses).for_each(|number| apply(&mut objects, Body::Ingress(Arc::new(ingress(number)))));
    objects.take_changes();
    objects
}

/// As a source does when an object is new or another one.
pub(crate) fn apply(objects: &mut Objects, body: Body) {
    objects.handle(0, SourceEvent::Apply(Object { body, origin: None }));
}

/// The slice of a Service with its first endpoints.
pub(crate) fn slice(number: u32, endpoints: u32) -> Body {
    let endpoint =
        |index| Endpoint { addresses: vec![address(10, number * MOST_ENDPOINTS + index)], ..Endpoint::default() };
    let labels = BTreeMap::from([(SERVICE_NAME_LABEL.to_owned(), format!("s{number}"))]);
    Body::EndpointSlice(Arc::new(EndpointSlice {
        metadata: Metadata { labels, ..named(format!("s{number}-1")) },
        endpoints: (0..endpoints).map(endpoint).collect(),
        ports: vec![EndpointPort { port: Some(8080), ..EndpointPort::default() }],
        ..EndpointSlice::default()
    }))
}

fn service(number: u32) -> Service {
    let ports = vec![ServicePort { port: Some(80), ..ServicePort::default() }];
    Service {
        metadata: named(format!("s{number}")),
        spec: ServiceSpec { ports, cluster_ip: Some(address(96, number)), ..ServiceSpec::default() },
        ..Service::default()
    }
}

fn ingress(number: u32) -> Ingress {
    let port = ServiceBackendPort { number: Some(80), ..ServiceBackendPort::default() };
    let service = IngressServiceBackend { name: format!("s{number}"), port };
    let backend = IngressBackend { service: Some(service), ..IngressBackend::default() };
    let path = HttpIngressPath { path: Some("/".to_owned()), path_type: Some("Prefix".to_owned()), backend };
    let http = Some(HttpIngressRuleValue { paths: vec![path] });
    let rule = IngressRule { host: Some(format!("h{number}.example")), http };
    Ingress {
        metadata: named(format!("i{number}")),
        spec: IngressSpec { rules: vec![rule], ..IngressSpec::default() },
        ..Ingress::default()
    }
}

fn named(name: String) -> Metadata {
    Metadata { name, namespace: "n".to_owned(), ..Metadata::default() }
}

fn address(first: u8, number: u32) -> String {
    let [_, a, b, c] = (number + 1).to_be_bytes();
    format!("{first}.{a}.{b}.{c}")
}
