//! Policies on the host.

use core::cell::RefMut;

use super::Maps;
use crate::abi::{AffinityEntry, AffinityKey, LOAD_OF_WEIGHT_1};
use crate::addr::Address;
use crate::hash::rehash;
use crate::ip::Ip;
use crate::policy::Policies;

impl<F: Ip> Policies<F> for Maps<F> {
    fn in_ranges(&self, service: u32, client: F::Addr) -> bool {
        self.ranges.iter().any(|&(of, network, length)| of == service && contains(network, length, client))
    }

    fn chance(&self) -> u32 {
        let next = rehash(self.chance.get());
        self.chance.set(next);
        next
    }

    fn affinity(&self, key: &AffinityKey) -> Option<RefMut<'_, AffinityEntry>> {
        RefMut::filter_map(self.affinities.borrow_mut(), |entries| entries.get_mut(key)).ok()
    }

    fn put_affinity(&self, key: &AffinityKey, entry: &AffinityEntry) {
        self.affinities.borrow_mut().insert(*key, *entry);
    }

    fn load_of(&self, backend: u32) -> u64 {
        self.loads.borrow().get(&backend).map_or(0, |entry| entry.load)
    }

    fn add_load(&self, backend: u32) {
        let mut loads = self.loads.borrow_mut();
        let entry = loads.entry(backend).or_default();
        entry.load += if entry.step == 0 { LOAD_OF_WEIGHT_1 } else { entry.step };
    }
}

/// The first `length` bits of both are equal.
pub(super) fn contains<A: Address>(network: A, length: u32, address: A) -> bool {
    let (network, address) = (network.words(), address.words());
    (0..length).all(|bit| {
        let of = |words: [u32; 4]| u32::from_be(words[bit as usize / 32]) >> (31 - bit % 32) & 1;
        of(network) == of(address)
    })
}
