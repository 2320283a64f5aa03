//! SYN cookies of the front: programs of their own, so that nothing else grows, and the sockets that they ask.

use core::ffi::c_void;
use core::ptr::read_volatile;

use aya_ebpf::bindings::{BPF_TCP_LISTEN, TC_ACT_SHOT, TC_ACT_UNSPEC, bpf_sock_tuple, tcphdr, xdp_action};
use aya_ebpf::helpers::generated::{
    bpf_redirect, bpf_sk_release, bpf_skc_lookup_tcp, bpf_tcp_check_syncookie, bpf_tcp_gen_syncookie,
};
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use lb_common::abi::{FlowKey, Task, hook};
use lb_common::addr::{Address, V4, V6};
use lb_common::cookie::{self, Cookies, Headers, KEPT, Known};
use lb_common::ethernet::Ethernet;
use lb_common::verdict::Verdict;

use crate::forget::forget;
use crate::skb_packet::SkbPacket;
use crate::tables::{Kernel, Routed};
use crate::xdp_packet::XdpPacket;
use crate::{handover, kernel_at_tc, kernel_at_xdp, mark_for_front, sample};

/// `BPF_F_CURRENT_NETNS`, include/uapi/linux/bpf.h.
const CURRENT_NAMESPACE: u64 = u64::MAX;

/// Guards the front where packets come in.
#[xdp(frags)]
pub fn weir_xdp_cookie(ctx: XdpContext) -> u32 {
    at_xdp::<V4>(&ctx)
}

/// IPv6 of [`weir_xdp_cookie`].
#[xdp(frags)]
pub fn weir_xdp_cookie6(ctx: XdpContext) -> u32 {
    at_xdp::<V6>(&ctx)
}

/// [`weir_xdp_cookie`] on tc.
#[classifier]
pub fn weir_tc_cookie(ctx: TcContext) -> i32 {
    at_tc::<V4>(&ctx)
}

/// IPv6 of [`weir_tc_cookie`].
#[classifier]
pub fn weir_tc_cookie6(ctx: TcContext) -> i32 {
    at_tc::<V6>(&ctx)
}

#[inline(always)]
fn at_xdp<F: Routed>(ctx: &XdpContext) -> u32 {
    let kernel = kernel_at_xdp(ctx);
    let frame = Ethernet::parse(&XdpPacket(ctx));
    let action = match cookie::guard::<F, _, _>(&mut XdpPacket(ctx), frame, &kernel) {
        Verdict::Front => handover::pass_with(ctx, Task::Front),
        Verdict::Answer => xdp_action::XDP_TX,
        Verdict::Drop(reason) => return sample::dropped_by_xdp(ctx, kernel.ingress, reason),
        _ => xdp_action::XDP_PASS,
    };
    sample::passed_by_xdp(ctx, kernel.ingress, action)
}

#[inline(always)]
fn at_tc<F: Routed>(ctx: &TcContext) -> i32 {
    let kernel = kernel_at_tc(ctx);
    let frame = Ethernet::parse(&SkbPacket(ctx.skb.skb));
    let action = match cookie::guard::<F, _, _>(&mut SkbPacket(ctx.skb.skb), frame, &kernel) {
        Verdict::Front => mark_for_front(ctx),
        // SAFETY: the helper only notes the device; it returns TC_ACT_REDIRECT.
        Verdict::Answer => unsafe { bpf_redirect(kernel.ingress, 0) as i32 },
        Verdict::Drop(reason) => {
            return sample::dropped_by_tc(ctx, hook::TC_INGRESS, kernel.ingress, reason, TC_ACT_SHOT);
        }
        _ => TC_ACT_UNSPEC,
    };
    sample::passed_by_tc(ctx, hook::TC_INGRESS, kernel.ingress, action)
}

impl<F: Routed, const RESOLVES: bool> Cookies<F> for Kernel<RESOLVES> {
    #[inline(always)]
    fn cookie(&self, key: &FlowKey<F::Addr>, headers: &Headers) -> Option<(u32, u16)> {
        let length = length(headers)?;
        // SAFETY: the socket is held; the headers are as long as is said, and the helper only reads them.
        let made = with_listener(self.ctx, key, headers, |listener| unsafe {
            bpf_tcp_gen_syncookie(listener, network(headers), network_length::<F::Addr>(), transport(headers), length)
        });
        made.ok().filter(|made| *made >= 0).map(|made| (made as u32, (made >> 32) as u16))
    }

    #[inline(always)]
    fn knows(&self, key: &FlowKey<F::Addr>, headers: &Headers) -> Known {
        let Some(length) = length(headers) else { return Known::Stranger };
        // SAFETY: as in `cookie`.
        let checked = with_listener(self.ctx, key, headers, |listener| unsafe {
            bpf_tcp_check_syncookie(listener, network(headers), network_length::<F::Addr>(), transport(headers), length)
        });
        match checked {
            Err(other) => other,
            Ok(0) => Known::Cookie,
            Ok(_) => Known::Stranger,
        }
    }
}

/// Asks the listener of a segment; or says whether there is another socket for it. Which listener it is the kernel asks
/// [`crate::weir_sk_lookup`], as when the segment arrives.
#[inline(always)]
fn with_listener<A: Address>(
    ctx: *mut c_void,
    key: &FlowKey<A>,
    headers: &Headers,
    ask: impl FnOnce(*mut c_void) -> i64,
) -> Result<i64, Known> {
    // addresses and ports as `bpf_sock_tuple` has them: 3 words of IPv4, 9 of IPv6
    let (source, destination, ports) = (key.source.words(), key.destination.words(), headers.transport[0]);
    let mut tuple = [0_u32; 9];
    let size = if A::WORDS == 1 {
        (tuple[0], tuple[1], tuple[2]) = (source[0], destination[0], ports);
        12
    } else {
        tuple[..4].copy_from_slice(&source);
        tuple[4..8].copy_from_slice(&destination);
        tuple[8] = ports;
        36
    };
    // SAFETY: the context is the program's, the tuple as long as is said; a socket that is found is released below.
    unsafe {
        let socket = bpf_skc_lookup_tcp(ctx, (&raw mut tuple).cast::<bpf_sock_tuple>(), size, CURRENT_NAMESPACE, 0);
        if socket.is_null() {
            return Err(Known::Stranger);
        }
        if read_volatile(&raw const (*socket).state) != BPF_TCP_LISTEN {
            bpf_sk_release(socket.cast());
            return Err(Known::Connected);
        }
        let answer = ask(socket.cast());
        bpf_sk_release(socket.cast());
        Ok(answer)
    }
}

/// Bytes of the TCP header, within bounds that the verifier sees: the compiler knows them, and would leave them out.
#[inline(always)]
fn length(headers: &Headers) -> Option<u32> {
    let length = forget(headers.length as u64) as u32 & (4 * KEPT as u32 - 1);
    (length >= 20).then_some(length)
}

#[inline(always)]
fn network(headers: &Headers) -> *mut c_void {
    (&raw const headers.network).cast_mut().cast()
}

#[inline(always)]
const fn network_length<A: Address>() -> u32 {
    if A::WORDS == 1 { 20 } else { 40 }
}

#[inline(always)]
fn transport(headers: &Headers) -> *mut tcphdr {
    (&raw const headers.transport).cast_mut().cast()
}
