//! The pipeline's lookups over the maps, the kernel's routing table and its clock.

use core::ffi::c_void;
use core::mem::MaybeUninit;

use aya_ebpf::bindings::{
    BPF_ANY, BPF_FIB_LKUP_RET_BLACKHOLE, BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_FWD_DISABLED,
    BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS, BPF_NOEXIST, bpf_fib_lookup as FibParams,
};
use aya_ebpf::helpers::generated::{bpf_fib_lookup, bpf_ktime_get_coarse_ns, bpf_map_lookup_elem, bpf_sk_release};
use aya_ebpf::maps::PerCpuArray;
use lb_common::abi::{
    BackendEntry4, Counters, FlowEntry4, FlowKey4, FragmentEntry, FragmentKey4, FrontendEntry, FrontendKey4,
    ReplyEntry4, ServiceEntry, Stat, device_flag, frontend_flag, setting,
};
use lb_common::addr::{Addr4, V4};
use lb_common::be::Be32;
use lb_common::conntrack::ticks;
use lb_common::drop_reason::DropReason;
use lb_common::ethernet::Mac;
use lb_common::hash::{rehash, scale};
use lb_common::limits::LISTENERS_PER_KIND;
use lb_common::lookup::{Lookup, Route, Table};

use crate::maps::{
    BACKEND_STATS4, BACKENDS4, DEVICES, DROP_STATS, EVENT_STATS, FLOWS4, FRAGMENTS4, FRONTENDS4, HALF_FLOWS4,
    HALF_REPLIES4, LISTENERS, NODE_ADDRS4, REPLIES4, RINGS, SERVICE_STATS, SERVICES, SETTINGS, VIPS4,
};

/// Family of IPv4 in socket calls.
const AF_INET: u8 = 2;
/// How many listeners are tried for one connection before it is given up.
pub(crate) const LISTENER_TRIES: u32 = 4;

/// The maps, seen from a program that runs on the device `ingress`. `RESOLVES` on tc.
pub(crate) struct Kernel<const RESOLVES: bool> {
    /// The program's context, which the routing helper wants.
    pub(crate) ctx: *mut c_void,
    /// Index of the device that the packet came in by.
    pub(crate) ingress: u32,
}

/// The slots of the front's listeners to try for a connection, in order: the first by hash, then its neighbours.
#[inline(always)]
pub(crate) fn listener_slot(flags: u32, hash: u32, attempt: u32) -> Option<u32> {
    let counts = SETTINGS.get(setting::LISTENER_COUNTS).copied()?;
    let (first, count) = if flags & frontend_flag::FRONT_HTTP != 0 {
        (0, counts as u32 & 0xffff)
    } else {
        (LISTENERS_PER_KIND, (counts >> 16) as u32 & 0xffff)
    };
    if attempt >= count {
        return None;
    }
    let slot = scale(rehash(hash), count) + attempt;
    Some(first + if slot >= count { slot - count } else { slot })
}

impl<const RESOLVES: bool> Lookup<V4> for Kernel<RESOLVES> {
    type Ref<'a, T: 'a> = &'a mut T;

    #[inline(always)]
    fn resolves(&self) -> bool {
        RESOLVES
    }

    #[inline(always)]
    fn now(&self) -> u32 {
        // SAFETY: the helper takes nothing and only reads the clock (since 5.11).
        ticks(unsafe { bpf_ktime_get_coarse_ns() })
    }

