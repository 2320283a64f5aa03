//! What a Service asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::IpFamily;
use crate::source::kinds::{Metadata, Service};

/// Annotations that name addresses, separated by commas, the strongest first; the later ones are MetalLB's.
const ADDRESSES: [&str; 3] =
    ["weir.io/load-balancer-ips", "metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs"];
/// Annotations that name a pool.
const POOL: [&str; 3] = ["weir.io/load-balancer-pool", "metallb.io/address-pool", "metallb.universe.tf/address-pool"];
/// Annotations with a key; Services with the same key may share an address.
const SHARED: [&str; 3] =
    ["weir.io/allow-shared-ip", "metallb.io/allow-shared-ip", "metallb.universe.tf/allow-shared-ip"];

/// One of our own annotations that is read here.
pub fn is_annotation(name: &str) -> bool {
    [ADDRESSES[0], POOL[0], SHARED[0]].contains(&name)
}

/// Where a Service asks for addresses, and the texts that stand there.
pub fn asked_addresses(service: &Service) -> Option<(String, Vec<&str>)> {
    if let Some((name, text)) = annotation(&service.metadata, &ADDRESSES) {
        let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty()).collect();
        return Some((format!("metadata.annotations[{name}]"), texts));
    }
    let field = service.spec.load_balancer_ip.as_deref().filter(|text| !text.is_empty())?;
    Some(("spec.loadBalancerIP".to_owned(), vec![field]))
}

/// The first of several annotations that a Service has.
fn annotation<'a>(metadata: &'a Metadata, names: &[&'static str]) -> Option<(&'static str, &'a str)> {
    let value = |name: &&'static str| Some((*name, metadata.annotations.get(*name)?.trim()));
    names.iter().filter_map(value).find(|(_, value)| !value.is_empty())
}

/// What a Service asks for, and what it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    /// Families that it wants an address of; without any: of one, whichever there is.
    pub(super) families: Vec<IpFamily>,
    /// It cannot do with fewer than all of them.
    pub(super) needs_all: bool,
    /// Where it asks for addresses, and for which.
    pub(super) asked: Option<(String, Vec<IpAddr>)>,
    /// Where it asks for a pool, and for which.
    pub(super) pool: Option<(String, String)>,
    pub(super) sharing: Sharing,
    /// What it has: by its status, else by what we remember.
    pub(super) held: Vec<IpAddr>,
}

/// With whom an address may be shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sharing {
    /// The Service, which agrees with itself; `None`: nobody knows whose it is.
    owner: Option<(String, String)>,
    /// Without a key: with nobody.
    key: Option<String>,
    ports: BTreeSet<(String, i64)>,
    /// Only nodes with backends answer, so all that share the address must have the same ones.
    local: Option<(String, BTreeMap<String, String>)>,
}

impl Sharing {
    /// Of a Service.
    pub(super) fn of(service: &Service) -> Self {
        let spec = &service.spec;
        let port = |port: &crate::source::kinds::ServicePort| {
            Some((port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()), port.port?))
        };
        let is_local = spec.external_traffic_policy.as_deref() == Some("Local");
        let metadata = &service.metadata;
        Sharing {
            owner: Some((metadata.namespace.clone(), metadata.name.clone())),
            key: annotation(&service.metadata, &SHARED).map(|(_, key)| key.to_owned()),
            ports: spec.ports.iter().filter_map(port).collect(),
            local: is_local.then(|| (service.metadata.namespace.clone(), spec.selector.clone())),
        }
    }

    /// The key.
    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Whether two Services may have one address.
    pub(super) fn agrees(&self, other: &Sharing) -> bool {
        let is_one = self.owner.is_some() && self.owner == other.owner;
        let by_key = self.key.is_some() && self.key == other.key && self.local == other.local;
        is_one || (by_key && self.ports.is_disjoint(&other.ports))
    }
}

impl Claim {
    /// Of a Service that has these addresses.
    pub(super) fn new(service: &Service, held: Vec<IpAddr>) -> Self {
        let metadata = &service.metadata;
        let asked = asked_addresses(service).map(|(field, texts)| {
            let addresses = texts.iter().filter_map(|text| text.parse().ok()).collect();
            (field, addresses)
        });
        let pool =
            annotation(metadata, &POOL).map(|(name, pool)| (format!("metadata.annotations[{name}]"), pool.to_owned()));
        Claim {
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            labels: metadata.labels.clone(),
            families: families(service),
            needs_all: service.spec.ip_family_policy.as_deref() == Some("RequireDualStack"),
            asked,
            pool,
            sharing: Sharing::of(service),
            held,
        }
    }

    /// Whether it wants addresses of a family.
    pub(super) fn wants(&self, family: IpFamily) -> bool {
        self.families.is_empty() || self.families.contains(&family)
    }

    /// It asks for this address.
    pub(super) fn asks_for(&self, address: IpAddr) -> bool {
        self.asked.as_ref().is_some_and(|(_, addresses)| addresses.contains(&address))
    }

    /// It asks for an address of this family.
    pub(super) fn asks_in(&self, family: IpFamily) -> bool {
        self.asked.as_ref().is_some_and(|(_, asked)| asked.iter().any(|address| IpFamily::of(*address) == family))
    }
}

/// `ipFamilies`, else those of the cluster IPs; both where a policy asks for two stacks and nobody has given out cluster IPs.
fn families(service: &Service) -> Vec<IpFamily> {
    let spec = &service.spec;
    let named = |name: &String| IpFamily::ALL.into_iter().find(|family| family.name() == name);
    let mut families: Vec<_> = spec.ip_families.iter().filter_map(named).collect();
    if families.is_empty() {
        let addresses = service.cluster_addresses().filter_map(|text| text.parse().ok());
        families.extend(addresses.map(IpFamily::of));
    }
    let policy = spec.ip_family_policy.as_deref();
    let has_cluster_ip = service.cluster_addresses().next().is_some();
    if policy == Some("RequireDualStack") || (policy == Some("PreferDualStack") && !has_cluster_ip) {
        families.extend(IpFamily::ALL);
    }
    let mut seen = BTreeSet::new();
    families.retain(|family| seen.insert(*family));
    families
}
