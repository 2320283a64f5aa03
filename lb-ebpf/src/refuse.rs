//! The programs that tell the sender of a dropped packet why: called by those that drop it, since the verifier would walk
//! through this once more for each way that leads to a drop.

use aya_ebpf::bindings::{BPF_F_INGRESS, TC_ACT_SHOT, xdp_action};
use aya_ebpf::helpers::generated::bpf_redirect;
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use lb_common::abi::{tc_slot, xdp_slot};
use lb_common::addr::{Family, V4, V6};
use lb_common::ethernet::Ethernet;
use lb_common::packet::Packet;
use lb_common::pipeline;
use lb_common::verdict::{INSIDE, Verdict, is_unserved};

use crate::maps::{REFUSALS, TC_PROGRAMS, XDP_PROGRAMS};
use crate::skb_packet::SkbPacket;
use crate::tables::{Kernel, Routed};
use crate::xdp_packet::XdpPacket;

/// Drops the packet and lets [`weir_xdp_refuse`] or [`weir_xdp_reset`] tell its sender.
#[inline(always)]
pub(crate) fn at_xdp(ctx: &XdpContext, why: u32) -> u32 {
    note(why);
    let slot = if is_unserved(why) { xdp_slot::RESET } else { xdp_slot::REFUSE };
    // SAFETY: nothing here is dropped; a call that fails returns.
    unsafe { XDP_PROGRAMS.tail_call(ctx, slot) };
    xdp_action::XDP_DROP
}

/// Drops the packet and lets [`weir_tc_refuse`] or [`weir_tc_reset`] tell its sender.
#[inline(always)]
pub(crate) fn at_tc(ctx: &TcContext, why: u32) -> i32 {
    note(why);
    let slot = if is_unserved(why) { tc_slot::RESET } else { tc_slot::REFUSE };
    // SAFETY: as in `at_xdp`.
    unsafe { TC_PROGRAMS.tail_call(ctx, slot) };
    TC_ACT_SHOT
}

/// Tells the sender of a packet that XDP drops that nobody is there: by a reset, or by an ICMP error.
#[xdp(frags)]
pub fn weir_xdp_reset(ctx: XdpContext) -> u32 {
    let kernel = Kernel::<false> { ctx: ctx.ctx.cast(), ingress: ctx.ingress_ifindex() as u32 };
    match reset(&mut XdpPacket(&ctx), &kernel) {
        Verdict::Answer => xdp_action::XDP_TX,
        _ => xdp_action::XDP_DROP,
    }
}

/// [`weir_xdp_reset`] for a packet that the companion drops, or that is caught on its way out: then the answer comes in where
/// the packet was about to leave.
#[classifier]
pub fn weir_tc_reset(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: the context is valid while the program runs.
    let kernel = Kernel::<true> { ctx: skb.cast(), ingress: unsafe { (*skb).ifindex } };
    match reset(&mut SkbPacket(skb), &kernel) {
        Verdict::Answer => {
            let inwards = why() & INSIDE != 0; // asked for here, so that the verifier walks through the reset once
            // SAFETY: the helper only notes the device; it returns TC_ACT_REDIRECT.
            unsafe { bpf_redirect(kernel.ingress, if inwards { u64::from(BPF_F_INGRESS) } else { 0 }) as i32 }
        }
        _ => TC_ACT_SHOT,
    }
}

/// Makes the reset, in whichever family.
#[inline(always)]
fn reset<P: Packet, const RESOLVES: bool>(packet: &mut P, kernel: &Kernel<RESOLVES>) -> Verdict {
    let why = why();
    match Ethernet::parse(packet) {
        Ok(frame) if frame.ether_type == V6::ETHER_TYPE => pipeline::reset::<V6, P, _>(packet, &frame, kernel, why),
        Ok(frame) => pipeline::reset::<V4, P, _>(packet, &frame, kernel, why),
        Err(reason) => Verdict::Drop(reason),
    }
}

/// Tells the sender of a packet that XDP drops.
#[xdp(frags)]
pub fn weir_xdp_refuse(ctx: XdpContext) -> u32 {
    let kernel = Kernel::<false> { ctx: ctx.ctx.cast(), ingress: ctx.ingress_ifindex() as u32 };
    match told(&mut XdpPacket(&ctx), &kernel) {
        Verdict::Answer => xdp_action::XDP_TX,
        _ => xdp_action::XDP_DROP,
    }
}

/// Tells the sender of a packet that the companion drops.
#[classifier]
pub fn weir_tc_refuse(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: the context is valid while the program runs.
    let kernel = Kernel::<true> { ctx: skb.cast(), ingress: unsafe { (*skb).ifindex } };
    match told(&mut SkbPacket(skb), &kernel) {
        // SAFETY: the helper only notes the device; it returns TC_ACT_REDIRECT.
        Verdict::Answer => unsafe { bpf_redirect(kernel.ingress, 0) as i32 },
        _ => TC_ACT_SHOT,
    }
}

/// Makes the error, in whichever family.
#[inline(always)]
fn told<P: Packet, const RESOLVES: bool>(packet: &mut P, kernel: &Kernel<RESOLVES>) -> Verdict {
    let why = why();
    match Ethernet::parse(packet) {
        Ok(frame) if frame.ether_type == V6::ETHER_TYPE => of::<V6, P, RESOLVES>(packet, &frame, kernel, why),
        Ok(frame) => of::<V4, P, RESOLVES>(packet, &frame, kernel, why),
        Err(reason) => Verdict::Drop(reason),
    }
}

#[inline(always)]
fn of<F: Routed, P: Packet, const RESOLVES: bool>(
    packet: &mut P,
    frame: &Ethernet,
    kernel: &Kernel<RESOLVES>,
    why: u32,
) -> Verdict {
    pipeline::refuse::<F, P, _>(packet, frame, kernel, why)
}

/// The reason that was kept.
#[inline(always)]
fn why() -> u32 {
    REFUSALS.get(0).map_or(0, |refusals| refusals.why)
}

/// Keeps the reason for the program that is called.
#[inline(always)]
fn note(why: u32) {
    if let Some(place) = REFUSALS.get_ptr_mut(0) {
        // SAFETY: the element is this CPU's own.
        unsafe { (*place).why = why };
    }
}
