//! Which node announces which address. Pure, so every agent that knows the same comes to the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::wanted::Wanted;
use crate::siphash::UNKEYED;

/// How much more than its even share a node takes at most, in percent (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with
/// Bounded Loads", SODA 2018): less would move more addresses when a node comes or goes.
const SHARE: usize = 125;

/// The owner of each address that has one: of the nodes that live and may announce it, that with the highest hash together with it
/// (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998) which has not more than its share already.
pub fn owners(wanted: &Wanted, alive: &BTreeSet<Arc<str>>) -> BTreeMap<IpAddr, Arc<str>> {
    let living = |nodes: &BTreeSet<Arc<str>>| nodes.intersection(alive).cloned().collect::<Vec<_>>();
    let mut addresses: Vec<_> = wanted.addresses.iter().map(|(ip, may)| (*ip, living(&may.nodes))).collect();
    addresses.retain(|(_, nodes)| !nodes.is_empty());
    // who comes first is no matter of which numbers are small
    addresses.sort_by_cached_key(|(address, _)| (hash("", *address), *address));
    let nodes: BTreeSet<_> = addresses.iter().flat_map(|(_, nodes)| nodes).cloned().collect();
    let most = (addresses.len() * SHARE).div_ceil(100 * nodes.len().max(1));
    let mut loads = BTreeMap::<Arc<str>, usize>::new();
    let mut owners = BTreeMap::new();
    for (address, nodes) in addresses {
        let load = |node: &Arc<str>| loads.get(node).copied().unwrap_or(0);
        let has_room = nodes.iter().filter(|node| load(node) < most);
        let best = has_room.max_by_key(|node| (hash(node, address), (*node).clone()));
        let owner = best.or_else(|| nodes.iter().min_by_key(|node| (load(node), (*node).clone())));
        if let Some(owner) = owner.cloned() {
            *loads.entry(owner.clone()).or_default() += 1;
            owners.insert(address, owner);
        }
    }
    owners
}

fn hash(node: &str, address: IpAddr) -> u64 {
    let mut text = node.as_bytes().to_vec();
    text.push(0);
    match address {
        IpAddr::V4(address) => text.extend(address.octets()),
        IpAddr::V6(address) => text.extend(address.octets()),
    }
    UNKEYED.hash(&text)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::announce::wanted::Candidates;

    fn name(node: usize) -> Arc<str> {
        format!("node-{node}").into()
    }

    fn names(nodes: impl IntoIterator<Item = usize>) -> BTreeSet<Arc<str>> {
        nodes.into_iter().map(name).collect()
    }

    fn wanted(addresses: u32, nodes: impl Fn(u32) -> BTreeSet<Arc<str>>) -> Wanted {
        let candidates = |number| Candidates { nodes: nodes(number), ..Candidates::default() };
        let address = |number| IpAddr::from(Ipv4Addr::from(0x0a64_0000 + number));
        let addresses = (0..addresses).map(|number| (address(number), candidates(number))).collect();
        Wanted { addresses, ..Wanted::default() }
    }

    proptest! {
        #[test]
        fn each_address_has_one_owner_that_lives_and_may(
            may in prop::collection::vec(prop::collection::btree_set(0_usize..8, 0..8), 1..60),
            alive in prop::collection::btree_set(0_usize..8, 0..8),
        ) {
            let wanted = wanted(may.len() as u32, |number| names(may[number as usize].iter().copied()));
            let alive = names(alive);
            let found = owners(&wanted, &alive);
            for (address, candidates) in &wanted.addresses {
                let possible: BTreeSet<_> = candidates.nodes.intersection(&alive).cloned().collect();
                match found.get(address) {
                    Some(owner) => prop_assert!(possible.contains(owner)),
                    None => prop_assert!(possible.is_empty()),
                }
            }
        }

        #[test]
        fn no_node_has_much_more_than_its_share(addresses in 1_u32..400, nodes in 1_usize..12) {
            let found = owners(&wanted(addresses, |_| names(0..nodes)), &names(0..nodes));
            let most = (addresses as usize * SHARE).div_ceil(100 * nodes);
            for node in 0..nodes {
                prop_assert!(found.values().filter(|owner| **owner == name(node)).count() <= most);
            }
        }

        #[test]
        fn few_addresses_move_that_need_not(nodes in 2_usize..20, gone in 0_usize..20) {
            let gone = gone % nodes;
            let wanted = wanted(1_000, |_| names(0..nodes));
            let before = owners(&wanted, &names(0..nodes));
            let after = owners(&wanted, &names((0..nodes).filter(|node| *node != gone)));
            let stay = before.iter().filter(|(_, owner)| **owner != name(gone));
            let moved = stay.filter(|(address, owner)| after[*address] != **owner).count();
            prop_assert!(moved <= 200, "{} of 1000 moved without need", moved);
        }
    }

    #[test]
    fn every_version_chooses_the_same() {
        let found = owners(&wanted(6, |_| names(0..3)), &names(0..3));
        let text: Vec<_> = found.values().map(|owner| &owner[5..]).collect();
        assert_eq!(text.join(" "), "2 1 2 1 0 0");
    }
}
