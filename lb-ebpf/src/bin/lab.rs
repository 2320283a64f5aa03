//! Programs for tests and benchmarks; never part of the product.
#![no_std]
#![no_main]
#![allow(unsafe_code, reason = "kernel memory and helpers; every block says why it is sound")]
#![expect(unreachable_pub, reason = "entry points are found by their symbol")]
#![expect(missing_docs, reason = "the attribute macros make undocumented functions of the entry points")]

use core::mem::MaybeUninit;

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, bpf_fib_lookup as FibParams, xdp_action};
use aya_ebpf::helpers::generated::{
    bpf_csum_diff, bpf_csum_update, bpf_fib_lookup, bpf_skb_load_bytes, bpf_skb_vlan_pop, bpf_skb_vlan_push,
    bpf_xdp_adjust_head, bpf_xdp_adjust_meta,
};
use aya_ebpf::macros::{classifier, map, xdp};
use aya_ebpf::maps::{Array, PerCpuArray, ProgramArray};
use aya_ebpf::programs::{TcContext, XdpContext};

/// For the peers of veths that transmit by XDP_TX.
#[xdp(frags)]
pub fn lab_pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Not 0: stations are behind one VLAN ([`CUSTOMER`]) and not behind two.
#[map]
pub static ONE_TAG: Array<u64> = Array::with_max_entries(1, 0);
/// EtherType and number of the inner one of two VLANs, and of the outer one.
const CUSTOMER: (u16, u16) = (TAG_8021Q, 10);
const SERVICE: (u16, u16) = (TAG_8021AD, 20);

#[inline(always)]
fn has_one_tag() -> bool {
    ONE_TAG.get(0).is_some_and(|word| *word != 0)
}

/// At tc egress of a station behind one or two VLANs: all but what finds neighbours gets a tag, or a tag within a tag.
#[classifier]
pub fn lab_tag(ctx: TcContext) -> i32 {
    if finds_neighbours(&ctx) {
        return TC_ACT_UNSPEC;
    }
    for (kind, vlan) in [CUSTOMER, SERVICE] {
        if kind == SERVICE.0 && has_one_tag() {
            break;
        }
        // SAFETY: the context is valid while the program runs; no pointer into the packet is kept.
        if unsafe { bpf_skb_vlan_push(ctx.skb.skb, kind.to_be(), vlan) } != 0 {
            return TC_ACT_SHOT;
        }
    }
    TC_ACT_UNSPEC
}

/// At tc ingress of such a station: takes the tags off; what does not have them is for others.
#[classifier]
pub fn lab_untag(ctx: TcContext) -> i32 {
    if finds_neighbours(&ctx) {
        return TC_ACT_UNSPEC;
    }
    for (kind, vlan) in [SERVICE, CUSTOMER] {
        if kind == SERVICE.0 && has_one_tag() {
            continue;
        }
        // SAFETY: as in `lab_tag`.
        let mine = unsafe { (*ctx.skb.skb).vlan_present != 0 && (*ctx.skb.skb).vlan_tci == u32::from(vlan) };
        // SAFETY: as in `lab_tag`. The helper puts the tag behind the first one in its place.
        if !mine || unsafe { bpf_skb_vlan_pop(ctx.skb.skb) } != 0 {
            return TC_ACT_SHOT;
        }
    }
    TC_ACT_UNSPEC
}

/// What came of the sums that a device gave over whole packets ([`lab_sum`]): right, wrong, or there was none.
#[map]
pub static SUMS: Array<u64> = Array::with_max_entries(3, 0);
/// Longest packet that is summed, in bytes.
const SUMMED: usize = 256;

