//! The kernel programs of weir: entry points over the pipeline of `lb-common`.
#![no_std]
#![no_main]
#![allow(unsafe_code, reason = "kernel memory and helpers; every block says why it is sound")]
#![expect(unreachable_pub, reason = "entry points are found by their symbol")]
#![expect(missing_docs, reason = "the attribute macros make undocumented functions of the entry points")]

mod ask;
mod cookie;
mod dsr;
mod forget;
mod front;
mod handover;
mod maps;
mod neighbour;
mod onward;
mod policy;
mod recent;
mod refuse;
mod room;
mod sample;
mod since;
mod skb_packet;
mod sockets;
mod tables;
#[cfg(feature = "log")]
mod trace;
mod tunnel;
mod xdp_packet;

use aya_ebpf::bindings::{__sk_buff, BPF_F_INGRESS, TC_ACT_SHOT, TC_ACT_UNSPEC, sk_action, xdp_action};
use aya_ebpf::helpers::generated::bpf_redirect;
use aya_ebpf::macros::{classifier, sk_lookup, xdp};
use aya_ebpf::programs::{SkLookupContext, TcContext, XdpContext};
use lb_common::abi::{Task, device_flag, hook, setting, tc_slot, xdp_slot};
use lb_common::addr::{Family, V4, V6};
use lb_common::drop_reason::DropReason;
use lb_common::dsr::icmp_of;
use lb_common::ethernet::Ethernet;
use lb_common::lookup::Lookup;
use lb_common::neighbour::{ARP, Discovery as _};
use lb_common::packet::Packet as _;
use lb_common::pipeline;
use lb_common::verdict::Verdict;

use crate::dsr::{Called, DsrMaps};
use crate::maps::{DEVICES, TC_PROGRAMS, XDP_PROGRAMS};
use crate::skb_packet::SkbPacket;
use crate::tables::{Kernel, Routed, word_of_settings};
use crate::xdp_packet::XdpPacket;

/// XDP at the ingress of each external interface: the fast cases of IPv4.
#[xdp(frags)]
pub fn weir_xdp(ctx: XdpContext) -> u32 {
    if XdpPacket(&ctx).is_split() {
        return xdp_action::XDP_PASS; // without a word: the companion does it all
    }
    let frame = Ethernet::parse(&XdpPacket(&ctx));
    if carries_ipv6(&frame) {
        // SAFETY: nothing here is dropped; a call that fails returns.
        unsafe { XDP_PROGRAMS.tail_call(&ctx, xdp_slot::IPV6) };
        return xdp_action::XDP_PASS;
    }
    if is_arp(&frame) {
        return neighbour::at_xdp(&ctx);
    }
    at_xdp::<V4>(&ctx, frame)
}

/// IPv6 of [`weir_xdp`]. Inlined into its entry point, whose frame would count for 32 bytes of the stack before 6.8.
#[xdp(frags)]
#[inline(always)]
pub fn weir_xdp6(ctx: XdpContext) -> u32 {
    at_xdp::<V6>(&ctx, Ethernet::parse(&XdpPacket(&ctx)))
}

/// ICMP of [`weir_xdp`].
#[xdp(frags)]
pub fn weir_xdp_icmp(ctx: XdpContext) -> u32 {
    icmp_at_xdp::<V4>(&ctx)
}

/// ICMP of [`weir_xdp6`].
#[xdp(frags)]
pub fn weir_xdp_icmp6(ctx: XdpContext) -> u32 {
    let packet = XdpPacket(&ctx);
    if Ethernet::parse(&packet).is_ok_and(|frame| V6::is_asked(&packet, &frame)) {
        return neighbour::at_xdp(&ctx);
    }
    icmp_at_xdp::<V6>(&ctx)
}

