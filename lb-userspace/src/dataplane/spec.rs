//! What each map must look like, and what is to be done with pinned maps that do not.
//!
//! aya takes whatever map it finds at a pin, unchecked, and goes on with the definition of its own object: a larger old
//! value would overrun buffers, an old size would stay for ever. So pins are compared before they are used.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aya::maps::{MapInfo, MapType};
use lb_common::abi::socket::{
    PORT_LINES, PortLine, SocketChoice, SocketKey4, SocketKey6, SocketPeer4, SocketPeer6, socket_setting,
};
use lb_common::abi::{
    AffinityEntry, AffinityKey, AnnouncedEntry, AnnouncedKey4, AnnouncedKey6, BackendEntry4, BackendEntry6, Counters,
    DeviceEntry, DropCounters, FlowEntry4, FlowEntry6, FlowKey4, FlowKey6, FormerRing, FragmentEntry, FragmentKey4,
    FragmentKey6, FrontendEntry, FrontendKey4, FrontendKey6, LoadEntry, NextHop4, NextHop6, Note4, Note6, RangeKey4,
    RangeKey6, RecentClock, RecentDevice, RecentFrontend4, RecentFrontend6, Refusals, ReplyEntry4, ReplyEntry6,
    RingLine, STATS, SampleBudget, SampleNote, ServiceEntry, TrackedEntry, budget, map, setting, tc_slot, xdp_slot,
};
use lb_common::addr::{Addr4, Addr6};
use lb_common::drop_reason::DROP_REASONS;
use lb_common::limits;
use lb_common::sample;

use super::config::MapSizes;

const BPF_F_NO_PREALLOC: u32 = 1 << 0;
const BPF_F_MMAPABLE: u32 = 1 << 10;

/// Maps that only make sense together: if one of a group starts empty, all of it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    /// Frontends, services, rings, backends: they point at each other by id.
    Services,
    /// Flows and replies, which point at backends by id.
    Flows,
    /// Stands alone.
    Single,
}

/// The outside of a map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) kind: MapType,
    pub(crate) key: u32,
    pub(crate) value: u32,
    pub(crate) entries: u32,
    pub(crate) flags: u32,
}

/// A map of the object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MapSpec {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) group: Group,
    /// The flag that makes it larger.
    pub(crate) flag: &'static str,
}

impl MapSpec {
    const fn new<K, V>(name: &'static str, kind: MapType, entries: u32) -> Self {
        let (key, value) = (size_of::<K>() as u32, size_of::<V>() as u32);
        let shape = Shape { kind, key, value, entries, flags: 0 };
        Self { name, shape, group: Group::Single, flag: "a newer version" }
    }

    const fn mapped(mut self) -> Self {
        self.shape.flags = BPF_F_MMAPABLE;
        self
    }

    /// Takes memory as it fills.
    const fn lazy(mut self) -> Self {
        self.shape.flags = BPF_F_NO_PREALLOC;
        self
    }

    const fn of(mut self, group: Group, flag: &'static str) -> Self {
        self.group = group;
        self.flag = flag;
        self
    }
}

