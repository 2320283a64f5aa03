//! Eight bytes in front of the packet that XDP leaves for the tc companion.

use aya_ebpf::bindings::{__sk_buff, xdp_action};
use aya_ebpf::helpers::generated::bpf_xdp_adjust_meta;
use aya_ebpf::programs::XdpContext;
use lb_common::abi::{HANDOVER_MAGIC, Handover, Task};
use lb_common::dsr::{self, Arrival};
use lb_common::lookup::Lookup;

use crate::tables::{Kernel, Routed};

/// Passes the packet to the stack with a word for the companion. A driver without room for metadata passes it without:
/// the companion then finds out by itself.
#[inline(always)]
pub(crate) fn pass_with(ctx: &XdpContext, task: Task) -> u32 {
    pass(ctx, task, 0)
}

/// The same where the packet may have come in a tunnel. Other packets of the batch meet XDP before the companion sees this
/// one, and write over the note, so its flow goes with it.
#[inline(always)]
pub(crate) fn pass_noted<F: Routed>(ctx: &XdpContext, kernel: &Kernel<false>, task: Task) -> u32 {
    let noted = if let Task::SendOn = task { Lookup::<F>::note(kernel) } else { None };
    pass(ctx, task, noted.map_or(0, |note| note.flow))
}

#[inline(always)]
fn pass(ctx: &XdpContext, task: Task, flow: u32) -> u32 {
    // SAFETY: the helper moves `data_meta` of this context; pointers are read anew below.
    if unsafe { bpf_xdp_adjust_meta(ctx.ctx, -(size_of::<Handover>() as i32)) } != 0 {
        return xdp_action::XDP_PASS;
    }
    let place = ctx.metadata();
    if place + size_of::<Handover>() <= ctx.data() {
        // SAFETY: the bounds are checked; the metadata area is aligned to four bytes.
        unsafe { *(place as *mut Handover) = Handover { task: HANDOVER_MAGIC | task as u32, flow } };
    }
    xdp_action::XDP_PASS
}

/// What XDP asks for; `None` if it left no word.
#[inline(always)]
pub(crate) fn task(skb: *mut __sk_buff) -> Option<Task> {
    word(skb)?.task()
}

/// Notes that the packet came in a tunnel, if XDP says so.
#[inline(always)]
pub(crate) fn note_arrival<F: Routed>(kernel: &Kernel<true>) {
    let Some(word) = word(kernel.ctx.cast()) else { return };
    if let Some(Task::SendOn) = word.task() {
        dsr::note_arrival::<F, _>(kernel, word.flow, Arrival::Tunnel);
    }
}

#[inline(always)]
fn word(skb: *mut __sk_buff) -> Option<Handover> {
    // SAFETY: the context is valid while the program runs, and the bounds are checked before the read.
    unsafe {
        let (meta, data) = ((*skb).data_meta as usize, (*skb).data as usize);
        if meta + size_of::<Handover>() > data {
            return None;
        }
        Some(*(meta as *const Handover))
    }
}
