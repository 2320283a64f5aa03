//! The pipeline's lookups over the maps, the kernel's routing table and its clock.

use core::ffi::c_void;
use core::mem::MaybeUninit;

use aya_ebpf::bindings::{
    __sk_buff, BPF_ANY, BPF_FIB_LKUP_RET_BLACKHOLE, BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_FWD_DISABLED,
    BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS, BPF_NOEXIST, bpf_fib_lookup as FibParams,
};
use aya_ebpf::helpers::generated::{bpf_fib_lookup, bpf_map_lookup_elem, bpf_sk_release};
use aya_ebpf::maps::PerCpuArray;
use lb_common::abi::{
    AnnouncedEntry, AnnouncedKey, BackendEntry, Counters, DeviceEntry, FlowEntry, FlowKey, FragmentEntry, FragmentKey,
    FrontendEntry, FrontendKey, NextHop, Note, RecentFrontend, Refusals, ReplyEntry, ServiceEntry, Stat, device_flag,
    frontend_flag, setting, tc_slot, xdp_slot,
};
use lb_common::addr::{Addr4, Addr6, Address, V4, V6};
use lb_common::drop_reason::DropReason;
use lb_common::ethernet::{Addresses, Mac};
use lb_common::hash::{rehash, scale};
use lb_common::limits::LISTENERS_PER_KIND;
use lb_common::lookup::{Lookup, Route, Table};
use lb_common::packet::Packet;

use crate::maps::{
    BACKEND_STATS, DEVICES, DROP_STATS, EVENT_STATS, LISTENERS, REFUSALS, RINGS, SEEN_SYNS, SERVICE_STATS, SERVICES,
    SETTINGS, SYN_BUDGETS,
};
use crate::policy::PolicyMaps;
use crate::recent::{self, RecentMaps};
use crate::sample;

/// `pkt_type` of a packet for this very station (include/uapi/linux/if_packet.h).
const PACKET_HOST: u32 = 0;
/// How many listeners are tried for one connection before it is given up.
pub(crate) const LISTENER_TRIES: u32 = 4;

/// The maps, seen from a program that runs on the device `ingress`. `RESOLVES` on tc.
pub(crate) struct Kernel<const RESOLVES: bool> {
    /// The program's context, which the routing helper wants.
    pub(crate) ctx: *mut c_void,
    /// Index of the device that the packet came in by.
    pub(crate) ingress: u32,
}

/// What a family gives the kernel's routing helper and takes from a device.
pub(crate) trait Routed: PolicyMaps + RecentMaps {
    /// The family in socket calls.
    const SOCKET_FAMILY: u8;
    /// Where the program for the family's ICMP stands in XDP_PROGRAMS.
    const XDP_ICMP: u32;
    /// The same in TC_PROGRAMS.
    const TC_ICMP: u32;
    /// The family's place among the listeners: 0 or 1.
    const LISTENERS: u32;

    /// Writes the addresses of the packet into a request.
    fn ask(params: &mut FibParams, source: Self::Addr, destination: Self::Addr);

    /// The device's own address.
    fn address_of(device: &DeviceEntry) -> Self::Addr;
}

impl Routed for V4 {
    const SOCKET_FAMILY: u8 = 2;
    const XDP_ICMP: u32 = xdp_slot::ICMP;
    const TC_ICMP: u32 = tc_slot::ICMP;
    const LISTENERS: u32 = 0;

    #[inline(always)]
    fn ask(params: &mut FibParams, source: Addr4, destination: Addr4) {
        params.__bindgen_anon_3.ipv4_src = source.raw();
        params.__bindgen_anon_4.ipv4_dst = destination.raw();
    }

    #[inline(always)]
    fn address_of(device: &DeviceEntry) -> Addr4 {
        device.address4
    }
}

impl Routed for V6 {
    const SOCKET_FAMILY: u8 = 10;
    const XDP_ICMP: u32 = xdp_slot::ICMP6;
    const TC_ICMP: u32 = tc_slot::ICMP6;
    const LISTENERS: u32 = 1;

    #[inline(always)]
    fn ask(params: &mut FibParams, source: Addr6, destination: Addr6) {
        params.__bindgen_anon_3.ipv6_src = source.words();
        params.__bindgen_anon_4.ipv6_dst = destination.words();
    }

    #[inline(always)]
    fn address_of(device: &DeviceEntry) -> Addr6 {
        device.address6
    }
}