/// Every map of the object, in the sizes that are wanted.
pub(crate) fn specs(sizes: &MapSizes) -> [MapSpec; 64] {
    use Group::{Flows, Services};
    use MapType::{Array, Hash, LpmTrie, LruHash, PerCpuArray, ProgramArray, RingBuf, SockMap};
    let MapSizes { services, frontends, backends, ring_lines, flows, half_open_flows } = *sizes;
    let half_flag = "--max-half-open-flows";
    [
        MapSpec::new::<FrontendKey4, FrontendEntry>(map::FRONTENDS4, Hash, frontends).of(Services, "--max-frontends"),
        MapSpec::new::<u32, ServiceEntry>(map::SERVICES, Array, services).mapped().of(Services, "--max-services"),
        MapSpec::new::<u32, RingLine>(map::RINGS, Array, ring_lines).mapped().of(Services, "--max-ring-lines"),
        MapSpec::new::<u32, BackendEntry4>(map::BACKENDS4, Array, backends).mapped().of(Services, "--max-backends"),
        MapSpec::new::<FlowKey4, FlowEntry4>(map::FLOWS4, Hash, flows).of(Flows, "--max-flows"),
        MapSpec::new::<FlowKey4, ReplyEntry4>(map::REPLIES4, Hash, flows).of(Flows, "--max-flows"),
        MapSpec::new::<FlowKey4, FlowEntry4>(map::HALF_FLOWS4, LruHash, half_open_flows).of(Flows, half_flag),
        MapSpec::new::<FlowKey4, ReplyEntry4>(map::HALF_REPLIES4, LruHash, half_open_flows).of(Flows, half_flag),
        MapSpec::new::<FragmentKey4, FragmentEntry>(map::FRAGMENTS4, LruHash, limits::FRAGMENTS),
        MapSpec::new::<Addr4, u32>(map::NODE_ADDRS4, Hash, limits::NODE_ADDRESSES),
        MapSpec::new::<Addr4, u32>(map::VIPS4, Hash, frontends).lazy(),
        MapSpec::new::<FrontendKey6, FrontendEntry>(map::FRONTENDS6, Hash, frontends).of(Services, "--max-frontends"),
        MapSpec::new::<u32, BackendEntry6>(map::BACKENDS6, Array, backends).mapped().of(Services, "--max-backends"),
        MapSpec::new::<FlowKey6, FlowEntry6>(map::FLOWS6, Hash, flows).of(Flows, "--max-flows"),
        MapSpec::new::<FlowKey6, ReplyEntry6>(map::REPLIES6, Hash, flows).of(Flows, "--max-flows"),
        MapSpec::new::<FlowKey6, FlowEntry6>(map::HALF_FLOWS6, LruHash, half_open_flows).of(Flows, half_flag),
        MapSpec::new::<FlowKey6, ReplyEntry6>(map::HALF_REPLIES6, LruHash, half_open_flows).of(Flows, half_flag),
        MapSpec::new::<FragmentKey6, FragmentEntry>(map::FRAGMENTS6, LruHash, limits::FRAGMENTS),
        MapSpec::new::<Addr6, u32>(map::NODE_ADDRS6, Hash, limits::NODE_ADDRESSES),
        MapSpec::new::<Addr6, u32>(map::VIPS6, Hash, frontends).lazy(),
        MapSpec::new::<AnnouncedKey4, AnnouncedEntry>(map::ANNOUNCED4, Hash, limits::ANNOUNCED).lazy(),
        MapSpec::new::<AnnouncedKey6, AnnouncedEntry>(map::ANNOUNCED6, Hash, limits::ANNOUNCED).lazy(),
        MapSpec::new::<u32, DeviceEntry>(map::DEVICES, Hash, limits::DEVICES),
        MapSpec::new::<u32, u64>(map::SETTINGS, Array, setting::COUNT),
        MapSpec::new::<u32, Counters>(map::SERVICE_STATS, PerCpuArray, services),
        MapSpec::new::<u32, Counters>(map::BACKEND_STATS, PerCpuArray, backends),
        MapSpec::new::<u32, DropCounters>(map::DROP_STATS, PerCpuArray, DROP_REASONS),
        MapSpec::new::<u32, u64>(map::EVENT_STATS, PerCpuArray, STATS),
        MapSpec::new::<u32, NextHop4>(map::NEXT_HOPS4, PerCpuArray, limits::NEXT_HOPS),
        MapSpec::new::<u32, NextHop6>(map::NEXT_HOPS6, PerCpuArray, limits::NEXT_HOPS),
        MapSpec::new::<u32, RecentFrontend4>(map::RECENT_FRONTENDS4, PerCpuArray, limits::RECENT_FRONTENDS),
        MapSpec::new::<u32, RecentFrontend6>(map::RECENT_FRONTENDS6, PerCpuArray, limits::RECENT_FRONTENDS),
        MapSpec::new::<u32, RecentDevice>(map::RECENT_DEVICES, PerCpuArray, limits::RECENT_DEVICES),
        MapSpec::new::<u32, RecentClock>(map::RECENT_CLOCK, PerCpuArray, 1),
        MapSpec::new::<u32, Refusals>(map::REFUSALS, PerCpuArray, 1),
        MapSpec::new::<u32, u32>(map::LISTENERS, SockMap, limits::LISTENERS),
        MapSpec::new::<(), ()>(map::SAMPLES, RingBuf, limits::SAMPLE_BYTES),
        MapSpec::new::<u32, u64>(map::SYN_BUDGETS, Array, services + budget::SERVICES)
            .of(Group::Single, "--max-services"),
        MapSpec::new::<u32, u64>(map::SEEN_SYNS, Array, limits::SEEN_SYNS),
        MapSpec::new::<u32, SampleBudget>(map::SAMPLE_BUDGETS, PerCpuArray, sample::BUDGETS),
        MapSpec::new::<u32, SampleNote>(map::SAMPLE_NOTES, PerCpuArray, 1),
        MapSpec::new::<u32, Note4>(map::NOTES4, PerCpuArray, 1),
        MapSpec::new::<u32, Note6>(map::NOTES6, PerCpuArray, 1),
        MapSpec::new::<u32, FormerRing>(map::FORMER_RINGS, Array, services).mapped().of(Services, "--max-services"),
        MapSpec::new::<Addr4, u32>(map::NODES4, Hash, limits::NODES).lazy(),
        MapSpec::new::<Addr6, u32>(map::NODES6, Hash, limits::NODES).lazy(),
        MapSpec::new::<u32, Addr4>(map::BACKEND_NODES4, Hash, backends).lazy().of(Services, "--max-backends"),
        MapSpec::new::<u32, Addr6>(map::BACKEND_NODES6, Hash, backends).lazy().of(Services, "--max-backends"),
        MapSpec::new::<FlowKey4, TrackedEntry>(map::TRACKED4, LruHash, limits::TRACKED_FLOWS)
            .of(Flows, "a newer version"),
        MapSpec::new::<FlowKey6, TrackedEntry>(map::TRACKED6, LruHash, limits::TRACKED_FLOWS)
            .of(Flows, "a newer version"),
        MapSpec::new::<[u32; 2], u32>(map::DENIED4, LpmTrie, limits::DENIED).lazy(),
        MapSpec::new::<[u32; 5], u32>(map::DENIED6, LpmTrie, limits::DENIED).lazy(),
        MapSpec::new::<(u32, RangeKey4), u32>(map::RANGES4, LpmTrie, limits::RANGES)
            .lazy()
            .of(Services, "a newer version"),
        MapSpec::new::<(u32, RangeKey6), u32>(map::RANGES6, LpmTrie, limits::RANGES)
            .lazy()
            .of(Services, "a newer version"),
        MapSpec::new::<AffinityKey, AffinityEntry>(map::AFFINITY, LruHash, limits::AFFINITIES)
            .of(Flows, "a newer version"),
        MapSpec::new::<u32, LoadEntry>(map::LOADS, Array, backends).mapped(),
        MapSpec::new::<u32, u32>(map::XDP_PROGRAMS, ProgramArray, xdp_slot::COUNT),
        MapSpec::new::<u32, u32>(map::TC_PROGRAMS, ProgramArray, tc_slot::COUNT),
        MapSpec::new::<u32, u64>(map::SOCKET_SETTINGS, Array, socket_setting::COUNT),
        MapSpec::new::<u32, PortLine>(map::SOCKET_PORTS, Array, PORT_LINES),
        MapSpec::new::<SocketKey4, SocketPeer4>(map::SOCKET_PEERS4, LruHash, limits::SOCKET_PEERS),
        MapSpec::new::<SocketKey6, SocketPeer6>(map::SOCKET_PEERS6, LruHash, limits::SOCKET_PEERS),
        MapSpec::new::<SocketKey4, SocketChoice>(map::SOCKET_CHOICES4, LruHash, limits::SOCKET_CHOICES),
        MapSpec::new::<SocketKey6, SocketChoice>(map::SOCKET_CHOICES6, LruHash, limits::SOCKET_CHOICES),
    ]
}

