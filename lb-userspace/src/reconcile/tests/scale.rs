//! What a change of one endpoint costs in a large cluster, beside what it costs to make everything anew.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock;
use crate::dataplane::fake::void::Void;
use crate::source::kinds::{
    HttpIngressPath, HttpIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    Metadata, ServiceBackendPort,
};
use crate::source::{Body, Object, Objects, SourceEvent};
use crate::translate::tests::scale::{service, slice};
use crate::translate::{self, Translation};

/// An Ingress of a host of its own to a Service.
fn ingress(number: u32) -> Ingress {
    let port = ServiceBackendPort { number: Some(80), ..ServiceBackendPort::default() };
    let backend = IngressBackend {
        service: Some(IngressServiceBackend { name: format!("s{number}"), port }),
        ..IngressBackend::default()
    };
    let path = HttpIngressPath { path: Some("/".to_owned()), path_type: Some("Prefix".to_owned()), backend };
    let rule = IngressRule {
        host: Some(format!("h{number}.example")),
        http: Some(HttpIngressRuleValue { paths: vec![path] }),
    };
    Ingress {
        metadata: Metadata { name: format!("i{number}"), namespace: "n".to_owned(), ..Metadata::default() },
        spec: IngressSpec { rules: vec![rule], ..IngressSpec::default() },
        ..Ingress::default()
    }
}

fn apply_to(objects: &mut Objects, body: Body) {
    objects.handle(0, SourceEvent::Apply(Object { body, origin: None }));
}

/// Makes the first pass, then one for each of a hundred changes; tells what both take on average.
fn measure(services: u32, endpoints: u32, ingresses: u32) -> (Duration, Duration) {
    let mut objects = Objects::new(1);
    for number in 0..services {
        apply_to(&mut objects, Body::Service(Arc::new(service(number))));
        apply_to(&mut objects, Body::EndpointSlice(Arc::new(slice(number, endpoints))));
    }
    (0..ingresses).for_each(|number| apply_to(&mut objects, Body::Ingress(Arc::new(ingress(number)))));
    objects.take_changes();
    let (settings, node) = (translate::Settings::default(), Node { limits: room(), ..node() });
    let (mut translation, mut reconciler) = (Translation::default(), Reconciler::new(Box::new(Void)).unwrap());
    let begin = clock::worked();
    let mut desired = Arc::new(translation.renew(&objects, &settings));
    let mut compiled = reconciler.run_once(&desired, &node, Prune::All).compiled;
    let whole = clock::worked() - begin;
    let begin = clock::worked();
    for number in 0..CHANGES {
        apply_to(&mut objects, Body::EndpointSlice(Arc::new(slice(number, endpoints - 1))));
        let changes = objects.take_changes();
        let changed = translation.amend(&mut desired, &objects, &changes, &settings).expect("slices are followed");
        let followed = reconciler.follow(&mut compiled, &desired, &changed, &node).expect("so are their backends");
        assert_eq!((followed.writes, followed.routes), (2, number < ingresses), "a ring, and a backend that goes");
    }
    (whole, (clock::worked() - begin) / CHANGES)
}

const CHANGES: u32 = 100;

fn room() -> crate::compile::Limits {
    crate::compile::Limits { services: 1 << 18, backends: 1 << 18 }
}

#[test]
fn what_a_change_costs_does_not_grow_with_the_cluster() {
    let (whole, change) = measure(2_000, 2, 100);
    assert!(change * 20 < whole, "a change: {change:?}, everything: {whole:?}");
}
