//! What statuses of Services should say, and who of the pools' users waits.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::allocate::{Allocation, allocate};
use super::claim::{Claim, Sharing};
use super::memory::{Memory, key};
use super::pool::{Pool, Pools};
use crate::model::problem::code;
use crate::model::{IpFamily, ObjectRef, Problem};
use crate::source::kinds::Service;
use crate::source::{Body, Changes, Kind, ObjectKey, Objects};
use crate::translate::{self, Settings, seniority};

/// Gives addresses, and remembers what it gave.
#[derive(Clone, Debug, Default)]
pub struct Giver {
    memory: Memory,
    pools: Arc<Pools>,
    /// The last decision, and what beside the objects it hangs on.
    giving: Arc<Giving>,
    seen: Option<(bool, usize)>,
}

/// What is given.
#[derive(Clone, Debug, Default)]
pub struct Giving {
    /// Every Service whose addresses we decide, with all that it should have.
    pub services: BTreeMap<ObjectKey, Vec<IpAddr>>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Every pool by name.
    pub pools: BTreeMap<String, PoolCounts>,
}

/// How full a pool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// How many addresses it has; the largest number there is where they are more.
    pub total: i64,
    /// How many of them are in use.
    pub given: i64,
    /// How many are left for Services that ask for none in particular.
    pub free: i64,
    /// A Service waits for an address.
    pub exhausted: bool,
}

impl Giver {
    /// With what was given before.
    pub fn new(memory: Memory) -> Self {
        Giver { memory, ..Giver::default() }
    }

    /// Decides for all Services, says in the settings which pools there are, and tells Services of files what they have. While
    /// the objects are not complete, nothing is given.
    pub fn turn(&mut self, objects: &mut Objects, settings: &mut Settings) -> Arc<Giving> {
        let seen = Some((objects.complete(), objects.unread().count()));
        if self.seen != seen || may_change(objects.changes()) {
            self.seen = seen;
            self.decide(objects, settings);
        }
        settings.pools = Arc::clone(&self.pools);
        Arc::clone(&self.giving)
    }

    fn decide(&mut self, objects: &mut Objects, settings: &Settings) {
        let mut problems = Vec::new();
        let pools = Arc::new(Pools::new(objects, &mut problems));
        let mut giving = match objects.complete() && !pools.is_empty() {
            true => self.give(objects, &pools, settings),
            false => Giving::default(),
        };
        giving.problems.append(&mut problems);
        tell_files(objects, &giving.services);
        translate::locate(objects, &mut giving.problems);
        self.write(objects);
        (self.pools, self.giving) = (pools, Arc::new(giving));
    }

    fn give(&mut self, objects: &Objects, pools: &Pools, settings: &Settings) -> Giving {
        let known: BTreeSet<_> = objects.services().map(|service| service_key(service)).collect();
        // A file that was never read well may hold the Service.
        if objects.unread().next().is_none() {
            self.memory.retain(|name| known.contains(name));
        }
        let mut services: Vec<_> = objects.services().filter(|service| is_ours(service, settings)).collect();
        services.sort_by_cached_key(|service| seniority(&service.metadata));
        let claims: Vec<_> = services.iter().map(|service| Claim::new(service, self.held(service))).collect();
        let taken = self.taken(objects, &known, settings);
        let allocation = allocate(&claims, &taken, pools);
        let mut giving = Giving { pools: counts(pools, &allocation), ..Giving::default() };
        for (claim, given) in claims.iter().zip(&allocation.given) {
            let given = in_order(claim, given);
            remark(claim, &given, pools, &mut giving.problems);
            self.memory.remember(&claim.namespace, &claim.name, given.clone());
            giving.services.insert(object_key(&claim.namespace, &claim.name), given);
        }
        self.take_back(objects, pools, settings, &mut giving);
        for name in &allocation.exhausted {
            let owner = ObjectRef::new("AddressPool", "", name);
            let what = "a Service waits for an address, and none is left";
            let problem = Problem::error(code::POOL_EXHAUSTED, &owner, what).at_field("spec.addresses");
            giving.problems.push(problem.expected("more addresses, or fewer Services"));
        }
        giving.problems.extend(allocation.problems);
        giving
    }

    /// Writes down what Services of files were given.
    fn write(&mut self, objects: &Objects) {
        let is_of_file = |name: &str| {
            let (namespace, name) = name.split_once('/').unwrap_or_default();
            objects.get(&object_key(namespace, name)).is_none_or(|object| object.origin.is_some())
        };
        self.memory.write(is_of_file);
    }

    /// What a Service has: by its status, else by what we remember.
    fn held(&self, service: &Service) -> Vec<IpAddr> {
        let told = status(service);
        let metadata = &service.metadata;
        if told.is_empty() { self.memory.of(&metadata.namespace, &metadata.name).to_vec() } else { told }
    }

