//! What the pipeline must look up and record: the boundary to the maps, to routing and to the clock.

use core::ops::DerefMut;

use crate::abi::{
    AnnouncedEntry, BackendEntry, FlowEntry, FlowKey, FragmentEntry, FragmentKey, FrontendEntry, FrontendKey, NextHop,
    Note, RecentFrontend, Refusals, ReplyEntry, ServiceEntry, Stat,
};
use crate::conntrack::ticks;
use crate::drop_reason::DropReason;
use crate::ethernet::Addresses;
use crate::ip::Ip;
use crate::packet::Packet;

/// Which of the two tables a flow stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The backend has answered and the client went on: never evicted.
    Proven,
    /// Not yet: the least recently used goes first.
    HalfOpen,
}

/// Where a packet for an address goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Out of the device, with these hardware addresses.
    Direct {
        /// Index of the device.
        device: u32,
        /// From the device to the next hop.
        addresses: Addresses,
        /// The largest IP packet that the way takes, in bytes.
        mtu: u32,
    },
    /// Out of the device, but only the kernel can do it: the neighbour is not resolved, or XDP cannot send there.
    Kernel {
        /// Index of the device.
        device: u32,
    },
    /// Not at this length.
    TooBig {
        /// The largest IP packet that the way takes; 0 if not known.
        mtu: u32,
    },
    /// Not at all.
    None(DropReason),
}

/// The maps, the routing table and the clock, for one address family.
pub trait Lookup<F: Ip> {
    /// Access to an entry of a flow table that stays in the table.
    type Ref<'a, T: 'a>: DerefMut<Target = T>
    where
        Self: 'a;

    /// The kernel can be asked to resolve the next hop: on tc. Elsewhere such packets are handed over.
    fn resolves(&self) -> bool;

    /// Now, in nanoseconds of a clock that does not stop; as coarse as the kernel's ticks (1 to 10 ms).
    fn clock(&self) -> u64;

    /// Now, in ticks ([`crate::conntrack::ticks`]).
    #[inline(always)]
    fn now(&self) -> u32 {
        ticks(self.clock())
    }

    /// Index of the device that the packet came in by; at egress, of the one that it leaves by.
    fn ingress(&self) -> u32;

    /// A word of the settings ([`crate::abi::setting`]); 0 if it is not set.
    fn setting(&self, index: u32) -> u64;

    /// Everything from this source is dropped.
    fn is_denied(&self, source: F::Addr) -> bool;

    /// The frontend at exactly this key.
    fn frontend(&self, key: &FrontendKey<F::Addr>) -> Option<FrontendEntry>;

    /// An address of this node on which NodePorts answer.
    fn is_node_address(&self, address: F::Addr) -> bool;

    /// An address that has a frontend and is not the node's own.
    fn is_vip(&self, address: F::Addr) -> bool;

    /// The frame's hardware destination is the device that it came in by (and not a neighbour's, seen because the
    /// switch flooded it, nor a group of them).
    fn is_for_us<P: Packet>(&self, packet: &P) -> bool;

    /// A listener of the front is there for this frontend ([`crate::abi::frontend_flag`]).
    fn front_listens(&self, flags: u32, hash: u32) -> bool;

    /// The service.
    fn service(&self, id: u32) -> Option<ServiceEntry>;

    /// A slot of the ring area.
    fn ring_slot(&self, line: u32, slot: u32) -> u32;

    /// The backend.
    fn backend(&self, id: u32) -> Option<BackendEntry<F::Addr>>;

    /// The flow of this forward tuple.
    fn flow(&self, table: Table, key: &FlowKey<F::Addr>) -> Option<Self::Ref<'_, FlowEntry<F::Addr>>>;

    /// The flow of this reply tuple.
    fn reply(&self, table: Table, key: &FlowKey<F::Addr>) -> Option<Self::Ref<'_, ReplyEntry<F::Addr>>>;

    /// Writes a flow, replacing what is there; false if the table is full.
    fn put_flow(&self, table: Table, key: &FlowKey<F::Addr>, entry: &FlowEntry<F::Addr>) -> bool;

