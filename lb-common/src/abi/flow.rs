//! Flows: of the client, of the backend, of tunnels; and what fragments have in common.

use crate::addr::{Addr4, Addr6, Address};
use crate::be::Be16;

/// The 5-tuple of a flow as a packet carries it. Forward entries: client to frontend; reply entries: backend to client
/// or to the SNAT address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Source port.
    pub source_port: Be16,
    /// Destination port.
    pub destination_port: Be16,
    /// IP protocol number, host order.
    pub protocol: u32,
}

/// A flow seen from the client: the master record of its state.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowEntry<A> {
    /// Source address that the backend sees; the client's own unless [`flow_flag::SNAT`].
    pub snat_address: A,
    /// Source port that the backend sees.
    pub snat_port: Be16,
    /// A [`crate::conntrack::FlowState`] as a number.
    pub state: u16,
    /// Bits of [`flow_flag`].
    pub flags: u32,
    /// Backend id.
    pub backend: u32,
    /// Generation of the backend when the flow began.
    pub generation: u32,
    /// Service id.
    pub service: u32,
    /// Time of the last packet of either direction, in ticks ([`crate::conntrack::ticks`]).
    pub last_seen: u32,
}

/// Bits of [`FlowEntry::flags`] and [`ReplyEntry::flags`].
pub mod flow_flag {
    /// Address or port of the client are replaced towards the backend.
    pub const SNAT: u32 = 1;
    /// The backend is on this node.
    pub const LOCAL: u32 = 2;
    /// The backend has answered.
    pub const REPLIED: u32 = 4;
    /// The client is on this node: its packets were caught on their way out.
    pub const INSIDE: u32 = 8;
    /// Packets of the flow may come in a tunnel, so its segments must leave room for an outer header.
    pub const DSR: u32 = 16;
    /// In a reply entry: no flow of ours, but the node itself, or what it masquerades, uses the tuple. Always with [`LOCAL`],
    /// which no program takes for a flow that it has to turn back.
    pub const HOST: u32 = 32;
    /// Of an unproven connection: it counts against what its service and the node may have ([`crate::limit`]).
    pub const LIMITED: u32 = 64;
    /// The same against what those may have that come again after they were dropped.
    pub const AGAIN: u32 = 128;
}

/// A flow seen from the backend: how to turn its replies back.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplyEntry<A: Address> {
    /// The VIP: the source of the reply as the client sees it.
    pub frontend_address: A,
    /// The client: the destination of the reply.
    pub client_address: A,
    /// Port of the frontend.
    pub frontend_port: Be16,
    /// Port of the client.
    pub client_port: Be16,
    /// Service id.
    pub service: u32,
    /// Backend id.
    pub backend: u32,
    /// Time of the last reply, and of the client's packets while the flow is half-open, in ticks.
    pub last_seen: u32,
    /// Bits of [`flow_flag`]; a whole word, since odd bytes would make a `memset` that the verifier walks as a loop.
    pub flags: u32,
    /// Nothing.
    pub fill: A::Fill,
}

/// A flow in a tunnel that a change of its ring concerns.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackedEntry {
    /// Backend id.
    pub backend: u32,
    /// Generation of the backend then.
    pub generation: u32,
    /// Time of the last packet from the client, in ticks.
    pub last_seen: u32,
}

/// What the fragments of a datagram have in common (RFC 791, section 3.2; RFC 8200, section 4.5).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FragmentKey<A: Address> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// IPv4: identification in bits 16–31, protocol in bits 0–15, host order. IPv6: identification, the raw word.
    pub id: u32,
    /// Nothing.
    pub fill: A::Fill,
}

/// What only the first fragment of a datagram says.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentEntry {
    /// Source port.
    pub source_port: Be16,
    /// Destination port.
    pub destination_port: Be16,
    /// When it came, in ticks.
    pub seen: u32,
}

/// IPv4 instance.
pub type FlowKey4 = FlowKey<Addr4>;
/// IPv6 instance.
pub type FlowKey6 = FlowKey<Addr6>;
/// IPv4 instance.
pub type FlowEntry4 = FlowEntry<Addr4>;
/// IPv6 instance.
pub type FlowEntry6 = FlowEntry<Addr6>;
/// IPv4 instance.
pub type ReplyEntry4 = ReplyEntry<Addr4>;
/// IPv6 instance.
pub type ReplyEntry6 = ReplyEntry<Addr6>;
/// IPv4 instance.
pub type FragmentKey4 = FragmentKey<Addr4>;
/// IPv6 instance.
pub type FragmentKey6 = FragmentKey<Addr6>;

/// Sizes without padding: the sum of the fields.
const _: () = {
    assert!(size_of::<FlowKey4>() == 16 && size_of::<FlowKey6>() == 40);
    assert!(size_of::<FlowEntry4>() == 4 + 4 + 20 && size_of::<FlowEntry6>() == 16 + 4 + 20);
    assert!(size_of::<ReplyEntry4>() == 8 + 4 + 12 + 4 && size_of::<ReplyEntry6>() == 32 + 4 + 12 + 4 + 4);
    assert!(size_of::<TrackedEntry>() == 12);
    assert!(size_of::<FragmentKey4>() == 12 && size_of::<FragmentKey6>() == 40 && size_of::<FragmentEntry>() == 8);
};
