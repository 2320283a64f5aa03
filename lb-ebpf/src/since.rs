//! What the running kernel has of what came after the oldest one that weir runs on (5.10). The loader sets these words
//! before the verifier sees the programs, and it passes over what is not reached: a helper that a kernel does not know is
//! no error there, and the choice costs no packet anything.

use core::ptr::read_volatile;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns, bpf_xdp_get_buff_len};

/// `bpf_ktime_get_coarse_ns`, since 5.11.
#[unsafe(no_mangle)]
static COARSE_CLOCK: u8 = 1;

/// Packets of several buffers under XDP, since 5.18: `bpf_xdp_get_buff_len`, `bpf_xdp_load_bytes`, and the kind of program
/// that sees such packets.
#[unsafe(no_mangle)]
static XDP_BUFFERS: u8 = 1;

/// The device by which what sk_lookup looks for came in, since 5.17.
#[unsafe(no_mangle)]
static LOOKUP_DEVICE: u8 = 1;

/// Whether sk_lookup is told by which device a packet came in.
#[inline(always)]
pub(crate) fn lookup_device() -> bool {
    // SAFETY: as in `xdp_buffers`.
    unsafe { read_volatile(&raw const LOOKUP_DEVICE) != 0 }
}

/// Whether XDP may see packets of several buffers.
#[inline(always)]
pub(crate) fn xdp_buffers() -> bool {
    // SAFETY: the static is valid; volatile, because the loader gives it another value than the compiler sees.
    unsafe { read_volatile(&raw const XDP_BUFFERS) != 0 }
}

/// The monotonic clock in nanoseconds, to a few milliseconds where the kernel has it so cheaply.
#[inline(always)]
pub(crate) fn clock() -> u64 {
    // SAFETY: as in `xdp_buffers`; the helpers take nothing and only read the clock.
    unsafe { if read_volatile(&raw const COARSE_CLOCK) != 0 { bpf_ktime_get_coarse_ns() } else { bpf_ktime_get_ns() } }
}

/// Length of a packet under XDP.
#[inline(always)]
pub(crate) fn length(ctx: *mut xdp_md) -> usize {
    if xdp_buffers() {
        // SAFETY: the helper only reads the context, which is valid while the program runs.
        unsafe { bpf_xdp_get_buff_len(ctx) as usize }
    } else {
        // SAFETY: the context is valid while the program runs. Volatile: see `XdpPacket::at`.
        let (start, end) =
            unsafe { (read_volatile(&raw const (*ctx).data), read_volatile(&raw const (*ctx).data_end)) };
        end as usize - start as usize
    }
}