/// tc ingress companion on the same interfaces: finishes what XDP could not, and does all of it where XDP left no word.
#[classifier]
pub fn weir_tc_ingress(ctx: TcContext) -> i32 {
    match handover::task(ctx.skb.skb) {
        Some(Task::Done) => return TC_ACT_UNSPEC,
        Some(Task::Front) => return mark_for_front(&ctx),
        Some(Task::Forward | Task::SendOn) | None => {}
    }
    let frame = Ethernet::parse(&SkbPacket(ctx.skb.skb));
    if carries_ipv6(&frame) {
        // SAFETY: as in `weir_xdp`.
        unsafe { TC_PROGRAMS.tail_call(&ctx, tc_slot::INGRESS6) };
        return TC_ACT_UNSPEC;
    }
    if is_arp(&frame) {
        return neighbour::at_tc(&ctx);
    }
    at_tc_ingress::<V4>(&ctx, frame)
}

/// IPv6 of [`weir_tc_ingress`].
#[classifier]
pub fn weir_ingress6(ctx: TcContext) -> i32 {
    at_tc_ingress::<V6>(&ctx, Ethernet::parse(&SkbPacket(ctx.skb.skb)))
}

/// ICMP of [`weir_tc_ingress`].
#[classifier]
pub fn weir_in_icmp(ctx: TcContext) -> i32 {
    icmp_at_tc_ingress::<V4>(&ctx)
}

/// ICMP of [`weir_ingress6`].
#[classifier]
pub fn weir_in_icmp6(ctx: TcContext) -> i32 {
    let packet = SkbPacket(ctx.skb.skb);
    if Ethernet::parse(&packet).is_ok_and(|frame| V6::is_asked(&packet, &frame)) {
        return neighbour::at_tc(&ctx);
    }
    icmp_at_tc_ingress::<V6>(&ctx)
}

/// tc egress: puts the VIP back as source of the replies of local pods.
#[classifier]
pub fn weir_tc_egress(ctx: TcContext) -> i32 {
    onward::put_back(ctx.skb.skb);
    let frame = Ethernet::parse(&SkbPacket(ctx.skb.skb));
    if carries_ipv6(&frame) {
        // SAFETY: as in `weir_xdp`.
        unsafe { TC_PROGRAMS.tail_call(&ctx, tc_slot::EGRESS6) };
        return TC_ACT_UNSPEC;
    }
    at_tc_egress::<V4>(&ctx, frame)
}

/// IPv6 of [`weir_tc_egress`].
#[classifier]
pub fn weir_egress6(ctx: TcContext) -> i32 {
    at_tc_egress::<V6>(&ctx, Ethernet::parse(&SkbPacket(ctx.skb.skb)))
}

/// Packets that leave for a VIP, caught by [`weir_tc_egress`].
#[classifier]
pub fn weir_inside4(ctx: TcContext) -> i32 {
    at_inside::<V4>(&ctx)
}

/// IPv6 of [`weir_inside4`].
#[classifier]
pub fn weir_inside6(ctx: TcContext) -> i32 {
    at_inside::<V6>(&ctx)
}

/// sk_lookup: packets for any VIP and port of the front go to its sockets.
#[sk_lookup]
pub fn weir_sk_lookup(ctx: SkLookupContext) -> u32 {
    front::assign(&ctx);
    sk_action::SK_PASS
}

/// The packet is one for the family's own program. One program for both families would be twice as much for the verifier
/// to walk through, and the larger keys of IPv6 would share the 512 bytes of stack with those of IPv4.
#[inline(always)]
fn carries_ipv6(frame: &Result<Ethernet, DropReason>) -> bool {
    matches!(frame, Ok(frame) if frame.ether_type == V6::ETHER_TYPE)
}

/// A neighbour asks for an address, or tells of one.
#[inline(always)]
fn is_arp(frame: &Result<Ethernet, DropReason>) -> bool {
    matches!(frame, Ok(frame) if frame.ether_type == ARP)
}

#[inline(always)]
fn at_xdp<F: Called>(ctx: &XdpContext, frame: Result<Ethernet, DropReason>) -> u32 {
    let kernel = kernel_at_xdp(ctx);
    let Some(verdict) = pipeline::flows_of::<F, _, _>(&mut XdpPacket(ctx), frame, &kernel) else {
        // SAFETY: as in `weir_xdp`.
        unsafe { XDP_PROGRAMS.tail_call(ctx, F::XDP_ICMP) };
        return xdp_action::XDP_PASS;
    };
    done_at_xdp::<F>(ctx, &kernel, verdict)
}

