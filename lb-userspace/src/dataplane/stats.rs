//! Counters and the fill of maps, read for status and metrics.

use std::collections::BTreeMap;

use aya::Pod;
use aya::maps::{MapData, MapType, PerCpuArray, PerCpuValues};
use lb_common::abi::{Counters, DropCounters, Stat, map};
use lb_common::drop_reason::DropReason;
use serde::Serialize;

use super::bpf_store::BpfStore;
use super::error::{DataplaneError, map_io};
use super::maps::{self, Maps};
use super::spec::{Group, MapSpec};
use super::store::StoreError;
use crate::tables::{BackendId, IpFamily, ServiceId};

/// Counters at one moment, summed over all CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CounterSnapshot {
    /// By service in use.
    pub services: BTreeMap<ServiceId, Counters>,
    /// By backend in use.
    pub backends: BTreeMap<(IpFamily, BackendId), Counters>,
    /// How often the id of each backend in use was used.
    pub generations: BTreeMap<(IpFamily, BackendId), u32>,
    /// By reason; those that never happened are zero.
    pub drops: BTreeMap<DropReason, DropCounters>,
    /// By [`Stat`]; see [`CounterSnapshot::event`].
    pub events: BTreeMap<u32, u64>,
}

impl CounterSnapshot {
    /// How often something happened.
    pub fn event(&self, stat: Stat) -> u64 {
        self.events.get(&(stat as u32)).copied().unwrap_or(0)
    }
}

/// How full a map is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MapStatus {
    /// Name of the map.
    pub name: &'static str,
    /// Entries in use (for RINGS: lines); `null` for maps of fixed contents.
    pub entries: Option<u64>,
    /// How many fit.
    pub capacity: u32,
    /// The flag that raises the capacity.
    #[serde(skip)]
    pub flag: &'static str,
}

/// Everything that reads counters.
pub(crate) struct CounterReader {
    services: PerCpuArray<MapData, Counters>,
    backends: PerCpuArray<MapData, Counters>,
    drops: PerCpuArray<MapData, DropCounters>,
    events: PerCpuArray<MapData, u64>,
}

impl CounterReader {
    pub(crate) fn open(maps: &Maps) -> Result<Self, DataplaneError> {
        Ok(Self {
            services: maps.per_cpu(map::SERVICE_STATS)?,
            backends: maps.per_cpu(map::BACKEND_STATS)?,
            drops: maps.per_cpu(map::DROP_STATS)?,
            events: maps.per_cpu(map::EVENT_STATS)?,
        })
    }

    /// How often something happened.
    pub(crate) fn event(&self, stat: Stat) -> Result<u64, DataplaneError> {
        sum(&self.events, map::EVENT_STATS, stat as u32, |total, one| *total += one)
    }

    /// How many packets were dropped for a reason.
    pub(crate) fn dropped(&self, reason: DropReason) -> Result<u64, DataplaneError> {
        sum(&self.drops, map::DROP_STATS, reason as u32, add_drops).map(|counters| counters.packets)
    }

    /// Flows of a service that did not begin because no port was free for source NAT.
    pub(crate) fn snat_exhausted(&self, id: ServiceId) -> Result<u64, DataplaneError> {
        sum(&self.services, map::SERVICE_STATS, id.0, add).map(|counters| counters.snat_exhausted)
    }

    /// Reads what is in use: one system call per service, backend, reason and event.
    pub(crate) fn read(&self, store: &BpfStore) -> Result<CounterSnapshot, DataplaneError> {
        let mut snapshot = CounterSnapshot::default();
        for id in store.service_ids() {
            snapshot.services.insert(id, sum(&self.services, map::SERVICE_STATS, id.0, add)?);
        }
        for (family, id, generation) in store.backends() {
            snapshot.backends.insert((family, id), sum(&self.backends, map::BACKEND_STATS, id.0, add)?);
            snapshot.generations.insert((family, id), generation);
        }
        for &reason in DropReason::ALL {
            snapshot.drops.insert(reason, sum(&self.drops, map::DROP_STATS, reason as u32, add_drops)?);
        }
        for index in 0..self.events.len() {
            snapshot.events.insert(index, sum(&self.events, map::EVENT_STATS, index, |total, one| *total += one)?);
        }
        Ok(snapshot)
    }
}

