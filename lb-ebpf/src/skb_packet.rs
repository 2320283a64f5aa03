//! A packet on tc: read and changed through helpers only, since headers may lie outside the linear part and checksums
//! may be partial.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::{__sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR};
use aya_ebpf::helpers::generated::{
    bpf_csum_update, bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_skb_change_head, bpf_skb_change_tail,
    bpf_skb_load_bytes, bpf_skb_store_bytes,
};
use lb_common::addr::{Family, V6};
use lb_common::csum::Delta;
use lb_common::packet::Packet;

use crate::forget::forget;

/// The packet of a tc program.
pub(crate) struct SkbPacket(pub(crate) *mut __sk_buff);

impl SkbPacket {
    #[inline(always)]
    fn load<T: Copy>(&self, offset: usize) -> Option<T> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the helper writes exactly `size_of::<T>()` bytes or fails; T is an array of integers.
        unsafe {
            let size = size_of::<T>() as u32;
            let result = bpf_skb_load_bytes(self.0.cast(), offset as u32, value.as_mut_ptr().cast(), size);
            if result == 0 { Some(value.assume_init()) } else { None }
        }
    }

    #[inline(always)]
    fn store<T>(&mut self, offset: usize, value: &T) -> Option<()> {
        let from = core::ptr::from_ref(value).cast();
        // SAFETY: the helper reads `size_of::<T>()` bytes of `value` and checks the bounds of the packet.
        let result = unsafe { bpf_skb_store_bytes(self.0, offset as u32, from, size_of::<T>() as u32, 0) };
        (result == 0).then_some(())
    }

    #[inline(always)]
    fn is_ipv6(&self) -> bool {
        // SAFETY: the context is valid while the program runs.
        let protocol = unsafe { (*self.0).protocol as u16 };
        u16::from_be(protocol) == V6::ETHER_TYPE
    }

    /// `from` 0 and a field size of 0 tell the helper that `to` is a difference.
    #[inline(always)]
    fn replace_transport(&mut self, offset: usize, delta: Delta, flags: u32) -> Option<()> {
        if delta.is_none() {
            return Some(());
        }
        // SAFETY: the helper checks the offset.
        let result =
            unsafe { bpf_l4_csum_replace(self.0, offset as u32, 0, u64::from(delta.to_partial()), u64::from(flags)) };
        (result == 0).then_some(())
    }
}

impl Packet for SkbPacket {
    #[inline(always)]
    fn len(&self) -> usize {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.0).len as usize }
    }

    #[inline(always)]
    fn reframe(&mut self, keep: usize, room: usize) -> Option<()> {
        // SAFETY: the helpers check the lengths, and refuse super-packets; no pointer into the packet is kept.
        let result = unsafe {
            match bpf_skb_change_tail(self.0, keep as u32, 0) {
                0 => bpf_skb_change_head(self.0, room as u32, 0),
                error => error,
            }
        };
        (result == 0).then_some(())
    }

    #[inline(always)]
    fn longs<const N: usize>(&self, offset: usize) -> Option<[u64; N]> {
        self.load(offset)
    }

    #[inline(always)]
    fn words<const N: usize>(&self, offset: usize) -> Option<[u32; N]> {
        self.load(offset)
    }

    #[inline(always)]
    fn halves<const N: usize>(&self, offset: usize) -> Option<[u16; N]> {
        self.load(offset)
    }

    #[inline(always)]
    fn set_longs<const N: usize>(&mut self, offset: usize, longs: [u64; N]) -> Option<()> {
        self.store(offset, &longs)
    }

    #[inline(always)]
    fn set_words<const N: usize>(&mut self, offset: usize, words: [u32; N]) -> Option<()> {
        self.store(offset, &words)
    }

    #[inline(always)]
    fn set_halves<const N: usize>(&mut self, offset: usize, halves: [u16; N]) -> Option<()> {
        self.store(offset, &halves)
    }

    #[inline(always)]
    fn forget(&self, word: u64) -> u64 {
        forget(word)
    }

    #[inline(always)]
    fn update_ip_checksum(&mut self, offset: usize, delta: Delta) -> Option<()> {
        // SAFETY: the helper checks the offset.
        let result = unsafe { bpf_l3_csum_replace(self.0, offset as u32, 0, u64::from(delta.to_partial()), 0) };
        (result == 0).then_some(())
    }

    #[inline(always)]
    fn update_transport_checksum(&mut self, offset: usize, addresses: Delta, ports: Delta, udp: bool) -> Option<()> {
        let zero = if udp { BPF_F_MARK_MANGLED_0 } else { 0 };
        self.replace_transport(offset, addresses, BPF_F_PSEUDO_HDR | zero)?;
        self.replace_transport(offset, ports, zero)?;
        if !addresses.is_none() && self.is_ipv6() {
            // Where the device gave a sum over the packet (CHECKSUM_COMPLETE) the helper takes the addresses' change off it.
            // That is right for IPv4, whose header has a checksum that changes as well. BPF_F_IPV6 tells it apart, but since
            // 6.16 only (ead7f9b8de65); so it is put back here, and ignored where there is no such sum.
            // SAFETY: the helper takes a number.
            unsafe { bpf_csum_update(self.0, addresses.to_partial()) };
        }
        Some(())
    }
}
