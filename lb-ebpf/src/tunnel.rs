//! tc ingress of the devices behind which backends are and which are no external interfaces.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::helpers::generated::{bpf_redirect_neigh, bpf_skb_change_head, bpf_skb_store_bytes};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use lb_common::abi::{device_flag, hook, tc_slot};
use lb_common::addr::{Family, V4, V6};
use lb_common::drop_reason::DropReason;
use lb_common::ethernet::{self, Ethernet};
use lb_common::pipeline;
use lb_common::verdict::{Verdict, refused};

use crate::maps::{DEVICES, TC_PROGRAMS};
use crate::skb_packet::SkbPacket;
use crate::tables::{Kernel, Routed};
use crate::{refuse, sample};

/// Turns back the replies of backends behind a tunnel, and errors about packets to them.
#[classifier]
pub fn weir_tunnel(ctx: TcContext) -> i32 {
    let (frame, _) = read(&ctx);
    if matches!(&frame, Ok(frame) if frame.ether_type == V6::ETHER_TYPE) {
        // SAFETY: nothing here is dropped; a call that fails returns.
        unsafe { TC_PROGRAMS.tail_call(&ctx, tc_slot::TUNNEL6) };
        return TC_ACT_UNSPEC;
    }
    at_tunnel::<V4>(&ctx)
}

/// IPv6 of [`weir_tunnel`].
#[classifier]
pub fn weir_tunnel6(ctx: TcContext) -> i32 {
    at_tunnel::<V6>(&ctx)
}

#[inline(always)]
fn at_tunnel<F: Routed>(ctx: &TcContext) -> i32 {
    let skb = ctx.skb.skb;
    let (frame, bare) = read(ctx);
    // SAFETY: the context is valid while the program runs.
    let kernel = Kernel::<true> { ctx: skb.cast(), ingress: unsafe { (*skb).ifindex } };
    let drop = |reason| sample::dropped_by_tc(ctx, hook::TC_INGRESS, kernel.ingress, reason, TC_ACT_SHOT);
    match pipeline::tunnel_of::<F, _, _>(&mut SkbPacket(skb), frame, &kernel) {
        Verdict::Transmit(_) if bare && !add_header(skb, F::ETHER_TYPE) => TC_ACT_SHOT,
        // SAFETY: no next hop is named, so the helper asks the routing table.
        Verdict::Transmit(device) => unsafe { bpf_redirect_neigh(device, core::ptr::null_mut(), 0, 0) as i32 },
        // not to the stack, which would reset the connection that it knows nothing of
        Verdict::Refuse(why) if !bare => refuse::at_tc(ctx, why),
        Verdict::Refuse(why) => drop(refused(why).0),
        Verdict::Drop(reason) => drop(reason),
        _ => TC_ACT_UNSPEC,
    }
}

/// Where the IP header begins; and whether that is the start of the packet, as with tunnels that carry no Ethernet frames.
#[inline(always)]
fn read(ctx: &TcContext) -> (Result<Ethernet, DropReason>, bool) {
    let skb = ctx.skb.skb;
    // SAFETY: the context is valid while the program runs.
    let (device, protocol) = unsafe { ((*skb).ifindex, (*skb).protocol as u16) };
    // SAFETY: plain words; the agent replaces elements whole.
    let bare = unsafe { DEVICES.get(device) }.is_some_and(|entry| entry.flags & device_flag::BARE != 0);
    match bare {
        true => (Ok(Ethernet::none(u16::from_be(protocol))), true),
        false => (Ethernet::parse(&SkbPacket(skb)), false),
    }
}

/// Makes room for an Ethernet header, which `bpf_redirect_neigh` then fills in; it only looks whether the one that is there
/// is addressed to a group (net/core/filter.c, `__bpf_redirect_neigh`).
#[inline(always)]
fn add_header(skb: *mut __sk_buff, ether_type: u16) -> bool {
    let header = [0, 0, 0, 0, 0, 0, ether_type.to_be()];
    // SAFETY: the helpers check lengths; no pointer into the packet is kept.
    unsafe {
        bpf_skb_change_head(skb, ethernet::HEADER as u32, 0) == 0
            && bpf_skb_store_bytes(skb, 0, (&raw const header).cast(), ethernet::HEADER as u32, 0) == 0
    }
}
