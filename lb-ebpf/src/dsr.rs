//! DSR: its programs, its maps, and its lookups over them.

use aya_ebpf::bindings::{BPF_ANY, BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action};
use aya_ebpf::macros::{classifier, map, xdp};
use aya_ebpf::maps::{Array, HashMap, LruHashMap};
use aya_ebpf::programs::{TcContext, XdpContext};
use lb_common::abi::{FlowKey, FormerRing, TrackedEntry, hook, tc_slot, xdp_slot};
use lb_common::addr::{Family, V4, V6};
use lb_common::dsr::{self, Nodes, Tunnel};
use lb_common::ethernet::Ethernet;
use lb_common::limits;
use lb_common::pipeline;
use lb_common::verdict::Verdict;

use crate::maps::{TC_PROGRAMS, XDP_PROGRAMS};
use crate::skb_packet::SkbPacket;
use crate::tables::{Kernel, Routed};
use crate::xdp_packet::XdpPacket;
use crate::{act_at_tc, act_at_xdp, handover, kernel_at_tc, kernel_at_xdp, lost_at_tc, lost_at_xdp, sample};

/// Forwards by DSR a packet of no flow that this node knows.
#[xdp(frags)]
pub fn weir_xdp_dsr(ctx: XdpContext) -> u32 {
    forward_at_xdp::<V4>(&ctx)
}

/// IPv6 of [`weir_xdp_dsr`].
#[xdp(frags)]
pub fn weir_xdp_dsr6(ctx: XdpContext) -> u32 {
    forward_at_xdp::<V6>(&ctx)
}

/// Begins a flow with the backend that [`weir_xdp_dsr`] or [`crate::policy::weir_xdp_choose`] has chosen.
#[xdp(frags)]
pub fn weir_xdp_begin(ctx: XdpContext) -> u32 {
    begin_at_xdp::<V4>(&ctx)
}

/// IPv6 of [`weir_xdp_begin`]. Inlined as `weir_xdp6` is.
#[xdp(frags)]
#[inline(always)]
pub fn weir_xdp_begin6(ctx: XdpContext) -> u32 {
    begin_at_xdp::<V6>(&ctx)
}

/// Sends the packet that a flow has begun with.
#[xdp(frags)]
pub fn weir_xdp_first(ctx: XdpContext) -> u32 {
    first_at_xdp::<V4>(&ctx)
}

/// IPv6 of [`weir_xdp_first`]. Inlined as `weir_xdp6` is.
#[xdp(frags)]
#[inline(always)]
pub fn weir_xdp_first6(ctx: XdpContext) -> u32 {
    first_at_xdp::<V6>(&ctx)
}

/// [`weir_xdp_first`] on tc.
#[classifier]
pub fn weir_tc_first(ctx: TcContext) -> i32 {
    first_at_tc::<V4>(&ctx)
}

/// IPv6 of [`weir_tc_first`].
#[classifier]
#[inline(always)]
pub fn weir_tc_first6(ctx: TcContext) -> i32 {
    first_at_tc::<V6>(&ctx)
}

/// Takes the outer header off a packet from another node.
#[xdp(frags)]
pub fn weir_xdp_open(ctx: XdpContext) -> u32 {
    open_at_xdp::<V4>(&ctx)
}

/// IPv6 of [`weir_xdp_open`].
#[xdp(frags)]
pub fn weir_xdp_open6(ctx: XdpContext) -> u32 {
    open_at_xdp::<V6>(&ctx)
}

/// [`weir_xdp_dsr`] on tc.
#[classifier]
pub fn weir_tc_dsr(ctx: TcContext) -> i32 {
    forward_at_tc::<V4>(&ctx)
}

/// IPv6 of [`weir_tc_dsr`].
#[classifier]
pub fn weir_tc_dsr6(ctx: TcContext) -> i32 {
    forward_at_tc::<V6>(&ctx)
}

/// [`weir_xdp_begin`] on tc.
#[classifier]
pub fn weir_tc_begin(ctx: TcContext) -> i32 {
    begin_at_tc::<V4>(&ctx)
}

/// IPv6 of [`weir_tc_begin`]. Inlined as `weir_xdp6` is.
#[classifier]
#[inline(always)]
pub fn weir_tc_begin6(ctx: TcContext) -> i32 {
    begin_at_tc::<V6>(&ctx)
}