#[inline(always)]
fn icmp_at_xdp<F: Called>(ctx: &XdpContext) -> u32 {
    let (kernel, packet) = (kernel_at_xdp(ctx), &mut XdpPacket(ctx));
    let frame = Ethernet::parse(packet);
    let verdict = pipeline::icmp_of::<F, _, _>(packet, frame, &kernel);
    done_at_xdp::<F>(ctx, &kernel, verdict)
}

#[inline(always)]
fn kernel_at_xdp(ctx: &XdpContext) -> Kernel<false> {
    Kernel { ctx: ctx.ctx.cast(), ingress: ctx.ingress_ifindex() as u32 }
}

#[inline(always)]
fn done_at_xdp<F: Called>(ctx: &XdpContext, kernel: &Kernel<false>, verdict: Verdict) -> u32 {
    #[cfg(feature = "log")]
    trace::verdict(ctx, "xdp", verdict);
    act_at_xdp::<F>(ctx, kernel.ingress, verdict, F::XDP_DSR)
}

/// What becomes of the packet; the program in the slot `dsr` is the one that it goes on in with [`Verdict::Dsr`].
#[inline(always)]
fn act_at_xdp<F: Called>(ctx: &XdpContext, ingress: u32, verdict: Verdict, dsr: u32) -> u32 {
    let action = match verdict {
        Verdict::Pass => xdp_action::XDP_PASS,
        Verdict::Deliver => handover::pass_with(ctx, Task::Done),
        Verdict::Front => handover::pass_with(ctx, Task::Front),
        Verdict::HandOver(task) => handover::pass_noted::<F>(ctx, &kernel_at_xdp(ctx), task),
        Verdict::Answer => xdp_action::XDP_TX,
        Verdict::Transmit(device) if device == ingress => xdp_action::XDP_TX,
        // SAFETY: the helper only notes the device; it returns XDP_REDIRECT.
        Verdict::Transmit(device) => unsafe { bpf_redirect(device, 0) as u32 },
        Verdict::Dsr(_) => {
            // SAFETY: as in `weir_xdp`.
            unsafe { XDP_PROGRAMS.tail_call(ctx, dsr) };
            return lost_at_xdp::<F>(ctx, ingress);
        }
        Verdict::Choose(_) => {
            // SAFETY: as in `weir_xdp`.
            unsafe { XDP_PROGRAMS.tail_call(ctx, F::XDP_CHOOSE) };
            return lost_at_xdp::<F>(ctx, ingress);
        }
        Verdict::Cookie(_) => {
            // SAFETY: as in `weir_xdp`.
            unsafe { XDP_PROGRAMS.tail_call(ctx, F::XDP_COOKIE) };
            return lost_at_xdp::<F>(ctx, ingress);
        }
        Verdict::Tunnel => {
            // SAFETY: as in `weir_xdp`.
            unsafe { XDP_PROGRAMS.tail_call(ctx, F::XDP_OPEN) };
            xdp_action::XDP_PASS
        }
        Verdict::Drop(reason) => return sample::dropped_by_xdp(ctx, ingress, reason),
        Verdict::Refuse(why) => return refuse::at_xdp(ctx, why),
    };
    sample::passed_by_xdp(ctx, ingress, action)
}

/// The program that the packet was to go on in is not there.
#[inline(always)]
fn lost_at_xdp<F: Called>(ctx: &XdpContext, ingress: u32) -> u32 {
    Lookup::<F>::count_drop(&kernel_at_xdp(ctx), DropReason::KernelRefused, XdpPacket(ctx).len());
    sample::dropped_by_xdp(ctx, ingress, DropReason::KernelRefused)
}