/// At tc ingress behind the program under test: whether the sum over the packet that its device gave (CHECKSUM_COMPLETE) is
/// still that of its bytes.
#[classifier]
pub fn lab_sum(ctx: TcContext) -> i32 {
    let length = ctx.len() as usize;
    if length <= ETHERNET || length - ETHERNET > SUMMED || finds_neighbours(&ctx) {
        return TC_ACT_UNSPEC;
    }
    // SAFETY: adds nothing, and gives the sum; it fails where there is none.
    let given = unsafe { bpf_csum_update(ctx.skb.skb, 0) };
    let kind = match own_sum(&ctx, length - ETHERNET) {
        _ if given < 0 => 2,
        Some(own) if fold(own) == fold(given as u32) => 0,
        _ => 1,
    };
    if let Some(count) = SUMS.get_ptr_mut(kind) {
        // SAFETY: the element is a whole word; the tests send one packet at a time.
        unsafe { *count += 1 };
    }
    TC_ACT_UNSPEC
}

#[inline(always)]
fn own_sum(ctx: &TcContext, length: usize) -> Option<u32> {
    let mut bytes = [0u32; SUMMED / 4];
    // SAFETY: the helper writes `length` bytes, which is no more than there is room for; the other one reads them all.
    unsafe {
        let to = bytes.as_mut_ptr();
        if length == 0
            || length > SUMMED
            || bpf_skb_load_bytes(ctx.skb.skb.cast(), ETHERNET as u32, to.cast(), length as u32) != 0
        {
            return None;
        }
        let sum = bpf_csum_diff(core::ptr::null_mut(), 0, to, SUMMED as u32, 0);
        (sum >= 0).then_some(sum as u32)
    }
}

/// One's complement: all ones are zero, too.
#[inline(always)]
fn fold(sum: u32) -> u32 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    if sum == 0xffff { 0 } else { sum }
}

const ETHERNET: usize = 14;
const TAG_8021Q: u16 = 0x8100;
const TAG_8021AD: u16 = 0x88a8;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
/// Where IPv6 without tags names what follows its header, and ICMPv6 there.
const NEXT_HEADER: usize = 20;
const ICMPV6: u8 = 58;

/// ARP, or ICMP of IPv6, by which neighbours are found: without tags, since the node between has no VLANs.
#[inline(always)]
fn finds_neighbours(ctx: &TcContext) -> bool {
    // SAFETY: the context is valid while the program runs.
    let protocol = unsafe { (*ctx.skb.skb).protocol as u16 };
    match u16::from_be(protocol) {
        ARP => true,
        IPV6 => ctx.load::<u8>(NEXT_HEADER).is_ok_and(|number| number == ICMPV6),
        _ => false,
    }
}

/// Words of the headers that a run may change: Ethernet and TCP, and IPv4 or IPv6 between them.
const HEADERS4: usize = 14;
const HEADERS6: usize = 19;
/// Bytes of the packets of either family.
const LENGTH4: usize = 64;
const LENGTH6: usize = 80;

/// The headers of the packet, as each run is to see them.
#[map]
pub static TEMPLATE: Array<[u32; HEADERS6]> = Array::with_max_entries(1, 0);
/// How many flows the packets are spread over, less one: a power of two less one.
#[map]
pub static FLOW_MASK: Array<u64> = Array::with_max_entries(1, 0);
/// Packets so far.
#[map]
pub static ROUND: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
/// The program under test.
#[map]
pub static UNDER_TEST: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Puts the packet back as the template says, for the next of the flows, and calls the program under test.
///
/// BPF_PROG_TEST_RUN with `repeat` does not reset the packet: without this a load balancer would see its own output.
#[xdp(frags)]
pub fn lab_restore(ctx: XdpContext) -> u32 {
    let metadata = ctx.data() as i32 - ctx.metadata() as i32;
    if metadata != 0 {
        // SAFETY: takes back what the program under test has put in front of the packet.
        unsafe { bpf_xdp_adjust_meta(ctx.ctx, metadata) };
    }
    if restore(&ctx).is_some() {
        // SAFETY: a tail call either does not return or changes nothing.
        unsafe { UNDER_TEST.tail_call(&ctx, 0) };
    }
    xdp_action::XDP_ABORTED
}