/// [`weir_xdp_open`] on tc.
#[classifier]
pub fn weir_tc_open(ctx: TcContext) -> i32 {
    open_at_tc::<V4>(&ctx)
}

/// IPv6 of [`weir_tc_open`].
#[classifier]
pub fn weir_tc_open6(ctx: TcContext) -> i32 {
    open_at_tc::<V6>(&ctx)
}

#[inline(always)]
fn forward_at_xdp<F: DsrMaps + Called>(ctx: &XdpContext) -> u32 {
    let kernel = Kernel::<false> { ctx: ctx.ctx.cast(), ingress: ctx.ingress_ifindex() as u32 };
    let frame = Ethernet::parse(&XdpPacket(ctx));
    let verdict = dsr::forward::<F, _, _>(&mut XdpPacket(ctx), frame, &kernel);
    #[cfg(feature = "log")]
    crate::trace::verdict(ctx, "xdp dsr", verdict);
    act_at_xdp::<F>(ctx, kernel.ingress, verdict, F::XDP_BEGIN)
}

#[inline(always)]
fn begin_at_xdp<F: DsrMaps + Called>(ctx: &XdpContext) -> u32 {
    let kernel = Kernel::<false> { ctx: ctx.ctx.cast(), ingress: ctx.ingress_ifindex() as u32 };
    match pipeline::begin::<F, _, _>(&XdpPacket(ctx), &kernel) {
        Ok(()) => {
            // SAFETY: nothing here is dropped; a call that fails returns.
            unsafe { XDP_PROGRAMS.tail_call(ctx, F::XDP_FIRST) };
            lost_at_xdp::<F>(ctx, kernel.ingress)
        }
        Err(verdict) => act_at_xdp::<F>(ctx, kernel.ingress, verdict, F::XDP_BEGIN),
    }
}

#[inline(always)]
fn begin_at_tc<F: DsrMaps + Called>(ctx: &TcContext) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: the context is valid while the program runs.
    let kernel = Kernel::<true> { ctx: skb.cast(), ingress: unsafe { (*skb).ifindex } };
    match pipeline::begin::<F, _, _>(&SkbPacket(skb), &kernel) {
        Ok(()) => {
            // SAFETY: nothing here is dropped; a call that fails returns.
            unsafe { TC_PROGRAMS.tail_call(ctx, F::TC_FIRST) };
            lost_at_tc::<F>(ctx, &kernel)
        }
        Err(verdict) => act_at_tc::<F>(ctx, kernel.ingress, verdict, F::TC_BEGIN),
    }
}

#[inline(always)]
fn first_at_xdp<F: DsrMaps + Called>(ctx: &XdpContext) -> u32 {
    let kernel = kernel_at_xdp(ctx);
    let frame = Ethernet::parse(&XdpPacket(ctx));
    let verdict = pipeline::first::<F, _, _>(&mut XdpPacket(ctx), frame, &kernel);
    #[cfg(feature = "log")]
    crate::trace::verdict(ctx, "xdp first", verdict);
    act_at_xdp::<F>(ctx, kernel.ingress, verdict, F::XDP_DSR)
}

#[inline(always)]
fn first_at_tc<F: DsrMaps + Called>(ctx: &TcContext) -> i32 {
    let kernel = kernel_at_tc(ctx);
    let frame = Ethernet::parse(&SkbPacket(ctx.skb.skb));
    let verdict = pipeline::first::<F, _, _>(&mut SkbPacket(ctx.skb.skb), frame, &kernel);
    #[cfg(feature = "log")]
    crate::trace::verdict(ctx, "tc first", verdict);
    act_at_tc::<F>(ctx, kernel.ingress, verdict, F::TC_DSR)
}

#[inline(always)]
fn open_at_xdp<F: DsrMaps + Called>(ctx: &XdpContext) -> u32 {
    let kernel = Kernel::<false> { ctx: ctx.ctx.cast(), ingress: ctx.ingress_ifindex() as u32 };
    let frame = Ethernet::parse(&XdpPacket(ctx));
    match dsr::open::<F, _, _>(&mut XdpPacket(ctx), frame, &kernel) {
        Ok(()) => {
            // SAFETY: nothing here is dropped; a call that fails returns.
            unsafe { XDP_PROGRAMS.tail_call(ctx, F::XDP) };
            lost_at_xdp::<F>(ctx, kernel.ingress)
        }
        Err(Verdict::Drop(reason)) => sample::dropped_by_xdp(ctx, kernel.ingress, reason),
        Err(Verdict::HandOver(task)) => handover::pass_with(ctx, task),
        Err(_) => xdp_action::XDP_PASS,
    }
}

