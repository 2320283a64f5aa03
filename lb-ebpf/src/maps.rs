//! Every map in one place. Names, types and meaning: `lb_common::abi`; the sizes here are defaults that the loader may
//! replace.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, SockMap};
use lb_common::abi::{
    BackendEntry4, Counters, DeviceEntry, DropCounters, FlowEntry4, FlowKey4, FragmentEntry, FragmentKey4,
    FrontendEntry, FrontendKey4, ReplyEntry4, RingLine, STATS, ServiceEntry, setting,
};
use lb_common::addr::Addr4;
use lb_common::drop_reason::DROP_REASONS;
use lb_common::limits;

#[map]
pub(crate) static FRONTENDS4: HashMap<FrontendKey4, FrontendEntry> = HashMap::with_max_entries(limits::FRONTENDS, 0);
#[map]
pub(crate) static SERVICES: Array<ServiceEntry> = Array::with_max_entries(limits::SERVICES, BPF_F_MMAPABLE);
#[map]
pub(crate) static RINGS: Array<RingLine> = Array::with_max_entries(limits::RING_LINES, BPF_F_MMAPABLE);
#[map]
pub(crate) static BACKENDS4: Array<BackendEntry4> = Array::with_max_entries(limits::BACKENDS, BPF_F_MMAPABLE);
#[map]
pub(crate) static FLOWS4: HashMap<FlowKey4, FlowEntry4> = HashMap::with_max_entries(limits::FLOWS, 0);
#[map]
pub(crate) static REPLIES4: HashMap<FlowKey4, ReplyEntry4> = HashMap::with_max_entries(limits::FLOWS, 0);
#[map]
pub(crate) static HALF_FLOWS4: LruHashMap<FlowKey4, FlowEntry4> =
    LruHashMap::with_max_entries(limits::HALF_OPEN_FLOWS, 0);
#[map]
pub(crate) static HALF_REPLIES4: LruHashMap<FlowKey4, ReplyEntry4> =
    LruHashMap::with_max_entries(limits::HALF_OPEN_FLOWS, 0);
#[map]
pub(crate) static FRAGMENTS4: LruHashMap<FragmentKey4, FragmentEntry> =
    LruHashMap::with_max_entries(limits::FRAGMENTS, 0);
#[map]
pub(crate) static NODE_ADDRS4: HashMap<Addr4, u32> = HashMap::with_max_entries(limits::NODE_ADDRESSES, 0);
#[map]
pub(crate) static VIPS4: HashMap<Addr4, u32> = HashMap::with_max_entries(limits::FRONTENDS, BPF_F_NO_PREALLOC);
#[map]
pub(crate) static DEVICES: HashMap<u32, DeviceEntry> = HashMap::with_max_entries(limits::DEVICES, 0);
#[map]
pub(crate) static SETTINGS: Array<u64> = Array::with_max_entries(setting::COUNT, 0);
#[map]
pub(crate) static SERVICE_STATS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(limits::SERVICES, 0);
#[map]
pub(crate) static BACKEND_STATS4: PerCpuArray<Counters> = PerCpuArray::with_max_entries(limits::BACKENDS, 0);
#[map]
pub(crate) static DROP_STATS: PerCpuArray<DropCounters> = PerCpuArray::with_max_entries(DROP_REASONS, 0);
#[map]
pub(crate) static EVENT_STATS: PerCpuArray<u64> = PerCpuArray::with_max_entries(STATS, 0);
#[map]
pub(crate) static LISTENERS: SockMap = SockMap::with_max_entries(limits::LISTENERS, 0);
