//! The maps of policies: as a part of the store, and what the agent keeps right in them while flows come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use aya::Pod;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{IterableMap as _, MapData};
use ipnet::IpNet;
use lb_common::abi::{
    AffinityEntry, AffinityKey, BackendEntry, FlowEntry, FlowKey, LOAD_OF_WEIGHT_1, LoadEntry, RangeKey4, RangeKey6,
    map, service_flag,
};
use lb_common::addr::{V4, V6};
use lb_common::conntrack::FlowState;
use lb_common::flow::is_expired;

use super::error::{DataplaneError, map_io};
use super::family::MapFamily;
use super::mapped::{Access, MappedArray};
use super::maps::{Maps, walk};
use super::spec;
use super::store::StoreError;
use super::sys;
use crate::model::Algorithm;
use crate::tables::{BackendId, ServiceId, ServicePolicy, Tables};

/// The policy as it stands in [`lb_common::abi::ServiceEntry::flags`].
pub(crate) fn word(policy: &ServicePolicy) -> u32 {
    let algorithm = match policy.algorithm {
        Algorithm::Maglev => service_flag::MAGLEV,
        Algorithm::SourceHash => service_flag::SOURCE_HASH,
        Algorithm::Random => service_flag::RANDOM,
        Algorithm::LeastConnections => service_flag::LEAST_CONNECTIONS,
    };
    (policy.affinity & service_flag::AFFINITY) | algorithm
}

/// The policy that such a word is; `None` if it is the usual one.
pub(crate) fn policy(word: u32) -> Option<ServicePolicy> {
    let algorithm = match word & service_flag::ALGORITHM {
        service_flag::SOURCE_HASH => Algorithm::SourceHash,
        service_flag::RANDOM => Algorithm::Random,
        service_flag::LEAST_CONNECTIONS => Algorithm::LeastConnections,
        _ => Algorithm::Maglev,
    };
    let policy = ServicePolicy { affinity: word & service_flag::AFFINITY, algorithm };
    (policy != ServicePolicy::default()).then_some(policy)
}

/// The networks that services are for, and those that are denied.
pub(crate) struct Networks {
    denied4: LpmTrie<MapData, u32, u32>,
    denied6: LpmTrie<MapData, [u32; 4], u32>,
    ranges4: LpmTrie<MapData, RangeKey4, u32>,
    ranges6: LpmTrie<MapData, RangeKey6, u32>,
}

impl Networks {
    pub(crate) fn open(maps: &Maps) -> Result<Self, DataplaneError> {
        Ok(Self {
            denied4: maps.networks(map::DENIED4)?,
            denied6: maps.networks(map::DENIED6)?,
            ranges4: maps.networks(map::RANGES4)?,
            ranges6: maps.networks(map::RANGES6)?,
        })
    }

    /// Adds what the maps hold.
    pub(crate) fn load(&self, tables: &mut Tables) -> Result<(), StoreError> {
        let mut denied = BTreeSet::new();
        for found in self.denied4.iter() {
            let (key, _) = found.map_err(|error| failed(map::DENIED4, error))?;
            denied.extend(network4(key.data(), key.prefix_len()));
        }
        for found in self.denied6.iter() {
            let (key, _) = found.map_err(|error| failed(map::DENIED6, error))?;
            denied.extend(network6(key.data(), key.prefix_len()));
        }
        tables.denied = Arc::new(denied);
        for found in self.ranges4.iter() {
            let (key, _) = found.map_err(|error| failed(map::RANGES4, error))?;
            let ([service, address], length) = (key.data(), key.prefix_len().saturating_sub(32));
            tables.ranges.extend(network4(address, length).map(|network| (ServiceId(service), network)));
        }
        for found in self.ranges6.iter() {
            let (key, _) = found.map_err(|error| failed(map::RANGES6, error))?;
            let ([service, a, b, c, d], length) = (key.data(), key.prefix_len().saturating_sub(32));
            tables.ranges.extend(network6([a, b, c, d], length).map(|network| (ServiceId(service), network)));
        }
        Ok(())
    }

    pub(crate) fn upsert_range(&mut self, service: ServiceId, network: IpNet) -> Result<(), StoreError> {
        match range_key(service, network) {
            RangeKey::V4(key) => insert(&mut self.ranges4, map::RANGES4, &key),
            RangeKey::V6(key) => insert(&mut self.ranges6, map::RANGES6, &key),
        }
    }

