use crate::abi::{AffinityEntry, BackendEntry, LOAD_OF_WEIGHT_1, LoadEntry, ServiceEntry, service_flag};
use crate::addr::V4;
use crate::be::{Be16, Be32};
use crate::host::Maps;

use super::*;

const SERVICE: u32 = 1;

/// A service of ten backends that chooses by these flags.
fn world(flags: u32) -> Maps<V4> {
    let mut maps = Maps::<V4>::default();
    for id in 1..=10 {
        let (address, port) = (Be32::new(0x0af4_0100 + id), Be16::new(8080));
        maps.backends.insert(id, BackendEntry { address, port, generation: 1, protocol: 6, ..Default::default() });
    }
    let ring: std::vec::Vec<u32> = (0..100).map(|slot| slot % 10 + 1).collect();
    let entry = maps.add_ring(&ring);
    maps.services.insert(SERVICE, ServiceEntry { flags, ..entry });
    maps
}

fn client(number: u32) -> Client {
    Client::at(Be32::new(0xc0a8_0000 + number))
}

fn chosen(maps: &Maps<V4>, number: u32, hash: u32) -> u32 {
    select::<V4, _>(maps, SERVICE, &client(number), hash)
}

#[test]
fn a_client_keeps_its_backend_when_others_come_and_go() {
    let mut maps = world(10_800);
    let before: std::vec::Vec<u32> = (0..50).map(|number| chosen(&maps, number, number)).collect();
    let entry = maps.add_ring(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    maps.services.insert(SERVICE, ServiceEntry { flags: 10_800, ..entry });
    for (number, id) in (0..).zip(before) {
        assert_eq!(chosen(&maps, number, number + 7_000_000), id, "client {number}");
    }
}

#[test]
fn a_client_without_entry_is_led_alike_on_every_node() {
    for number in 0..50 {
        let (one, other) = (world(10_800), world(10_800));
        assert_eq!(chosen(&one, number, 1), chosen(&other, number, u32::MAX / 2), "client {number}");
    }
}

#[test]
fn the_time_runs_from_the_last_flow_that_began() {
    let maps = world(60);
    let at = |seconds: u32| maps.now.set(1_000 + ((u64::from(seconds) * 1_000_000_000) >> 30) as u32);
    let kept = AffinityEntry { backend: 7, generation: 1, last_seen: 1_000 };
    let key = AffinityKey { service: SERVICE, ..client(1).key };
    let ring = world(0);
    assert_ne!(by_algorithm::<V4, _>(&ring, &ring.services[&SERVICE], &client(1), client(1).hash), 7, "a bad example");
    maps.put_affinity(&key, &kept);
    for seconds in [50, 100, 150] {
        at(seconds);
        assert_eq!(chosen(&maps, 1, 0), 7, "after {seconds} s");
    }
    at(150 + 63);
    assert_ne!(chosen(&maps, 1, 0), 7);
}

#[test]
fn a_backend_that_is_gone_is_kept_by_nobody() {
    let changes: [fn(&mut BackendEntry<Be32>); 2] = [|entry| entry.generation += 1, |entry| entry.protocol = 0];
    for change in changes {
        let mut maps = world(10_800);
        let first = chosen(&maps, 3, 0);
        change(maps.backends.get_mut(&first).unwrap());
        let entry = maps.add_ring(&[if first == 1 { 2 } else { 1 }; 7]);
        maps.services.insert(SERVICE, ServiceEntry { flags: 10_800, ..entry });
        assert_ne!(chosen(&maps, 3, 0), first);
    }
}

#[test]
fn a_source_hash_goes_by_the_client_alone() {
    let maps = world(service_flag::SOURCE_HASH);
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..200 {
        let first = chosen(&maps, number, 0);
        assert!((1..100).all(|hash| chosen(&maps, number, hash << 24) == first));
        seen.insert(first);
    }
    assert_eq!(seen.len(), 10, "clients are spread");
}

#[test]
fn chance_spreads_the_flows_of_one_client() {
    let maps = world(service_flag::RANDOM);
    let mut counts = [0; 11];
    (0..10_000).for_each(|_| counts[chosen(&maps, 1, 0) as usize] += 1);
    assert!(counts[1..].iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
}

#[test]
fn the_loaded_backend_is_left_alone_and_weights_count() {
    let maps = world(service_flag::LEAST_CONNECTIONS);
    maps.loads.borrow_mut().insert(4, LoadEntry { load: 1_000 * LOAD_OF_WEIGHT_1, step: LOAD_OF_WEIGHT_1 });
    maps.loads.borrow_mut().insert(5, LoadEntry { load: 0, step: LOAD_OF_WEIGHT_1 / 4 });
    let mut counts = [0; 11];
    (0..5_000).for_each(|_| counts[chosen(&maps, 1, 0) as usize] += 1);
    // chosen only where both slots are its own: one in a hundred
    assert!(counts[4] < 100, "{counts:?}");
    assert!(counts[5] > counts[6] * 3 / 2, "{counts:?}");
    // without weights two choices keep all within a few flows of each other, where one would spread them by dozens
    let even: std::vec::Vec<u32> = [1, 2, 3, 6, 7, 8, 9, 10].map(|id| counts[id]).to_vec();
    assert!(even.iter().max().unwrap() - even.iter().min().unwrap() < 20, "{counts:?}");
}

#[test]
fn a_namespace_is_a_client_too() {
    let maps = world(10_800);
    let of = |cookie| select::<V4, _>(&maps, SERVICE, &Client::within(cookie), cookie as u32);
    let first = of(77);
    assert!((0..20).all(|_| of(77) == first));
    assert_eq!(maps.affinities.borrow().len(), 1);
}
