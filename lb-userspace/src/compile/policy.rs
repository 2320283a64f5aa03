//! What services ask of new flows beside a slot of the ring.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::l4::Owner;
use crate::model::{DesiredState, Service, Target};
use crate::tables::{Frontend, FrontendKey, IpFamily, ServiceId, ServicePolicy};

/// How the flows of a service choose; `None` if by their hash alone, or because the front answers.
pub(super) fn of(service: &Service) -> Option<ServicePolicy> {
    let policy = ServicePolicy { affinity: service.policy.affinity.unwrap_or(0), algorithm: service.policy.algorithm };
    let backends = matches!(service.target, Target::Backends(_));
    Some(policy).filter(|policy| backends && *policy != ServicePolicy::default())
}

/// The policies of the services that have an id.
pub(super) fn all(desired: &DesiredState, ids: &BTreeMap<Owner, ServiceId>) -> BTreeMap<ServiceId, ServicePolicy> {
    let policy = |((key, ..), id): (&Owner, &ServiceId)| Some((*id, of(desired.services.get(key)?)?));
    ids.iter().filter_map(policy).collect()
}

/// The networks of the clients of services that are not for everybody: in the family of the frontend.
pub(super) fn ranges(
    desired: &DesiredState,
    ids: &BTreeMap<Owner, ServiceId>,
    frontends: &BTreeMap<FrontendKey, Frontend>,
) -> BTreeSet<(ServiceId, IpNet)> {
    let restricted: BTreeSet<ServiceId> =
        frontends.values().filter(|frontend| frontend.ranges).map(|frontend| frontend.service).collect();
    let mut ranges = BTreeSet::new();
    for ((key, family, _), id) in ids.iter().filter(|(_, id)| restricted.contains(id)) {
        let service = desired.services.get(key);
        let networks = service.and_then(|service| service.source_ranges.as_deref()).unwrap_or_default();
        let of_family = networks.iter().filter(|network| IpFamily::of(network.addr()) == *family);
        ranges.extend(of_family.map(|network| (*id, network.trunc())));
    }
    ranges
}