/// The slots of the front's listeners to try for a connection, in order: the first by hash, then its neighbours.
#[inline(always)]
pub(crate) fn listener_slot<F: Routed>(flags: u32, hash: u32, attempt: u32) -> Option<u32> {
    let counts = (SETTINGS.get(setting::LISTENER_COUNTS).copied()? >> (32 * F::LISTENERS)) as u32;
    let of_family = 2 * F::LISTENERS * LISTENERS_PER_KIND;
    let (first, count) = if flags & frontend_flag::FRONT_HTTP != 0 {
        (of_family, counts & 0xffff)
    } else {
        (of_family + LISTENERS_PER_KIND, counts >> 16)
    };
    if attempt >= count {
        return None;
    }
    let slot = scale(rehash(hash), count) + attempt;
    Some(first + if slot >= count { slot - count } else { slot })
}

impl<F: Routed, const RESOLVES: bool> Lookup<F> for Kernel<RESOLVES> {
    type Ref<'a, T: 'a> = &'a mut T;

    #[inline(always)]
    fn resolves(&self) -> bool {
        RESOLVES
    }

    #[inline(always)]
    fn clock(&self) -> u64 {
        recent::clock()
    }

    #[inline(always)]
    fn ingress(&self) -> u32 {
        self.ingress
    }

    #[inline(always)]
    fn setting(&self, index: u32) -> u64 {
        word_of_settings(index)
    }

    #[inline(always)]
    fn is_denied(&self, source: F::Addr) -> bool {
        F::is_denied(source)
    }

    #[inline(always)]
    fn frontend(&self, key: &FrontendKey<F::Addr>) -> Option<FrontendEntry> {
        // SAFETY: plain words; the agent replaces elements whole.
        unsafe { F::FRONTENDS.get(key) }.copied()
    }

    #[inline(always)]
    fn is_node_address(&self, address: F::Addr) -> bool {
        F::NODE_ADDRS.get_ptr(address).is_some()
    }

    #[inline(always)]
    fn is_vip(&self, address: F::Addr) -> bool {
        F::VIPS.get_ptr(address).is_some()
    }

    #[inline(always)]
    fn is_for_us<P: Packet>(&self, packet: &P) -> bool {
        if RESOLVES {
            // SAFETY: on tc the context is a `__sk_buff`, valid while the program runs. The kernel has looked (`eth_type_trans`).
            return unsafe { (*self.ctx.cast::<__sk_buff>()).pkt_type } == PACKET_HOST;
        }
        let Some(frame) = Addresses::of(packet) else { return false };
        let mac = recent::mac_of(self.ingress);
        mac == frame.destination() || mac == [0; 3]
    }

