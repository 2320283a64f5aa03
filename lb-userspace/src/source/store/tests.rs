use std::path::Path;

use super::*;
use crate::source::parse::parse;

fn service(name: &str, port: u16) -> Object {
    let text =
        format!("{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{ports: [{{port: {port}}}]}}}}");
    parse(&Arc::from(Path::new("f.yaml")), text.as_bytes()).objects.remove(0)
}

fn held(objects: &Objects) -> Vec<(&str, i64)> {
    objects.services().map(|s| (s.metadata.name.as_str(), s.spec.ports[0].port.unwrap_or_default())).collect()
}

#[test]
fn a_picture_replaces_what_was_there_only_when_it_is_complete() {
    let mut objects = Objects::new(1);
    assert!(!objects.complete());
    objects.handle(0, SourceEvent::Init);
    objects.handle(0, SourceEvent::InitApply(service("a", 1)));
    objects.handle(0, SourceEvent::InitApply(service("b", 2)));
    assert!(objects.is_empty() && !objects.complete());
    objects.handle(0, SourceEvent::InitDone);
    assert_eq!(held(&objects), [("a", 1), ("b", 2)]);
    assert!(objects.complete());

    objects.handle(0, SourceEvent::Init);
    objects.handle(0, SourceEvent::InitApply(service("b", 3)));
    assert_eq!(held(&objects), [("a", 1), ("b", 2)], "the old picture holds until the new one is whole");
    assert!(objects.complete());
    objects.handle(0, SourceEvent::InitDone);
    assert_eq!(held(&objects), [("b", 3)]);
}

#[test]
fn single_changes() {
    let mut objects = Objects::new(1);
    objects.handle(0, SourceEvent::Init);
    objects.handle(0, SourceEvent::InitDone);
    objects.handle(0, SourceEvent::Apply(service("a", 1)));
    objects.handle(0, SourceEvent::Apply(service("a", 2)));
    assert_eq!(held(&objects), [("a", 2)]);
    let before = objects.clone();
    objects.handle(0, SourceEvent::Delete(service("a", 1).key()));
    objects.handle(0, SourceEvent::Delete(service("a", 1).key()));
    assert!(objects.is_empty());
    assert_eq!(held(&before), [("a", 2)], "a clone is a picture of its time");
}

#[test]
fn the_source_named_first_counts_and_the_next_stands_in() {
    let mut objects = Objects::new(2);
    for source in [1, 0] {
        objects.handle(source, SourceEvent::Init);
        objects.handle(source, SourceEvent::InitApply(service("a", if source == 0 { 1 } else { 2 })));
        objects.handle(source, SourceEvent::InitDone);
    }
    assert_eq!(held(&objects), [("a", 1)]);
    let problems = objects.problems();
    assert_eq!(problems.iter().map(|p| p.code.as_str()).collect::<Vec<_>>(), [code::OBJECT_DUPLICATE]);
    objects.handle(1, SourceEvent::Apply(service("a", 3)));
    assert_eq!(held(&objects), [("a", 1)]);
    objects.handle(0, SourceEvent::Delete(service("a", 1).key()));
    assert_eq!(held(&objects), [("a", 3)]);
    assert!(objects.problems().is_empty());
}

#[test]
fn all_sources_must_be_complete() {
    let mut objects = Objects::new(2);
    objects.handle(1, SourceEvent::Init);
    objects.handle(1, SourceEvent::InitDone);
    assert!(!objects.complete() && objects.source_complete(1) && !objects.source_complete(0));
}

/// Names of what changed, and the port that each had before.
fn changed(objects: &mut Objects) -> Vec<(String, Option<i64>)> {
    let port = |object: &Object| match &object.body {
        Body::Service(service) => service.spec.ports[0].port,
        _ => None,
    };
    let changes = objects.take_changes();
    assert!(!changes.is_everything());
    changes.iter().map(|(key, before)| (key.name.clone(), before.and_then(port))).collect()
}

#[test]
fn changes_are_told_once_with_what_was_before() {
    let mut objects = Objects::new(2);
    objects.handle(0, SourceEvent::Apply(service("a", 1)));
    assert!(objects.take_changes().is_everything(), "of what was before a first look nothing is known");
    objects.handle(0, SourceEvent::Apply(service("a", 2)));
    objects.handle(0, SourceEvent::Apply(service("a", 3)));
    objects.handle(0, SourceEvent::Apply(service("b", 1)));
    assert_eq!(changed(&mut objects), [("a".to_owned(), Some(1)), ("b".to_owned(), None)]);
    objects.handle(0, SourceEvent::Apply(service("a", 3)));
    objects.handle(1, SourceEvent::Apply(service("a", 4)));
    assert!(changed(&mut objects).is_empty(), "the same again, and what stands by, change nothing");
    objects.handle(0, SourceEvent::Init);
    objects.handle(0, SourceEvent::InitApply(service("b", 1)));
    objects.handle(0, SourceEvent::InitDone);
    assert_eq!(changed(&mut objects), [("a".to_owned(), Some(3))], "of a whole picture only what differs");
    assert_eq!(held(&objects), [("a", 4), ("b", 1)]);
    (0..5000).for_each(|port| objects.handle(0, SourceEvent::Apply(service(&format!("s{port}"), port))));
    assert!(objects.take_changes().is_everything());
}

#[test]
fn slices_are_found_by_their_service() {
    let slice = |name: &str, service: &str| {
        let text = format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: {name}, labels: \
             {{kubernetes.io/service-name: {service}}}}}, addressType: IPv4, endpoints: []}}"
        );
        parse(&Arc::from(Path::new("f.yaml")), text.as_bytes()).objects.remove(0)
    };
    let names = |objects: &Objects, service: &str| {
        objects.slices_of("default", service).map(|slice| slice.metadata.name.clone()).collect::<Vec<_>>().join(" ")
    };
    let mut objects = Objects::new(1);
    for (name, service) in [("x", "a"), ("y", "b"), ("w", "a")] {
        objects.handle(0, SourceEvent::Apply(slice(name, service)));
    }
    assert_eq!((names(&objects, "a"), names(&objects, "b")), ("w x".to_owned(), "y".to_owned()));
    objects.handle(0, SourceEvent::Apply(slice("x", "b")));
    objects.handle(0, SourceEvent::Delete(slice("w", "a").key()));
    assert_eq!((names(&objects, "a"), names(&objects, "b")), (String::new(), "x y".to_owned()));
}
