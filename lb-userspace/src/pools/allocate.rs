//! Who gets which address. First Services keep what they have; then those that ask for an address get it; then the others
//! get free ones, each beginning to look at a place that its name says, so that a Service that is made anew tends to get
//! what it had. In each step the older Service comes first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::claim::{Claim, Sharing};
use super::pool::{Pool, Pools};
use super::range::number;
use crate::model::problem::code;
use crate::model::{IpFamily, ObjectRef, Problem};
use crate::siphash::UNKEYED;

/// Who has what.
#[derive(Debug, Default)]
pub(super) struct Allocation {
    /// By the place of the claim, in the order of its families.
    pub(super) given: Vec<Vec<IpAddr>>,
    pub(super) problems: Vec<Problem>,
    /// Pools from which somebody waits for an address.
    pub(super) exhausted: BTreeSet<String>,
    /// How many addresses of each pool are in use, and how many of them count as free otherwise.
    pub(super) used: BTreeMap<String, [u128; 2]>,
}

/// An address as a number in its family.
type Key = (IpFamily, u128);

/// Gives addresses. `claims` are in the order of age; `taken` are addresses that others than these Services have, with what
/// says who may share them.
pub(super) fn allocate(claims: &[Claim], taken: &[(IpAddr, Sharing)], pools: &Pools) -> Allocation {
    let mut book =
        Book { pools, holders: BTreeMap::new(), refused: BTreeSet::new(), allocation: Allocation::default() };
    book.allocation.given = vec![Vec::new(); claims.len()];
    taken.iter().for_each(|(address, sharing)| book.holders.entry(number(*address)).or_default().push(sharing));
    claims.iter().enumerate().for_each(|(place, claim)| book.keep(place, claim, Book::stays));
    claims.iter().enumerate().for_each(|(place, claim)| book.honour(place, claim));
    // Who was refused what it asks for goes on with what it has, if nobody else was given that.
    claims.iter().enumerate().for_each(|(place, claim)| book.keep(place, claim, Book::is_its_own));
    claims.iter().enumerate().for_each(|(place, claim)| book.find(place, claim));
    book.count();
    book.allocation
}

struct Book<'a> {
    pools: &'a Pools,
    holders: BTreeMap<Key, Vec<&'a Sharing>>,
    /// Claims, by place, that asked for an address of a family in vain.
    refused: BTreeSet<(usize, IpFamily)>,
    allocation: Allocation,
}

impl<'a> Book<'a> {
    /// Enters what a claim has, as far as a test lets it.
    fn keep(&mut self, place: usize, claim: &'a Claim, may: fn(&Self, &Claim, IpAddr) -> bool) {
        for address in &claim.held {
            let has_one = self.has(place, IpFamily::of(*address));
            if !has_one && may(self, claim, *address) && self.fits(claim, *address) {
                self.enter(place, claim, *address);
            }
        }
    }

    /// What a claim has stays, unless it asks for something else.
    fn stays(&self, claim: &Claim, address: IpAddr) -> bool {
        let family = IpFamily::of(address);
        let asks_elsewhere = claim.asks_in(family) && !claim.asks_for(address);
        let asks_other_pool = !claim.asks_for(address) && self.is_of_other_pool(claim, address);
        self.is_its_own(claim, address) && !asks_elsewhere && !asks_other_pool
    }

    /// Addresses of no pool are another controller's, or those of a pool that is gone: they are not taken away either.
    fn is_its_own(&self, claim: &Claim, address: IpAddr) -> bool {
        self.pools.of(address).is_none() || claim.wants(IpFamily::of(address))
    }

    /// Gives what a claim asks for, or says why not.
    fn honour(&mut self, place: usize, claim: &'a Claim) {
        let Some((field, asked)) = &claim.asked else { return };
        for address in asked {
            if self.allocation.given[place].contains(address) {
                continue;
            }
            match self.refusal(claim, *address) {
                None => self.enter(place, claim, *address),
                Some(problem) => {
                    self.refused.insert((place, IpFamily::of(*address)));
                    self.allocation.problems.push(problem.at(field, address));
                }
            }
        }
    }

