use proptest::prelude::*;

mod history;
mod reach;
mod scale;

use super::*;
use crate::compile::tests::fixture::{any_desired, any_node, backend, desired, external, node, node_port, service};
use crate::dataplane::fake::MemoryStore;
use crate::dataplane::fake::faulty::FaultyStore;
use crate::model::{Backend, Forwarding, NodeAddresses, Service, Target};

fn reconciler(store: &MemoryStore) -> Reconciler {
    Reconciler::new(Box::new(store.clone())).unwrap()
}

fn web(pods: &[&str]) -> DesiredState {
    let pods = pods.iter().map(|pod| backend(pod)).collect();
    desired([service("web", &[node_port(30_080), external("198.51.100.1", 80)], Target::Backends(pods))])
}

/// Runs until nothing is left to do.
fn settle(reconciler: &mut Reconciler, desired: &DesiredState, node: &Node) -> Outcome {
    for _ in 0..1_000 {
        let outcome = reconciler.run_once(desired, node, Prune::All);
        if !outcome.needs_retry {
            return outcome;
        }
    }
    panic!("does not settle: {}", reconciler.plan(desired, node, Prune::All).1);
}

#[test]
fn a_plan_in_words() {
    let store = MemoryStore::default();
    let mut reconciler = reconciler(&store);
    let (_, plan) = reconciler.plan(&web(&["10.244.0.1"]), &node(), Prune::All);
    assert_eq!(
        plan.to_string(),
        "add backend v4 1 10.244.0.1:8080/TCP\n\
         add service 1 ring of 101, backend 1: 101\n\
         write settings snat-ports 15000-29999 node-ports 30080-30080 front-mark 0x77\n\
         add frontend 0.0.0.0:30080/TCP -> service 1\n\
         add frontend 198.51.100.1:80/TCP -> service 1\n\
         add node-address 192.0.2.10\n\
         add vip 198.51.100.1\n"
    );
    assert_eq!(store.tables(), Tables::default());

    reconciler.run_once(&web(&["10.244.0.1"]), &node(), Prune::All);
    let (_, plan) = reconciler.plan(&web(&["10.244.0.2"]), &node(), Prune::All);
    assert_eq!(
        plan.to_string(),
        "add backend v4 2 10.244.0.2:8080/TCP\n\
         replace service 1 ring of 101, backend 2: 101\n\
         delete backend v4 1\n"
    );
}

#[test]
fn an_incomplete_source_deletes_and_changes_nothing() {
    let store = MemoryStore::default();
    reconciler(&store).run_once(&web(&["10.244.0.1", "10.244.0.2"]), &node(), Prune::All);
    let before = store.tables();

    let mut restarted = reconciler(&store);
    restarted.run_once(&DesiredState::default(), &node(), Prune::Nothing);
    assert_eq!(store.tables(), before);
    // Its Service is there, its slices are not.
    restarted.run_once(&web(&[]), &node(), Prune::Nothing);
    assert_eq!(store.tables(), before);
    // Another Service comes before the first: it gets ids of its own.
    let pods = Target::Backends(vec![backend("10.244.0.9")]);
    let early = desired([service("early", &[node_port(30_070)], pods)]);
    restarted.run_once(&early, &node(), Prune::Nothing);
    let both = store.tables();
    assert_eq!((both.services.len(), both.backends.len()), (2, 3));
    assert_eq!(both.settings.node_ports, Some((30_070, 30_080)));

    let mut all = web(&["10.244.0.1", "10.244.0.2"]);
    all.services.extend(early.services);
    let outcome = restarted.run_once(&all, &node(), Prune::All);
    assert_eq!((outcome.writes, outcome.needs_retry), (0, false));
    assert_eq!(store.tables(), both);
}

fn other(pods: &[&str]) -> DesiredState {
    let pods = pods.iter().map(|pod| backend(pod)).collect();
    desired([service("other", &[node_port(30_070)], Target::Backends(pods))])
}

fn both(one: &DesiredState, two: &DesiredState) -> DesiredState {
    let mut both = one.clone();
    both.services.extend(two.services.clone());
    both
}

