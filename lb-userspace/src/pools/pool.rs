//! Pools as they count: their addresses, without those of older pools, and for whom they are.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::range::{Range, Ranges, address, number};
use crate::model::problem::code;
use crate::model::{IpFamily, ObjectRef, Problem};
use crate::source::Objects;
use crate::source::kinds::{AddressPool, AddressPoolSpec, Namespace, any_matches, labels_of_namespace};
use crate::translate::seniority;

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    spec: AddressPoolSpec,
    /// By family: IPv4, IPv6.
    ranges: [Ranges; 2],
}

/// All pools, and what is known of the namespaces that they may be for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pools {
    /// In the order in which they are taken from.
    pools: Vec<Pool>,
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
}

impl Pools {
    /// Reads all pools. An address that two pools have belongs to the older one.
    pub fn new(objects: &Objects, problems: &mut Vec<Problem>) -> Self {
        let mut found: Vec<_> = objects.address_pools().collect();
        found.sort_by_cached_key(|pool| seniority(&pool.metadata));
        let mut pools: Vec<Pool> = Vec::new();
        for object in found {
            let pool = Pool::new(object, &pools, problems);
            pools.push(pool);
        }
        pools.sort_by_cached_key(Pool::rank);
        if pools.is_empty() {
            return Pools::default();
        }
        let labels = |object: &Arc<Namespace>| {
            let name = &object.metadata.name;
            (name.clone(), labels_of_namespace(Some(object), name))
        };
        Pools { pools, namespaces: objects.namespaces().map(labels).collect() }
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    /// All, in the order in which they are taken from.
    pub fn iter(&self) -> impl Iterator<Item = &Pool> {
        self.pools.iter()
    }

    /// The pool of that name.
    pub fn named(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == name)
    }

    /// The pool that an address belongs to.
    pub fn of(&self, address: IpAddr) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.has(address))
    }

    /// Whether a Service of this namespace and with these labels may have addresses of a pool.
    pub fn admits(&self, pool: &Pool, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        let spec = &pool.spec;
        let everywhere = spec.namespaces.is_empty() && spec.namespace_selectors.is_empty();
        let is_chosen = || {
            let chosen = |labels| spec.namespace_selectors.iter().any(|selector| selector.matches(labels));
            match self.namespaces.get(namespace) {
                Some(labels) => chosen(labels),
                None => chosen(&labels_of_namespace(None, namespace)),
            }
        };
        (everywhere || spec.namespaces.iter().any(|name| name == namespace) || is_chosen())
            && any_matches(&spec.service_selectors, labels)
    }
}

impl Pool {
    fn new(object: &AddressPool, older: &[Pool], problems: &mut Vec<Problem>) -> Self {
        let owner = ObjectRef::new("AddressPool", "", &object.metadata.name);
        // What is no address is told by the check of our own kinds.
        let read = |texts: &[String]| texts.iter().filter_map(|text| text.parse::<Range>().ok()).collect::<Vec<_>>();
        let (addresses, avoid) = (read(&object.spec.addresses), read(&object.spec.avoid));
        let ranges = IpFamily::ALL.map(|family| {
            let own = Ranges::of(family, &addresses);
            for other in older.iter().filter(|other| other.ranges(family).overlap(&own)) {
                let what = format!("it shares addresses with the older pool {}, which has them", other.name);
                problems.push(Problem::error(code::POOL_OVERLAP, &owner, what).at_field("spec.addresses"));
            }
            let of_others = older.iter().fold(own, |left, other| left.without(other.ranges(family)));
            of_others.without(&Ranges::of(family, &avoid))
        });
        Pool { name: object.metadata.name.clone(), spec: object.spec.clone(), ranges }
    }

    /// Those with a number first, then those that are for somebody in particular.
    fn rank(&self) -> (i64, bool, String) {
        let spec = &self.spec;
        let for_all =
            spec.namespaces.is_empty() && spec.namespace_selectors.is_empty() && spec.service_selectors.is_empty();
        (spec.priority.unwrap_or(i64::MAX), for_all, self.name.clone())
    }

    /// Services that ask for nothing get addresses from here.
    pub fn is_auto_assigned(&self) -> bool {
        self.spec.is_auto_assigned()
    }

    /// Its addresses of a family.
    pub fn ranges(&self, family: IpFamily) -> &Ranges {
        match family {
            IpFamily::V4 => &self.ranges[0],
            IpFamily::V6 => &self.ranges[1],
        }
    }

    /// Whether an address belongs to it.
    pub fn has(&self, address: IpAddr) -> bool {
        let (family, number) = number(address);
        self.ranges(family).contains(number)
    }

    /// Given only to whom asks for it: it ends in .0 or .255, and the pool is to avoid such.
    pub fn is_shunned(&self, family: IpFamily, number: u128) -> bool {
        self.spec.avoid_buggy_ips == Some(true) && family == IpFamily::V4 && matches!(number & 0xff, 0 | 0xff)
    }

    /// How many of its addresses are shunned.
    pub fn shunned(&self, family: IpFamily) -> u128 {
        if self.spec.avoid_buggy_ips != Some(true) || family == IpFamily::V6 {
            return 0;
        }
        // Those up to a number: one .0 for each /24 begun, one .255 for each completed.
        let up_to = |number: u128| number / 256 + 1 + (number + 1) / 256;
        let of_range = |(first, last): (u128, u128)| up_to(last) - first.checked_sub(1).map_or(0, up_to);
        self.ranges(family).iter().map(of_range).sum()
    }

    /// An address of it.
    pub fn address(family: IpFamily, number: u128) -> IpAddr {
        address(family, number)
    }
}
