use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::compile::tests::fixture::{any_desired, any_node, any_target, backend, desired, node, node_port, service};
use crate::compile::{Node, compile};
use crate::diff::{self, diff};
use crate::model::Policy;
use crate::tables::Tables;

/// Gives some services other backends, and tells what they led to before.
fn change(desired: &mut DesiredState, targets: Vec<Option<Target>>) -> Changed {
    let mut before = BTreeMap::new();
    for (service, target) in desired.services.values_mut().zip(targets) {
        if let (Some(target @ Target::Backends(_)), Target::Backends(_)) = (target, &service.target) {
            before.insert(service.key.clone(), std::mem::replace(&mut service.target, target));
        }
    }
    Changed { targets: before, ..Changed::default() }
}

/// Routes to all services but one.
fn routed(desired: &mut DesiredState) {
    let keys = desired.services.keys().skip(1).cloned();
    let streams = keys.zip(8000..).map(|(service, port)| crate::model::StreamPort {
        port,
        protocol: service.protocol,
        service,
        proxy: Some(crate::model::StreamProxy { decode: true, encode: false }),
    });
    desired.streams = streams.collect();
}

/// The Tables that a compilation has after changes.
fn amended(tables: &Tables, changes: &Amended) -> Tables {
    let mut tables = tables.clone();
    tables.services.extend(changes.rings.iter().map(|(id, ring)| (*id, ring.clone())));
    tables.backends.extend(changes.come.iter().map(|(id, key)| (*id, *key)));
    tables.backends.retain(|id, _| !changes.gone.contains(id));
    tables
}

fn check(desired: &mut DesiredState, node: &Node, histories: Vec<Vec<Option<Target>>>) -> Result<usize, TestCaseError> {
    routed(desired);
    let (mut compiled, mut ids) = compile(desired, node, &Ids::default());
    let mut followed = 0;
    for targets in histories {
        let before = change(desired, targets);
        let (whole, whole_ids) = compile(desired, node, &ids);
        match amend(&mut compiled, &mut ids, desired, &before, node.limits) {
            Some(changes) => {
                followed += 1;
                let plan = diff::of(&compiled.tables, &changes);
                prop_assert_eq!(&plan, &diff(&compiled.tables, &whole.tables));
                let tables = amended(&compiled.tables, &changes);
                compiled.tables = Arc::new(tables);
                prop_assert_eq!(&compiled, &whole);
            }
            None => (compiled, ids) = (whole, whole_ids),
        }
    }
    Ok(followed)
}

fn any_targets() -> impl Strategy<Value = Vec<Option<Target>>> {
    proptest::collection::vec(proptest::option::of(any_target()), 5)
}

proptest! {
    #[test]
    fn what_was_amended_is_what_would_have_been_compiled(
        mut desired in any_desired(), node in any_node(), histories in proptest::collection::vec(any_targets(), 1..6)
    ) {
        check(&mut desired, &node, histories)?;
    }
}

/// A service with these pods.
fn web(name: &str, pods: &[&str]) -> Service {
    let port = if name == "web" { 30_080 } else { 30_081 };
    service(name, &[node_port(port)], Target::Backends(pods.iter().map(|pod| backend(pod)).collect()))
}

fn targets(pods: &[&[&str]]) -> Vec<Option<Target>> {
    let target = |pods: &&[&str]| Some(Target::Backends(pods.iter().map(|pod| backend(pod)).collect()));
    pods.iter().map(target).collect()
}

#[test]
fn a_change_of_backends_is_followed() {
    let mut state = desired([web("other", &["10.0.0.1"]), web("web", &["10.0.0.1", "10.0.0.2"])]);
    let histories = vec![
        targets(&[&["10.0.0.1"], &["10.0.0.2", "10.0.0.3"]]),
        // what one loses the other gets
        targets(&[&["10.0.0.3"], &["10.0.0.2"]]),
        targets(&[&[], &[]]),
        targets(&[&["10.0.0.9"], &["10.0.0.8"]]),
    ];
    assert_eq!(check(&mut state, &node(), histories).unwrap(), 4);
}

/// Whether a change of backends is followed for a service that is made so.
fn follows(make: impl Fn(&mut Service), limits: Limits) -> bool {
    let mut one = web("web", &["10.0.0.1"]);
    make(&mut one);
    let node = Node { limits, ..node() };
    check(&mut desired([one]), &node, vec![targets(&[&["10.0.0.1", "10.0.0.2"]])]).unwrap() == 1
}

#[test]
fn where_more_hangs_on_backends_everything_is_compiled() {
    let local = Policy { external: TrafficPolicy::Local, ..Policy::default() };
    let all = Limits::default();
    assert!(follows(|_| {}, all));
    assert!(follows(|service| service.policy = local, all), "there are backends elsewhere as before");
    assert!(!follows(|service| (service.policy, service.target) = (local, Target::Backends(vec![])), all));
    assert!(!follows(|service| service.forwarding = Forwarding::Dsr, all));
    assert!(!follows(|_| {}, Limits { backends: 2, ..all }), "there is no id for the second");
}
