//! Any bytes as a file of manifests, all the way to tables: mistakes are Problems, never panics, and the result does not
//! depend on the order of the objects.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use lb_userspace::compile::{Ids, Limits, Node, compile};
use lb_userspace::model::{DesiredState, Problem};
use lb_userspace::source::{Object, Objects, SourceEvent, derive, parse::parse};
use lb_userspace::tables;
use lb_userspace::translate::{Settings, translate};

pub(crate) fn run(data: &[u8]) {
    let file: Arc<Path> = Path::new("input.yaml").into();
    let parsed = parse(&file, data);
    for problem in &parsed.problems {
        assert!(problem.line.is_some() && problem.file.is_some(), "a Problem without its place: {problem:?}");
    }
    let objects = with_slices(parsed.objects);
    let (desired, problems) = translated(&objects);
    let mut turned = objects;
    turned.reverse();
    assert_eq!(translated(&turned), (desired.clone(), problems), "the order of the objects matters");
    compiled(&desired);
}

/// The objects, each once, and the slices that the directory source makes.
fn with_slices(objects: Vec<Object>) -> Vec<Object> {
    let mut keys = HashSet::new();
    let once = objects.into_iter().filter(|object| keys.insert(object.key()));
    let mut all = once.map(|object| (object.key(), object)).collect();
    let slices = derive::slices(&all);
    all.extend(slices.into_iter().map(|slice| (slice.key(), slice)));
    all.into_values().collect()
}

fn translated(objects: &[Object]) -> (DesiredState, Vec<Problem>) {
    let mut store = Objects::new(1);
    objects.iter().for_each(|object| store.handle(0, SourceEvent::Apply(object.clone())));
    let settings = Settings { node_name: "node-a".to_owned(), ..Settings::default() };
    translate(&store, &settings)
}

/// Compiles, and once more with the ids of the first time: nothing may change.
fn compiled(desired: &DesiredState) {
    let address: BTreeSet<_> = ["192.0.2.1".parse(), "2001:db8::1".parse()].into_iter().flatten().collect();
    let node = Node {
        own_addresses: address.clone(),
        node_addresses: address.clone(),
        front_addresses: address.clone(),
        tls_addresses: address,
        settings: tables::Settings { snat_ports: (15_000, 29_999), ..tables::Settings::default() },
        http_port: 80,
        https_port: 443,
        external_cluster_ips: false,
        source_ranges_everywhere: false,
        denied: Some(Arc::default()),
        limits: Limits::default(),
    };
    let (first, ids) = compile(desired, &node, &Ids::default());
    let (second, _) = compile(desired, &node, &ids);
    assert_eq!(first.tables, second.tables, "the same again gives other tables");
}
