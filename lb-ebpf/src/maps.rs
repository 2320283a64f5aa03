//! Every map in one place. Names, types and meaning: `lb_common::abi`; the sizes here are defaults that the loader may
//! replace.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, ProgramArray, SockMap};
use lb_common::abi::{
    AnnouncedEntry, AnnouncedKey, BackendEntry, Counters, DeviceEntry, DropCounters, FlowEntry, FlowKey, FragmentEntry,
    FragmentKey, FrontendEntry, FrontendKey, NextHop, Note, Refusals, ReplyEntry, RingLine, STATS, ServiceEntry,
    budget, setting, tc_slot, xdp_slot,
};
use lb_common::addr::{Family, V4, V6};
use lb_common::drop_reason::DROP_REASONS;
use lb_common::ip::Ip;
use lb_common::limits;

#[map]
pub(crate) static SERVICES: Array<ServiceEntry> = Array::with_max_entries(limits::SERVICES, BPF_F_MMAPABLE);
#[map]
pub(crate) static RINGS: Array<RingLine> = Array::with_max_entries(limits::RING_LINES, BPF_F_MMAPABLE);
#[map]
pub(crate) static DEVICES: HashMap<u32, DeviceEntry> = HashMap::with_max_entries(limits::DEVICES, 0);
#[map]
pub(crate) static SETTINGS: Array<u64> = Array::with_max_entries(setting::COUNT, 0);
#[map]
pub(crate) static SERVICE_STATS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(limits::SERVICES, 0);
#[map]
pub(crate) static BACKEND_STATS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(limits::BACKENDS, 0);
#[map]
pub(crate) static DROP_STATS: PerCpuArray<DropCounters> = PerCpuArray::with_max_entries(DROP_REASONS, 0);
#[map]
pub(crate) static EVENT_STATS: PerCpuArray<u64> = PerCpuArray::with_max_entries(STATS, 0);
#[map]
pub(crate) static REFUSALS: PerCpuArray<Refusals> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static SYN_BUDGETS: Array<u64> = Array::with_max_entries(limits::SERVICES + budget::SERVICES, 0);
#[map]
pub(crate) static SEEN_SYNS: Array<u64> = Array::with_max_entries(limits::SEEN_SYNS, 0);
#[map]
pub(crate) static LISTENERS: SockMap = SockMap::with_max_entries(limits::LISTENERS, 0);
#[map]
pub(crate) static XDP_PROGRAMS: ProgramArray = ProgramArray::with_max_entries(xdp_slot::COUNT, 0);
#[map]
pub(crate) static TC_PROGRAMS: ProgramArray = ProgramArray::with_max_entries(tc_slot::COUNT, 0);

/// The address of a family.
type Addr<F> = <F as Family>::Addr;

/// The maps that each family has for itself, as its keys or values hold addresses.
pub(crate) trait FamilyMaps: Ip {
    /// FRONTENDS.
    const FRONTENDS: &'static HashMap<FrontendKey<Addr<Self>>, FrontendEntry>;
    /// BACKENDS.
    const BACKENDS: &'static Array<BackendEntry<Addr<Self>>>;
    /// FLOWS.
    const FLOWS: &'static HashMap<FlowKey<Addr<Self>>, FlowEntry<Addr<Self>>>;
    /// REPLIES.
    const REPLIES: &'static HashMap<FlowKey<Addr<Self>>, ReplyEntry<Addr<Self>>>;
    /// HALF_FLOWS.
    const HALF_FLOWS: &'static LruHashMap<FlowKey<Addr<Self>>, FlowEntry<Addr<Self>>>;
    /// HALF_REPLIES.
    const HALF_REPLIES: &'static LruHashMap<FlowKey<Addr<Self>>, ReplyEntry<Addr<Self>>>;
    /// FRAGMENTS.
    const FRAGMENTS: &'static LruHashMap<FragmentKey<Addr<Self>>, FragmentEntry>;
    /// NODE_ADDRS.
    const NODE_ADDRS: &'static HashMap<Addr<Self>, u32>;
    /// VIPS.
    const VIPS: &'static HashMap<Addr<Self>, u32>;
    /// NEXT_HOPS.
    const NEXT_HOPS: &'static PerCpuArray<NextHop<Addr<Self>>>;
    /// ANNOUNCED.
    const ANNOUNCED: &'static HashMap<AnnouncedKey<Addr<Self>>, AnnouncedEntry>;
    /// NOTES.
    const NOTES: &'static PerCpuArray<Note<Addr<Self>>>;
}