/// [`lost_at_xdp`] on tc.
#[inline(always)]
fn lost_at_tc<F: Called>(ctx: &TcContext, kernel: &Kernel<true>) -> i32 {
    Lookup::<F>::count_drop(kernel, DropReason::KernelRefused, SkbPacket(ctx.skb.skb).len());
    sample::dropped_by_tc(ctx, hook::TC_INGRESS, kernel.ingress, DropReason::KernelRefused, TC_ACT_SHOT)
}

#[inline(always)]
fn at_tc_ingress<F: Called>(ctx: &TcContext, frame: Result<Ethernet, DropReason>) -> i32 {
    let kernel = kernel_at_tc(ctx);
    handover::note_arrival::<F>(&kernel);
    let Some(verdict) = pipeline::flows_of::<F, _, _>(&mut SkbPacket(ctx.skb.skb), frame, &kernel) else {
        // SAFETY: as in `weir_xdp`.
        unsafe { TC_PROGRAMS.tail_call(ctx, F::TC_ICMP) };
        return TC_ACT_UNSPEC;
    };
    done_at_tc_ingress::<F>(ctx, &kernel, verdict)
}

#[inline(always)]
fn icmp_at_tc_ingress<F: Called + DsrMaps>(ctx: &TcContext) -> i32 {
    let (kernel, packet) = (kernel_at_tc(ctx), &mut SkbPacket(ctx.skb.skb));
    let frame = Ethernet::parse(packet);
    let verdict = icmp_of::<F, _, _>(packet, frame, &kernel);
    done_at_tc_ingress::<F>(ctx, &kernel, verdict)
}

#[inline(always)]
fn kernel_at_tc(ctx: &TcContext) -> Kernel<true> {
    let skb = ctx.skb.skb;
    // SAFETY: the context is valid while the program runs.
    Kernel { ctx: skb.cast(), ingress: unsafe { (*skb).ifindex } }
}

#[inline(always)]
fn done_at_tc_ingress<F: Called>(ctx: &TcContext, kernel: &Kernel<true>, verdict: Verdict) -> i32 {
    #[cfg(feature = "log")]
    trace::verdict(ctx, "tc ingress", verdict);
    act_at_tc::<F>(ctx, kernel.ingress, verdict, F::TC_DSR)
}

/// [`act_at_xdp`] on tc.
#[inline(always)]
fn act_at_tc<F: Called>(ctx: &TcContext, ingress: u32, verdict: Verdict, dsr: u32) -> i32 {
    let skb = ctx.skb.skb;
    let kernel = Kernel::<true> { ctx: skb.cast(), ingress };
    let action = match verdict {
        Verdict::Pass | Verdict::Deliver | Verdict::HandOver(_) => TC_ACT_UNSPEC,
        Verdict::Front => mark_for_front(ctx),
        Verdict::Transmit(device) => onward::sent_on::<F>(&kernel, skb, device),
        // SAFETY: the helper only notes the device; it returns TC_ACT_REDIRECT.
        Verdict::Answer => unsafe { bpf_redirect(ingress, 0) as i32 },
        Verdict::Dsr(_) => {
            // SAFETY: as in `weir_xdp`.
            unsafe { TC_PROGRAMS.tail_call(ctx, dsr) };
            return lost_at_tc::<F>(ctx, &kernel);
        }
        Verdict::Choose(_) => {
            // SAFETY: as in `weir_xdp`.
            unsafe { TC_PROGRAMS.tail_call(ctx, F::TC_CHOOSE) };
            return lost_at_tc::<F>(ctx, &kernel);
        }
        Verdict::Cookie(_) => {
            // SAFETY: as in `weir_xdp`.
            unsafe { TC_PROGRAMS.tail_call(ctx, F::TC_COOKIE) };
            return lost_at_tc::<F>(ctx, &kernel);
        }
        Verdict::Tunnel => {
            // SAFETY: as in `weir_xdp`.
            unsafe { TC_PROGRAMS.tail_call(ctx, F::TC_OPEN) };
            TC_ACT_UNSPEC
        }
        Verdict::Drop(reason) => {
            return sample::dropped_by_tc(ctx, hook::TC_INGRESS, ingress, reason, TC_ACT_SHOT);
        }
        Verdict::Refuse(why) => return refuse::at_tc(ctx, why),
    };
    sample::passed_by_tc(ctx, hook::TC_INGRESS, ingress, action)
}