    /// Writes a reply entry if there is none; false if there is, or the table is full.
    fn add_reply(&self, table: Table, key: &FlowKey<F::Addr>, entry: &ReplyEntry<F::Addr>) -> bool;

    /// Removes a flow.
    fn remove_flow(&self, table: Table, key: &FlowKey<F::Addr>);

    /// Removes a reply entry.
    fn remove_reply(&self, table: Table, key: &FlowKey<F::Addr>);

    /// What the first fragment of a datagram said.
    fn fragment(&self, key: &FragmentKey<F::Addr>) -> Option<FragmentEntry>;

    /// Records it.
    fn put_fragment(&self, key: &FragmentKey<F::Addr>, entry: &FragmentEntry);

    /// A place for a next hop that only this CPU sees, by a number below [`crate::limits::NEXT_HOPS`]; `None` where none
    /// are kept.
    fn hop(&self, slot: u32) -> Option<Self::Ref<'_, NextHop<F::Addr>>>;

    /// What is remembered of packets that came lately ([`crate::recent`]) holds while this stays the same: a moment of the clock,
    /// less than two seconds, and the epoch ([`crate::abi::setting::HOP_EPOCH`]).
    fn stamp(&self) -> u64 {
        0
    }

    /// A place that only this CPU sees for what a destination is, by a number below [`crate::limits::RECENT_FRONTENDS`]; `None`
    /// where none are kept.
    fn recent_frontend(&self, _slot: u32) -> Option<Self::Ref<'_, RecentFrontend<F::Addr>>> {
        None
    }

    /// What this CPU has spent on ICMP errors.
    fn refusals(&self) -> Option<Self::Ref<'_, Refusals>>;

    /// Asks the routing table where a packet of `length` bytes (IP header included) for this address goes next. One that
    /// is [`Route::Direct`] may be too small for the packet.
    fn route(&self, source: F::Addr, destination: F::Addr, protocol: u8, length: usize) -> Route;

    /// The address from which SNAT goes out of this device; `None` if our programs do not see what comes in by it.
    fn uplink_address(&self, device: u32) -> Option<F::Addr>;

    /// VLAN devices of this machine stand on the device, so packets with and without tag are of different networks.
    fn carries_vlans(&self, _device: u32) -> bool {
        false
    }

    /// The device is no external interface, but replies of backends come in by it ([`crate::pipeline::tunnel_of`]).
    fn is_tunnel(&self, device: u32) -> bool;

    /// Gives the packet as it is to the agent, which sends it to all other nodes: an ICMP error about a flow that one of them
    /// may know. So many a second ([`crate::limits::SHARED_ERRORS`]); further ones are not shared.
    fn share(&self) {}

    /// What one program says of its packet to the next one.
    fn note(&self) -> Option<Self::Ref<'_, Note<F::Addr>>>;

    /// What neighbours of the device that the packet came in by are told of an address; `None` if it is not announced to them.
    fn announced(&self, _address: F::Addr) -> Option<Self::Ref<'_, AnnouncedEntry>> {
        None
    }

    /// The packet came with a tag that the device has taken off.
    fn is_tagged(&self) -> bool {
        false
    }

    /// Counts a packet from a client.
    fn count_packet(&self, service: u32, backend: u32, bytes: usize);

    /// Counts a new flow.
    fn count_flow(&self, service: u32, backend: u32);

    /// An allowance for unproven connections ([`crate::abi::budget`]).
    fn budget(&self, index: u32) -> Option<Self::Ref<'_, u64>>;

    /// What is remembered of a dropped first segment ([`crate::limit`]).
    fn seen_syn(&self, index: u32) -> Option<Self::Ref<'_, u64>>;

    /// Counts a flow that did not begin because no port was free for source NAT.
    fn count_exhausted(&self, service: u32, backend: u32);

    /// Counts something else.
    fn count(&self, stat: Stat);

    /// Counts a drop.
    fn count_drop(&self, reason: DropReason, bytes: usize);
}
