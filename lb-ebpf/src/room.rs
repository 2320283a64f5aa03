//! Packets that grow and shrink, under XDP and on tc.

use aya_ebpf::bindings::bpf_adj_room_mode::BPF_ADJ_ROOM_MAC;
use aya_ebpf::bindings::{BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_FIXED_GSO};
use aya_ebpf::helpers::generated::{
    bpf_skb_adjust_room, bpf_skb_change_tail, bpf_xdp_adjust_head, bpf_xdp_adjust_tail,
};
use lb_common::dsr::{Room, Tunnel};
use lb_common::packet::Packet;

use crate::onward::without_tags;
use crate::skb_packet::SkbPacket;
use crate::xdp_packet::XdpPacket;

impl XdpPacket<'_> {
    /// Moves the beginning of the packet; the helper fails where there is no room.
    #[inline(always)]
    fn move_head(&mut self, by: i32) -> Option<()> {
        // SAFETY: the context is valid while the program runs; pointers into the packet are taken anew for each access.
        (unsafe { bpf_xdp_adjust_head(self.0.ctx, by) } == 0).then_some(())
    }

    /// Makes room behind the Ethernet header, which has no tags in it.
    #[inline(always)]
    fn insert(&mut self, bytes: usize) -> Option<()> {
        let header = self.halves::<7>(0)?;
        self.move_head(-(bytes as i32))?;
        self.set_halves(0, header)
    }
}

impl Room for XdpPacket<'_> {
    #[inline(always)]
    fn wrap<F: Tunnel>(&mut self) -> Option<()> {
        self.insert(F::HEADER)
    }

    #[inline(always)]
    fn unwrap(&mut self, network: usize, length: usize) -> Option<()> {
        // a tag is two words of 16 bits more
        match network {
            14 => {
                let header = self.halves::<7>(0)?;
                self.set_halves(length, header)?;
            }
            18 => {
                let header = self.halves::<9>(0)?;
                self.set_halves(length, header)?;
            }
            22 => {
                let header = self.halves::<11>(0)?;
                self.set_halves(length, header)?;
            }
            _ => return None,
        }
        self.move_head(length as i32)
    }

    #[inline(always)]
    fn cut(&mut self, length: usize) -> Option<()> {
        let by = length as i32 - self.len() as i32;
        // SAFETY: as in `move_head`.
        (by >= 0 || unsafe { bpf_xdp_adjust_tail(self.0.ctx, by) } == 0).then_some(())
    }

    #[inline(always)]
    fn recast(&mut self, length: usize, header: usize) -> Option<()> {
        self.cut(length)?;
        self.insert(header)
    }

    #[inline(always)]
    fn longest(&self, length: usize, _headers: usize, _tcp: bool) -> usize {
        length
    }
}

impl SkbPacket {
    /// Changes the room between the Ethernet and the network header.
    #[inline(always)]
    fn adjust(&mut self, by: i32, flags: u32) -> Option<()> {
        // SAFETY: the helper checks the length; no pointer into the packet is kept.
        let result = unsafe { bpf_skb_adjust_room(self.0, by, BPF_ADJ_ROOM_MAC, u64::from(flags)) };
        (result == 0).then_some(())
    }

    /// The size of the segments, if it is a super-packet.
    #[inline(always)]
    fn segments(&self) -> u32 {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.0).gso_size }
    }
}

impl Room for SkbPacket {
    #[inline(always)]
    fn wrap<F: Tunnel>(&mut self) -> Option<()> {
        without_tags(self.0)?;
        let family = if F::HEADER == 20 { BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 } else { BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 };
        // Refused before anything has changed (`bpf_skb_net_grow`): without the fixed size, segments of UDP, which `longest`
        // has found to fit; with the family, what GRO has put together in a tunnel and is marked as being in one still.
        let by = F::HEADER as i32;
        self.adjust(by, family)
            .or_else(|| self.adjust(by, family | BPF_F_ADJ_ROOM_FIXED_GSO))
            .or_else(|| self.adjust(by, BPF_F_ADJ_ROOM_FIXED_GSO))
    }

    #[inline(always)]
    fn unwrap(&mut self, _network: usize, length: usize) -> Option<()> {
        self.adjust(-(length as i32), BPF_F_ADJ_ROOM_FIXED_GSO)
    }

    #[inline(always)]
    fn cut(&mut self, length: usize) -> Option<()> {
        // SAFETY: the helper checks the length; no pointer into the packet is kept.
        (length >= self.len() || unsafe { bpf_skb_change_tail(self.0, length as u32, 0) } == 0).then_some(())
    }

    #[inline(always)]
    fn recast(&mut self, length: usize, header: usize) -> Option<()> {
        self.cut(length)?;
        self.adjust(header as i32, 0)
    }

    #[inline(always)]
    fn longest(&self, length: usize, headers: usize, tcp: bool) -> usize {
        match self.segments() {
            0 => length,
            // the kernel makes the segments smaller by what is put in front of them (`bpf_skb_net_grow`)
            _ if tcp => 0,
            size => size as usize + headers,
        }
    }
}