/// Sets the counters of an id to zero when it is used for something new.
pub(crate) struct CounterReset {
    services: PerCpuArray<MapData, Counters>,
    backends: PerCpuArray<MapData, Counters>,
    cpus: usize,
}

impl CounterReset {
    pub(crate) fn open(maps: &Maps) -> Result<Self, DataplaneError> {
        let unknown = |(_, source)| DataplaneError::map(map::SERVICE_STATS)(source);
        Ok(Self {
            services: maps.per_cpu(map::SERVICE_STATS)?,
            backends: maps.per_cpu(map::BACKEND_STATS)?,
            cpus: aya::util::nr_cpus().map_err(unknown)?,
        })
    }

    pub(crate) fn service(&mut self, id: ServiceId) -> Result<(), StoreError> {
        Self::clear(&mut self.services, map::SERVICE_STATS, id.0, self.cpus)
    }

    pub(crate) fn backend(&mut self, id: BackendId) -> Result<(), StoreError> {
        Self::clear(&mut self.backends, map::BACKEND_STATS, id.0, self.cpus)
    }

    fn clear(
        array: &mut PerCpuArray<MapData, Counters>,
        map: &'static str,
        index: u32,
        cpus: usize,
    ) -> Result<(), StoreError> {
        let failed = |source| StoreError::Io { map, operation: "reset counters", source };
        let zero = PerCpuValues::try_from(vec![Counters::default(); cpus]).map_err(failed)?;
        array.set(index, zero, 0).map_err(|error| failed(map_io(error)))
    }
}

/// How full each map is. Hash maps are counted in batches of 4,096 entries per system call.
pub(crate) fn fill(maps: &Maps, store: &BpfStore) -> Result<Vec<MapStatus>, DataplaneError> {
    let specs = super::spec::specs(&super::config::MapSizes::default());
    let mut result = Vec::new();
    let hashed = |spec: &MapSpec| matches!(spec.shape.kind, MapType::Hash | MapType::LruHash);
    for spec in specs.iter().filter(|spec| spec.group != Group::Single || hashed(spec)) {
        let failed = DataplaneError::map(spec.name);
        let data = maps.data(spec.name)?;
        let capacity = data.info().map_err(map_io).map_err(&failed)?.max_entries();
        let entries = match hashed(spec) {
            true => Some(maps::count(&data).map_err(failed)?),
            false => entries(spec.name, store),
        };
        result.push(MapStatus { name: spec.name, entries, capacity, flag: spec.flag });
    }
    Ok(result)
}

/// What is in use of a map that is no hash.
fn entries(name: &str, store: &BpfStore) -> Option<u64> {
    let of = |family| store.backends().filter(|(of, ..)| *of == family).count() as u64;
    match name {
        map::SERVICES => Some(store.service_ids().count() as u64),
        map::BACKENDS4 => Some(of(IpFamily::V4)),
        map::BACKENDS6 => Some(of(IpFamily::V6)),
        map::RINGS => Some(store.ring_lines()),
        _ => None,
    }
}

fn sum<V: Pod + Default>(
    array: &PerCpuArray<MapData, V>,
    map: &'static str,
    index: u32,
    add: impl Fn(&mut V, &V),
) -> Result<V, DataplaneError> {
    let values = array.get(&index, 0).map_err(map_io).map_err(DataplaneError::map(map))?;
    let mut total = V::default();
    for value in values.iter() {
        add(&mut total, value);
    }
    Ok(total)
}

fn add(total: &mut Counters, one: &Counters) {
    total.packets += one.packets;
    total.bytes += one.bytes;
    total.new_flows += one.new_flows;
    total.snat_exhausted += one.snat_exhausted;
}

fn add_drops(total: &mut DropCounters, one: &DropCounters) {
    total.packets += one.packets;
    total.bytes += one.bytes;
}
