//! Rows of `weir services`.

use std::collections::BTreeMap;

use super::row::{BackendCounts, FamilyRow, FrontendRow, ServiceRow};
use super::view::View;
use crate::model::{Backend, BackendState, Forwarding, ForwardingBy, FrontendKind, Service, Target, TrafficPolicy};
use crate::tables::{FrontendKey, IpFamily, Ring, ServiceId};

const NO_AFFINITY: &str = "none";

/// One row for each balanced port; by id where only the maps are known.
pub(super) fn rows(view: &View) -> Vec<ServiceRow> {
    match &view.desired {
        Some(desired) => desired.services.values().map(|service| desired_row(view, service)).collect(),
        None => view.tables.services.iter().map(|(id, ring)| table_row(view, *id, ring)).collect(),
    }
}

fn desired_row(view: &View, service: &Service) -> ServiceRow {
    let families: Vec<_> = service.families.iter().flat_map(|family| family_rows(view, service, *family)).collect();
    let preferred = families.iter().find(|row| row.id.is_some()).cloned();
    let counters = families.iter().filter_map(|row| row.counters).reduce(|one, other| one + other);
    let announcer = |address: Option<_>| view.announcing.as_ref()?.owners.get(&address?)?.clone();
    let frontend = |f: &crate::model::Frontend| FrontendRow {
        kind: Some(f.kind),
        address: f.address,
        port: f.port,
        announced_by: announcer(f.address).filter(|_| f.kind == FrontendKind::LoadBalancer),
    };
    ServiceRow {
        namespace: Some(service.key.namespace.clone()),
        name: Some(service.key.name.clone()),
        port_name: service.port_name.clone(),
        port: Some(service.key.port),
        protocol: Some(service.key.protocol),
        service_type: Some(service.service_type),
        id: preferred.as_ref().and_then(|row| row.id),
        families,
        frontends: service.frontends.iter().map(frontend).collect(),
        backends: backends(view, &service.target),
        algorithm: matches!(service.target, Target::Backends(_)).then(|| service.policy.algorithm.to_string()),
        forwarding: matches!(service.target, Target::Backends(_)).then_some(service.forwarding),
        forwarding_reason: matches!(service.target, Target::Backends(_)).then(|| reason(service)),
        affinity: Some(affinity(service.policy.affinity)),
        external_traffic_policy: Some(service.policy.external),
        internal_traffic_policy: Some(service.policy.internal),
        health_check_node_port: service.policy.health_check,
        ring_slots: preferred.and_then(|row| row.ring_slots),
        counters,
    }
}

/// `none`, or the kind and for how long.
fn affinity(seconds: Option<u32>) -> String {
    seconds.map_or_else(|| NO_AFFINITY.to_owned(), |seconds| format!("ClientIP {seconds}s"))
}

/// Why a service forwards as it does.
pub(super) fn reason(service: &Service) -> String {
    let by = match service.forwarding_by {
        ForwardingBy::Annotation => "annotation weir.io/forwarding",
        ForwardingBy::Flag => "--forwarding",
    };
    let node_port = service.frontends.iter().any(|frontend| frontend.address.is_none());
    if node_port && service.forwarding == Forwarding::Dsr {
        return format!("{by}; NodePorts by snat, since no other node may send from a node's address");
    }
    by.to_owned()
}

/// The maps say it by frontend.
fn table_forwarding(view: &View, id: ServiceId) -> Option<Forwarding> {
    let mut frontends = view.tables.frontends.values().filter(|frontend| frontend.service == id).peekable();
    frontends.peek()?;
    Some(if frontends.any(|frontend| frontend.dsr) { Forwarding::Dsr } else { Forwarding::Snat })
}

/// A service has one id per family, and one more where clients are led by another policy; without any there is one row.
fn family_rows(view: &View, service: &Service, family: IpFamily) -> Vec<FamilyRow> {
    let policies = [TrafficPolicy::Cluster, TrafficPolicy::Local];
    let id = |policy| view.service_ids.get(&(service.key.clone(), family, policy)).copied();
    let row = |policy| Some(family_row(view, family, policy, Some(id(policy)?)));
    let rows: Vec<_> = policies.into_iter().filter_map(row).collect();
    if rows.is_empty() { vec![family_row(view, family, TrafficPolicy::Cluster, None)] } else { rows }
}

fn family_row(view: &View, family: IpFamily, policy: TrafficPolicy, id: Option<ServiceId>) -> FamilyRow {
    FamilyRow {
        family,
        policy,
        id: id.map(|id| id.0),
        ring_slots: id.and_then(|id| view.tables.services.get(&id)).map(|ring| ring.len()),
        counters: view.service_counters(id),
    }
}

/// The node's own front counts as one backend, active while it listens.
fn backends(view: &View, target: &Target) -> BackendCounts {
    match target {
        Target::Backends(backends) => count(backends),
        Target::Front(_) => {
            let listens = view.front.as_ref().is_some_and(|front| front.listeners > 0);
            BackendCounts { active: usize::from(listens), terminating: 0, unhealthy: usize::from(!listens) }
        }
    }
}

fn count(backends: &[Backend]) -> BackendCounts {
    let with = |state| backends.iter().filter(|backend| backend.state == state).count();
    BackendCounts {
        active: with(BackendState::Active),
        terminating: with(BackendState::Terminating),
        unhealthy: with(BackendState::Unhealthy),
    }
}

fn table_row(view: &View, id: ServiceId, ring: &Ring) -> ServiceRow {
    let leading = view.tables.frontends.iter().filter(|(key, value)| value.service == id && !key.inside);
    let frontends: BTreeMap<_, _> = leading.collect();
    let in_ring: std::collections::BTreeSet<_> = ring.backends().iter().collect();
    let counters = view.service_counters(Some(id));
    let family = frontends.keys().next().map(|key| IpFamily::of(key.address));
    let policy_of_table = view.tables.policies.get(&id).copied().unwrap_or_default();
    // The maps tell the policy only by what the rings hold.
    let policy = TrafficPolicy::Cluster;
    let family_row = |family| FamilyRow { family, policy, id: Some(id.0), ring_slots: Some(ring.len()), counters };
    ServiceRow {
        namespace: None,
        name: None,
        port_name: None,
        port: None,
        protocol: frontends.keys().next().map(|key| key.protocol),
        service_type: None,
        id: Some(id.0),
        families: family.map(family_row).into_iter().collect(),
        frontends: frontends.iter().map(|(key, value)| table_frontend(key, value.cluster)).collect(),
        backends: BackendCounts { active: in_ring.len(), ..BackendCounts::default() },
        algorithm: Some(policy_of_table.algorithm.to_string()),
        forwarding: table_forwarding(view, id),
        forwarding_reason: None,
        affinity: Some(affinity((policy_of_table.affinity > 0).then_some(policy_of_table.affinity))),
        external_traffic_policy: None,
        internal_traffic_policy: None,
        health_check_node_port: None,
        ring_slots: Some(ring.len()),
        counters,
    }
}

/// The maps know a NodePort by its unspecified address, a host port on loopback by that, a cluster IP by its mark, and of
/// other kinds only the address.
fn table_frontend(key: &FrontendKey, cluster: bool) -> FrontendRow {
    let node_port = key.address.is_unspecified();
    let kind = match cluster {
        _ if node_port => Some(FrontendKind::NodePort),
        true if key.address.is_loopback() => Some(FrontendKind::HostPort),
        true => Some(FrontendKind::ClusterIP),
        false => None,
    };
    FrontendRow { kind, address: (!node_port).then_some(key.address), port: key.port, announced_by: None }
}
