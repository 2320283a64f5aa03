//! Out of the companion by a device, with the 802.1Q tags that the packet came with where they may stay.
//!
//! The kernel keeps the outer tag beside a packet and leaves a second one in its bytes, behind which
//! `bpf_redirect_neigh` would not find the IP header (net/core/filter.c, `__bpf_redirect_neigh`). Where the neighbour is
//! resolved no help is needed. The packet that resolves it goes with the inner tag beside it, and a note of the outer one
//! in its control block, which [`put_back`] reads when the kernel lets it out of the device.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::bindings::TC_ACT_SHOT;
use aya_ebpf::helpers::generated::{bpf_redirect, bpf_redirect_neigh, bpf_skb_vlan_pop, bpf_skb_vlan_push};
use lb_common::ethernet::{self, Ethernet, HEADER};
use lb_common::lookup::{Lookup, Route};
use lb_common::packet::Packet as _;
use lb_common::pipeline;

use crate::skb_packet::SkbPacket;
use crate::tables::{Kernel, Routed};

/// How many tags may stand in front of a packet.
const TAGS: usize = 2;
/// Say that the word behind them is a tag that was taken off. Other layers use the control block, too: of a packet of the
/// node's own that has one tag the second word would be the lengths of four IP options of 255 bytes.
const NOTED: [u32; 2] = [0x7765_6972, 0xffff_ffff];

/// Sends the packet out of the device, with its tags where they may stay.
#[inline(always)]
pub(crate) fn sent_on<F: Routed>(kernel: &Kernel<true>, skb: *mut __sk_buff, device: u32) -> i32 {
    let keep = pipeline::keeps_tags::<F, _>(kernel, device);
    if keep && has_tag_in_bytes(skb) {
        if let Some(action) = sent_as_it_is::<F>(kernel, skb, device) {
            return action;
        }
        if noted(skb).is_none() {
            return TC_ACT_SHOT;
        }
    }
    if keep { to_neighbour(device) } else { untagged(skb, device) }
}

/// Sends the packet out of the device without tags.
#[inline(always)]
pub(crate) fn untagged(skb: *mut __sk_buff, device: u32) -> i32 {
    match without_tags(skb) {
        Some(()) => to_neighbour(device),
        None => TC_ACT_SHOT,
    }
}

/// Takes off all tags.
#[inline(always)]
pub(crate) fn without_tags(skb: *mut __sk_buff) -> Option<()> {
    let mut tags = 0;
    while tags < TAGS && (has_tag_beside(skb) || has_tag_in_bytes(skb)) {
        pop(skb)?;
        tags += 1;
    }
    Some(())
}

/// At tc egress: the outer tag that was taken off before the neighbour was resolved. For packets without any tag, which is
/// most, that costs one word.
#[inline(always)]
pub(crate) fn put_back(skb: *mut __sk_buff) {
    if !has_tag_beside(skb) {
        return;
    }
    // SAFETY: the context is valid while the program runs; the helper puts the tag that is beside the packet into its
    // bytes, and the other one beside it.
    unsafe {
        let [first, second, outer] = [(*skb).cb[0], (*skb).cb[1], (*skb).cb[2]];
        if [first, second] == NOTED {
            (*skb).cb[0] = 0;
            bpf_skb_vlan_push(skb, (outer >> 16) as u16, outer as u16);
        }
    }
}

/// Addresses the frame to its next hop by the routing table and sends it with every tag; `None` if the neighbour is not
/// resolved, which only [`to_neighbour`] can change.
#[inline(always)]
fn sent_as_it_is<F: Routed>(kernel: &Kernel<true>, skb: *mut __sk_buff, device: u32) -> Option<i32> {
    let packet = &mut SkbPacket(skb);
    let frame = Ethernet::parse(packet).ok()?;
    let (source, destination) = F::addresses(packet, frame.network)?;
    let asked = Kernel::<false> { ctx: kernel.ctx, ingress: kernel.ingress };
    match Lookup::<F>::route(&asked, source, destination, 0, 0) {
        Route::Direct { device: out, addresses, .. } if out == device => addresses.write(packet)?,
        _ => return None,
    }
    // SAFETY: the helper only notes the device; it returns TC_ACT_REDIRECT.
    Some(unsafe { bpf_redirect(device, 0) as i32 })
}

/// Leaves one tag, beside the packet, and a note of the one around it if there is one.
#[inline(always)]
fn noted(skb: *mut __sk_buff) -> Option<()> {
    let outer = outer_tag(skb)?;
    pop(skb)?;
    // SAFETY: the context is valid while the program runs.
    unsafe {
        if has_tag_beside(skb) {
            [(*skb).cb[0], (*skb).cb[1], (*skb).cb[2]] = [NOTED[0], NOTED[1], outer];
            return Some(());
        }
        // a single one, which is in the bytes in test runs only
        (bpf_skb_vlan_push(skb, (outer >> 16) as u16, outer as u16) == 0).then_some(())
    }
}

/// EtherType and content of the outer tag, as numbers: the one beside the packet, else the first one in its bytes.
#[inline(always)]
fn outer_tag(skb: *mut __sk_buff) -> Option<u32> {
    if has_tag_beside(skb) {
        // SAFETY: the context is valid while the program runs.
        return Some(unsafe { ((*skb).vlan_proto << 16) | (*skb).vlan_tci });
    }
    let [kind, content] = SkbPacket(skb).halves::<2>(HEADER - 2)?;
    Some((u32::from(kind) << 16) | u32::from(u16::from_be(content)))
}

#[inline(always)]
fn to_neighbour(device: u32) -> i32 {
    // SAFETY: no next hop is named, so the helper asks the routing table; it resolves the neighbour and queues the
    // packet meanwhile (since 5.10).
    unsafe { bpf_redirect_neigh(device, core::ptr::null_mut(), 0, 0) as i32 }
}

#[inline(always)]
fn pop(skb: *mut __sk_buff) -> Option<()> {
    // SAFETY: the context is valid while the program runs; no pointer into the packet is kept.
    (unsafe { bpf_skb_vlan_pop(skb) } == 0).then_some(())
}

#[inline(always)]
fn has_tag_beside(skb: *mut __sk_buff) -> bool {
    // SAFETY: the context is valid while the program runs.
    unsafe { (*skb).vlan_present != 0 }
}

#[inline(always)]
fn has_tag_in_bytes(skb: *mut __sk_buff) -> bool {
    // SAFETY: the context is valid while the program runs.
    let protocol = unsafe { (*skb).protocol as u16 };
    ethernet::is_tag(u16::from_be(protocol))
}
