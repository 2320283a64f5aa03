//! Samples of packets for people: of dropped ones always, a few a second; of forwarded ones where the settings ask for it.
//!
//! A program of its own does the work, called last: so the verifier walks through it once, and it has the stack for itself.
//! What it needs to know of the packet waits in a note of this CPU.

use core::ffi::c_void;
use core::ptr::{read_unaligned, read_volatile};

use aya_ebpf::bindings::{__sk_buff, TC_ACT_UNSPEC, xdp_action, xdp_md};
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_ringbuf_output, bpf_skb_load_bytes, bpf_xdp_load_bytes};
use aya_ebpf::macros::{classifier, map, xdp};
use aya_ebpf::maps::{PerCpuArray, RingBuf};
use aya_ebpf::programs::{TcContext, XdpContext};
use lb_common::abi::{SampleBudget, SampleHead, SampleNote, hook, setting, tc_slot, xdp_slot};
use lb_common::conntrack::ticks;
use lb_common::drop_reason::DropReason;
use lb_common::limits;
use lb_common::sample::{BUDGETS, Capture, SHARED};

use crate::maps::{TC_PROGRAMS, XDP_PROGRAMS};
use crate::since;
use crate::tables::word_of_settings;

#[map]
static SAMPLES: RingBuf = RingBuf::with_byte_size(limits::SAMPLE_BYTES, 0);
#[map]
static SAMPLE_BUDGETS: PerCpuArray<SampleBudget> = PerCpuArray::with_max_entries(BUDGETS, 0);
#[map]
static SAMPLE_NOTES: PerCpuArray<SampleNote> = PerCpuArray::with_max_entries(1, 0);

/// Notes that this packet counts for a service, if it is one of those that are captured.
#[inline(always)]
pub(crate) fn counted(service: u32, backend: u32) {
    let word = word_of_settings(setting::CAPTURE);
    if word != 0
        && Capture::from_word(word).service == service
        && let Some(note) = SAMPLE_NOTES.get_ptr_mut(0)
    {
        // SAFETY: the element is this CPU's own, and nothing else runs on it between here and the sampler.
        unsafe {
            (*note).head.service = service;
            (*note).head.backend = backend;
        }
    }
}

/// The end of an XDP program for a packet that is dropped.
#[inline(always)]
pub(crate) fn dropped_by_xdp(ctx: &XdpContext, device: u32, reason: DropReason) -> u32 {
    leave_note(hook::XDP, device, reason as u32, xdp_action::XDP_DROP);
    // SAFETY: nothing here is dropped; a call that fails returns.
    unsafe { XDP_PROGRAMS.tail_call(ctx, xdp_slot::SAMPLE) };
    xdp_action::XDP_DROP
}

/// The end of an XDP program for any other packet.
#[inline(always)]
pub(crate) fn passed_by_xdp(ctx: &XdpContext, device: u32, action: u32) -> u32 {
    if word_of_settings(setting::CAPTURE) != 0 {
        leave_note(hook::XDP, device, 0, action);
        // SAFETY: as above.
        unsafe { XDP_PROGRAMS.tail_call(ctx, xdp_slot::SAMPLE) };
    }
    action
}

/// The end of a tc program for a packet that is dropped.
#[inline(always)]
pub(crate) fn dropped_by_tc(ctx: &TcContext, hook: u32, device: u32, reason: DropReason, action: i32) -> i32 {
    leave_note(hook, device, reason as u32, action as u32);
    // SAFETY: as above.
    unsafe { TC_PROGRAMS.tail_call(ctx, tc_slot::SAMPLE) };
    action
}

/// The end of a tc program for any other packet.
#[inline(always)]
pub(crate) fn passed_by_tc(ctx: &TcContext, hook: u32, device: u32, action: i32) -> i32 {
    if word_of_settings(setting::CAPTURE) != 0 {
        leave_note(hook, device, 0, action as u32);
        // SAFETY: as above.
        unsafe { TC_PROGRAMS.tail_call(ctx, tc_slot::SAMPLE) };
    }
    action
}

#[inline(always)]
fn leave_note(hook: u32, device: u32, reason: u32, action: u32) {
    if let Some(note) = SAMPLE_NOTES.get_ptr_mut(0) {
        // SAFETY: the element is this CPU's own.
        unsafe {
            (*note).head.hook = hook;
            (*note).head.device = device;
            (*note).head.reason = reason;
            (*note).action = action;
        }
    }
}

/// Takes a sample under XDP and ends as the note says.
#[xdp(frags)]
pub fn weir_sample(ctx: XdpContext) -> u32 {
    let Some(note) = SAMPLE_NOTES.get_ptr_mut(0) else { return xdp_action::XDP_PASS };
    let length = since::length(ctx.ctx) as u32;
    take(note, length, |place, size| load_xdp(ctx.ctx, place, size));
    // SAFETY: the element is this CPU's own.
    unsafe { (*note).action }
}

/// Takes a sample on tc and ends as the note says.
#[classifier]
pub fn weir_sample_tc(ctx: TcContext) -> i32 {
    let Some(note) = SAMPLE_NOTES.get_ptr_mut(0) else { return TC_ACT_UNSPEC };
    let skb = ctx.skb.skb;
    // SAFETY: the context is valid while the program runs.
    let length = unsafe { (*skb).len };
    take(note, length, |place, size| load_skb(skb, place, size));
    // SAFETY: the element is this CPU's own.
    unsafe { (*note).action as i32 }
}

