//! What each CPU remembers for a moment, so that a packet does not pay for a call of the kernel's functions each time: on CPUs that
//! guard returns (SRSO, Retbleed) such a call costs as much as a cache miss.
//!
//! The elements are this CPU's own. On tc a program may be interrupted by one under XDP: whatever is left of the two was true in the
//! tick or under the stamp that stands beside it, or is asked for again.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use lb_common::abi::{RecentClock, RecentDevice, RecentFrontend, setting};
use lb_common::addr::{Family, V4, V6};
use lb_common::ethernet::Mac;
use lb_common::limits;

use crate::maps::{DEVICES, FamilyMaps};
use crate::since;
use crate::tables::word_of_settings;

#[map]
static RECENT_CLOCK: PerCpuArray<RecentClock> = PerCpuArray::with_max_entries(1, 0);
#[map]
static RECENT_DEVICES: PerCpuArray<RecentDevice> = PerCpuArray::with_max_entries(limits::RECENT_DEVICES, 0);
#[map]
static RECENT_FRONTENDS4: PerCpuArray<RecentFrontend<<V4 as Family>::Addr>> =
    PerCpuArray::with_max_entries(limits::RECENT_FRONTENDS, 0);
#[map]
static RECENT_FRONTENDS6: PerCpuArray<RecentFrontend<<V6 as Family>::Addr>> =
    PerCpuArray::with_max_entries(limits::RECENT_FRONTENDS, 0);

/// What each family remembers in maps of its own.
pub(crate) trait RecentMaps: FamilyMaps {
    /// RECENT_FRONTENDS.
    const RECENT_FRONTENDS: &'static PerCpuArray<RecentFrontend<<Self as Family>::Addr>>;
}

impl RecentMaps for V4 {
    const RECENT_FRONTENDS: &'static PerCpuArray<RecentFrontend<<V4 as Family>::Addr>> = &RECENT_FRONTENDS4;
}

impl RecentMaps for V6 {
    const RECENT_FRONTENDS: &'static PerCpuArray<RecentFrontend<<V6 as Family>::Addr>> = &RECENT_FRONTENDS6;
}

/// So many ticks of the kernel, as a power of two, that what is remembered holds: 0.13 to 1.28 seconds.
const MOMENT: u32 = 7;

/// Ticks of the kernel; the verifier makes a load of it, not a call.
#[inline(always)]
fn jiffies() -> u64 {
    // SAFETY: the helper takes nothing.
    unsafe { bpf_jiffies64() }
}

/// As [`lb_common::lookup::Lookup::stamp`] says.
#[inline(always)]
pub(crate) fn stamp() -> u64 {
    (jiffies() >> MOMENT) << 32 | (word_of_settings(setting::HOP_EPOCH) & 0xffff_ffff)
}

/// [`since::clock`], asked once a tick of the kernel: it is no finer.
#[inline(always)]
pub(crate) fn clock() -> u64 {
    let Some(recent) = RECENT_CLOCK.get_ptr_mut(0) else { return since::clock() };
    let now = jiffies();
    // SAFETY: the element is this CPU's own.
    unsafe {
        if (*recent).jiffies != now {
            (*recent).clock = since::clock();
            (*recent).jiffies = now;
        }
        (*recent).clock
    }
}

/// The hardware address of a device; zero if it is not known.
#[inline(always)]
pub(crate) fn mac_of(device: u32) -> Mac {
    let stamp = stamp();
    let place = RECENT_DEVICES.get_ptr_mut(device & (limits::RECENT_DEVICES - 1));
    if let Some(place) = place {
        // SAFETY: the element is this CPU's own.
        let recent = unsafe { &*place };
        if recent.stamp == stamp && recent.device == device {
            return recent.mac;
        }
    }
    // SAFETY: plain words; the agent replaces elements whole.
    let mac = unsafe { DEVICES.get(device) }.map_or([0; 3], |entry| entry.mac);
    if let Some(place) = place {
        // SAFETY: the element is this CPU's own.
        unsafe { *place = RecentDevice { stamp, device, mac, fill: [0; 3] } };
    }
    mac
}