#[test]
fn what_was_found_stays_while_a_manifest_was_never_read() {
    let store = MemoryStore::default();
    let (web, other) = (web(&["10.244.0.1"]), other(&["10.244.0.2"]));
    reconciler(&store).run_once(&both(&web, &other), &node(), Prune::All);
    let before = store.tables();

    let mut restarted = reconciler(&store);
    let outcome = restarted.run_once(&web, &node(), Prune::Known);
    assert_eq!((outcome.writes, outcome.kept), (0, 1));
    assert_eq!(store.tables(), before);
    // What this run knew goes away as usual.
    let outcome = restarted.run_once(&DesiredState::default(), &node(), Prune::Known);
    assert_eq!(outcome.kept, 1);
    let left = store.tables();
    let ports: Vec<_> = left.frontends.keys().map(|key| key.port).collect();
    assert_eq!((ports, left.services.len(), left.backends.len()), (vec![30_070], 1, 1));
    assert_eq!(left.settings.node_ports, Some((30_070, 30_070)));
    // It comes back with its ids, is known from then on, and goes.
    let outcome = restarted.run_once(&other, &node(), Prune::Known);
    assert_eq!((outcome.writes, outcome.kept), (0, 0));
    restarted.run_once(&DesiredState::default(), &node(), Prune::Known);
    assert!(store.tables().frontends.is_empty() && store.tables().backends.is_empty());
}

#[test]
fn nodes_and_vips_of_a_manifest_that_was_never_read_stay() {
    let store = MemoryStore::default();
    let address = |text: &str| text.parse::<std::net::IpAddr>().unwrap();
    let named = |own, text| NodeAddresses { own, addresses: vec![address(text)] };
    let away = |node: &str| Backend { local: false, node: Some(node.into()), ..backend("10.244.0.1") };
    let pods = Target::Backends(vec![away("two")]);
    let web = Service { forwarding: Forwarding::Dsr, ..service("web", &[external("198.51.100.1", 80)], pods) };
    let without = desired([web]);
    let nodes = [("one".to_owned(), named(true, "192.0.2.10")), ("two".to_owned(), named(false, "192.0.2.11"))].into();
    let whole = DesiredState { nodes, ..without.clone() };
    reconciler(&store).run_once(&whole, &node(), Prune::All);
    let before = store.tables();
    assert_eq!((before.nodes.len(), before.backend_nodes.len(), before.vips.len()), (2, 1, 1));

    let mut restarted = reconciler(&store);
    assert_eq!(restarted.run_once(&without, &node(), Prune::Known).writes, 0);
    let mut restarted = reconciler(&MemoryStore::holding(before.clone()));
    assert_eq!(restarted.run_once(&DesiredState::default(), &node(), Prune::Known).writes, 0);
    // What this run knew goes away as usual.
    restarted.run_once(&whole, &node(), Prune::Known);
    let left = restarted.actual.clone();
    assert_eq!(*left, before);
    restarted.run_once(&without, &node(), Prune::Known);
    assert!(restarted.actual.nodes.is_empty() && restarted.actual.backend_nodes.is_empty());
}

#[test]
fn a_service_keeps_the_backends_of_a_manifest_that_was_never_read() {
    let store = MemoryStore::default();
    reconciler(&store).run_once(&web(&["10.244.0.1", "10.244.0.2"]), &node(), Prune::All);
    let before = store.tables();
    let mut restarted = reconciler(&store);
    let outcome = restarted.run_once(&web(&[]), &node(), Prune::Known);
    assert_eq!((outcome.writes, outcome.kept), (0, 1));
    assert_eq!(store.tables(), before);
    // Once it knows any backend, it goes by what it knows.
    assert_eq!(restarted.run_once(&web(&["10.244.0.2"]), &node(), Prune::Known).kept, 0);
    assert_eq!(store.tables().backends.len(), 1);
    restarted.run_once(&web(&[]), &node(), Prune::Known);
    assert!(store.tables().backends.is_empty());
}

