//! A line per packet, for debugging: only in an object built with the feature `log`, which no release carries.

use aya_ebpf::EbpfContext;
use aya_log_ebpf::debug;
use lb_common::verdict::Verdict;

/// Logs what became of a packet at `hook`.
#[inline(always)]
pub(crate) fn verdict<C: EbpfContext>(ctx: &C, hook: &str, verdict: Verdict) {
    match verdict {
        Verdict::Pass => debug!(ctx, "{}: pass", hook),
        Verdict::Deliver => debug!(ctx, "{}: rewritten for the stack", hook),
        Verdict::Cookie(_) => debug!(ctx, "{}: to the front, guarded", hook),
        Verdict::Front => debug!(ctx, "{}: to the front", hook),
        Verdict::HandOver(task) => debug!(ctx, "{}: handed over, task {}", hook, task as u32),
        Verdict::Transmit(device) => debug!(ctx, "{}: out of device {}", hook, device),
        Verdict::Answer => debug!(ctx, "{}: answered", hook),
        Verdict::Dsr(_) | Verdict::Choose(_) | Verdict::Tunnel => debug!(ctx, "{}: goes on elsewhere", hook),
        Verdict::Drop(reason) => debug!(ctx, "{}: dropped, reason {}", hook, reason as u32),
        Verdict::Refuse(why) => debug!(ctx, "{}: refused, because {}", hook, why),
    }
}