    fn refusal(&self, claim: &Claim, address: IpAddr) -> Option<Problem> {
        let owner = claim.reference();
        let not_in_pool = |what: String| Some(Problem::error(code::ADDRESS_NOT_IN_POOL, &owner, what));
        let Some(pool) = self.pools.of(address) else {
            return not_in_pool("the address that it asks for is in no pool".to_owned());
        };
        if !self.pools.admits(pool, &claim.namespace, &claim.labels) {
            return not_in_pool(format!("the address that it asks for is in pool {}, which is not for it", pool.name));
        }
        if !claim.wants(IpFamily::of(address)) {
            let what = "the address that it asks for is of a family that the Service is not balanced in";
            return Some(Problem::error(code::ADDRESS_OF_OTHER_FAMILY, &owner, what));
        }
        if self.fits(claim, address) {
            return None;
        }
        let what = "the address that it asks for is another Service's";
        let problem = Problem::error(code::ADDRESS_TAKEN, &owner, what);
        Some(problem.expected("a free address, or the same weir.io/allow-shared-ip on both and different ports"))
    }

    /// Gives a claim an address of each family that it lacks.
    fn find(&mut self, place: usize, claim: &'a Claim) {
        let mut lacking = Vec::new();
        let families = if claim.families.is_empty() { &IpFamily::ALL[..] } else { &claim.families };
        for family in families {
            let has = self.allocation.given[place].iter().copied().find(|has| IpFamily::of(*has) == *family);
            if self.is_settled(place, claim, *family, has) {
                continue;
            }
            match self.free(claim, *family) {
                Some(address) => {
                    has.into_iter().for_each(|has| self.leave(place, claim, has));
                    self.enter(place, claim, address);
                }
                None => lacking.push(*family),
            }
        }
        self.say_what_lacks(place, claim, &lacking);
    }

    /// Whether there is nothing to look for: it has an address of the family, and of no other pool than the one it asks for;
    /// or it was refused what it asks for; or one of any family is enough and it has one.
    fn is_settled(&self, place: usize, claim: &Claim, family: IpFamily, has: Option<IpAddr>) -> bool {
        let is_refused = |family| self.refused.contains(&(place, family));
        match has {
            Some(has) => claim.asks_for(has) || !self.is_of_other_pool(claim, has),
            None if claim.families.is_empty() => {
                !self.allocation.given[place].is_empty() || IpFamily::ALL.into_iter().any(is_refused)
            }
            None => is_refused(family),
        }
    }

    /// It asks for a pool, and the address is not out of that.
    fn is_of_other_pool(&self, claim: &Claim, address: IpAddr) -> bool {
        let pool = self.pools.of(address);
        claim.pool.as_ref().is_some_and(|(_, name)| pool.is_none_or(|pool| pool.name != *name))
    }

    fn free(&self, claim: &Claim, family: IpFamily) -> Option<IpAddr> {
        let pools: Vec<_> = self.suitable(claim, family).collect();
        let shared = pools.iter().find_map(|pool| self.shared(claim, pool, family));
        shared.or_else(|| pools.iter().find_map(|pool| self.unused(claim, pool, family)))
    }