    /// Addresses that are not ours to give again: external IPs, those of other controllers, and those of Services that we
    /// remember and cannot see.
    fn taken(&self, objects: &Objects, known: &BTreeSet<String>, settings: &Settings) -> Vec<(IpAddr, Sharing)> {
        let mut taken = Vec::new();
        for service in objects.services() {
            let mut addresses: Vec<_> = service.spec.external_ips.iter().filter_map(|text| text.parse().ok()).collect();
            if !is_ours(service, settings) && is_balanced(service) {
                addresses.extend(status(service));
            }
            taken.extend(addresses.into_iter().map(|address| (address, Sharing::of(service))));
        }
        let unseen = self.memory.all().filter(|(name, _)| !known.contains(*name));
        taken.extend(unseen.flat_map(|(_, given)| given).map(|address| (*address, Sharing::default())));
        taken
    }

    /// A Service that is not of type LoadBalancer any more gives its address back.
    fn take_back(&mut self, objects: &Objects, pools: &Pools, settings: &Settings, giving: &mut Giving) {
        let left = objects.services().filter(|service| !is_balanced(service) && !translate::is_of_other_proxy(service));
        for service in left.filter(|service| translate::is_of_our_class(service, settings)) {
            let metadata = &service.metadata;
            self.memory.remember(&metadata.namespace, &metadata.name, Vec::new());
            if status(service).iter().any(|address| pools.of(*address).is_some()) {
                giving.services.insert(object_key(&metadata.namespace, &metadata.name), Vec::new());
            }
        }
    }
}

/// Services of files have no status but what we put there.
fn tell_files(objects: &mut Objects, given: &BTreeMap<ObjectKey, Vec<IpAddr>>) {
    for (key, given) in given {
        let is_news = objects.get(key).is_some_and(|object| match &object.body {
            Body::Service(service) => object.origin.is_some() && !is_told(service, given),
            _ => false,
        });
        if is_news {
            objects.tell_addresses(key, given);
        }
    }
}

fn is_told(service: &Service, given: &[IpAddr]) -> bool {
    let told: BTreeSet<_> = status(service).into_iter().collect();
    told == given.iter().copied().collect()
}

/// Backends come and go without a word about addresses.
fn may_change(changes: &Changes) -> bool {
    let matters = |kind| matches!(kind, Kind::Service | Kind::AddressPool | Kind::Namespace);
    changes.is_everything() || changes.iter().any(|(key, _)| matters(key.kind))
}

/// Its address is ours to give, and nobody has given it something that is none.
fn is_ours(service: &Service, settings: &Settings) -> bool {
    let foreign = service.status.load_balancer.ingress.iter().any(|ingress| {
        ingress.ip.is_none() || ingress.hostname.is_some() || ingress.ip_mode.as_deref() == Some("Proxy")
    });
    is_balanced(service)
        && translate::is_of_our_class(service, settings)
        && !translate::is_of_other_proxy(service)
        && !service.is_headless()
        && !foreign
}

fn is_balanced(service: &Service) -> bool {
    service.spec.service_type.as_deref() == Some("LoadBalancer")
}

fn status(service: &Service) -> Vec<IpAddr> {
    let texts = service.status.load_balancer.ingress.iter().filter_map(|ingress| ingress.ip.as_deref());
    texts.filter_map(|text| text.parse().ok()).collect()
}

fn service_key(service: &Service) -> String {
    key(&service.metadata.namespace, &service.metadata.name)
}

fn object_key(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey { kind: Kind::Service, namespace: namespace.to_owned(), name: name.to_owned() }
}

/// The preferred family first.
fn in_order(claim: &Claim, given: &[IpAddr]) -> Vec<IpAddr> {
    let mut given = given.to_vec();
    let rank = |address: &IpAddr| claim.families.iter().position(|family| *family == IpFamily::of(*address));
    given.sort_by_key(|address| (rank(address).unwrap_or(usize::MAX), *address));
    given
}

/// An address outlives the pool that it came from; that is worth knowing.
fn remark(claim: &Claim, given: &[IpAddr], pools: &Pools, problems: &mut Vec<Problem>) {
    for address in given {
        let what = match pools.of(*address) {
            None => "it keeps an address that is in no pool, until it is deleted or asks for another".to_owned(),
            Some(pool) if !pools.admits(pool, &claim.namespace, &claim.labels) => {
                let name = &pool.name;
                format!(
                    "it keeps an address of pool {name}, which is not for it, until it is deleted or asks for another"
                )
            }
            Some(_) => continue,
        };
        let problem = Problem::warning(code::ADDRESS_NOT_IN_POOL, &claim.reference(), what);
        problems.push(problem.at("status.loadBalancer.ingress", address));
    }
}

fn counts(pools: &Pools, allocation: &Allocation) -> BTreeMap<String, PoolCounts> {
    let number = |count: u128| i64::try_from(count).unwrap_or(i64::MAX);
    let of_pool = |pool: &Pool| {
        let total: u128 = IpFamily::ALL.iter().fold(0, |sum, family| pool.ranges(*family).len().saturating_add(sum));
        let shunned = pool.shunned(IpFamily::V4);
        let [used, used_shunned] = allocation.used.get(&pool.name).copied().unwrap_or_default();
        PoolCounts {
            total: number(total),
            given: number(used),
            free: number(total.saturating_sub(used).saturating_sub(shunned - used_shunned)),
            exhausted: allocation.exhausted.contains(&pool.name),
        }
    };
    pools.iter().map(|pool| (pool.name.clone(), of_pool(pool))).collect()
}
