//! Neighbours who ask for an announced address: programs of their own, so that nothing else grows.

use aya_ebpf::bindings::{TC_ACT_UNSPEC, xdp_action};
use aya_ebpf::helpers::generated::bpf_redirect;
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use lb_common::abi::{tc_slot, xdp_slot};
use lb_common::addr::{V4, V6};
use lb_common::ethernet::Ethernet;
use lb_common::neighbour::{ARP, Discovery as _};
use lb_common::packet::Packet;
use lb_common::verdict::Verdict;

use crate::maps::{TC_PROGRAMS, XDP_PROGRAMS};
use crate::skb_packet::SkbPacket;
use crate::tables::Kernel;
use crate::xdp_packet::XdpPacket;

/// Lets [`weir_xdp_neigh`] answer.
#[inline(always)]
pub(crate) fn at_xdp(ctx: &XdpContext) -> u32 {
    // SAFETY: nothing here is dropped; a call that fails returns.
    unsafe { XDP_PROGRAMS.tail_call(ctx, xdp_slot::NEIGHBOUR) };
    xdp_action::XDP_PASS
}

/// Lets [`weir_tc_neigh`] answer.
#[inline(always)]
pub(crate) fn at_tc(ctx: &TcContext) -> i32 {
    // SAFETY: as in `at_xdp`.
    unsafe { TC_PROGRAMS.tail_call(ctx, tc_slot::NEIGHBOUR) };
    TC_ACT_UNSPEC
}

/// Answers in place, out of the device that the question came in by.
#[xdp(frags)]
pub fn weir_xdp_neigh(ctx: XdpContext) -> u32 {
    let kernel = Kernel::<false> { ctx: ctx.ctx.cast(), ingress: ctx.ingress_ifindex() as u32 };
    match answer(&mut XdpPacket(&ctx), &kernel) {
        Verdict::Answer => xdp_action::XDP_TX,
        _ => xdp_action::XDP_PASS,
    }
}

/// [`weir_xdp_neigh`] on tc.
#[classifier]
pub fn weir_tc_neigh(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: the context is valid while the program runs.
    let kernel = Kernel::<true> { ctx: skb.cast(), ingress: unsafe { (*skb).ifindex } };
    match answer(&mut SkbPacket(skb), &kernel) {
        // SAFETY: the helper only notes the device; it returns TC_ACT_REDIRECT.
        Verdict::Answer => unsafe { bpf_redirect(kernel.ingress, 0) as i32 },
        _ => TC_ACT_UNSPEC,
    }
}

/// Of whichever family the question is.
#[inline(always)]
fn answer<P: Packet, const RESOLVES: bool>(packet: &mut P, kernel: &Kernel<RESOLVES>) -> Verdict {
    match Ethernet::parse(packet) {
        Ok(frame) if frame.ether_type == ARP => V4::answer(packet, &frame, kernel),
        Ok(frame) => V6::answer(packet, &frame, kernel),
        Err(_) => Verdict::Pass,
    }
}