/// Flow k has k added to the low half of its source address, and the bits above to its source port. What is added is taken from the
/// IPv4 identification, so that the header checksum stays right.
#[inline(always)]
fn restore(ctx: &XdpContext) -> Option<()> {
    let template = TEMPLATE.get(0)?;
    let round = ROUND.get_ptr_mut(0)?;
    // SAFETY: the element is this CPU's own.
    let count = unsafe {
        *round += 1;
        *round
    };
    // consecutive packets belong to distant flows: an odd factor permutes the residues of a power of two
    let flow = count.wrapping_mul(0x9e37_79b1) & *FLOW_MASK.get(0)?;
    let (low, port) = (flow as u16, 1024 + (flow >> 16) as u16);
    let is_ipv6 = template[3] as u16 == IPV6.to_be();
    shrink(ctx, if is_ipv6 { LENGTH6 } else { LENGTH4 });
    let place = ctx.data();
    if is_ipv6 {
        if place + 4 * HEADERS6 > ctx.data_end() {
            return None;
        }
        // SAFETY: the bounds are checked.
        unsafe {
            *(place as *mut [u32; HEADERS6]) = *template;
            *((place + 36) as *mut u16) = low.to_be();
            *((place + 54) as *mut u16) = port.to_be();
        }
        return Some(());
    }
    if place + 4 * HEADERS4 > ctx.data_end() {
        return None;
    }
    // SAFETY: the bounds are checked.
    unsafe {
        *(place as *mut [u32; HEADERS4]) = *template.first_chunk()?;
        *((place + 18) as *mut u16) = (0xffff - low).to_be();
        *((place + 28) as *mut u16) = low.to_be();
        *((place + 34) as *mut u16) = port.to_be();
    }
    Some(())
}

/// Takes off what the program under test has put in front of a packet of this length.
#[inline(always)]
fn shrink(ctx: &XdpContext, length: usize) {
    let more = (ctx.data_end() - ctx.data()) as i32 - length as i32;
    if more > 0 {
        // SAFETY: the helper checks the length; pointers into the packet are read anew.
        unsafe { bpf_xdp_adjust_head(ctx.ctx, more) };
    }
}

/// Makes room for an IPv4 header in front of the packet, which the wrapper takes back: half of what that costs is the wrapper's.
#[xdp(frags)]
pub fn lab_grow(ctx: XdpContext) -> u32 {
    // SAFETY: the helper checks whether there is room.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, -20) } == 0 { xdp_action::XDP_PASS } else { xdp_action::XDP_ABORTED }
}

/// Does nothing: what the wrapper itself costs.
#[xdp(frags)]
pub fn lab_nothing(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// One lookup in the kernel's routing table, the yardstick.
#[xdp(frags)]
pub fn lab_route(ctx: XdpContext) -> u32 {
    // SAFETY: all zeroes is a valid request; the helper fills it in.
    let mut params = unsafe { MaybeUninit::<FibParams>::zeroed().assume_init() };
    params.family = 2;
    params.ifindex = ctx.ingress_ifindex() as u32;
    params.__bindgen_anon_4.ipv4_dst = u32::from_ne_bytes([10, 244, 2, 20]);
    // SAFETY: context and request are valid, the size is that of the request.
    let result = unsafe { bpf_fib_lookup(ctx.ctx.cast(), &raw mut params, size_of::<FibParams>() as i32, 0) };
    if result == 0 { xdp_action::XDP_PASS } else { xdp_action::XDP_ABORTED }
}

/// The licence under which the kernel may load the programs.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
pub static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// The host only checks this crate (`cargo check --workspace`): there the standard library handles panics.
#[cfg(not(target_arch = "bpf"))]
extern crate std;

/// A panic that can be reached is an endless loop, which the verifier refuses.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