    #[inline(always)]
    fn setting(&self, index: u32) -> u64 {
        SETTINGS.get(index).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn frontend(&self, key: &FrontendKey4) -> Option<FrontendEntry> {
        // SAFETY: plain words; the agent replaces elements whole.
        unsafe { FRONTENDS4.get(key) }.copied()
    }

    #[inline(always)]
    fn is_node_address(&self, address: Addr4) -> bool {
        NODE_ADDRS4.get_ptr(address).is_some()
    }

    #[inline(always)]
    fn is_vip(&self, address: Addr4) -> bool {
        VIPS4.get_ptr(address).is_some()
    }

    #[inline(always)]
    fn is_for_us(&self, mac: Mac) -> bool {
        // SAFETY: plain words; the agent replaces elements whole.
        unsafe { DEVICES.get(self.ingress) }.is_none_or(|device| device.mac == mac || device.mac == [0; 3])
    }

    #[inline(always)]
    fn front_listens(&self, flags: u32, hash: u32) -> bool {
        let map = (&raw const LISTENERS).cast_mut().cast::<c_void>();
        let mut attempt = 0;
        while attempt < LISTENER_TRIES {
            let Some(slot) = listener_slot(flags, hash, attempt) else { return false };
            // SAFETY: the map is a SOCKMAP with `u32` keys; a socket that is found is released at once.
            unsafe {
                let socket = bpf_map_lookup_elem(map, (&raw const slot).cast());
                if !socket.is_null() {
                    bpf_sk_release(socket);
                    return true;
                }
            }
            attempt += 1;
        }
        false
    }

    #[inline(always)]
    fn service(&self, id: u32) -> Option<ServiceEntry> {
        SERVICES.get(id).copied()
    }

    #[inline(always)]
    fn ring_slot(&self, line: u32, slot: u32) -> u32 {
        match RINGS.get(line) {
            // the mask tells the verifier the bound, which the caller keeps
            Some(line) => line.slots[(slot & 15) as usize],
            None => 0,
        }
    }

    #[inline(always)]
    fn backend(&self, id: u32) -> Option<BackendEntry4> {
        BACKENDS4.get(id).copied()
    }

    #[inline(always)]
    fn flow(&self, table: Table, key: &FlowKey4) -> Option<&mut FlowEntry4> {
        let place = match table {
            Table::Proven => FLOWS4.get_ptr_mut(key),
            Table::HalfOpen => HALF_FLOWS4.get_ptr_mut(key),
        };
        // SAFETY: the kernel keeps the element's memory for the run of the program. Other CPUs may write the same words;
        // each is stored whole, and any mix of old and new ones is a valid entry.
        place.map(|place| unsafe { &mut *place })
    }

    #[inline(always)]
    fn reply(&self, table: Table, key: &FlowKey4) -> Option<&mut ReplyEntry4> {
        let place = match table {
            Table::Proven => REPLIES4.get_ptr_mut(key),
            Table::HalfOpen => HALF_REPLIES4.get_ptr_mut(key),
        };
        // SAFETY: as in `flow`.
        place.map(|place| unsafe { &mut *place })
    }

    #[inline(always)]
    fn put_flow(&self, table: Table, key: &FlowKey4, entry: &FlowEntry4) -> bool {
        match table {
            Table::Proven => FLOWS4.insert(key, entry, u64::from(BPF_ANY)).is_ok(),
            Table::HalfOpen => HALF_FLOWS4.insert(key, entry, u64::from(BPF_ANY)).is_ok(),
        }
    }

    #[inline(always)]
    fn add_reply(&self, table: Table, key: &FlowKey4, entry: &ReplyEntry4) -> bool {
        match table {
            Table::Proven => REPLIES4.insert(key, entry, u64::from(BPF_NOEXIST)).is_ok(),
            Table::HalfOpen => HALF_REPLIES4.insert(key, entry, u64::from(BPF_NOEXIST)).is_ok(),
        }
    }

    #[inline(always)]
    fn remove_flow(&self, table: Table, key: &FlowKey4) {
        // not there is as good as removed
        let _ = match table {
            Table::Proven => FLOWS4.remove(key),
            Table::HalfOpen => HALF_FLOWS4.remove(key),
        };
    }

    #[inline(always)]
    fn remove_reply(&self, table: Table, key: &FlowKey4) {
        // not there is as good as removed
        let _ = match table {
            Table::Proven => REPLIES4.remove(key),
            Table::HalfOpen => HALF_REPLIES4.remove(key),
        };
    }

    #[inline(always)]
    fn fragment(&self, key: &FragmentKey4) -> Option<FragmentEntry> {
        // SAFETY: plain words; elements are replaced whole.
        unsafe { FRAGMENTS4.get(key) }.copied()
    }

    #[inline(always)]
    fn put_fragment(&self, key: &FragmentKey4, entry: &FragmentEntry) {
        // without it later fragments are lost, as if this one were
        let _ = FRAGMENTS4.insert(key, entry, u64::from(BPF_ANY));
    }

    #[inline(always)]
    fn route(&self, source: Addr4, destination: Addr4, protocol: u8, length: usize) -> Route {
        // SAFETY: all zeroes is a valid request; the helper fills it in.
        let mut params = unsafe { MaybeUninit::<FibParams>::zeroed().assume_init() };
        params.family = AF_INET;
        params.l4_protocol = protocol;
        params.ifindex = self.ingress;
        // On tc the packet may be a super-packet: with length 0 the kernel looks at its segments itself.
        params.__bindgen_anon_1.tot_len = if RESOLVES { 0 } else { length as u16 };
        params.__bindgen_anon_3.ipv4_src = source.raw();
        params.__bindgen_anon_4.ipv4_dst = destination.raw();
        // SAFETY: context and request are valid, the size is that of the request.
        let result = unsafe { bpf_fib_lookup(self.ctx, &raw mut params, size_of::<FibParams>() as i32, 0) };
        let device = params.ifindex;
        match result as u32 {
            BPF_FIB_LKUP_RET_SUCCESS if RESOLVES || !self.can_transmit(device) => Route::Kernel { device },
            BPF_FIB_LKUP_RET_SUCCESS => {
                Route::Direct { device, destination: mac(params.dmac), source: mac(params.smac) }
            }
            BPF_FIB_LKUP_RET_NO_NEIGH => Route::Kernel { device },
            BPF_FIB_LKUP_RET_FWD_DISABLED => Route::None(DropReason::ForwardingOff),
            BPF_FIB_LKUP_RET_FRAG_NEEDED => Route::None(DropReason::TooBig),
            BPF_FIB_LKUP_RET_BLACKHOLE.. => Route::None(DropReason::NoRoute),
        }
    }

    #[inline(always)]
    fn uplink_address(&self, device: u32) -> Option<Addr4> {
        // SAFETY: plain words; the agent replaces elements whole.
        let entry = unsafe { DEVICES.get(device) }?;
        (entry.flags & device_flag::UPLINK != 0 && entry.address4 != Be32::new(0)).then_some(entry.address4)
    }

    #[inline(always)]
    fn count_packet(&self, service: u32, backend: u32, bytes: usize) {
        add(&SERVICE_STATS, service, 1, bytes as u64, 0);
        if backend != 0 {
            add(&BACKEND_STATS4, backend, 1, bytes as u64, 0);
        }
    }

    #[inline(always)]
    fn count_flow(&self, service: u32, backend: u32) {
        add(&SERVICE_STATS, service, 0, 0, 1);
        if backend != 0 {
            add(&BACKEND_STATS4, backend, 0, 0, 1);
        }
    }

    #[inline(always)]
    fn count(&self, stat: Stat) {
        if let Some(counter) = EVENT_STATS.get_ptr_mut(stat as u32) {
            // SAFETY: the element is this CPU's own.
            unsafe { *counter += 1 };
        }
    }

    #[inline(always)]
    fn count_drop(&self, reason: DropReason, bytes: usize) {
        if let Some(counters) = DROP_STATS.get_ptr_mut(reason as u32) {
            // SAFETY: the element is this CPU's own.
            unsafe {
                (*counters).packets += 1;
                (*counters).bytes += bytes as u64;
            }
        }
    }
}

impl<const RESOLVES: bool> Kernel<RESOLVES> {
    /// XDP may send out of the device.
    #[inline(always)]
    fn can_transmit(&self, device: u32) -> bool {
        // SAFETY: plain words; the agent replaces elements whole.
        device == self.ingress
            || unsafe { DEVICES.get(device) }.is_some_and(|entry| entry.flags & device_flag::XDP_TRANSMIT != 0)
    }
}

/// Adds to this CPU's counters of a service or backend.
#[inline(always)]
fn add(map: &PerCpuArray<Counters>, id: u32, packets: u64, bytes: u64, new_flows: u64) {
    if let Some(place) = map.get_ptr_mut(id) {
        // SAFETY: the element is this CPU's own.
        unsafe {
            (*place).packets += packets;
            (*place).bytes += bytes;
            (*place).new_flows += new_flows;
        }
    }
}

#[inline(always)]
fn mac(bytes: [u8; 6]) -> Mac {
    let [a, b, c, d, e, f] = bytes;
    [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]), u16::from_ne_bytes([e, f])]
}
