//! A packet under XDP: direct reads and writes between `data` and `data_end`.
//!
//! The pointers are taken from the context anew for each access, since helpers may move the packet; the verifier wants
//! the bounds check before each access anyway.

use aya_ebpf::helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail};
use aya_ebpf::programs::XdpContext;
use lb_common::addr::{Family as _, V4, V6};
use lb_common::csum::Delta;
use lb_common::ethernet::HEADER;
use lb_common::packet::{self, Packet};

use crate::forget::forget;
use crate::since;

/// The largest offset that the verifier adds to the start of a packet (`MAX_PACKET_OFF` in kernel/bpf/verifier.c).
const LONGEST_OFFSET: usize = 0xffff;

/// The packet of an XDP program. Everything the pipeline reads lies in the first buffer.
pub(crate) struct XdpPacket<'a>(pub(crate) &'a XdpContext);

/// All headers that the pipeline looks at, and what an ICMP error quotes, lie within so many bytes: 14 of Ethernet with 8 of
/// tags, 60 of IPv4 or 40 and extensions of IPv6, 8 of ICMP, and as much once more.
const HEADERS: usize = 256;

impl XdpPacket<'_> {
    /// Headers may reach beyond the first buffer of a packet of several. Drivers that split off headers leave some of them
    /// there; large packets of others begin with a buffer of thousands of bytes.
    #[inline(always)]
    pub(crate) fn is_split(&self) -> bool {
        // what is small is mostly there as a whole, which costs less to see than to ask for its length
        self.at::<[u8; HEADERS]>(0).is_none() && !self.is_whole() && self.len() >= HEADERS
    }

    /// All that the IP header says it has lies within the first buffer, if there are no tags before it.
    #[inline(always)]
    fn is_whole(&self) -> bool {
        let Some([kind, _, total, payload]) = self.halves::<4>(HEADER - 2) else { return false };
        let (kind, total, payload) = (u16::from_be(kind), u16::from_be(total), u16::from_be(payload));
        match kind {
            V4::ETHER_TYPE => total != 0 && self.begins_with(HEADER + usize::from(total)),
            V6::ETHER_TYPE => payload != 0 && self.begins_with(HEADER + 40 + usize::from(payload)),
            _ => false,
        }
    }

    /// The first buffer has so many bytes.
    #[inline(always)]
    fn begins_with(&self, end: usize) -> bool {
        end <= LONGEST_OFFSET && self.at::<[u8; 0]>(end).is_some()
    }

    /// A place of type `T` at `offset`, if it lies within the first buffer.
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        let start = self.0.data() + offset;
        // SAFETY: the context is valid while the program runs. Volatile, because LLVM otherwise moves arithmetic of loops
        // to the end of the packet, which the verifier forbids ("pointer arithmetic on pkt_end prohibited").
        let end = unsafe { core::ptr::read_volatile(&raw const (*self.0.ctx).data_end) } as usize;
        if start + size_of::<T>() > end { None } else { Some(start as *mut T) }
    }
}

impl Packet for XdpPacket<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        since::length(self.0.ctx)
    }

    #[inline(always)]
    fn reaches(&self, end: usize) -> bool {
        // the helper costs as much as a map lookup, and what one buffer holds needs none
        self.begins_with(end) || end <= self.len()
    }

    #[inline(always)]
    fn reframe(&mut self, keep: usize, room: usize) -> Option<()> {
        let cut = keep as i32 - self.len() as i32;
        // SAFETY: the helpers check the lengths; pointers into the packet are taken anew for each access.
        let result = unsafe {
            match bpf_xdp_adjust_tail(self.0.ctx, cut) {
                0 => bpf_xdp_adjust_head(self.0.ctx, -(room as i32)),
                error => error,
            }
        };
        (result == 0).then_some(())
    }

    #[inline(always)]
    fn longs<const N: usize>(&self, offset: usize) -> Option<[u64; N]> {
        // SAFETY: as in `words`.
        self.at::<[u64; N]>(offset).map(|place| unsafe { *place })
    }

    #[inline(always)]
    fn words<const N: usize>(&self, offset: usize) -> Option<[u32; N]> {
        // SAFETY: `at` has checked the bounds. The place may be unaligned, which BPF loads from packets allow where the
        // verifier accepts the program (CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS); a byte-wise read costs four times as much.
        self.at::<[u32; N]>(offset).map(|place| unsafe { *place })
    }

    #[inline(always)]
    fn halves<const N: usize>(&self, offset: usize) -> Option<[u16; N]> {
        // SAFETY: as in `words`.
        self.at::<[u16; N]>(offset).map(|place| unsafe { *place })
    }

    #[inline(always)]
    fn set_longs<const N: usize>(&mut self, offset: usize, longs: [u64; N]) -> Option<()> {
        // SAFETY: as in `set_words`.
        self.at::<[u64; N]>(offset).map(|place| unsafe { *place = longs })
    }

    #[inline(always)]
    fn set_words<const N: usize>(&mut self, offset: usize, words: [u32; N]) -> Option<()> {
        // SAFETY: as in `words`; the program owns the packet while it runs.
        self.at::<[u32; N]>(offset).map(|place| unsafe { *place = words })
    }

    #[inline(always)]
    fn set_halves<const N: usize>(&mut self, offset: usize, halves: [u16; N]) -> Option<()> {
        // SAFETY: as in `set_words`.
        self.at::<[u16; N]>(offset).map(|place| unsafe { *place = halves })
    }

    #[inline(always)]
    fn forget(&self, word: u64) -> u64 {
        forget(word)
    }

    #[inline(always)]
    fn update_ip_checksum(&mut self, offset: usize, delta: Delta) -> Option<()> {
        packet::update_ip_checksum(self, offset, delta)
    }

    #[inline(always)]
    fn update_transport_checksum(&mut self, offset: usize, addresses: Delta, ports: Delta, udp: bool) -> Option<()> {
        packet::update_transport_checksum(self, offset, addresses, ports, udp)
    }
}