#[test]
fn what_was_found_is_deleted_once_everything_was_read() {
    let store = MemoryStore::default();
    let (web, other) = (web(&["10.244.0.1"]), other(&["10.244.0.2"]));
    reconciler(&store).run_once(&both(&web, &other), &node(), Prune::All);
    let mut restarted = reconciler(&store);
    restarted.run_once(&web, &node(), Prune::Known);
    let outcome = restarted.run_once(&web, &node(), Prune::All);
    assert_eq!(store.tables(), *outcome.compiled.tables);
    // A file that breaks later brings nothing back.
    assert_eq!(restarted.run_once(&web, &node(), Prune::Known).kept, 0);
}

#[test]
fn a_reload_repairs_what_others_did() {
    let store = MemoryStore::default();
    let mut reconciler = reconciler(&store);
    let state = web(&["10.244.0.1", "10.244.0.2"]);
    reconciler.run_once(&state, &node(), Prune::All);
    let before = store.tables();

    let key = *before.frontends.keys().next().unwrap();
    store.clone().delete_frontend(&key).unwrap();
    assert_eq!(reconciler.run_once(&state, &node(), Prune::All).writes, 0);
    assert_eq!(reconciler.reload().unwrap(), 1);
    assert_eq!(reconciler.run_once(&state, &node(), Prune::All).writes, 1);
    assert_eq!(store.tables(), before);
    assert_eq!(reconciler.reload().unwrap(), 0);
}

#[test]
fn failed_writes_are_problems_and_ask_for_a_retry() {
    let store = FaultyStore::new(MemoryStore::default(), 100, 1);
    let mut reconciler = Reconciler::new(Box::new(store)).unwrap();
    let outcome = reconciler.run_once(&web(&["10.244.0.1"]), &node(), Prune::All);
    assert!(outcome.needs_retry);
    let codes: Vec<_> = outcome.problems.iter().map(|problem| problem.code.as_str()).collect();
    assert_eq!(codes, ["map-write-failed"; 4].into_iter().chain(["plan-incomplete"]).collect::<Vec<_>>());
}

#[test]
fn what_a_full_map_has_no_room_for_does_not_count_as_unwritten() {
    let store = MemoryStore::default();
    let mut reconciler = Reconciler::new(Box::new(FaultyStore::with_room_for(store.clone(), 1))).unwrap();
    let outcome = reconciler.run_once(&web(&["10.244.0.1"]), &node(), Prune::All);
    assert!(outcome.written && outcome.needs_retry, "room may come when something else is deleted");
    assert_eq!(store.tables().frontends.len(), 1);
    assert_eq!(outcome.problems.iter().map(|problem| problem.code.as_str()).collect::<Vec<_>>(), ["map-full"]);

    let mut reconciler = Reconciler::new(Box::new(FaultyStore::new(MemoryStore::default(), 100, 1))).unwrap();
    assert!(!reconciler.run_once(&web(&["10.244.0.1"]), &node(), Prune::All).written);
}

#[test]
fn a_full_map_names_the_flag() {
    let full = StoreError::Full { map: "RINGS", capacity: 64, flag: "--max-ring-lines" };
    let step = "add service 1 ring of 1009".into();
    let failures = vec![Failure { step, error: full }];
    let problems = write_problems(ApplyError { failures, failed: 1, full: 1, put_off: 0, total: 1 });
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].code, "map-full");
    assert!(problems[0].message.ends_with("map RINGS is full at 64 entries; raise its size with --max-ring-lines"));
}

