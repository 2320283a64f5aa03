use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::addr::{Addr4, V4};
use crate::be::Be32;
use crate::drop_reason::DropReason;
use crate::ethernet::Addresses;
use crate::host::Maps;

const HERE: Addr4 = Be32::new(0x0a0a_000b);
const THERE: Addr4 = Be32::new(0x0af4_0214);

/// A routing table that counts how often it is asked, and whose next hop can be changed.
struct World {
    maps: Maps<V4>,
    asked: Rc<Cell<u32>>,
    answer: Rc<Cell<Route>>,
}

fn hop(number: u16) -> Route {
    Route::Direct { device: 7, addresses: Addresses::new([number, 0, 0], [9; 3]), mtu: 1_500 }
}

fn world() -> World {
    let (asked, answer) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(hop(1))));
    let (count, gives) = (asked.clone(), answer.clone());
    let routing = std::boxed::Box::new(move |_| {
        count.set(count.get() + 1);
        gives.get()
    });
    World { maps: Maps { routing, ingress: 3, ..Maps::default() }, asked, answer }
}

impl World {
    fn way(&self, destination: Addr4, length: usize) -> Route {
        route(&self.maps, (HERE, destination), 6, length, self.maps.clock())
    }

    fn pass(&self, nanoseconds: u64) {
        self.maps.into_tick.set(self.maps.into_tick.get() + nanoseconds);
    }
}

#[test]
fn a_way_is_asked_for_once_a_second() {
    let world = world();
    for _ in 0..10 {
        assert_eq!(world.way(THERE, 100), hop(1));
        world.pass(LIFE / 10);
    }
    assert_eq!(world.asked.get(), 1);
    world.answer.set(hop(2));
    assert_eq!(world.way(THERE, 100), hop(2), "a second has passed");
    assert_eq!(world.asked.get(), 2);
}

#[test]
fn a_change_that_the_agent_tells_of_counts_at_once() {
    let mut world = world();
    assert_eq!(world.way(THERE, 100), hop(1));
    world.answer.set(hop(2));
    assert_eq!(world.way(THERE, 100), hop(1), "nobody told");
    world.maps.settings[setting::HOP_EPOCH as usize] += 1;
    assert_eq!(world.way(THERE, 100), hop(2));
}

#[test]
fn ways_differ_by_all_that_routing_goes_by() {
    let mut world = world();
    world.way(THERE, 100);
    world.answer.set(hop(2));
    let clock = world.maps.clock();
    assert_eq!(route(&world.maps, (HERE, THERE), 17, 100, clock), hop(2), "a rule may name the protocol");
    assert_eq!(route(&world.maps, (THERE, THERE), 6, 100, clock), hop(2), "or the source");
    world.way(THERE, 100);
    world.answer.set(hop(3));
    world.maps.ingress = 4;
    assert_eq!(world.way(THERE, 100), hop(3), "or the device");
}

#[test]
fn two_ways_in_one_place_push_each_other_out() {
    let world = world();
    let slot = |address| pair_hash(HERE, address) & (NEXT_HOPS - 1);
    let other = (1u32..).map(|n| Be32::new(0x0a00_0000 + n)).find(|&address| slot(address) == slot(THERE)).unwrap();
    assert_eq!(world.way(THERE, 100), hop(1));
    world.answer.set(hop(2));
    assert_eq!(world.way(other, 100), hop(2));
    world.answer.set(hop(3));
    assert_eq!(world.way(THERE, 100), hop(3));
}

#[test]
fn the_length_is_judged_with_each_packet() {
    let world = world();
    assert_eq!(world.way(THERE, 1_501), Route::TooBig { mtu: 1_500 });
    assert_eq!(world.way(THERE, 1_500), hop(1));
    assert_eq!(world.way(THERE, 1_501), Route::TooBig { mtu: 1_500 });
    assert_eq!(world.asked.get(), 1, "too long for it, but a way");
}

#[test]
fn only_whole_next_hops_are_remembered() {
    for other in [Route::Kernel { device: 7 }, Route::None(DropReason::NoRoute), Route::TooBig { mtu: 576 }] {
        let world = world();
        world.answer.set(other);
        assert_eq!(world.way(THERE, 100), other);
        world.answer.set(hop(1));
        assert_eq!(world.way(THERE, 100), hop(1), "after {other:?}");
    }
}

#[test]
fn where_the_kernel_resolves_it_is_asked_each_time() {
    let mut world = world();
    world.maps.resolves = true;
    for _ in 0..3 {
        assert_eq!(world.way(THERE, 100), Route::Kernel { device: 7 });
    }
    assert_eq!(world.asked.get(), 3);
}