#[inline(always)]
fn forward_at_tc<F: DsrMaps + Called>(ctx: &TcContext) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: the context is valid while the program runs.
    let kernel = Kernel::<true> { ctx: skb.cast(), ingress: unsafe { (*skb).ifindex } };
    let frame = Ethernet::parse(&SkbPacket(skb));
    let verdict = dsr::forward::<F, _, _>(&mut SkbPacket(skb), frame, &kernel);
    #[cfg(feature = "log")]
    crate::trace::verdict(ctx, "tc dsr", verdict);
    act_at_tc::<F>(ctx, kernel.ingress, verdict, F::TC_BEGIN)
}

#[inline(always)]
fn open_at_tc<F: DsrMaps + Called>(ctx: &TcContext) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: the context is valid while the program runs.
    let kernel = Kernel::<true> { ctx: skb.cast(), ingress: unsafe { (*skb).ifindex } };
    let frame = Ethernet::parse(&SkbPacket(skb));
    match dsr::open::<F, _, _>(&mut SkbPacket(skb), frame, &kernel) {
        Ok(()) => {
            // SAFETY: nothing here is dropped; a call that fails returns.
            unsafe { TC_PROGRAMS.tail_call(ctx, F::TC) };
            lost_at_tc::<F>(ctx, &kernel)
        }
        Err(Verdict::Drop(reason)) => sample::dropped_by_tc(ctx, hook::TC_INGRESS, kernel.ingress, reason, TC_ACT_SHOT),
        Err(_) => TC_ACT_UNSPEC,
    }
}

/// The programs of a family that others go on in.
pub(crate) trait Called: Routed {
    /// The pipeline under XDP.
    const XDP: u32;
    /// DSR under XDP.
    const XDP_DSR: u32;
    /// The beginning of a flow under XDP.
    const XDP_BEGIN: u32;
    /// What sends the first packet of a flow under XDP.
    const XDP_FIRST: u32;
    /// The end of a tunnel under XDP.
    const XDP_OPEN: u32;
    /// Policies under XDP.
    const XDP_CHOOSE: u32;
    /// SYN cookies under XDP.
    const XDP_COOKIE: u32;
    /// The pipeline on tc.
    const TC: u32;
    /// DSR on tc.
    const TC_DSR: u32;
    /// The beginning of a flow on tc.
    const TC_BEGIN: u32;
    /// What sends the first packet of a flow on tc.
    const TC_FIRST: u32;
    /// The end of a tunnel on tc.
    const TC_OPEN: u32;
    /// Policies on tc.
    const TC_CHOOSE: u32;
    /// SYN cookies on tc.
    const TC_COOKIE: u32;
}

impl Called for V4 {
    const XDP: u32 = xdp_slot::IPV4;
    const XDP_DSR: u32 = xdp_slot::DSR;
    const XDP_BEGIN: u32 = xdp_slot::BEGIN;
    const XDP_FIRST: u32 = xdp_slot::FIRST;
    const XDP_OPEN: u32 = xdp_slot::OPEN;
    const XDP_CHOOSE: u32 = xdp_slot::CHOOSE;
    const XDP_COOKIE: u32 = xdp_slot::COOKIE;
    const TC: u32 = tc_slot::INGRESS;
    const TC_DSR: u32 = tc_slot::DSR;
    const TC_BEGIN: u32 = tc_slot::BEGIN;
    const TC_FIRST: u32 = tc_slot::FIRST;
    const TC_OPEN: u32 = tc_slot::OPEN;
    const TC_CHOOSE: u32 = tc_slot::CHOOSE;
    const TC_COOKIE: u32 = tc_slot::COOKIE;
}