    #[inline(always)]
    fn front_listens(&self, flags: u32, hash: u32) -> bool {
        let map = (&raw const LISTENERS).cast_mut().cast::<c_void>();
        let mut attempt = 0;
        while attempt < LISTENER_TRIES {
            let Some(slot) = listener_slot::<F>(flags, hash, attempt) else { return false };
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
    fn backend(&self, id: u32) -> Option<BackendEntry<F::Addr>> {
        F::BACKENDS.get(id).copied()
    }

    #[inline(always)]
    fn flow(&self, table: Table, key: &FlowKey<F::Addr>) -> Option<&mut FlowEntry<F::Addr>> {
        let place = match table {
            Table::Proven => F::FLOWS.get_ptr_mut(key),
            Table::HalfOpen => F::HALF_FLOWS.get_ptr_mut(key),
        };
        // SAFETY: the kernel keeps the element's memory for the run of the program. Other CPUs may write the same words;
        // each is stored whole, and any mix of old and new ones is a valid entry.
        place.map(|place| unsafe { &mut *place })
    }

    #[inline(always)]
    fn reply(&self, table: Table, key: &FlowKey<F::Addr>) -> Option<&mut ReplyEntry<F::Addr>> {
        let place = match table {
            Table::Proven => F::REPLIES.get_ptr_mut(key),
            Table::HalfOpen => F::HALF_REPLIES.get_ptr_mut(key),
        };
        // SAFETY: as in `flow`.
        place.map(|place| unsafe { &mut *place })
    }

    #[inline(always)]
    fn put_flow(&self, table: Table, key: &FlowKey<F::Addr>, entry: &FlowEntry<F::Addr>) -> bool {
        match table {
            Table::Proven => F::FLOWS.insert(key, entry, u64::from(BPF_ANY)).is_ok(),
            Table::HalfOpen => F::HALF_FLOWS.insert(key, entry, u64::from(BPF_ANY)).is_ok(),
        }
    }

    #[inline(always)]
    fn add_reply(&self, table: Table, key: &FlowKey<F::Addr>, entry: &ReplyEntry<F::Addr>) -> bool {
        match table {
            Table::Proven => F::REPLIES.insert(key, entry, u64::from(BPF_NOEXIST)).is_ok(),
            Table::HalfOpen => F::HALF_REPLIES.insert(key, entry, u64::from(BPF_NOEXIST)).is_ok(),
        }
    }

    #[inline(always)]
    fn remove_flow(&self, table: Table, key: &FlowKey<F::Addr>) {
        // not there is as good as removed
        let _ = match table {
            Table::Proven => F::FLOWS.remove(key),
            Table::HalfOpen => F::HALF_FLOWS.remove(key),
        };
    }

    #[inline(always)]
    fn remove_reply(&self, table: Table, key: &FlowKey<F::Addr>) {
        // not there is as good as removed
        let _ = match table {
            Table::Proven => F::REPLIES.remove(key),
            Table::HalfOpen => F::HALF_REPLIES.remove(key),
        };
    }

    #[inline(always)]
    fn fragment(&self, key: &FragmentKey<F::Addr>) -> Option<FragmentEntry> {
        // SAFETY: plain words; elements are replaced whole.
        unsafe { F::FRAGMENTS.get(key) }.copied()
    }

    #[inline(always)]
    fn put_fragment(&self, key: &FragmentKey<F::Addr>, entry: &FragmentEntry) {
        // without it later fragments are lost, as if this one were
        let _ = F::FRAGMENTS.insert(key, entry, u64::from(BPF_ANY));
    }

    #[inline(always)]
    fn refusals(&self) -> Option<&mut Refusals> {
        // SAFETY: as in `hop`.
        REFUSALS.get_ptr_mut(0).map(|place| unsafe { &mut *place })
    }

    #[inline(always)]
    fn hop(&self, slot: u32) -> Option<&mut NextHop<F::Addr>> {
        // SAFETY: the element is this CPU's own, and no other program runs on it meanwhile.
        F::NEXT_HOPS.get_ptr_mut(slot).map(|place| unsafe { &mut *place })
    }

    #[inline(always)]
    fn stamp(&self) -> u64 {
        recent::stamp()
    }

    #[inline(always)]
    fn recent_frontend(&self, slot: u32) -> Option<&mut RecentFrontend<F::Addr>> {
        if RESOLVES {
            return None; // few packets come to tc, and some of those were looked at under XDP
        }
        // SAFETY: as in `hop`.
        F::RECENT_FRONTENDS.get_ptr_mut(slot).map(|place| unsafe { &mut *place })
    }

    #[inline(always)]
    fn route(&self, source: F::Addr, destination: F::Addr, protocol: u8, length: usize) -> Route {
        // SAFETY: all zeroes is a valid request; the helper fills it in.
        let mut params = unsafe { MaybeUninit::<FibParams>::zeroed().assume_init() };
        params.family = F::SOCKET_FAMILY;
        params.l4_protocol = protocol;
        let bond = self.bond();
        params.ifindex = if bond == 0 { self.ingress } else { bond };
        // With length 0 the kernel judges none, but says how much goes; since 5.12, and where the neighbour is known: else
        // the companion asks again.
        params.__bindgen_anon_1.tot_len = if RESOLVES { self.judged_length(length) } else { 0 };
        F::ask(&mut params, source, destination);
        // SAFETY: context and request are valid, the size is that of the request.
        let result = unsafe { bpf_fib_lookup(self.ctx, &raw mut params, size_of::<FibParams>() as i32, 0) };
        // SAFETY: both variants of the union are whole numbers of the same size.
        let mtu = u32::from(unsafe { params.__bindgen_anon_1.mtu_result });
        // back out of the bond: what XDP sends out of a port, the kernel sends out of whichever port the bond chooses (5.15)
        let device = if params.ifindex == bond { self.ingress } else { params.ifindex };
        match result as u32 {
            BPF_FIB_LKUP_RET_SUCCESS if RESOLVES || mtu == 0 || !self.can_transmit(device) => Route::Kernel { device },
            BPF_FIB_LKUP_RET_SUCCESS => {
                Route::Direct { device, addresses: Addresses::new(mac(params.dmac), mac(params.smac)), mtu }
            }
            BPF_FIB_LKUP_RET_NO_NEIGH => Route::Kernel { device },
            BPF_FIB_LKUP_RET_FWD_DISABLED => Route::None(DropReason::ForwardingOff),
            BPF_FIB_LKUP_RET_FRAG_NEEDED => Route::TooBig { mtu: told_mtu(&params, length) },
            BPF_FIB_LKUP_RET_BLACKHOLE.. => Route::None(DropReason::NoRoute),
        }
    }

    #[inline(always)]
    fn uplink_address(&self, device: u32) -> Option<F::Addr> {
        // SAFETY: plain words; the agent replaces elements whole.
        let entry = unsafe { DEVICES.get(device) }?;
        let address = F::address_of(entry);
        (entry.flags & (device_flag::UPLINK | device_flag::TUNNEL) != 0 && address != F::Addr::ANY).then_some(address)
    }

    #[inline(always)]
    fn carries_vlans(&self, device: u32) -> bool {
        // SAFETY: plain words; the agent replaces elements whole.
        unsafe { DEVICES.get(device) }.is_some_and(|entry| entry.flags & device_flag::VLANS != 0)
    }

    #[inline(always)]
    fn is_tunnel(&self, device: u32) -> bool {
        // SAFETY: plain words; the agent replaces elements whole.
        unsafe { DEVICES.get(device) }.is_some_and(|entry| entry.flags & device_flag::TUNNEL != 0)
    }

    #[inline(always)]
    fn share(&self) {
        if RESOLVES {
            sample::share(self.ctx.cast(), self.ingress);
        }
    }

    #[inline(always)]
    fn announced(&self, address: F::Addr) -> Option<&mut AnnouncedEntry> {
        let key = AnnouncedKey { address, device: self.ingress, fill: Default::default() };
        // SAFETY: as in `flow`.
        F::ANNOUNCED.get_ptr_mut(key).map(|place| unsafe { &mut *place })
    }

    #[inline(always)]
    fn is_tagged(&self) -> bool {
        // SAFETY: on tc the context is a `__sk_buff`, valid while the program runs.
        RESOLVES && unsafe { (*self.ctx.cast::<__sk_buff>()).vlan_present } != 0
    }

    #[inline(always)]
    fn note(&self) -> Option<&mut Note<F::Addr>> {
        // SAFETY: the element is this CPU's own, and nothing else runs on it before the program ends.
        F::NOTES.get_ptr_mut(0).map(|note| unsafe { &mut *note })
    }

    #[inline(always)]
    fn count_packet(&self, service: u32, backend: u32, bytes: usize) {
        sample::counted(service, backend);
        add(&SERVICE_STATS, service, 1, bytes as u64, 0);
        if backend != 0 {
            add(&BACKEND_STATS, backend, 1, bytes as u64, 0);
        }
    }

    #[inline(always)]
    fn count_flow(&self, service: u32, backend: u32) {
        add(&SERVICE_STATS, service, 0, 0, 1);
        if backend != 0 {
            add(&BACKEND_STATS, backend, 0, 0, 1);
        }
    }

    #[inline(always)]
    fn budget(&self, index: u32) -> Option<&mut u64> {
        // SAFETY: the element is there; a word that several CPUs write is one of theirs.
        SYN_BUDGETS.get_ptr_mut(index).map(|place| unsafe { &mut *place })
    }

    #[inline(always)]
    fn seen_syn(&self, index: u32) -> Option<&mut u64> {
        // SAFETY: as in `budget`.
        SEEN_SYNS.get_ptr_mut(index).map(|place| unsafe { &mut *place })
    }

    #[inline(always)]
    fn count_exhausted(&self, service: u32, backend: u32) {
        for (map, id) in [(&SERVICE_STATS, service), (&BACKEND_STATS, backend)] {
            if let Some(counters) = map.get_ptr_mut(id) {
                // SAFETY: the element is this CPU's own.
                unsafe { (*counters).snat_exhausted += 1 };
            }
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
    /// The length of a packet on tc for the kernel to judge: none of a super-packet, which is cut on its way.
    #[inline(always)]
    fn judged_length(&self, length: usize) -> u16 {
        // SAFETY: on tc, where alone this is called, the context is a `__sk_buff`, valid while the program runs.
        let segments = unsafe { (*self.ctx.cast::<__sk_buff>()).gso_size };
        if segments == 0 { length as u16 } else { 0 }
    }

    /// Index of the bond on a port of which the packet came in by XDP; 0 if on none. To routing, addresses and forwarding
    /// it is the bond that matters.
    #[inline(always)]
    fn bond(&self) -> u32 {
        // SAFETY: plain words; the agent replaces elements whole.
        unsafe { DEVICES.get(self.ingress) }.map_or(0, |entry| entry.bond)
    }

    /// XDP may send out of the device.
    #[inline(always)]
    fn can_transmit(&self, device: u32) -> bool {
        // SAFETY: plain words; the agent replaces elements whole.
        device == self.ingress
            || unsafe { DEVICES.get(device) }.is_some_and(|entry| entry.flags & device_flag::XDP_TRANSMIT != 0)
    }
}

/// A word of the settings; 0 if it is not set.
#[inline(always)]
pub(crate) fn word_of_settings(index: u32) -> u64 {
    SETTINGS.get(index).copied().unwrap_or(0)
}

/// The largest packet that goes, as a lookup that found this one too long says; kernels before 5.12 leave the length there.
#[inline(always)]
fn told_mtu(params: &FibParams, length: usize) -> u32 {
    // SAFETY: both variants of the union are whole numbers of the same size.
    let told = u32::from(unsafe { params.__bindgen_anon_1.mtu_result });
    if told as usize >= length { 0 } else { told }
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