    pub(crate) fn delete_range(&mut self, service: ServiceId, network: IpNet) -> Result<(), StoreError> {
        match range_key(service, network) {
            RangeKey::V4(key) => remove(&mut self.ranges4, map::RANGES4, &key),
            RangeKey::V6(key) => remove(&mut self.ranges6, map::RANGES6, &key),
        }
    }

    pub(crate) fn upsert_denied(&mut self, network: IpNet) -> Result<(), StoreError> {
        let length = u32::from(network.prefix_len());
        match network.network() {
            IpAddr::V4(at) => insert(&mut self.denied4, map::DENIED4, &Key::new(length, word4(at.octets()))),
            IpAddr::V6(at) => insert(&mut self.denied6, map::DENIED6, &Key::new(length, words6(at.octets()))),
        }
    }

    pub(crate) fn delete_denied(&mut self, network: IpNet) -> Result<(), StoreError> {
        let length = u32::from(network.prefix_len());
        match network.network() {
            IpAddr::V4(at) => remove(&mut self.denied4, map::DENIED4, &Key::new(length, word4(at.octets()))),
            IpAddr::V6(at) => remove(&mut self.denied6, map::DENIED6, &Key::new(length, words6(at.octets()))),
        }
    }
}

/// A key of RANGES.
enum RangeKey {
    V4(Key<RangeKey4>),
    V6(Key<RangeKey6>),
}

fn range_key(service: ServiceId, network: IpNet) -> RangeKey {
    let length = 32 + u32::from(network.prefix_len());
    match network.network() {
        IpAddr::V4(address) => RangeKey::V4(Key::new(length, [service.0, word4(address.octets())])),
        IpAddr::V6(address) => {
            let [a, b, c, d] = words6(address.octets());
            RangeKey::V6(Key::new(length, [service.0, a, b, c, d]))
        }
    }
}

/// The word of an address as it stands in a packet.
const fn word4(octets: [u8; 4]) -> u32 {
    u32::from_ne_bytes(octets)
}

const fn words6(octets: [u8; 16]) -> [u32; 4] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
    [word4([a, b, c, d]), word4([e, f, g, h]), word4([i, j, k, l]), word4([m, n, o, p])]
}

fn network4(word: u32, length: u32) -> Option<IpNet> {
    IpNet::new(IpAddr::from(word.to_ne_bytes()), u8::try_from(length).ok()?).ok()
}

fn network6(words: [u32; 4], length: u32) -> Option<IpNet> {
    let [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]] = words.map(u32::to_ne_bytes);
    let octets = [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p];
    IpNet::new(IpAddr::from(octets), u8::try_from(length).ok()?).ok()
}

/// The clients that keep their backend.
pub(crate) struct Affinities(MapData);

impl Affinities {
    pub(crate) fn open(maps: &Maps) -> Result<Self, DataplaneError> {
        maps.data(map::AFFINITY).map(Self)
    }

    /// Removes those of services that have no affinity any more, and of backends that are in no ring of theirs: they may be
    /// there still, and end. Gives how many.
    pub(crate) fn forget(&self, tables: &Tables) -> Result<usize, DataplaneError> {
        let kept = tables.policies.iter().filter(|(_, policy)| policy.affinity > 0);
        let members = |id| tables.services.get(id).map(|ring| ring.iter().map(|id| id.0).collect());
        let members: BTreeMap<u32, BTreeSet<u32>> = kept.filter_map(|(id, _)| Some((id.0, members(id)?))).collect();
        let takes = |key: &AffinityKey, entry: &AffinityEntry| {
            members.get(&key.service).is_some_and(|backends| backends.contains(&entry.backend))
        };
        let mut forgotten = Vec::new();
        let walked = walk::<AffinityKey, AffinityEntry>(&self.0, None, usize::MAX, |entries| {
            forgotten.extend(entries.iter().filter(|(key, entry)| !takes(key, entry)).map(|(key, _)| *key));
            Ok(())
        });
        let deleted = walked.and_then(|_| sys::delete_batch(self.0.fd().as_fd(), &forgotten));
        deleted.map_err(DataplaneError::map(map::AFFINITY))
    }
}