/// What raises the size of a map.
pub(crate) fn flag(name: &str) -> &'static str {
    let specs = specs(&MapSizes::default());
    specs.iter().find(|spec| spec.name == name).map_or("a newer version", |spec| spec.flag)
}

impl Shape {
    pub(crate) fn of(info: &MapInfo) -> Self {
        Self {
            kind: info.map_type().unwrap_or(MapType::Unspecified),
            key: info.key_size(),
            value: info.value_size(),
            entries: info.max_entries(),
            flags: info.map_flags(),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, key, value, entries, flags } = self;
        write!(f, "{kind:?} with {entries} entries, keys of {key} and values of {value} bytes, flags {flags:#x}")
    }
}

/// Why a pinned map is not used again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Unfit {
    /// It differs.
    Differs { name: &'static str, found: Shape, expected: Shape },
    /// It is as it should be, but another one that it needs is not.
    Orphaned { name: &'static str, because: &'static str },
}

impl Unfit {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Unfit::Differs { name, .. } | Unfit::Orphaned { name, .. } => name,
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Differs { name, found, expected } => {
                write!(f, "map {name} is made anew: found {found}; expected {expected}")
            }
            Unfit::Orphaned { name, because } => write!(f, "map {name} is made anew, because {because} is"),
        }
    }
}

