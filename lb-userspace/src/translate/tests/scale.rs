//! A large cluster: 10,000 Services with 10 endpoints each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::source::kinds::{
    Endpoint, EndpointPort, EndpointSlice, Metadata, SERVICE_NAME_LABEL, Service, ServicePort, ServiceSpec,
};
use crate::source::{Body, Object, Objects, SourceEvent};
use crate::translate::{Settings, translate};

const SERVICES: u32 = 10_000;
const ENDPOINTS: u32 = 10;

pub(crate) fn service(number: u32) -> Service {
    let ports = vec![ServicePort { port: Some(80), ..ServicePort::default() }];
    Service {
        metadata: Metadata { name: format!("s{number}"), namespace: "n".to_owned(), ..Metadata::default() },
        spec: ServiceSpec { ports, cluster_ip: Some(address(96, number)), ..ServiceSpec::default() },
        ..Service::default()
    }
}

/// The slice of a Service with its first endpoints.
pub(crate) fn slice(number: u32, endpoints: u32) -> EndpointSlice {
    let endpoint = |index| Endpoint { addresses: vec![address(10, number * ENDPOINTS + index)], ..Endpoint::default() };
    EndpointSlice {
        metadata: Metadata {
            name: format!("s{number}-1"),
            namespace: "n".to_owned(),
            labels: BTreeMap::from([(SERVICE_NAME_LABEL.to_owned(), format!("s{number}"))]),
            ..Metadata::default()
        },
        endpoints: (0..endpoints).map(endpoint).collect(),
        ports: vec![EndpointPort { port: Some(8080), ..EndpointPort::default() }],
        ..EndpointSlice::default()
    }
}

fn address(first: u8, number: u32) -> String {
    let [_, a, b, c] = (number + 1).to_be_bytes();
    format!("{first}.{a}.{b}.{c}")
}

#[test]
fn ten_thousand_services_are_translated_in_no_time() {
    let mut objects = Objects::new(1);
    let bodies = (0..SERVICES)
        .flat_map(|n| [Body::Service(Arc::new(service(n))), Body::EndpointSlice(Arc::new(slice(n, ENDPOINTS)))]);
    bodies.for_each(|body| objects.handle(0, SourceEvent::Apply(Object { body, origin: None })));
    let begin = clock::worked();
    let (desired, problems) = translate(&objects, &Settings::default());
    let took = clock::worked() - begin;
    assert!(problems.is_empty(), "{:?}", problems.first());
    assert_eq!(desired.services.len(), SERVICES as usize);
    // Well under a second when optimized. This is for the build without, in time of this thread alone, since the machine
    // may be busy; it still fails if a step looks at every Service for every Service.
    assert!(took < Duration::from_secs(5), "took {took:?}");
    println!("took {took:?}");
}