/// How much backends have to do.
pub(crate) struct Loads {
    loads: MappedArray<LoadEntry>,
    maps: Maps,
}

/// Words of a [`LoadEntry`].
const LOAD: usize = 0;
const STEP: usize = 1;

impl Loads {
    pub(crate) fn open(maps: &Maps) -> Result<Self, DataplaneError> {
        Ok(Self { loads: maps.mapped(map::LOADS, Access::Write)?, maps: maps.clone() })
    }

    /// Writes what the flow tables hold of these backends; `now` is in ticks. Flows that begin meanwhile are counted by the
    /// kernel programs, and perhaps not here, until the next time.
    pub(crate) fn count(&self, weights: &BTreeMap<BackendId, u16>, now: u32) -> Result<(), DataplaneError> {
        let mut flows: BTreeMap<u32, u64> = weights.keys().map(|id| (id.0, 0)).collect();
        self.count_family::<V4>(now, &mut flows)?;
        self.count_family::<V6>(now, &mut flows)?;
        for (id, weight) in weights {
            let step = LOAD_OF_WEIGHT_1 / u64::from((*weight).max(1));
            self.loads.store(id.0, STEP, step);
            self.loads.store(id.0, LOAD, flows.get(&id.0).copied().unwrap_or(0) * step);
        }
        Ok(())
    }

    fn count_family<F: MapFamily>(&self, now: u32, flows: &mut BTreeMap<u32, u64>) -> Result<(), DataplaneError> {
        let backends = self.maps.mapped::<BackendEntry<F::Addr>>(F::MAPS.backends, Access::Read)?;
        for name in [F::MAPS.flows, F::MAPS.half_flows] {
            let table = self.maps.data(name)?;
            let walked = walk::<FlowKey<F::Addr>, FlowEntry<F::Addr>>(&table, None, usize::MAX, |entries| {
                for (key, entry) in entries {
                    let lives = !FlowState::from_number(entry.state).is_closing()
                        && !is_expired(entry.state, key.protocol, entry.last_seen, now);
                    if let Some(count) = flows.get_mut(&entry.backend).filter(|_| lives)
                        && backends.read(entry.backend).is_some_and(|b| b.generation == entry.generation)
                    {
                        *count += 1;
                    }
                }
                Ok(())
            });
            walked.map_err(DataplaneError::map(name))?;
        }
        Ok(())
    }
}

fn insert<K: Pod>(trie: &mut LpmTrie<MapData, K, u32>, name: &'static str, key: &Key<K>) -> Result<(), StoreError> {
    let Err(error) = trie.insert(key, 1, 0) else { return Ok(()) };
    let source = map_io(error);
    if matches!(source.raw_os_error(), Some(libc::E2BIG | libc::ENOSPC)) {
        let capacity = trie.map().info().map_or(0, |info| info.max_entries());
        return Err(StoreError::Full { map: name, capacity, flag: spec::flag(name) });
    }
    Err(StoreError::Io { map: name, operation: "update", source })
}

fn remove<K: Pod>(trie: &mut LpmTrie<MapData, K, u32>, name: &'static str, key: &Key<K>) -> Result<(), StoreError> {
    match trie.remove(key).map_err(map_io) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::Io { map: name, operation: "delete", source })
        }
        _ => Ok(()),
    }
}

fn failed(map: &'static str, error: aya::maps::MapError) -> StoreError {
    StoreError::Io { map, operation: "walk", source: map_io(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_survive_the_map() {
        for algorithm in Algorithm::ALL {
            for affinity in [0, 1, 10_800, 86_400] {
                let wanted = ServicePolicy { affinity, algorithm };
                assert_eq!(policy(word(&wanted)).unwrap_or_default(), wanted);
            }
        }
        assert_eq!(policy(0), None);
    }

    #[test]
    fn networks_survive_the_map() {
        for text in ["10.0.0.0/8", "192.0.2.7/32", "0.0.0.0/0", "2001:db8::/32", "::/0"] {
            let network: IpNet = text.parse().unwrap();
            let length = u32::from(network.prefix_len());
            let back = match network.network() {
                IpAddr::V4(at) => network4(word4(at.octets()), length),
                IpAddr::V6(at) => network6(words6(at.octets()), length),
            };
            assert_eq!(back, Some(network));
        }
    }
}
