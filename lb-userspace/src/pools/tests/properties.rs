//! Whatever happens, addresses are given rightly.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{World, annotated, parsed, pool, service};
use crate::source::SourceEvent;

/// What happens to one of a few Services.
#[derive(Clone, Debug)]
enum Step {
    Apply {
        name: u8,
        asked: Option<u8>,
        key: Option<u8>,
        port: u8,
        dual: bool,
    },
    Delete(u8),
    /// The pool has other addresses: from, how many.
    Pool(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let asked = proptest::option::weighted(0.3, 0u8..14);
    let key = proptest::option::weighted(0.4, 0u8..2);
    prop_oneof![
        6 => (0u8..7, asked, key, 0u8..3, any::<bool>())
            .prop_map(|(name, asked, key, port, dual)| Step::Apply { name, asked, key, port, dual }),
        2 => (0u8..7).prop_map(Step::Delete),
        1 => (0u8..6, 1u8..8).prop_map(|(first, count)| Step::Pool(first, count)),
    ]
}

fn yaml(step: &Step) -> String {
    match step {
        Step::Apply { name, asked, key, port, dual } => {
            let key = key.map(|key| annotated("weir.io/allow-shared-ip", &format!("k{key}"))).unwrap_or_default();
            let asked = asked.map(|asked| format!("loadBalancerIP: 192.0.2.{asked},")).unwrap_or_default();
            let dual = if *dual { "ipFamilyPolicy: RequireDualStack" } else { "ipFamilies: [IPv4]" };
            let text = service(&format!("s{name}"), &key, &format!("{asked} {dual}"));
            text.replace("port: 80", &format!("port: {}", 80 + port))
        }
        Step::Delete(name) => service(&format!("s{name}"), "", ""),
        Step::Pool(first, count) => {
            let last = first + count;
            pool("p", &format!("addresses: [192.0.2.{first}-192.0.2.{last}, '2001:db8::1-2001:db8::{count}']"))
        }
    }
}

fn play(world: &mut World, step: &Step) {
    match step {
        Step::Delete(name) if world.objects.service("default", &format!("s{name}")).is_none() => {}
        Step::Delete(_) => world.delete(&yaml(step)),
        _ => world.apply(&yaml(step)),
    }
}

/// The addresses of a Service, its key and its port.
type Given = (BTreeSet<String>, Option<String>, Option<i64>);

/// Every Service with what it has.
fn given(world: &World) -> BTreeMap<String, Given> {
    let row = |service: &std::sync::Arc<crate::source::kinds::Service>| {
        let rows = service.status.load_balancer.ingress.iter().filter_map(|row| row.ip.clone()).collect();
        let key = service.metadata.annotations.get("weir.io/allow-shared-ip").cloned();
        (service.metadata.name.clone(), (rows, key, service.spec.ports[0].port))
    };
    world.objects.services().map(row).collect()
}

fn no_address_is_given_twice(world: &World) {
    let all: Vec<_> = given(world).into_iter().collect();
    for (index, (name, (addresses, key, port))) in all.iter().enumerate() {
        for (other, (others, other_key, other_port)) in &all[index + 1..] {
            let shares = key.is_some() && key == other_key && port != other_port;
            assert!(shares || addresses.is_disjoint(others), "{name} and {other}: {addresses:?} {others:?}");
        }
    }
}

/// Whoever asks for an address has it, or is told why not; whoever has none is told so.
fn everybody_is_served_or_told(world: &World) {
    for service in world.objects.services() {
        let name = format!("Service default/{}", service.metadata.name);
        let told = world.problems().iter().any(|problem| problem.starts_with(&format!("{name} ")));
        let has: Vec<_> = service.status.load_balancer.ingress.iter().filter_map(|row| row.ip.clone()).collect();
        let asked = service.spec.load_balancer_ip.as_ref();
        assert!(told || !has.is_empty(), "{name} has nothing: {:?}", world.problems());
        assert!(told || asked.is_none_or(|asked| has.contains(asked)), "{name} asks for {asked:?} and has {has:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_is_given_twice_everybody_is_served_or_told_and_a_second_look_changes_nothing(
        steps in proptest::collection::vec(step(), 1..24),
    ) {
        let mut world = World::new(&yaml(&Step::Pool(1, 3)));
        for step in &steps {
            play(&mut world, step);
            no_address_is_given_twice(&world);
            everybody_is_served_or_told(&world);
            let (before, problems) = (given(&world), world.problems());
            world.look_again();
            assert_eq!((given(&world), world.problems()), (before, problems));
        }
    }

    #[test]
    fn the_order_in_which_objects_come_does_not_matter(
        (steps, order) in proptest::collection::vec(step(), 1..10)
            .prop_flat_map(|steps| { let count = steps.len(); (Just(steps), Just((0..count).collect::<Vec<_>>()).prop_shuffle()) }),
    ) {
        // Of each Service the last word only, so that the order is one of arrival.
        let mut last = BTreeMap::new();
        steps.iter().for_each(|step| if let Step::Apply { name, .. } = step { last.insert(*name, yaml(step)); });
        let texts: Vec<_> = last.into_values().collect();
        let arrive = |order: Vec<usize>| {
            let mut world = World::new(&yaml(&Step::Pool(1, 3)));
            for place in order.into_iter().filter(|place| *place < texts.len()) {
                parsed(&texts[place]).into_iter().for_each(|object| world.objects.handle(0, SourceEvent::Apply(object)));
            }
            world.turn();
            (given(&world), world.problems())
        };
        assert_eq!(arrive((0..steps.len()).collect()), arrive(order));
    }

    #[test]
    fn who_has_an_address_keeps_it_while_it_asks_for_no_other(steps in proptest::collection::vec(step(), 1..24)) {
        let mut world = World::new(&yaml(&Step::Pool(1, 6)));
        world.apply(&service("kept", "", "ipFamilies: [IPv4]"));
        let first = world.of("kept");
        assert!(!first.is_empty());
        for step in &steps {
            play(&mut world, step);
            assert_eq!(world.of("kept"), first, "{step:?}");
        }
    }

    #[test]
    fn exhaustion_heals(count in 1usize..6, waiting in 1usize..5) {
        let mut world = World::new(&pool("p", &format!("addresses: [192.0.2.1-192.0.2.{count}]")));
        let name = |number: usize| format!("s{number}");
        for number in 0..count + waiting {
            world.apply(&service(&name(number), "", ""));
        }
        let served = |world: &World| given(world).values().filter(|(addresses, ..)| !addresses.is_empty()).count();
        assert_eq!(served(&world), count);
        for number in 0..waiting {
            assert!(world.giving.pools["p"].exhausted);
            let holder = given(&world).into_iter().find(|(_, (addresses, ..))| !addresses.is_empty()).expect("a holder").0;
            world.delete(&service(&holder, "", ""));
            assert_eq!(served(&world), count, "{number}");
        }
        assert!(!world.giving.pools["p"].exhausted && world.problems().is_empty());
    }
}