    /// The pools that a claim may get an address from without asking for the address.
    fn suitable<'b>(&'b self, claim: &'b Claim, family: IpFamily) -> impl Iterator<Item = &'a Pool> + 'b {
        let pools: &'a Pools = self.pools;
        let asked = claim.pool.as_ref().map(|(_, name)| name);
        pools.iter().filter(move |pool| {
            asked.map_or(pool.is_auto_assigned(), |name| pool.name == *name)
                && !pool.ranges(family).is_empty()
                && pools.admits(pool, &claim.namespace, &claim.labels)
        })
    }

    /// An address whose holders share it with the claim.
    fn shared(&self, claim: &Claim, pool: &Pool, family: IpFamily) -> Option<IpAddr> {
        claim.sharing.key()?;
        let of_pool = pool.ranges(family).iter().flat_map(|(first, last)| self.between(family, first, last));
        let mut addresses = of_pool.map(|(number, _)| Pool::address(family, number));
        addresses.find(|address| self.fits(claim, *address))
    }

    /// An address that nobody has: the first free one behind the place that the name says. Among as many addresses as are in
    /// use and shunned, and one more, there is one.
    fn unused(&self, claim: &Claim, pool: &Pool, family: IpFamily) -> Option<IpAddr> {
        let ranges = pool.ranges(family);
        let occupied = self.used(pool, family)[0].saturating_add(pool.shunned(family));
        let size = ranges.len();
        let begin = u128::from(UNKEYED.hash(format!("{}/{}", claim.namespace, claim.name).as_bytes())) % size;
        let places = (0..size.min(occupied.saturating_add(1))).map(|step| (begin + step) % size);
        let mut numbers = places.filter_map(|place| ranges.nth(place));
        let is_free =
            |number: &u128| !self.holders.contains_key(&(family, *number)) && !pool.is_shunned(family, *number);
        numbers.find(is_free).map(|number| Pool::address(family, number))
    }

    fn say_what_lacks(&mut self, place: usize, claim: &Claim, lacking: &[IpFamily]) {
        let has_any = !self.allocation.given[place].is_empty();
        if lacking.is_empty() || (claim.families.is_empty() && has_any && claim.pool.is_none()) {
            return;
        }
        let names = lacking.iter().map(|family| family.name()).collect::<Vec<_>>().join(" or ");
        let pools: BTreeSet<_> =
            lacking.iter().flat_map(|family| self.suitable(claim, *family)).map(|pool| pool.name.clone()).collect();
        let owner = claim.reference();
        let problem = if !pools.is_empty() {
            let listed = pools.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            self.allocation.exhausted.extend(pools);
            let what = format!("it waits for an address: nothing of {names} is left in {listed}");
            Problem::error(code::POOL_EXHAUSTED, &owner, what).expected("more addresses, or fewer Services")
        } else if let Some((field, name)) = claim.pool.as_ref().filter(|(_, name)| self.pools.named(name).is_none()) {
            Problem::error(code::POOL_MISSING, &owner, "there is no such pool").at(field, name)
        } else if has_any && !claim.needs_all {
            return;
        } else {
            let what = format!("it gets no address: no pool with {names} is for it");
            let problem = Problem::error(code::POOL_UNSUITABLE, &owner, what);
            match &claim.pool {
                Some((field, name)) => problem.at(field, name),
                None => problem.expected("an AddressPool whose selectors choose it"),
            }
        };
        self.allocation.problems.push(problem);
    }

    /// Nobody else has the address, or all that do share it.
    fn fits(&self, claim: &Claim, address: IpAddr) -> bool {
        let holders = self.holders.get(&number(address));
        holders.is_none_or(|holders| holders.iter().all(|holder| holder.agrees(&claim.sharing)))
    }

    fn enter(&mut self, place: usize, claim: &'a Claim, address: IpAddr) {
        self.holders.entry(number(address)).or_default().push(&claim.sharing);
        self.allocation.given[place].push(address);
    }

    fn leave(&mut self, place: usize, claim: &Claim, address: IpAddr) {
        if let Some(holders) = self.holders.get_mut(&number(address)) {
            holders.retain(|holder| !std::ptr::eq(*holder, &claim.sharing));
            if holders.is_empty() {
                self.holders.remove(&number(address));
            }
        }
        self.allocation.given[place].retain(|has| *has != address);
    }

    fn has(&self, place: usize, family: IpFamily) -> bool {
        self.allocation.given[place].iter().any(|address| IpFamily::of(*address) == family)
    }

    fn between(&self, family: IpFamily, first: u128, last: u128) -> impl Iterator<Item = (u128, &Vec<&'a Sharing>)> {
        self.holders.range((family, first)..=(family, last)).map(|((_, number), holders)| (*number, holders))
    }

    /// How many addresses of a pool are in use, and how many of these are shunned.
    fn used(&self, pool: &Pool, family: IpFamily) -> [u128; 2] {
        let of_pool = pool.ranges(family).iter().flat_map(|(first, last)| self.between(family, first, last));
        let count =
            |[all, shunned]: [u128; 2], number| [all + 1, shunned + u128::from(pool.is_shunned(family, number))];
        of_pool.map(|(number, _)| number).fold([0, 0], count)
    }

    fn count(&mut self) {
        let pools: &'a Pools = self.pools;
        for pool in pools.iter() {
            let [v4, v6] = IpFamily::ALL.map(|family| self.used(pool, family));
            self.allocation.used.insert(pool.name.clone(), [v4[0] + v6[0], v4[1] + v6[1]]);
        }
    }
}

impl Claim {
    /// The Service, for a Problem.
    pub(super) fn reference(&self) -> ObjectRef {
        ObjectRef::new("Service", &self.namespace, &self.name)
    }
}
