//! The differ: the fewest writes from the actual Tables to the desired ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compile::Amended;
use crate::plan::{Plan, Write};
use crate::tables::{ServicePolicy, Tables};

/// The Plan from `actual` to `desired`. Pure.
///
/// An id may mean another service or backend in `desired` only if nothing in `actual` holds it; `compile` sees to that
/// ([`crate::compile::Ids`]).
pub fn diff(actual: &Tables, desired: &Tables) -> Plan {
    let mut writes = Vec::new();
    frontends(actual, desired, &mut writes);
    services(actual, desired, &mut writes);
    backends(actual, desired, &mut writes);
    policies(actual, desired, &mut writes);
    nodes(actual, desired, &mut writes);
    node_addresses(actual, desired, &mut writes);
    vips(actual, desired, &mut writes);
    if actual.settings != desired.settings {
        writes.push(Write::WriteSettings(desired.settings));
    }
    Plan::new(writes)
}

/// The Plan for a few rings and backends: [`diff`] to the Tables that these changes make of `actual`, in which no packet goes
/// in a tunnel to the services that they concern.
pub fn of(actual: &Tables, changes: &Amended) -> Plan {
    let mut writes = Vec::new();
    for (&service, ring) in &changes.rings {
        let now = actual.services.get(&service);
        if now != Some(ring) {
            writes.push(Write::WriteRing { service, ring: ring.clone(), replaces: now.is_some(), keeps: false });
        }
    }
    for (&(family, id), &key) in &changes.come {
        writes.push(Write::UpsertBackend(family, id, key));
    }
    writes.extend(changes.gone.iter().map(|&(family, id)| Write::DeleteBackend(family, id)));
    Plan::new(writes)
}

fn frontends(actual: &Tables, desired: &Tables, writes: &mut Vec<Write>) {
    writes.extend(gone(&actual.frontends, &desired.frontends).map(|key| Write::DeleteFrontend(*key)));
    for (&key, &frontend) in &desired.frontends {
        let now = actual.frontends.get(&key);
        if now != Some(&frontend) {
            writes.push(Write::UpsertFrontend { key, frontend, replaces: now.is_some() });
        }
    }
}

fn services(actual: &Tables, desired: &Tables, writes: &mut Vec<Write>) {
    let tunnelled = desired.tunnelled();
    for (&service, ring) in &desired.services {
        let now = actual.services.get(&service);
        if now != Some(ring) {
            let keeps = now.is_some() && tunnelled.contains(&service);
            writes.push(Write::WriteRing { service, ring: ring.clone(), replaces: now.is_some(), keeps });
        }
    }
    writes.extend(gone(&actual.services, &desired.services).map(|&service| Write::DeleteService(service)));
}

fn backends(actual: &Tables, desired: &Tables, writes: &mut Vec<Write>) {
    for (&(family, id), &key) in &desired.backends {
        if actual.backends.get(&(family, id)) != Some(&key) {
            writes.push(Write::UpsertBackend(family, id, key));
        }
    }
    writes.extend(gone(&actual.backends, &desired.backends).map(|&(family, id)| Write::DeleteBackend(family, id)));
}

fn policies(actual: &Tables, desired: &Tables, writes: &mut Vec<Write>) {
    for (&service, &policy) in &desired.policies {
        if actual.policies.get(&service) != Some(&policy) {
            writes.push(Write::WritePolicy(service, policy));
        }
    }
    // what goes with its service needs no write
    let plain = gone(&actual.policies, &desired.policies).filter(|service| desired.services.contains_key(service));
    writes.extend(plain.map(|&service| Write::WritePolicy(service, ServicePolicy::default())));
    writes.extend(desired.ranges.difference(&actual.ranges).map(|&(service, net)| Write::UpsertRange(service, net)));
    writes.extend(actual.ranges.difference(&desired.ranges).map(|&(service, net)| Write::DeleteRange(service, net)));
    if !Arc::ptr_eq(&actual.denied, &desired.denied) {
        writes.extend(desired.denied.difference(&actual.denied).map(|&network| Write::UpsertDenied(network)));
        writes.extend(actual.denied.difference(&desired.denied).map(|&network| Write::DeleteDenied(network)));
    }
}

fn nodes(actual: &Tables, desired: &Tables, writes: &mut Vec<Write>) {
    writes.extend(gone(&actual.nodes, &desired.nodes).map(|address| Write::DeleteNode(*address)));
    for (&address, &own) in &desired.nodes {
        if actual.nodes.get(&address) != Some(&own) {
            writes.push(Write::UpsertNode { address, own });
        }
    }
    for (&(family, id), &node) in &desired.backend_nodes {
        if actual.backend_nodes.get(&(family, id)) != Some(&node) {
            writes.push(Write::UpsertBackendNode(family, id, node));
        }
    }
    let gone = gone(&actual.backend_nodes, &desired.backend_nodes);
    writes.extend(gone.map(|&(family, id)| Write::DeleteBackendNode(family, id)));
}

fn node_addresses(actual: &Tables, desired: &Tables, writes: &mut Vec<Write>) {
    let (now, wanted) = (&actual.node_addresses, &desired.node_addresses);
    writes.extend(now.difference(wanted).map(|&address| Write::DeleteNodeAddress(address)));
    writes.extend(wanted.difference(now).map(|&address| Write::UpsertNodeAddress(address)));
}

fn vips(actual: &Tables, desired: &Tables, writes: &mut Vec<Write>) {
    writes.extend(actual.vips.difference(&desired.vips).map(|&address| Write::DeleteVip(address)));
    writes.extend(desired.vips.difference(&actual.vips).map(|&address| Write::UpsertVip(address)));
}

/// Keys that are there and should not be.
fn gone<'a, K: Ord, V>(actual: &'a BTreeMap<K, V>, desired: &'a BTreeMap<K, V>) -> impl Iterator<Item = &'a K> {
    actual.keys().filter(|key| !desired.contains_key(key))
}
