use proptest::prelude::*;

use super::*;
use crate::compile::tests::fixture::{any_desired, any_node, backend, desired, node, node_port, service};
use crate::compile::{Ids, compile};
use crate::dataplane::fake::MemoryStore;
use crate::dataplane::fake::faulty::FaultyStore;
use crate::diff::diff;
use crate::model::Target;
use crate::plan::Phase;

fn web(pod: &str) -> Tables {
    let pods = Target::Backends(vec![backend(pod)]);
    compile(&desired([service("web", &[node_port(30_080)], pods)]), &node(), &Ids::default()).0.tables.as_ref().clone()
}

#[test]
fn a_broken_store_changes_nothing_and_is_counted() {
    let memory = MemoryStore::default();
    let (mut actual, wanted) = (Tables::default(), web("10.244.0.1"));
    let plan = diff(&actual, &wanted);
    let error = apply(&mut FaultyStore::new(memory.clone(), 100, 1), &mut actual, &plan).unwrap_err();
    assert_eq!(actual, Tables::default());
    assert_eq!(memory.tables(), Tables::default());
    // Backend, settings and node address fail; ring and frontend are not even tried.
    assert_eq!((error.failed, error.put_off, error.total), (3, 2, 5));
    assert_eq!(error.to_string(), "3 of 5 writes failed and 2 were put off because of them");
    assert_eq!(error.failures[0].step, "add backend v4 1 10.244.0.1:8080/TCP");
}

#[test]
fn a_broken_store_deletes_nothing_without_a_grace_period() {
    let before = web("10.244.0.1");
    let mut actual = before.clone();
    let plan = diff(&actual, &Tables { settings: before.settings, ..Tables::default() });
    let error = apply(&mut FaultyStore::new(MemoryStore::holding(before), 100, 1), &mut actual, &plan).unwrap_err();
    // Frontend, node address and grace period fail; service and backend wait.
    assert_eq!((error.failed, error.put_off), (3, 2));
    assert_eq!(error.failures[2].step, "grace period");
}

#[test]
fn a_network_stays_until_what_replaces_it_is_there() {
    let net = |text: &str| text.parse::<ipnet::IpNet>().unwrap();
    let with = |ranges: &[&str], denied: &[&str]| Tables {
        ranges: ranges.iter().map(|network| (ServiceId(1), net(network))).collect(),
        denied: Arc::new(denied.iter().map(|network| net(network)).collect()),
        ..web("10.244.0.1")
    };
    let (before, after) = (with(&["10.1.0.0/16"], &["192.0.2.0/24"]), with(&["10.0.0.0/8"], &["192.0.0.0/16"]));
    let plan = diff(&before, &after);
    assert_eq!(plan.writes().len(), 4);
    let left = |error: fn() -> StoreError| {
        let (memory, mut actual) = (MemoryStore::holding(before.clone()), before.clone());
        apply(&mut FaultyStore::without_networks(memory, error), &mut actual, &plan).unwrap_err();
        (actual.ranges.len(), actual.denied.len())
    };
    let io = || StoreError::Io { map: "RANGES4", operation: "update", source: std::io::ErrorKind::OutOfMemory.into() };
    let full = || StoreError::Full { map: "RANGES4", capacity: 1, flag: "--max-ranges" };
    assert_eq!(left(io), (1, 1));
    assert_eq!(left(full), (0, 0), "only deletions make room");
}

proptest! {
    /// Every prefix of a Plan leaves tables in which nothing points at something missing (the store would panic), and
    /// the whole of it leaves the desired ones.
    #[test]
    fn a_plan_leads_from_any_tables_to_any_others(first in any_desired(), second in any_desired(), on in any_node(), then in any_node()) {
        let (before, ids) = compile(&first, &on, &Ids::default());
        let (after, _) = compile(&second, &then, &ids);
        let mut actual = Tables::clone(&before.tables);
        let mut store = MemoryStore::holding(Tables::clone(&before.tables));
        let plan = diff(&actual, &after.tables);
        apply(&mut store, &mut actual, &plan).unwrap();
        prop_assert_eq!(&actual, &*after.tables);
        prop_assert_eq!(&store.tables(), &*after.tables);
        prop_assert!(diff(&actual, &after.tables).is_empty());
    }

    #[test]
    fn the_actual_tables_are_what_the_store_holds(
        first in any_desired(), second in any_desired(), on in any_node(), percent in 1..100_u64, seed in any::<u64>(),
    ) {
        let (before, ids) = compile(&first, &on, &Ids::default());
        let (after, _) = compile(&second, &on, &ids);
        let mut actual = Tables::clone(&before.tables);
        let memory = MemoryStore::holding(Tables::clone(&before.tables));
        let plan = diff(&actual, &after.tables);
        let result = apply(&mut FaultyStore::new(memory.clone(), percent, seed), &mut actual, &plan);
        prop_assert_eq!(&actual, &memory.tables());
        match result {
            Ok(()) => prop_assert_eq!(&actual, &*after.tables),
            Err(error) => prop_assert!(error.failed > 0),
        }
    }

    #[test]
    fn phases_stand_in_order(first in any_desired(), second in any_desired(), on in any_node()) {
        let (before, ids) = compile(&first, &on, &Ids::default());
        let (after, _) = compile(&second, &on, &ids);
        let plan = diff(&before.tables, &after.tables);
        prop_assert!(plan.writes().is_sorted_by_key(|write| write.phase()));
        let (writes, deletions) = plan.halves();
        prop_assert!(writes.iter().all(|write| write.phase() <= Phase::UpsertFrontends));
        prop_assert!(deletions.is_empty() || plan.needs_grace());
        // A frontend that only changes where it leads is never away in between.
        let deleted = writes.iter().filter_map(|write| match write {
            Write::DeleteFrontend(key) => Some(key),
            _ => None,
        });
        for key in deleted {
            prop_assert!(!after.tables.frontends.contains_key(key));
        }
    }
}
