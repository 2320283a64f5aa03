//! Rows of `weir backends`.

use std::collections::BTreeMap;

use super::row::BackendRow;
use super::view::View;
use crate::model::{Backend, DesiredState, Protocol, ServiceKey, Target};
use crate::tables::{BackendId, BackendKey, IpFamily};

/// One row for each address, port and protocol, sorted; where services disagree about its state, the best counts.
pub(super) fn rows(view: &View) -> Vec<BackendRow> {
    match &view.desired {
        Some(desired) => group(desired).into_iter().map(|(key, uses)| desired_row(view, key, &uses)).collect(),
        None => view.tables.backends.iter().map(|((family, id), key)| table_row(view, *family, *id, key)).collect(),
    }
}

type Uses<'a> = Vec<(&'a ServiceKey, &'a Backend)>;

fn group(desired: &DesiredState) -> BTreeMap<BackendKey, Uses<'_>> {
    let mut groups: BTreeMap<BackendKey, Uses<'_>> = BTreeMap::new();
    for service in desired.services.values() {
        let Target::Backends(backends) = &service.target else { continue };
        for backend in backends {
            groups.entry(key(backend, service.key.protocol)).or_default().push((&service.key, backend));
        }
    }
    groups
}

fn key(backend: &Backend, protocol: Protocol) -> BackendKey {
    BackendKey { address: backend.address, port: backend.port, protocol, local: backend.local }
}

fn desired_row(view: &View, key: BackendKey, uses: &Uses<'_>) -> BackendRow {
    let family = IpFamily::of(key.address);
    let id = view.backend_ids.get(&(family, key)).copied();
    let best = uses.iter().map(|(_, backend)| *backend).min_by_key(|backend| backend.state);
    let mut row = table_row(view, family, id.unwrap_or(BackendId(0)), &key);
    row.id = id.map(|id| id.0);
    row.generation = view.generation(family, id);
    row.counters = view.backend_counters(family, id);
    row.node = best.and_then(|backend| backend.node.clone());
    row.pod = best.and_then(|backend| backend.pod.clone());
    row.state = best.map(|backend| backend.state);
    row.weight = best.map(|backend| backend.weight);
    row.services = uses.iter().map(|(key, _)| format!("{}/{}:{}", key.namespace, key.name, key.port)).collect();
    row
}

fn table_row(view: &View, family: IpFamily, id: BackendId, key: &BackendKey) -> BackendRow {
    BackendRow {
        id: Some(id.0),
        generation: view.generation(family, Some(id)),
        address: key.address,
        port: key.port,
        protocol: key.protocol,
        node: None,
        local: key.local,
        state: None,
        weight: None,
        pod: None,
        services: Vec::new(),
        counters: view.backend_counters(family, Some(id)),
    }
}
