//! Eight bytes in front of the packet that XDP leaves for the tc companion.

use aya_ebpf::bindings::{__sk_buff, xdp_action};
use aya_ebpf::helpers::generated::bpf_xdp_adjust_meta;
use aya_ebpf::programs::XdpContext;
use lb_common::abi::{HANDOVER_MAGIC, Handover, Task};

/// Passes the packet to the stack with a word for the companion. A driver without room for metadata passes it without:
/// the companion then finds out by itself.
#[inline(always)]
pub(crate) fn pass_with(ctx: &XdpContext, task: Task) -> u32 {
    // SAFETY: the helper moves `data_meta` of this context; pointers are read anew below.
    if unsafe { bpf_xdp_adjust_meta(ctx.ctx, -(size_of::<Handover>() as i32)) } != 0 {
        return xdp_action::XDP_PASS;
    }
    let place = ctx.metadata();
    if place + size_of::<Handover>() <= ctx.data() {
        // SAFETY: the bounds are checked; the metadata area is aligned to four bytes.
        unsafe { *(place as *mut Handover) = Handover { task: HANDOVER_MAGIC | task as u32, argument: 0 } };
    }
    xdp_action::XDP_PASS
}

/// What XDP asks for; `None` if it left no word.
#[inline(always)]
pub(crate) fn task(skb: *mut __sk_buff) -> Option<Task> {
    // SAFETY: the context is valid while the program runs, and the bounds are checked before the read.
    let task = unsafe {
        let (meta, data) = ((*skb).data_meta as usize, (*skb).data as usize);
        if meta + size_of::<Handover>() > data {
            return None;
        }
        (*(meta as *const Handover)).task
    };
    match task.wrapping_sub(HANDOVER_MAGIC) {
        0 => Some(Task::Done),
        1 => Some(Task::Front),
        2 => Some(Task::Forward),
        _ => None,
    }
}