#[inline(always)]
fn at_tc_egress<F: Routed>(ctx: &TcContext, frame: Result<Ethernet, DropReason>) -> i32 {
    let kernel = kernel_at_tc(ctx);
    let verdict = pipeline::egress_of::<F, _, _>(&mut SkbPacket(ctx.skb.skb), frame, &kernel);
    #[cfg(feature = "log")]
    trace::verdict(ctx, "tc egress", verdict);
    match verdict {
        Verdict::Drop(reason) => sample::dropped_by_tc(ctx, hook::TC_EGRESS, kernel.ingress, reason, TC_ACT_SHOT),
        Verdict::Answer => turn_round(kernel.ingress),
        Verdict::HandOver(_) if came_from_outside(ctx.skb.skb) => TC_ACT_UNSPEC,
        Verdict::HandOver(_) => {
            let slot = if F::ETHER_TYPE == V6::ETHER_TYPE { tc_slot::INSIDE6 } else { tc_slot::INSIDE4 };
            // SAFETY: as in `weir_xdp`.
            unsafe { TC_PROGRAMS.tail_call(ctx, slot) };
            TC_ACT_UNSPEC
        }
        _ => TC_ACT_UNSPEC,
    }
}

/// The packet came in by an external interface, or by a device that stands on one, and the node merely forwards it: cluster
/// IPs are not for its sender.
#[inline(always)]
fn came_from_outside(skb: *mut __sk_buff) -> bool {
    // SAFETY: the context is valid while the program runs.
    let ingress = unsafe { (*skb).ingress_ifindex };
    // SAFETY: plain words; the agent replaces elements whole.
    unsafe { DEVICES.get(ingress) }.is_some_and(|device| device.flags & device_flag::OUTSIDE != 0)
}

#[inline(always)]
fn at_inside<F: Routed>(ctx: &TcContext) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: the context is valid while the program runs.
    let kernel = Kernel::<true> { ctx: skb.cast(), ingress: unsafe { (*skb).ifindex } };
    let action = match pipeline::inside::<F, _, _>(&mut SkbPacket(skb), &kernel) {
        Verdict::Drop(reason) => {
            return sample::dropped_by_tc(ctx, hook::TC_EGRESS, kernel.ingress, reason, TC_ACT_SHOT);
        }
        Verdict::Answer => turn_round(kernel.ingress),
        Verdict::Transmit(device) => onward::untagged(skb, device),
        Verdict::Refuse(why) => return refuse::at_tc(ctx, why),
        _ => TC_ACT_UNSPEC,
    };
    sample::passed_by_tc(ctx, hook::TC_EGRESS, kernel.ingress, action)
}

/// Lets the packet come in by the device that it was about to leave by.
#[inline(always)]
fn turn_round(device: u32) -> i32 {
    // SAFETY: the helper only notes the device; it returns TC_ACT_REDIRECT.
    unsafe { bpf_redirect(device, u64::from(BPF_F_INGRESS)) as i32 }
}

/// Marks the packet, so that the policy rule finds the route that makes it local.
#[inline(always)]
fn mark_for_front(ctx: &TcContext) -> i32 {
    let mark = word_of_settings(setting::FRONT_MARK) as u32;
    // SAFETY: the context is valid while the program runs.
    let old = unsafe { (*ctx.skb.skb).mark };
    ctx.set_mark(old | mark);
    TC_ACT_UNSPEC
}

/// The licence under which the kernel may load the programs.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
pub static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// The host only checks this crate (`cargo check --workspace`): there the standard library handles panics.
#[cfg(not(target_arch = "bpf"))]
extern crate std;

/// A panic that can be reached is an endless loop, which the verifier refuses.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