/// Which of the pinned maps cannot be used again. A missing pin is no reason by itself, but services that start empty
/// take the flows with them, whose backend ids mean nothing any more.
pub(crate) fn unfit(specs: &[MapSpec], pinned: &BTreeMap<&'static str, Shape>) -> Vec<Unfit> {
    if pinned.is_empty() {
        return Vec::new();
    }
    let mut lost: BTreeMap<Group, &'static str> = BTreeMap::new();
    let mut result = Vec::new();
    for spec in specs {
        let found = pinned.get(spec.name);
        if let Some(&found) = found.filter(|&&found| found != spec.shape) {
            result.push(Unfit::Differs { name: spec.name, found, expected: spec.shape });
        }
        if found != Some(&spec.shape) {
            lost.entry(spec.group).or_insert(spec.name);
        }
    }
    lost.remove(&Group::Single);
    if let Some(&because) = lost.get(&Group::Services) {
        lost.insert(Group::Flows, because);
    }
    let named: BTreeSet<_> = result.iter().map(Unfit::name).collect();
    result.extend(
        specs
            .iter()
            .filter(|spec| pinned.contains_key(spec.name) && !named.contains(spec.name))
            .filter_map(|spec| Some(Unfit::Orphaned { name: spec.name, because: lost.get(&spec.group)? })),
    );
    result
}

#[cfg(test)]
mod memory;

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned() -> BTreeMap<&'static str, Shape> {
        specs(&MapSizes::default()).iter().map(|spec| (spec.name, spec.shape)).collect()
    }

    fn names(sizes: &MapSizes, pinned: &BTreeMap<&'static str, Shape>) -> Vec<&'static str> {
        unfit(&specs(sizes), pinned).iter().map(Unfit::name).collect()
    }

    #[test]
    fn equal_maps_and_no_maps_are_taken_as_they_are() {
        assert_eq!(names(&MapSizes::default(), &pinned()), [""; 0]);
        assert_eq!(names(&MapSizes::default(), &BTreeMap::new()), [""; 0]);
    }

    #[test]
    fn each_property_counts() {
        let change: [fn(&mut Shape); 5] =
            [|s| s.kind = MapType::Queue, |s| s.key += 4, |s| s.value += 4, |s| s.entries += 1, |s| s.flags ^= 1];
        for change in change {
            let mut pinned = pinned();
            change(pinned.get_mut(map::DEVICES).unwrap());
            assert_eq!(names(&MapSizes::default(), &pinned), [map::DEVICES]);
        }
    }

    #[test]
    fn a_larger_flow_table_takes_only_the_flows_with_it() {
        let sizes = MapSizes { half_open_flows: 1_024, ..MapSizes::default() };
        let mut found = names(&sizes, &pinned());
        found.sort_unstable();
        let proven = [map::FLOWS4, map::FLOWS6, map::REPLIES4, map::REPLIES6];
        let half_open = [map::HALF_FLOWS4, map::HALF_FLOWS6, map::HALF_REPLIES4, map::HALF_REPLIES6];
        let mut expected = [&proven[..], &half_open, &[map::TRACKED4, map::TRACKED6, map::AFFINITY]].concat();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn services_that_are_lost_take_rings_frontends_and_flows_with_them() {
        let mut pinned = pinned();
        pinned.remove(map::BACKENDS4);
        let found = unfit(&specs(&MapSizes::default()), &pinned);
        assert_eq!(found.len(), 21);
        assert!(
            found.iter().all(|unfit| matches!(unfit, Unfit::Orphaned { because, .. } if *because == map::BACKENDS4))
        );
        assert_eq!(found[0].to_string(), "map FRONTENDS4 is made anew, because BACKENDS4 is");
    }

    #[test]
    fn the_text_names_what_differs() {
        let mut pinned = pinned();
        pinned.get_mut(map::SETTINGS).unwrap().entries = 7;
        let found = unfit(&specs(&MapSizes::default()), &pinned);
        assert_eq!(
            found[0].to_string(),
            "map SETTINGS is made anew: found Array with 7 entries, keys of 4 and values of 8 bytes, flags 0x0; \
             expected Array with 17 entries, keys of 4 and values of 8 bytes, flags 0x0"
        );
    }
}
