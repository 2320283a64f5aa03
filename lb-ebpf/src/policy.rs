//! Policies of services: their programs, their maps, and the lookups over them; and the sources from which everything is
//! dropped.

use aya_ebpf::bindings::{BPF_ANY, BPF_F_MMAPABLE};
use aya_ebpf::helpers::generated::bpf_get_prandom_u32;
use aya_ebpf::macros::{classifier, map, xdp};
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::maps::{Array, LruHashMap};
use aya_ebpf::programs::{TcContext, XdpContext};
use lb_common::abi::{AffinityEntry, AffinityKey, LOAD_OF_WEIGHT_1, LoadEntry, RangeKey4, RangeKey6};
use lb_common::addr::{Addr4, Addr6, Address as _, Family, V4, V6};
use lb_common::ethernet::Ethernet;
use lb_common::limits;
use lb_common::policy::{self, Policies};
use lb_common::verdict::Verdict;

use crate::dsr::Called;
use crate::maps::FamilyMaps;
use crate::skb_packet::SkbPacket;
use crate::tables::{Kernel, Routed};
use crate::xdp_packet::XdpPacket;
use crate::{act_at_tc, act_at_xdp, kernel_at_tc, kernel_at_xdp};

#[map]
static DENIED4: LpmTrie<Addr4, u32> = LpmTrie::with_max_entries(limits::DENIED, 0);
#[map]
static DENIED6: LpmTrie<[u32; 4], u32> = LpmTrie::with_max_entries(limits::DENIED, 0);
#[map]
static RANGES4: LpmTrie<RangeKey4, u32> = LpmTrie::with_max_entries(limits::RANGES, 0);
#[map]
static RANGES6: LpmTrie<RangeKey6, u32> = LpmTrie::with_max_entries(limits::RANGES, 0);
#[map]
static AFFINITY: LruHashMap<AffinityKey, AffinityEntry> = LruHashMap::with_max_entries(limits::AFFINITIES, 0);
#[map]
static LOADS: Array<LoadEntry> = Array::with_max_entries(limits::BACKENDS, BPF_F_MMAPABLE);

/// Judges a packet that begins a flow with a service that has a policy.
#[xdp(frags)]
pub fn weir_xdp_choose(ctx: XdpContext) -> u32 {
    choose_at_xdp::<V4>(&ctx)
}

/// IPv6 of [`weir_xdp_choose`].
#[xdp(frags)]
pub fn weir_xdp_choose6(ctx: XdpContext) -> u32 {
    choose_at_xdp::<V6>(&ctx)
}

/// [`weir_xdp_choose`] on tc.
#[classifier]
pub fn weir_tc_choose(ctx: TcContext) -> i32 {
    choose_at_tc::<V4>(&ctx)
}

/// IPv6 of [`weir_tc_choose`].
#[classifier]
pub fn weir_tc_choose6(ctx: TcContext) -> i32 {
    choose_at_tc::<V6>(&ctx)
}

#[inline(always)]
fn choose_at_xdp<F: Called>(ctx: &XdpContext) -> u32 {
    let kernel = kernel_at_xdp(ctx);
    let frame = Ethernet::parse(&XdpPacket(ctx));
    let verdict = policy::choose::<F, _, _>(&XdpPacket(ctx), frame, &kernel);
    let next = if matches!(verdict, Verdict::Dsr(0)) { F::XDP_DSR } else { F::XDP_BEGIN };
    act_at_xdp::<F>(ctx, kernel.ingress, verdict, next)
}

#[inline(always)]
fn choose_at_tc<F: Called>(ctx: &TcContext) -> i32 {
    let kernel = kernel_at_tc(ctx);
    let frame = Ethernet::parse(&SkbPacket(ctx.skb.skb));
    let verdict = policy::choose::<F, _, _>(&SkbPacket(ctx.skb.skb), frame, &kernel);
    let next = if matches!(verdict, Verdict::Dsr(0)) { F::TC_DSR } else { F::TC_BEGIN };
    act_at_tc::<F>(ctx, kernel.ingress, verdict, next)
}

/// The maps of policies that each family has for itself.
pub(crate) trait PolicyMaps: FamilyMaps {
    /// Everything from the source is dropped.
    fn is_denied(source: <Self as Family>::Addr) -> bool;

    /// The service is for the client.
    fn in_ranges(service: u32, client: <Self as Family>::Addr) -> bool;
}

impl PolicyMaps for V4 {
    #[inline(always)]
    fn is_denied(source: Addr4) -> bool {
        DENIED4.get(Key::new(32, source)).is_some()
    }

    #[inline(always)]
    fn in_ranges(service: u32, client: Addr4) -> bool {
        RANGES4.get(Key::new(64, [service, client.raw()])).is_some()
    }
}

impl PolicyMaps for V6 {
    #[inline(always)]
    fn is_denied(source: Addr6) -> bool {
        DENIED6.get(Key::new(128, source.words())).is_some()
    }

    #[inline(always)]
    fn in_ranges(service: u32, client: Addr6) -> bool {
        let [a, b, c, d] = client.words();
        RANGES6.get(Key::new(160, [service, a, b, c, d])).is_some()
    }
}

impl<F: Routed, const RESOLVES: bool> Policies<F> for Kernel<RESOLVES> {
    #[inline(always)]
    fn in_ranges(&self, service: u32, client: F::Addr) -> bool {
        F::in_ranges(service, client)
    }

    #[inline(always)]
    fn chance(&self) -> u32 {
        // SAFETY: the helper takes nothing.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn affinity(&self, key: &AffinityKey) -> Option<&mut AffinityEntry> {
        // SAFETY: the kernel keeps the element's memory for the run of the program. Other CPUs may write the same words;
        // each is stored whole, and any mix of old and new ones names a backend that the generation confirms or not.
        AFFINITY.get_ptr_mut(key).map(|place| unsafe { &mut *place })
    }

    #[inline(always)]
    fn put_affinity(&self, key: &AffinityKey, entry: &AffinityEntry) {
        // without it the client's next flow is led like its first
        let _ = AFFINITY.insert(key, entry, u64::from(BPF_ANY));
    }

    #[inline(always)]
    fn load_of(&self, backend: u32) -> u64 {
        LOADS.get(backend).map_or(0, |entry| entry.load)
    }

    #[inline(always)]
    fn add_load(&self, backend: u32) {
        let Some(entry) = LOADS.get_ptr_mut(backend) else { return };
        // SAFETY: the element is there; CPUs that add at once may lose one flow, which the agent's next count has.
        unsafe {
            let step = (*entry).step;
            (*entry).load += if step == 0 { LOAD_OF_WEIGHT_1 } else { step };
        }
    }
}