proptest! {
    #[test]
    fn every_run_ends_in_what_was_compiled(states in proptest::collection::vec((any_desired(), any_node()), 1..6)) {
        let store = MemoryStore::default();
        let mut reconciler = reconciler(&store);
        for (state, node) in &states {
            let outcome = reconciler.run_once(state, node, Prune::All);
            prop_assert!(!outcome.needs_retry);
            prop_assert_eq!(&store.tables(), &*outcome.compiled.tables);
            prop_assert!(reconciler.plan(state, node, Prune::All).1.is_empty());
        }
    }

    #[test]
    fn a_restart_keeps_all_ids_and_writes_nothing(states in proptest::collection::vec((any_desired(), any_node()), 1..4)) {
        let store = MemoryStore::default();
        for (state, node) in &states {
            let before = reconciler(&store).run_once(state, node, Prune::All).compiled;
            let after = reconciler(&store).run_once(state, node, Prune::All);
            prop_assert_eq!(after.writes, 0);
            prop_assert_eq!(&after.compiled, &before);
        }
    }

    #[test]
    fn a_faulty_store_converges_and_never_misleads(
        states in proptest::collection::vec((any_desired(), any_node(), 0..3_usize, any::<bool>()), 1..6),
        percent in 5..60_u64,
        seed in any::<u64>(),
    ) {
        let store = MemoryStore::default();
        let faulty = || Box::new(FaultyStore::new(store.clone(), percent, seed));
        let mut reconciler = Reconciler::new(faulty()).unwrap();
        for (state, node, runs, restart) in &states {
            for _ in 0..*runs {
                reconciler.run_once(state, node, Prune::All);
                prop_assert_eq!(reconciler.actual(), &store.tables());
            }
            if *restart {
                reconciler = Reconciler::new(faulty()).unwrap();
            }
        }
        let (state, node, ..) = &states[states.len() - 1];
        let outcome = settle(&mut reconciler, state, node);
        prop_assert_eq!(&store.tables(), &*outcome.compiled.tables);
    }

    #[test]
    fn without_pruning_what_exists_stays(first in any_desired(), second in any_desired(), on in any_node(), restart in any::<bool>()) {
        let store = MemoryStore::default();
        let mut reconciler = self::reconciler(&store);
        reconciler.run_once(&first, &on, Prune::All);
        let before = store.tables();
        if restart {
            reconciler = self::reconciler(&store);
        }
        let added = reconciler.run_once(&second, &on, Prune::Nothing);
        let after = store.tables();
        prop_assert!(!added.needs_retry);
        prop_assert!(before.frontends.iter().all(|(key, frontend)| after.frontends.get(key) == Some(frontend)));
        prop_assert!(before.services.iter().all(|(id, ring)| after.services.get(id) == Some(ring)));
        prop_assert!(before.backends.iter().all(|(id, key)| after.backends.get(id) == Some(key)));
        let pruned = reconciler.run_once(&second, &on, Prune::All);
        prop_assert_eq!(&store.tables(), &*pruned.compiled.tables);
    }

    #[test]
    fn what_was_found_and_is_not_known_stays(states in proptest::collection::vec((any_desired(), any_node()), 2..6)) {
        let store = MemoryStore::default();
        let (first, on) = &states[0];
        reconciler(&store).run_once(first, on, Prune::All);
        let before = store.tables();
        let mut restarted = reconciler(&store);
        let mut known = std::collections::BTreeSet::new();
        for (index, (state, node)) in states[1..].iter().enumerate() {
            let outcome = restarted.run_once(state, node, Prune::Known);
            prop_assert!(!outcome.needs_retry);
            let after = store.tables();
            known.extend(outcome.compiled.tables.frontends.keys().copied());
            let compiled = &outcome.compiled.tables;
            prop_assert!(compiled.frontends.iter().all(|(key, frontend)| after.frontends.get(key) == Some(frontend)));
            for (key, frontend) in before.frontends.iter().filter(|_| index == 0) {
                prop_assert!(after.frontends.contains_key(key), "{} is gone", key);
                let empty = |tables: &Tables| tables.services.get(&frontend.service).is_none_or(|ring| ring.is_empty());
                prop_assert!(known.contains(key) || empty(&before) || !empty(&after), "{} is empty", key);
            }
            let strangers = after.frontends.keys().filter(|key| !compiled.frontends.contains_key(key) && known.contains(key));
            prop_assert_eq!(strangers.count(), 0);
        }
        let (state, node) = &states[states.len() - 1];
        let outcome = restarted.run_once(state, node, Prune::All);
        prop_assert_eq!(&store.tables(), &*outcome.compiled.tables);
    }
}