/// The maps of one family: each a static of its own, because that is what makes a map of the object.
macro_rules! family_maps {
    ($family:ty: $frontends:ident, $backends:ident, $flows:ident, $replies:ident, $half_flows:ident, $half_replies:ident,
     $fragments:ident, $node_addrs:ident, $vips:ident, $next_hops:ident, $notes:ident, $announced:ident) => {
        #[map]
        static $frontends: HashMap<FrontendKey<Addr<$family>>, FrontendEntry> =
            HashMap::with_max_entries(limits::FRONTENDS, 0);
        #[map]
        static $backends: Array<BackendEntry<Addr<$family>>> =
            Array::with_max_entries(limits::BACKENDS, BPF_F_MMAPABLE);
        #[map]
        static $flows: HashMap<FlowKey<Addr<$family>>, FlowEntry<Addr<$family>>> =
            HashMap::with_max_entries(limits::FLOWS, 0);
        #[map]
        static $replies: HashMap<FlowKey<Addr<$family>>, ReplyEntry<Addr<$family>>> =
            HashMap::with_max_entries(limits::FLOWS, 0);
        #[map]
        static $half_flows: LruHashMap<FlowKey<Addr<$family>>, FlowEntry<Addr<$family>>> =
            LruHashMap::with_max_entries(limits::HALF_OPEN_FLOWS, 0);
        #[map]
        static $half_replies: LruHashMap<FlowKey<Addr<$family>>, ReplyEntry<Addr<$family>>> =
            LruHashMap::with_max_entries(limits::HALF_OPEN_FLOWS, 0);
        #[map]
        static $fragments: LruHashMap<FragmentKey<Addr<$family>>, FragmentEntry> =
            LruHashMap::with_max_entries(limits::FRAGMENTS, 0);
        #[map]
        static $node_addrs: HashMap<Addr<$family>, u32> = HashMap::with_max_entries(limits::NODE_ADDRESSES, 0);
        #[map]
        static $vips: HashMap<Addr<$family>, u32> = HashMap::with_max_entries(limits::FRONTENDS, BPF_F_NO_PREALLOC);

        #[map]
        static $next_hops: PerCpuArray<NextHop<Addr<$family>>> = PerCpuArray::with_max_entries(limits::NEXT_HOPS, 0);
        #[map]
        static $announced: HashMap<AnnouncedKey<Addr<$family>>, AnnouncedEntry> =
            HashMap::with_max_entries(limits::ANNOUNCED, BPF_F_NO_PREALLOC);
        #[map]
        static $notes: PerCpuArray<Note<Addr<$family>>> = PerCpuArray::with_max_entries(1, 0);

        impl FamilyMaps for $family {
            const FRONTENDS: &'static HashMap<FrontendKey<Addr<Self>>, FrontendEntry> = &$frontends;
            const BACKENDS: &'static Array<BackendEntry<Addr<Self>>> = &$backends;
            const FLOWS: &'static HashMap<FlowKey<Addr<Self>>, FlowEntry<Addr<Self>>> = &$flows;
            const REPLIES: &'static HashMap<FlowKey<Addr<Self>>, ReplyEntry<Addr<Self>>> = &$replies;
            const HALF_FLOWS: &'static LruHashMap<FlowKey<Addr<Self>>, FlowEntry<Addr<Self>>> = &$half_flows;
            const HALF_REPLIES: &'static LruHashMap<FlowKey<Addr<Self>>, ReplyEntry<Addr<Self>>> = &$half_replies;
            const FRAGMENTS: &'static LruHashMap<FragmentKey<Addr<Self>>, FragmentEntry> = &$fragments;
            const NODE_ADDRS: &'static HashMap<Addr<Self>, u32> = &$node_addrs;
            const VIPS: &'static HashMap<Addr<Self>, u32> = &$vips;
            const NEXT_HOPS: &'static PerCpuArray<NextHop<Addr<Self>>> = &$next_hops;
            const ANNOUNCED: &'static HashMap<AnnouncedKey<Addr<Self>>, AnnouncedEntry> = &$announced;
            const NOTES: &'static PerCpuArray<Note<Addr<Self>>> = &$notes;
        }
    };
}

family_maps!(V4: FRONTENDS4, BACKENDS4, FLOWS4, REPLIES4, HALF_FLOWS4, HALF_REPLIES4, FRAGMENTS4, NODE_ADDRS4, VIPS4,
    NEXT_HOPS4, NOTES4, ANNOUNCED4);
family_maps!(V6: FRONTENDS6, BACKENDS6, FLOWS6, REPLIES6, HALF_FLOWS6, HALF_REPLIES6, FRAGMENTS6, NODE_ADDRS6, VIPS6,
    NEXT_HOPS6, NOTES6, ANNOUNCED6);