impl Called for V6 {
    const XDP: u32 = xdp_slot::IPV6;
    const XDP_DSR: u32 = xdp_slot::DSR6;
    const XDP_BEGIN: u32 = xdp_slot::BEGIN6;
    const XDP_FIRST: u32 = xdp_slot::FIRST6;
    const XDP_OPEN: u32 = xdp_slot::OPEN6;
    const XDP_CHOOSE: u32 = xdp_slot::CHOOSE6;
    const XDP_COOKIE: u32 = xdp_slot::COOKIE6;
    const TC: u32 = tc_slot::INGRESS6;
    const TC_DSR: u32 = tc_slot::DSR6;
    const TC_BEGIN: u32 = tc_slot::BEGIN6;
    const TC_FIRST: u32 = tc_slot::FIRST6;
    const TC_OPEN: u32 = tc_slot::OPEN6;
    const TC_CHOOSE: u32 = tc_slot::CHOOSE6;
    const TC_COOKIE: u32 = tc_slot::COOKIE6;
}

#[map]
static FORMER_RINGS: Array<FormerRing> = Array::with_max_entries(limits::SERVICES, BPF_F_MMAPABLE);

/// The address of a family.
type Addr<F> = <F as Family>::Addr;

/// The maps of DSR that each family has for itself.
pub(crate) trait DsrMaps: Routed + Tunnel {
    /// NODES.
    const NODES: &'static HashMap<Addr<Self>, u32>;
    /// BACKEND_NODES.
    const BACKEND_NODES: &'static HashMap<u32, Addr<Self>>;
    /// TRACKED.
    const TRACKED: &'static LruHashMap<FlowKey<Addr<Self>>, TrackedEntry>;
}

macro_rules! dsr_maps {
    ($family:ty: $nodes:ident, $backend_nodes:ident, $tracked:ident) => {
        #[map]
        static $nodes: HashMap<Addr<$family>, u32> = HashMap::with_max_entries(limits::NODES, BPF_F_NO_PREALLOC);
        #[map]
        static $backend_nodes: HashMap<u32, Addr<$family>> =
            HashMap::with_max_entries(limits::BACKENDS, BPF_F_NO_PREALLOC);
        #[map]
        static $tracked: LruHashMap<FlowKey<Addr<$family>>, TrackedEntry> =
            LruHashMap::with_max_entries(limits::TRACKED_FLOWS, 0);

        impl DsrMaps for $family {
            const NODES: &'static HashMap<Addr<Self>, u32> = &$nodes;
            const BACKEND_NODES: &'static HashMap<u32, Addr<Self>> = &$backend_nodes;
            const TRACKED: &'static LruHashMap<FlowKey<Addr<Self>>, TrackedEntry> = &$tracked;
        }
    };
}

dsr_maps!(V4: NODES4, BACKEND_NODES4, TRACKED4);
dsr_maps!(V6: NODES6, BACKEND_NODES6, TRACKED6);

impl<F: DsrMaps, const RESOLVES: bool> Nodes<F> for Kernel<RESOLVES> {
    #[inline(always)]
    fn node(&self, address: F::Addr) -> u32 {
        // SAFETY: plain words; the agent replaces elements whole.
        unsafe { F::NODES.get(address) }.copied().unwrap_or(0)
    }

    #[inline(always)]
    fn node_of(&self, backend: u32) -> Option<F::Addr> {
        // SAFETY: as in `node`.
        unsafe { F::BACKEND_NODES.get(backend) }.copied()
    }

    #[inline(always)]
    fn former_ring(&self, service: u32) -> Option<FormerRing> {
        FORMER_RINGS.get(service).copied()
    }

    #[inline(always)]
    fn tracked(&self, key: &FlowKey<F::Addr>) -> Option<&mut TrackedEntry> {
        // SAFETY: the kernel keeps the element's memory for the run of the program. Other CPUs may write the same words;
        // each is stored whole, and any mix of old and new ones is a valid entry.
        F::TRACKED.get_ptr_mut(key).map(|place| unsafe { &mut *place })
    }

    #[inline(always)]
    fn track(&self, key: &FlowKey<F::Addr>, entry: &TrackedEntry) {
        // without it the flow is lost when the former ring is, as if it had been silent
        let _ = F::TRACKED.insert(key, entry, u64::from(BPF_ANY));
    }

    #[inline(always)]
    fn untrack(&self, key: &FlowKey<F::Addr>) {
        // not there is as good as removed
        let _ = F::TRACKED.remove(key);
    }
}