/// Copies the packet behind the head and sends both, within the budget of the CPU.
#[inline(always)]
fn take(note: *mut SampleNote, length: u32, load: impl FnOnce(*mut c_void, u32) -> u32) {
    // SAFETY: the element is this CPU's own. Read once: with the note taken, the next packet begins without a service.
    let (reason, service) = unsafe {
        let service = (*note).head.service;
        (*note).head.service = 0;
        ((*note).head.reason, service)
    };
    let now = ticks(since::clock());
    let Some((snap, limit)) = wanted(reason, service, now) else { return };
    let Some(budget) = SAMPLE_BUDGETS.get_ptr_mut(reason) else { return };
    // SAFETY: the element is this CPU's own.
    if !spend(unsafe { &mut *budget }, now, limit) {
        return;
    }
    emit(note, budget, (length, snap), service, load);
}

/// Gives an ICMP error to the agent as it is, within the budget of the CPU for such.
#[inline(always)]
pub(crate) fn share(skb: *mut __sk_buff, device: u32) {
    let Some(note) = SAMPLE_NOTES.get_ptr_mut(0) else { return };
    let Some(budget) = SAMPLE_BUDGETS.get_ptr_mut(SHARED) else { return };
    let now = ticks(since::clock());
    // SAFETY: the element is this CPU's own.
    if !spend(unsafe { &mut *budget }, now, limits::SHARED_ERRORS) {
        return;
    }
    leave_note(hook::SHARED, device, 0, 0);
    // SAFETY: the context is valid while the program runs.
    let length = unsafe { (*skb).len };
    emit(note, budget, (length, limits::SNAP_MAX), 0, |place, size| load_skb(skb, place, size));
}

/// Copies at most `snap` bytes of the packet behind the head and sends both.
#[inline(always)]
fn emit(
    note: *mut SampleNote,
    budget: *mut SampleBudget,
    (length, snap): (u32, u32),
    service: u32,
    load: impl FnOnce(*mut c_void, u32) -> u32,
) {
    let size = bounded(if length < snap { length } else { snap });
    // SAFETY: the elements are this CPU's own; `bytes` holds at least `size`; head and bytes lie behind one another.
    unsafe {
        (*note).head.time = bpf_ktime_get_ns();
        (*note).head.length = length;
        (*note).head.service = service;
        (*note).head.captured = load((&raw mut (*note).bytes).cast(), size);
        let ring = (&raw const SAMPLES).cast_mut().cast::<c_void>();
        if bpf_ringbuf_output(ring, note.cast(), u64::from(size) + size_of::<SampleHead>() as u64, 0) != 0 {
            (*budget).lost += 1;
        }
        (*note).head.service = 0;
    }
}

/// How much of the packet is wanted, and how many of its kind a tick; `None` if none. The settings hold only until their
/// time is over, so that nobody who asked and died keeps it going.
#[inline(always)]
fn wanted(reason: u32, service: u32, now: u32) -> Option<(u32, u32)> {
    let capture = Capture::from_word(word_of_settings(setting::CAPTURE));
    let left = (word_of_settings(setting::CAPTURE_UNTIL) as u32).wrapping_sub(now);
    let holds = left != 0 && left < u32::MAX / 2;
    if reason != 0 {
        let all = holds && capture.drops;
        let (snap, rate) = if all { (capture.snap, capture.rate) } else { (limits::DROP_SNAP, limits::DROP_SAMPLES) };
        return Some((snap, if rate < limits::DROP_SAMPLES { limits::DROP_SAMPLES } else { rate }));
    }
    (holds && service != 0 && service == capture.service).then_some((capture.snap, capture.rate))
}

/// One sample of what this CPU may take of the kind in this tick; false if that is used up.
#[inline(always)]
fn spend(budget: &mut SampleBudget, now: u32, limit: u32) -> bool {
    if budget.tick != now {
        budget.tick = now;
        budget.taken = 0;
    }
    if budget.taken >= limit {
        return false;
    }
    budget.taken += 1;
    true
}

/// From 1 to [`limits::SNAP_MAX`], a power of two, by a mask: of comparisons LLVM makes such as the verifier learns nothing
/// from.
#[inline(always)]
const fn bounded(size: u32) -> u32 {
    (size.wrapping_sub(1) & (limits::SNAP_MAX - 1)) + 1
}

#[inline(always)]
fn load_xdp(ctx: *mut xdp_md, place: *mut c_void, size: u32) -> u32 {
    if !since::xdp_buffers() {
        return copy(ctx, place.cast(), size);
    }
    // SAFETY: the helper writes `size` bytes or fails.
    if unsafe { bpf_xdp_load_bytes(ctx, 0, place, size) == 0 } { size } else { 0 }
}

/// How many words are copied at most where there is no helper for it: headers, and more than of a drop is shown.
const COPIED: usize = 32;

/// The same word by word; gives how many bytes it copied, of which the last few may be missing.
#[inline(always)]
fn copy(ctx: *mut xdp_md, place: *mut [u64; COPIED], size: u32) -> u32 {
    const WORD: usize = size_of::<u64>();
    let mut copied = 0;
    while copied < COPIED {
        // SAFETY: the context is valid while the program runs. Volatile: see `XdpPacket::at`.
        let (start, end) =
            unsafe { (read_volatile(&raw const (*ctx).data), read_volatile(&raw const (*ctx).data_end)) };
        let from = start as usize + copied * WORD;
        if (copied + 1) * WORD > size as usize || from + WORD > end as usize {
            break;
        }
        // SAFETY: both bounds are checked: of the packet above, of the note by the number of words.
        unsafe { (*place)[copied] = read_unaligned(from as *const u64) };
        copied += 1;
    }
    (copied * WORD) as u32
}

#[inline(always)]
fn load_skb(skb: *mut __sk_buff, place: *mut c_void, size: u32) -> u32 {
    // SAFETY: the helper writes `size` bytes or fails.
    if unsafe { bpf_skb_load_bytes(skb.cast(), 0, place, size) == 0 } { size } else { 0 }
}
