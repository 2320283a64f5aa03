//! The programs in the kernel, verified once for many tests: that takes seconds, and to empty their maps takes milliseconds.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};
use std::thread;

use aya::maps::lpm_trie::LpmTrie;
use aya::maps::{Array, HashMap, MapData, PerCpuArray, PerCpuValues, ProgramArray, RingBuf};
use aya::programs::xdp::XdpLinkId;
use aya::programs::{Program, ProgramError, SchedClassifier, SkLookup, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use lb_common::abi::{
    AffinityEntry, AffinityKey, AnnouncedEntry, AnnouncedKey4, AnnouncedKey6, BackendEntry4, BackendEntry6, CALLED,
    Called, Counters, DeviceEntry, DropCounters, FlowEntry4, FlowEntry6, FlowKey4, FlowKey6, FormerRing, FragmentEntry,
    FragmentKey4, FragmentKey6, FrontendEntry, FrontendKey4, FrontendKey6, LoadEntry, NextHop4, NextHop6, Note4, Note6,
    RangeKey4, RangeKey6, RecentClock, RecentDevice, RecentFrontend4, RecentFrontend6, Refusals, ReplyEntry4,
    ReplyEntry6, RingLine, SampleBudget, SampleNote, ServiceEntry, TrackedEntry, budget, map, program, setting,
};
use lb_common::addr::{Addr4, Addr6};
use lb_userspace::dataplane::object;

/// Loaded programs whose maps are empty. Dropped by a test that passed, they are kept for the next one of this process.
pub(crate) struct Loaded {
    /// `None` only while it is dropped.
    ebpf: Option<Ebpf>,
    links: Vec<XdpLinkId>,
}

/// Those that no test uses now.
static IDLE: Mutex<Vec<Ebpf>> = Mutex::new(Vec::new());

impl Loaded {
    pub(crate) fn take() -> Self {
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self { ebpf: Some(idle.unwrap_or_else(load_all)), links: Vec::new() }
    }

    /// Attaches the XDP program natively to a device of the namespace that the test is in.
    pub(crate) fn attach_xdp(&mut self, device: &str) {
        let xdp: &mut Xdp = self.program_mut(program::XDP).unwrap().try_into().unwrap();
        let link = xdp.attach(device, XdpMode::Driver).unwrap();
        self.links.push(link);
    }
}

impl Deref for Loaded {
    type Target = Ebpf;

    fn deref(&self) -> &Ebpf {
        self.ebpf.as_ref().expect("it is not being dropped")
    }
}

impl DerefMut for Loaded {
    fn deref_mut(&mut self) -> &mut Ebpf {
        self.ebpf.as_mut().expect("it is not being dropped")
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let Some(mut ebpf) = self.ebpf.take() else { return };
        // of a test that failed nothing is kept, nor where a map is to be emptied that is too large for it
        if thread::panicking() || has_limited(&ebpf) {
            return;
        }
        let xdp: &mut Xdp = ebpf.program_mut(program::XDP).unwrap().try_into().unwrap();
        self.links.drain(..).for_each(|link| xdp.detach(link).unwrap());
        empty_all(&mut ebpf);
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(ebpf);
    }
}

/// Whether connections were limited: what was seen of them is remembered by a million words.
fn has_limited(ebpf: &Ebpf) -> bool {
    let settings: Array<_, u64> = ebpf.map(map::SETTINGS).unwrap().try_into().unwrap();
    settings.get(&setting::SYN_LIMIT, 0).unwrap() != 0
}

/// Entries of the tables that an agent gives a size.
const ENTRIES: u32 = 64;
/// Those of services and backends, and what is counted for each.
const SIZED: [&str; 11] = [
    map::SERVICES,
    map::RINGS,
    map::BACKENDS4,
    map::BACKENDS6,
    map::FRONTENDS4,
    map::FRONTENDS6,
    map::FORMER_RINGS,
    map::SERVICE_STATS,
    map::BACKEND_STATS,
    map::LOADS,
    map::SYN_BUDGETS,
];

fn load_all() -> Ebpf {
    let mut loader = EbpfLoader::new();
    for name in SIZED {
        loader.map_max_entries(name, if name == map::SYN_BUDGETS { ENTRIES + budget::SERVICES } else { ENTRIES });
    }
    object::tell(&mut loader);
    let mut ebpf = loader.load(&object::for_this_kernel()).unwrap();
    call(&mut ebpf);
    for name in [program::TC_EGRESS, program::ASK, program::TUNNEL] {
        let classifier: &mut SchedClassifier = ebpf.program_mut(name).unwrap().try_into().unwrap();
        load(|| classifier.load());
    }
    let sk_lookup: &mut SkLookup = ebpf.program_mut(program::SK_LOOKUP).unwrap().try_into().unwrap();
    load(|| sk_lookup.load());
    ebpf
}

/// Loads the programs that others call, and puts them in their place.
fn call(ebpf: &mut Ebpf) {
    for Called { program, map, slot } in CALLED {
        match ebpf.program_mut(program).unwrap() {
            Program::Xdp(program) => load(|| program.load()),
            Program::SchedClassifier(program) => load(|| program.load()),
            other => panic!("{other:?} is called"),
        }
        let called = ebpf.program(program).unwrap().fd().unwrap().try_clone().unwrap();
        let mut array: ProgramArray<&mut MapData> = ebpf.map_mut(map).unwrap().try_into().unwrap();
        array.set(slot, &called, 0).unwrap();
    }
}

/// Loads a program; the verifier gives up with EAGAIN when its thread gets a signal, and wants to be called again.
fn load(program: impl FnMut() -> Result<(), ProgramError>) {
    try_load(program).unwrap();
}

/// The same, for whom a refusal is an answer.
pub(crate) fn try_load(mut program: impl FnMut() -> Result<(), ProgramError>) -> Result<(), ProgramError> {
    for _ in 0..20 {
        match program() {
            Err(ProgramError::LoadError { io_error, .. }) if io_error.kind() == std::io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
    panic!("the verifier was interrupted twenty times");
}

/// How a map is emptied.
type Empty = fn(&mut Ebpf, &str);

/// Every map that the programs write or a test fills.
const EMPTIED: &[(&str, Empty)] = &[
    (map::FRONTENDS4, hash::<FrontendKey4, FrontendEntry>),
    (map::FRONTENDS6, hash::<FrontendKey6, FrontendEntry>),
    (map::FLOWS4, hash::<FlowKey4, FlowEntry4>),
    (map::FLOWS6, hash::<FlowKey6, FlowEntry6>),
    (map::REPLIES4, hash::<FlowKey4, ReplyEntry4>),
    (map::REPLIES6, hash::<FlowKey6, ReplyEntry6>),
    (map::HALF_FLOWS4, hash::<FlowKey4, FlowEntry4>),
    (map::HALF_FLOWS6, hash::<FlowKey6, FlowEntry6>),
    (map::HALF_REPLIES4, hash::<FlowKey4, ReplyEntry4>),
    (map::HALF_REPLIES6, hash::<FlowKey6, ReplyEntry6>),
    (map::FRAGMENTS4, hash::<FragmentKey4, FragmentEntry>),
    (map::FRAGMENTS6, hash::<FragmentKey6, FragmentEntry>),
    (map::TRACKED4, hash::<FlowKey4, TrackedEntry>),
    (map::TRACKED6, hash::<FlowKey6, TrackedEntry>),
    (map::NODE_ADDRS4, hash::<Addr4, u32>),
    (map::NODE_ADDRS6, hash::<Addr6, u32>),
    (map::VIPS4, hash::<Addr4, u32>),
    (map::VIPS6, hash::<Addr6, u32>),
    (map::ANNOUNCED4, hash::<AnnouncedKey4, AnnouncedEntry>),
    (map::ANNOUNCED6, hash::<AnnouncedKey6, AnnouncedEntry>),
    (map::DEVICES, hash::<u32, DeviceEntry>),
    (map::NODES4, hash::<Addr4, u32>),
    (map::NODES6, hash::<Addr6, u32>),
    (map::BACKEND_NODES4, hash::<u32, Addr4>),
    (map::BACKEND_NODES6, hash::<u32, Addr6>),
    (map::AFFINITY, hash::<AffinityKey, AffinityEntry>),
    (map::DENIED4, trie::<u32>),
    (map::DENIED6, trie::<[u32; 4]>),
    (map::RANGES4, trie::<RangeKey4>),
    (map::RANGES6, trie::<RangeKey6>),
    (map::SERVICES, array::<{ size_of::<ServiceEntry>() }>),
    (map::RINGS, array::<{ size_of::<RingLine>() }>),
    (map::BACKENDS4, array::<{ size_of::<BackendEntry4>() }>),
    (map::BACKENDS6, array::<{ size_of::<BackendEntry6>() }>),
    (map::FORMER_RINGS, array::<{ size_of::<FormerRing>() }>),
    (map::LOADS, array::<{ size_of::<LoadEntry>() }>),
    (map::SETTINGS, array::<8>),
    (map::SYN_BUDGETS, array::<8>),
    (map::SERVICE_STATS, per_cpu::<{ size_of::<Counters>() }>),
    (map::BACKEND_STATS, per_cpu::<{ size_of::<Counters>() }>),
    (map::DROP_STATS, per_cpu::<{ size_of::<DropCounters>() }>),
    (map::EVENT_STATS, per_cpu::<8>),
    (map::NEXT_HOPS4, per_cpu::<{ size_of::<NextHop4>() }>),
    (map::NEXT_HOPS6, per_cpu::<{ size_of::<NextHop6>() }>),
    (map::RECENT_FRONTENDS4, per_cpu::<{ size_of::<RecentFrontend4>() }>),
    (map::RECENT_FRONTENDS6, per_cpu::<{ size_of::<RecentFrontend6>() }>),
    (map::RECENT_DEVICES, per_cpu::<{ size_of::<RecentDevice>() }>),
    (map::RECENT_CLOCK, per_cpu::<{ size_of::<RecentClock>() }>),
    (map::REFUSALS, per_cpu::<{ size_of::<Refusals>() }>),
    (map::SAMPLE_BUDGETS, per_cpu::<{ size_of::<SampleBudget>() }>),
    (map::SAMPLE_NOTES, per_cpu::<{ size_of::<SampleNote>() }>),
    (map::NOTES4, per_cpu::<{ size_of::<Note4>() }>),
    (map::NOTES6, per_cpu::<{ size_of::<Note6>() }>),
    (map::SAMPLES, ring),
];

/// What needs no emptying: programs, sockets that a test closes, words of [`has_limited`], and what only programs of control
/// groups use, which are not loaded here.
const KEPT: [&str; 10] = [
    map::XDP_PROGRAMS,
    map::TC_PROGRAMS,
    map::LISTENERS,
    map::SEEN_SYNS,
    map::SOCKET_SETTINGS,
    map::SOCKET_PORTS,
    map::SOCKET_PEERS4,
    map::SOCKET_PEERS6,
    map::SOCKET_CHOICES4,
    map::SOCKET_CHOICES6,
];

fn empty_all(ebpf: &mut Ebpf) {
    for (name, empty) in EMPTIED {
        empty(ebpf, name);
    }
}

fn hash<K: aya::Pod, V: aya::Pod>(ebpf: &mut Ebpf, name: &str) {
    let mut map: HashMap<_, K, V> = ebpf.map_mut(name).unwrap().try_into().unwrap();
    let keys: Vec<K> = map.keys().map(Result::unwrap).collect();
    keys.iter().for_each(|key| map.remove(key).unwrap());
}

fn trie<K: aya::Pod>(ebpf: &mut Ebpf, name: &str) {
    let mut map: LpmTrie<_, K, u32> = ebpf.map_mut(name).unwrap().try_into().unwrap();
    let keys: Vec<_> = map.keys().map(Result::unwrap).collect();
    keys.iter().for_each(|key| map.remove(key).unwrap());
}

fn array<const SIZE: usize>(ebpf: &mut Ebpf, name: &str) {
    let mut map: Array<_, [u8; SIZE]> = ebpf.map_mut(name).unwrap().try_into().unwrap();
    (0..map.len()).for_each(|index| map.set(index, [0; SIZE], 0).unwrap());
}

fn per_cpu<const SIZE: usize>(ebpf: &mut Ebpf, name: &str) {
    let mut map: PerCpuArray<_, [u8; SIZE]> = ebpf.map_mut(name).unwrap().try_into().unwrap();
    let cpus = aya::util::nr_cpus().unwrap();
    for index in 0..map.len() {
        map.set(index, PerCpuValues::try_from(vec![[0; SIZE]; cpus]).unwrap(), 0).unwrap();
    }
}

fn ring(ebpf: &mut Ebpf, name: &str) {
    let mut ring = RingBuf::try_from(ebpf.map_mut(name).unwrap()).unwrap();
    while ring.next().is_some() {}
}

#[test]
fn no_map_is_forgotten() {
    if !crate::kernel::available() {
        return;
    }
    let loaded = Loaded::take();
    let known = |name: &str| EMPTIED.iter().any(|(emptied, _)| *emptied == name) || KEPT.contains(&name);
    // read-only data of the compiler's is no map of ours
    let forgotten: Vec<_> =
        loaded.maps().map(|(name, _)| name).filter(|name| !name.contains('.') && !known(name)).collect();
    assert!(forgotten.is_empty(), "nobody empties {forgotten:?} between tests");
}
