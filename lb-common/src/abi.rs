//! The contents of every map, defined once for kernel and agent.
//!
//! Rules: `repr(C)`, no padding (checked below), whole aligned words in keys, no `bool`, `enum` or `Option`; addresses
//! and ports in network byte order. Whoever changes a type, a map or its meaning changes [`ABI_VERSION`], which stands in
//! the path of the pins.

use crate::addr::{Addr4, Addr6, Address};
use crate::be::{Be16, Be32};
use crate::ethernet::Addresses;

pub mod socket;

/// Version of everything in this file.
pub const ABI_VERSION: u32 = 4;

/// Names of the maps, equal to the statics in `lb-ebpf`, and so to the names of their pins. A name that ends in 4 or 6 is of
/// one family; ids of services and backends, and lines of rings, are of both: a backend stands in BACKENDS4 or BACKENDS6.
pub mod map {
    /// Hash of [`super::FrontendKey4`] to [`super::FrontendEntry`].
    pub const FRONTENDS4: &str = "FRONTENDS4";
    /// Hash of [`super::FrontendKey6`] to [`super::FrontendEntry`].
    pub const FRONTENDS6: &str = "FRONTENDS6";
    /// Array of [`super::ServiceEntry`] by service id; memory-mapped.
    pub const SERVICES: &str = "SERVICES";
    /// Array of [`super::RingLine`]; memory-mapped.
    pub const RINGS: &str = "RINGS";
    /// Array of [`super::BackendEntry4`] by backend id; memory-mapped.
    pub const BACKENDS4: &str = "BACKENDS4";
    /// Array of [`super::BackendEntry6`] by backend id; memory-mapped.
    pub const BACKENDS6: &str = "BACKENDS6";
    /// Hash of [`super::FlowKey4`] to [`super::FlowEntry4`]: proven flows.
    pub const FLOWS4: &str = "FLOWS4";
    /// Hash of [`super::FlowKey6`] to [`super::FlowEntry6`]: proven flows.
    pub const FLOWS6: &str = "FLOWS6";
    /// Hash of [`super::FlowKey4`] (the tuple of the reply) to [`super::ReplyEntry4`]: proven flows.
    pub const REPLIES4: &str = "REPLIES4";
    /// Hash of [`super::FlowKey6`] (the tuple of the reply) to [`super::ReplyEntry6`]: proven flows.
    pub const REPLIES6: &str = "REPLIES6";
    /// Like FLOWS4 for flows whose backend has not answered; least recently used goes first.
    pub const HALF_FLOWS4: &str = "HALF_FLOWS4";
    /// Like FLOWS6 for flows whose backend has not answered; least recently used goes first.
    pub const HALF_FLOWS6: &str = "HALF_FLOWS6";
    /// Like REPLIES4 for flows whose backend has not answered; least recently used goes first.
    pub const HALF_REPLIES4: &str = "HALF_REPLIES4";
    /// Like REPLIES6 for flows whose backend has not answered; least recently used goes first.
    pub const HALF_REPLIES6: &str = "HALF_REPLIES6";
    /// LRU hash of [`super::FragmentKey4`] to [`super::FragmentEntry`]: fragmented datagrams of which the first part came.
    pub const FRAGMENTS4: &str = "FRAGMENTS4";
    /// LRU hash of [`super::FragmentKey6`] to [`super::FragmentEntry`].
    pub const FRAGMENTS6: &str = "FRAGMENTS6";
    /// Hash of [`crate::addr::Addr4`] to a `u32` (always 1): the addresses of this node on which NodePorts answer.
    pub const NODE_ADDRS4: &str = "NODE_ADDRS4";
    /// Hash of [`crate::addr::Addr6`] to a `u32` (always 1), like NODE_ADDRS4.
    pub const NODE_ADDRS6: &str = "NODE_ADDRS6";
    /// Hash of [`crate::addr::Addr4`] to a `u32` (always 1): the addresses of frontends that are not the node's own.
    pub const VIPS4: &str = "VIPS4";
    /// Hash of [`crate::addr::Addr6`] to a `u32` (always 1), like VIPS4.
    pub const VIPS6: &str = "VIPS6";
    /// Hash of interface index (`u32`) to [`super::DeviceEntry`].
    pub const DEVICES: &str = "DEVICES";
    /// Array of `u64` words, indexed by [`super::setting`].
    pub const SETTINGS: &str = "SETTINGS";
    /// Per-CPU array of [`super::Counters`] by service id.
    pub const SERVICE_STATS: &str = "SERVICE_STATS";
    /// Per-CPU array of [`super::Counters`] by backend id.
    pub const BACKEND_STATS: &str = "BACKEND_STATS";
    /// Per-CPU array of [`super::DropCounters`] by [`crate::drop_reason::DropReason`].
    pub const DROP_STATS: &str = "DROP_STATS";
    /// Per-CPU array of `u64` by [`super::Stat`].
    pub const EVENT_STATS: &str = "EVENT_STATS";
    /// Per-CPU array of [`super::NextHop4`] by [`crate::hash::pair_hash`]: the ways that packets took lately.
    pub const NEXT_HOPS4: &str = "NEXT_HOPS4";
    /// Per-CPU array of [`super::NextHop6`], like NEXT_HOPS4.
    pub const NEXT_HOPS6: &str = "NEXT_HOPS6";
    /// Per-CPU array of one [`super::Refusals`].
    pub const REFUSALS: &str = "REFUSALS";
    /// SOCKMAP of the front's listeners.
    pub const LISTENERS: &str = "LISTENERS";
    /// Ring buffer of samples, and of what is for the agent: a [`super::SampleHead`], and behind it the beginning of the packet.
    pub const SAMPLES: &str = "SAMPLES";
    /// Per-CPU array of [`super::SampleBudget`] by [`crate::drop_reason::DropReason`]; 0 for packets that are forwarded,
    /// [`crate::sample::SHARED`] for ICMP errors that are given to the agent.
    pub const SAMPLE_BUDGETS: &str = "SAMPLE_BUDGETS";
    /// Per-CPU array of one [`super::SampleNote`].
    pub const SAMPLE_NOTES: &str = "SAMPLE_NOTES";
    /// Per-CPU array of one [`super::Note4`].
    pub const NOTES4: &str = "NOTES4";
    /// Per-CPU array of one [`super::Note6`].
    pub const NOTES6: &str = "NOTES6";
    /// Array of [`super::FormerRing`] by service id; memory-mapped.
    pub const FORMER_RINGS: &str = "FORMER_RINGS";
    /// Hash of [`crate::addr::Addr4`] to bits of [`super::node_flag`]: addresses of the cluster's nodes.
    pub const NODES4: &str = "NODES4";
    /// Hash of [`crate::addr::Addr6`] to bits of [`super::node_flag`].
    pub const NODES6: &str = "NODES6";
    /// Hash of backend id to [`crate::addr::Addr4`]: where the nodes of backends on other nodes are.
    pub const BACKEND_NODES4: &str = "BACKEND_NODES4";
    /// Hash of backend id to [`crate::addr::Addr6`].
    pub const BACKEND_NODES6: &str = "BACKEND_NODES6";
    /// LRU hash of [`super::FlowKey4`] to [`super::TrackedEntry`]: flows in tunnels that a change of their ring concerns.
    pub const TRACKED4: &str = "TRACKED4";
    /// LRU hash of [`super::FlowKey6`] to [`super::TrackedEntry`].
    pub const TRACKED6: &str = "TRACKED6";
    /// LPM trie of sources (IPv4) from which everything is dropped.
    pub const DENIED4: &str = "DENIED4";
    /// LPM trie of sources (IPv6) from which everything is dropped.
    pub const DENIED6: &str = "DENIED6";
    /// LPM trie of [`super::RangeKey4`]: the clients that a service is for, where it is not for everybody.
    pub const RANGES4: &str = "RANGES4";
    /// LPM trie of [`super::RangeKey6`], like RANGES4.
    pub const RANGES6: &str = "RANGES6";
    /// LRU hash of [`super::AffinityKey`] to [`super::AffinityEntry`].
    pub const AFFINITY: &str = "AFFINITY";
    /// Array of [`super::LoadEntry`] by backend id; memory-mapped.
    pub const LOADS: &str = "LOADS";
    /// Array of the XDP programs that [`super::program::XDP`] goes on in, by [`super::xdp_slot`].
    pub const XDP_PROGRAMS: &str = "XDP_PROGRAMS";
    /// Array of the tc programs that those attached go on in, by [`super::tc_slot`].
    pub const TC_PROGRAMS: &str = "TC_PROGRAMS";
    /// Array of `u64` words, indexed by [`super::socket::socket_setting`].
    pub const SOCKET_SETTINGS: &str = "SOCKET_SETTINGS";
    /// Array of [`super::socket::PortLine`]: the UDP ports of backends that sockets were led to.
    pub const SOCKET_PORTS: &str = "SOCKET_PORTS";
    /// LRU hash of [`super::socket::SocketKey4`] (socket and backend) to [`super::socket::SocketPeer4`].
    pub const SOCKET_PEERS4: &str = "SOCKET_PEERS4";
    /// LRU hash of [`super::socket::SocketKey6`] (socket and backend) to [`super::socket::SocketPeer6`].
    pub const SOCKET_PEERS6: &str = "SOCKET_PEERS6";
    /// LRU hash of [`super::socket::SocketKey4`] (socket and frontend) to [`super::socket::SocketChoice`].
    pub const SOCKET_CHOICES4: &str = "SOCKET_CHOICES4";
    /// LRU hash of [`super::socket::SocketKey6`] (socket and frontend) to [`super::socket::SocketChoice`].
    pub const SOCKET_CHOICES6: &str = "SOCKET_CHOICES6";
}

/// Names of the programs, equal to the functions in `lb-ebpf`.
pub mod program {
    /// XDP at the ingress of each external interface.
    pub const XDP: &str = "weir_xdp";
    /// tc ingress companion on the same interfaces.
    pub const TC_INGRESS: &str = "weir_tc_ingress";
    /// tc egress on the same interfaces.
    pub const TC_EGRESS: &str = "weir_tc_egress";
    /// tc ingress of devices behind which backends are and which are no external interfaces.
    pub const TUNNEL: &str = "weir_tunnel";
    /// sk_lookup of the network namespace.
    pub const SK_LOOKUP: &str = "weir_sk_lookup";
    /// IPv6 of [`XDP`].
    pub const XDP6: &str = "weir_xdp6";
    /// ICMP of [`XDP`].
    pub const XDP_ICMP: &str = "weir_xdp_icmp";
    /// ICMP of [`XDP6`].
    pub const XDP_ICMP6: &str = "weir_xdp_icmp6";
    /// IPv6 of [`TC_INGRESS`].
    pub const TC_INGRESS6: &str = "weir_ingress6";
    /// ICMP of [`TC_INGRESS`].
    pub const TC_ICMP: &str = "weir_in_icmp";
    /// ICMP of [`TC_INGRESS6`].
    pub const TC_ICMP6: &str = "weir_in_icmp6";
    /// Tells the sender of a packet that [`XDP`] or [`XDP6`] drops why; in XDP_PROGRAMS.
    pub const XDP_REFUSE: &str = "weir_xdp_refuse";
    /// The same for [`TC_INGRESS`]; in TC_PROGRAMS.
    pub const TC_REFUSE: &str = "weir_tc_refuse";
    /// IPv6 of [`TC_EGRESS`].
    pub const TC_EGRESS6: &str = "weir_egress6";
    /// Takes samples under XDP; in XDP_PROGRAMS.
    pub const SAMPLE: &str = "weir_sample";
    /// Takes samples on tc; in TC_PROGRAMS.
    pub const SAMPLE_TC: &str = "weir_sample_tc";
    /// Packets that [`TC_EGRESS`] caught; in TC_PROGRAMS.
    pub const INSIDE4: &str = "weir_inside4";
    /// IPv6 of [`INSIDE4`]; in TC_PROGRAMS.
    pub const INSIDE6: &str = "weir_inside6";
    /// Answers a [`crate::question::Question`]; never attached.
    pub const ASK: &str = "weir_ask";
    /// The programs of socket-level balancing, at the hooks of a cgroup.
    pub const SOCKET: [&str; 8] = [
        "weir_recvmsg4",
        "weir_recvmsg6",
        "weir_peername4",
        "weir_peername6",
        "weir_sendmsg4",
        "weir_sendmsg6",
        "weir_connect4",
        "weir_connect6",
    ];
    /// IPv6 of [`TUNNEL`]; in TC_PROGRAMS.
    pub const TUNNEL6: &str = "weir_tunnel6";
    /// Forwards by DSR what [`XDP`] knows no flow of; in XDP_PROGRAMS.
    pub const XDP_DSR: &str = "weir_xdp_dsr";
    /// IPv6 of [`XDP_DSR`]; in XDP_PROGRAMS.
    pub const XDP_DSR6: &str = "weir_xdp_dsr6";
    /// Begins a flow with the backend that [`XDP_DSR`] has chosen; in XDP_PROGRAMS.
    pub const XDP_BEGIN: &str = "weir_xdp_begin";
    /// IPv6 of [`XDP_BEGIN`]; in XDP_PROGRAMS.
    pub const XDP_BEGIN6: &str = "weir_xdp_begin6";
    /// Takes the outer header off packets from other nodes; in XDP_PROGRAMS.
    pub const XDP_OPEN: &str = "weir_xdp_open";
    /// IPv6 of [`XDP_OPEN`]; in XDP_PROGRAMS.
    pub const XDP_OPEN6: &str = "weir_xdp_open6";
    /// Judges new flows of services with a policy ([`crate::policy`]); in XDP_PROGRAMS.
    pub const XDP_CHOOSE: &str = "weir_xdp_choose";
    /// IPv6 of [`XDP_CHOOSE`]; in XDP_PROGRAMS.
    pub const XDP_CHOOSE6: &str = "weir_xdp_choose6";
    /// [`XDP_CHOOSE`] on tc; in TC_PROGRAMS.
    pub const TC_CHOOSE: &str = "weir_tc_choose";
    /// IPv6 of [`TC_CHOOSE`]; in TC_PROGRAMS.
    pub const TC_CHOOSE6: &str = "weir_tc_choose6";
    /// Tells a client that nobody is there, under XDP; in XDP_PROGRAMS.
    pub const XDP_RESET: &str = "weir_xdp_reset";
    /// [`XDP_RESET`] on tc; in TC_PROGRAMS.
    pub const TC_RESET: &str = "weir_tc_reset";
    /// [`XDP_DSR`] on tc; in TC_PROGRAMS.
    pub const TC_DSR: &str = "weir_tc_dsr";
    /// IPv6 of [`TC_DSR`]; in TC_PROGRAMS.
    pub const TC_DSR6: &str = "weir_tc_dsr6";
    /// [`XDP_BEGIN`] on tc; in TC_PROGRAMS.
    pub const TC_BEGIN: &str = "weir_tc_begin";
    /// IPv6 of [`TC_BEGIN`]; in TC_PROGRAMS.
    pub const TC_BEGIN6: &str = "weir_tc_begin6";
    /// [`XDP_OPEN`] on tc; in TC_PROGRAMS.
    pub const TC_OPEN: &str = "weir_tc_open";
    /// IPv6 of [`TC_OPEN`]; in TC_PROGRAMS.
    pub const TC_OPEN6: &str = "weir_tc_open6";
}

/// A program that others go on in by a tail call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Called {
    /// Its name.
    pub program: &'static str,
    /// The array that it stands in.
    pub map: &'static str,
    /// Its index there.
    pub slot: u32,
}

/// All programs that are called, in the order in which they are put in place: what replies need first, what takes packets in
/// last, and what is called before what calls it.
pub const CALLED: [Called; 34] = [
    Called { program: program::INSIDE6, map: map::TC_PROGRAMS, slot: tc_slot::INSIDE6 },
    Called { program: program::INSIDE4, map: map::TC_PROGRAMS, slot: tc_slot::INSIDE4 },
    Called { program: program::TC_REFUSE, map: map::TC_PROGRAMS, slot: tc_slot::REFUSE },
    Called { program: program::XDP_REFUSE, map: map::XDP_PROGRAMS, slot: xdp_slot::REFUSE },
    Called { program: program::TC_RESET, map: map::TC_PROGRAMS, slot: tc_slot::RESET },
    Called { program: program::XDP_RESET, map: map::XDP_PROGRAMS, slot: xdp_slot::RESET },
    Called { program: program::SAMPLE_TC, map: map::TC_PROGRAMS, slot: tc_slot::SAMPLE },
    Called { program: program::SAMPLE, map: map::XDP_PROGRAMS, slot: xdp_slot::SAMPLE },
    Called { program: program::TC_EGRESS6, map: map::TC_PROGRAMS, slot: tc_slot::EGRESS6 },
    Called { program: program::TUNNEL6, map: map::TC_PROGRAMS, slot: tc_slot::TUNNEL6 },
    Called { program: program::TC_ICMP, map: map::TC_PROGRAMS, slot: tc_slot::ICMP },
    Called { program: program::TC_ICMP6, map: map::TC_PROGRAMS, slot: tc_slot::ICMP6 },
    Called { program: program::TC_INGRESS6, map: map::TC_PROGRAMS, slot: tc_slot::INGRESS6 },
    Called { program: program::TC_INGRESS, map: map::TC_PROGRAMS, slot: tc_slot::INGRESS },
    Called { program: program::TC_BEGIN, map: map::TC_PROGRAMS, slot: tc_slot::BEGIN },
    Called { program: program::TC_BEGIN6, map: map::TC_PROGRAMS, slot: tc_slot::BEGIN6 },
    Called { program: program::TC_DSR, map: map::TC_PROGRAMS, slot: tc_slot::DSR },
    Called { program: program::TC_DSR6, map: map::TC_PROGRAMS, slot: tc_slot::DSR6 },
    Called { program: program::TC_CHOOSE, map: map::TC_PROGRAMS, slot: tc_slot::CHOOSE },
    Called { program: program::TC_CHOOSE6, map: map::TC_PROGRAMS, slot: tc_slot::CHOOSE6 },
    Called { program: program::TC_OPEN, map: map::TC_PROGRAMS, slot: tc_slot::OPEN },
    Called { program: program::TC_OPEN6, map: map::TC_PROGRAMS, slot: tc_slot::OPEN6 },
    Called { program: program::XDP_ICMP, map: map::XDP_PROGRAMS, slot: xdp_slot::ICMP },
    Called { program: program::XDP_ICMP6, map: map::XDP_PROGRAMS, slot: xdp_slot::ICMP6 },
    Called { program: program::XDP_BEGIN, map: map::XDP_PROGRAMS, slot: xdp_slot::BEGIN },
    Called { program: program::XDP_BEGIN6, map: map::XDP_PROGRAMS, slot: xdp_slot::BEGIN6 },
    Called { program: program::XDP_DSR, map: map::XDP_PROGRAMS, slot: xdp_slot::DSR },
    Called { program: program::XDP_DSR6, map: map::XDP_PROGRAMS, slot: xdp_slot::DSR6 },
    Called { program: program::XDP_CHOOSE, map: map::XDP_PROGRAMS, slot: xdp_slot::CHOOSE },
    Called { program: program::XDP_CHOOSE6, map: map::XDP_PROGRAMS, slot: xdp_slot::CHOOSE6 },
    Called { program: program::XDP_OPEN, map: map::XDP_PROGRAMS, slot: xdp_slot::OPEN },
    Called { program: program::XDP_OPEN6, map: map::XDP_PROGRAMS, slot: xdp_slot::OPEN6 },
    Called { program: program::XDP6, map: map::XDP_PROGRAMS, slot: xdp_slot::IPV6 },
    Called { program: program::XDP, map: map::XDP_PROGRAMS, slot: xdp_slot::IPV4 },
];

/// Indices into XDP_PROGRAMS.
pub mod xdp_slot {
    /// [`super::program::XDP6`].
    pub const IPV6: u32 = 0;
    /// [`super::program::XDP_ICMP`].
    pub const ICMP: u32 = 1;
    /// [`super::program::XDP_ICMP6`].
    pub const ICMP6: u32 = 2;
    /// [`super::program::SAMPLE`].
    pub const SAMPLE: u32 = 7;
    /// [`super::program::XDP_REFUSE`].
    pub const REFUSE: u32 = 5;
    /// [`super::program::XDP`] itself, for what came out of a tunnel.
    pub const IPV4: u32 = 8;
    /// [`super::program::XDP_DSR`].
    pub const DSR: u32 = 9;
    /// [`super::program::XDP_DSR6`].
    pub const DSR6: u32 = 10;
    /// [`super::program::XDP_OPEN`].
    pub const OPEN: u32 = 11;
    /// [`super::program::XDP_OPEN6`].
    pub const OPEN6: u32 = 12;
    /// [`super::program::XDP_BEGIN`].
    pub const BEGIN: u32 = 13;
    /// [`super::program::XDP_BEGIN6`].
    pub const BEGIN6: u32 = 14;
    /// [`super::program::XDP_CHOOSE`].
    pub const CHOOSE: u32 = 15;
    /// [`super::program::XDP_CHOOSE6`].
    pub const CHOOSE6: u32 = 16;
    /// [`super::program::XDP_RESET`].
    pub const RESET: u32 = 17;
    /// How many there are.
    pub const COUNT: u32 = 24;
}

/// Indices into TC_PROGRAMS.
pub mod tc_slot {
    /// [`super::program::TC_INGRESS6`].
    pub const INGRESS6: u32 = 0;
    /// [`super::program::TC_EGRESS6`].
    pub const EGRESS6: u32 = 1;
    /// [`super::program::INSIDE4`].
    pub const INSIDE4: u32 = 2;
    /// [`super::program::INSIDE6`].
    pub const INSIDE6: u32 = 3;
    /// [`super::program::TC_ICMP`].
    pub const ICMP: u32 = 8;
    /// [`super::program::TC_ICMP6`].
    pub const ICMP6: u32 = 9;
    /// [`super::program::TUNNEL6`].
    pub const TUNNEL6: u32 = 4;
    /// [`super::program::SAMPLE_TC`].
    pub const SAMPLE: u32 = 7;
    /// [`super::program::TC_REFUSE`].
    pub const REFUSE: u32 = 5;
    /// [`super::program::TC_INGRESS`] itself, for what came out of a tunnel.
    pub const INGRESS: u32 = 10;
    /// [`super::program::TC_DSR`].
    pub const DSR: u32 = 11;
    /// [`super::program::TC_DSR6`].
    pub const DSR6: u32 = 12;
    /// [`super::program::TC_OPEN`].
    pub const OPEN: u32 = 13;
    /// [`super::program::TC_OPEN6`].
    pub const OPEN6: u32 = 14;
    /// [`super::program::TC_BEGIN`].
    pub const BEGIN: u32 = 15;
    /// [`super::program::TC_BEGIN6`].
    pub const BEGIN6: u32 = 16;
    /// [`super::program::TC_CHOOSE`].
    pub const CHOOSE: u32 = 17;
    /// [`super::program::TC_CHOOSE6`].
    pub const CHOOSE6: u32 = 18;
    /// [`super::program::TC_RESET`].
    pub const RESET: u32 = 19;
    /// How many there are.
    pub const COUNT: u32 = 24;
}

/// Indices into SETTINGS. Each word changes by one aligned store.
pub mod setting {
    /// Lowest NodePort in use in bits 16–31, highest in bits 0–15, host order; 0 if there is none.
    pub const NODE_PORTS: u32 = 0;
    /// First port for SNAT in bits 16–31, last in bits 0–15, host order.
    pub const SNAT_PORTS: u32 = 1;
    /// Mark set on packets for the front.
    pub const FRONT_MARK: u32 = 2;
    /// Filled slots of LISTENERS for HTTP in bits 0–15, for HTTPS in bits 16–31; the same for IPv6 in bits 32–63.
    pub const LISTENER_COUNTS: u32 = 3;
    /// Address (IPv4, the raw word in network order) that SNAT takes instead of the device's own; 0 if none.
    pub const SNAT_ADDRESS4: u32 = 4;
    /// First half of the IPv6 address that SNAT takes instead of the device's own, the raw words in network order; 0 if
    /// none. Two words cannot change at once: whoever changes the address writes 0 here, then the second half, then this.
    pub const SNAT_ADDRESS6: u32 = 5;
    /// Its second half.
    pub const SNAT_ADDRESS6_LOW: u32 = 6;
    /// Counts changes of routes, neighbours and interfaces; next hops remembered under another number are not used.
    pub const HOP_EPOCH: u32 = 7;
    /// Bit 0: DENIED4 is not empty; bit 1: DENIED6 is not.
    pub const DENY: u32 = 8;
    /// Until when CAPTURE holds, in ticks ([`crate::conntrack::ticks`]): written again as long as somebody wants it.
    pub const CAPTURE_UNTIL: u32 = 14;
    /// A [`crate::sample::Capture`]; 0: only a few dropped packets are sampled.
    pub const CAPTURE: u32 = 15;
    /// Address of this node (IPv4, the raw word in network order) that its tunnels come from; 0 if none.
    pub const NODE_ADDRESS4: u32 = 10;
    /// First half of the IPv6 address that tunnels come from; changed as [`SNAT_ADDRESS6`] is.
    pub const NODE_ADDRESS6: u32 = 11;
    /// Its second half.
    pub const NODE_ADDRESS6_LOW: u32 = 12;
    /// MTU of the network between the nodes; 0 if it is not known.
    pub const TUNNEL_MTU: u32 = 13;
    /// How many words there are.
    pub const COUNT: u32 = 16;
}

/// Protocol numbers of IP that are balanced.
pub mod protocol {
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// SCTP.
    pub const SCTP: u8 = 132;

    /// Flows of this protocol are balanced.
    #[inline(always)]
    pub const fn is_balanced(number: u8) -> bool {
        matches!(number, TCP | UDP | SCTP)
    }
}

/// Key of the frontends: where clients arrive. NodePorts stand under the address [`crate::addr::Address::ANY`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrontendKey<A: Address> {
    /// The VIP.
    pub address: A,
    /// Port.
    pub port: Be16,
    /// IP protocol number, host order; with [`INSIDE`] the way of clients on this node.
    pub protocol: u16,
    /// Nothing.
    pub fill: A::Fill,
}

/// Bit of [`FrontendKey::protocol`]: where clients on this node go another way than those from outside
/// ([`frontend_flag::INSIDE`]), their own entry has it. No packet does.
pub const INSIDE: u16 = 1 << 15;

/// What a frontend leads to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrontendEntry {
    /// Service id.
    pub service: u32,
    /// Bits of [`frontend_flag`].
    pub flags: u32,
}

/// Bits of [`FrontendEntry::flags`].
pub mod frontend_flag {
    /// The packet goes to the node's own front, listener kind HTTP.
    pub const FRONT_HTTP: u32 = 1;
    /// The packet goes to the node's own front, listener kind HTTPS.
    pub const FRONT_HTTPS: u32 = 2;
    /// Packets for backends on other nodes go there in a tunnel.
    pub const DSR: u32 = 4;
    /// Only for clients in the service's RANGES.
    pub const RANGES: u32 = 8;
    /// New flows do not just take a slot of the ring by their hash: [`super::ServiceEntry::flags`] says how else.
    pub const CHOOSES: u32 = 16;
    /// New flows are judged by [`crate::policy`].
    pub const POLICY: u32 = RANGES | CHOOSES;
    /// HTTP or HTTPS of the front.
    pub const FRONT: u32 = FRONT_HTTP | FRONT_HTTPS;
    /// Only this node's own processes and pods reach it: what comes in by an external interface does not.
    pub const CLUSTER: u32 = 1 << 16;
    /// Clients on this node go the way of the entry with [`super::INSIDE`] in its key.
    pub const INSIDE: u32 = 1 << 17;
    /// Clients are led to backends on this node only, and there are some on others.
    pub const ELSEWHERE: u32 = 1 << 18;
}

/// A service. `ring` changes in place by one aligned store, and so do the other two fields together.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceEntry {
    /// Where the ring stands: first line of RINGS in bits 32–63, slots in bits 0–31. No slots: no backend.
    pub ring: u64,
    /// How new flows choose: bits of [`service_flag`].
    pub flags: u32,
    /// 1 if the entry is in use.
    pub used: u32,
}

impl ServiceEntry {
    /// Packs the place of a ring into one word.
    pub const fn pack_ring(first_line: u32, slots: u32) -> u64 {
        ((first_line as u64) << 32) | slots as u64
    }

    /// First line and number of slots.
    #[inline(always)]
    pub const fn ring_place(&self) -> (u32, u32) {
        ((self.ring >> 32) as u32, self.ring as u32)
    }
}

/// [`ServiceEntry::flags`]: how long a client keeps its backend in bits 0–16, in seconds, 0 if it does not; what else new
/// flows choose by in bits 20–23.
pub mod service_flag {
    /// Seconds of affinity.
    pub const AFFINITY: u32 = (1 << 17) - 1;
    /// The bits of the algorithm.
    pub const ALGORITHM: u32 = 0xf << 20;
    /// A slot of the ring by the hash of the flow.
    pub const MAGLEV: u32 = 0;
    /// A slot of the ring by the hash of the client.
    pub const SOURCE_HASH: u32 = 1 << 20;
    /// A slot of the ring by chance.
    pub const RANDOM: u32 = 2 << 20;
    /// Of two slots by chance the one whose backend has fewer flows for its weight.
    pub const LEAST_CONNECTIONS: u32 = 3 << 20;
}

/// Key of RANGES without its length: the service, and the client's address. All bits of the service count.
pub type RangeKey4 = [u32; 2];
/// The same for IPv6.
pub type RangeKey6 = [u32; 5];

/// A client of a service that keeps its backend.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AffinityKey {
    /// The client's address, the raw words, IPv4 in the first; of a socket the cookie of its network namespace, low word,
    /// high word.
    pub client: [u32; 4],
    /// What that is: 4, 6, or 0 for a namespace.
    pub of: u32,
    /// Service id.
    pub service: u32,
}

/// The backend that a client keeps.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AffinityEntry {
    /// Backend id.
    pub backend: u32,
    /// Generation of the backend then.
    pub generation: u32,
    /// When the client last began a flow, in ticks.
    pub last_seen: u32,
}

/// How much a backend has to do, for services that lead to the one with less. Kernel programs add `step` with each flow that
/// begins; the agent counts the flows that live, and writes both.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadEntry {
    /// Flows, each counted as `step`.
    pub load: u64,
    /// [`LOAD_OF_WEIGHT_1`] divided by the weight; 0 if it was never written.
    pub step: u64,
}

/// What a flow counts for a backend with weight 1.
pub const LOAD_OF_WEIGHT_1: u64 = 1 << 20;

/// One cache line of ring slots: backend ids, 0 for none.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLine {
    /// The slots.
    pub slots: [u32; crate::limits::RING_LINE_SLOTS as usize],
}

/// A backend. Never changes in place while something points at it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendEntry<A: Address> {
    /// Address.
    pub address: A,
    /// Port.
    pub port: Be16,
    /// Bits of [`backend_flag`].
    pub flags: u16,
    /// Nothing.
    pub fill: A::Fill,
    /// Counts the uses of this id, so that a flow notices that its backend is another one; survives deletion.
    pub generation: u32,
    /// IP protocol number; 0 if the entry is not in use.
    pub protocol: u32,
}

/// Bits of [`BackendEntry::flags`].
pub mod backend_flag {
    /// The backend runs on this node.
    pub const LOCAL: u16 = 1;
}

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

/// A network device that carries an address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceEntry {
    /// Its IPv4 address, from which SNAT goes out; 0 if none.
    pub address4: Addr4,
    /// Bits of [`device_flag`].
    pub flags: u32,
    /// Its IPv6 address; zero if none.
    pub address6: Addr6,
    /// Its hardware address, three raw 16-bit words; zero if it has none.
    pub mac: [u16; 3],
    /// Index of the bond that it is a port of, if that is below 65,536; else 0. The entry then says what that of the bond
    /// says: XDP runs on the ports.
    pub bond: u16,
}

/// Bits of [`DeviceEntry::flags`].
pub mod device_flag {
    /// XDP may send out of this device: our program is attached to it natively.
    pub const XDP_TRANSMIT: u32 = 1;
    /// An external interface: our programs see what comes in by it, so replies of SNATed flows find their way back.
    pub const UPLINK: u32 = 2;
    /// No external interface, but backends on other nodes are behind it, and our program turns their replies back.
    pub const TUNNEL: u32 = 4;
    /// Its packets begin with the IP header.
    pub const BARE: u32 = 8;
    /// VLAN devices stand on it: a tag names a network of its own.
    pub const VLANS: u32 = 16;
    /// What comes in by it came in by an external interface that it stands on or is the VRF of.
    pub const OUTSIDE: u32 = 32;
}

/// A next hop that the routing table gave, as long as it holds ([`crate::hop`]).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextHop<A> {
    /// When it ends, on the clock of [`crate::lookup::Lookup::clock`]; 0 if the place is free.
    pub expires: u64,
    /// Source address of the packets.
    pub source: A,
    /// Their destination.
    pub destination: A,
    /// The epoch in which it was asked for ([`setting::HOP_EPOCH`]).
    pub epoch: u32,
    /// The device that the packets come in by.
    pub ingress: u32,
    /// Their protocol: rules of routing may go by it.
    pub protocol: u32,
    /// Out of this device.
    pub device: u32,
    /// The largest IP packet that the way takes, in bytes.
    pub mtu: u32,
    /// Hardware addresses of the device and the next hop.
    pub addresses: Addresses,
}

/// What one CPU has to do with packets whose sender is told that they were dropped.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// When all ICMP errors that were sent are made up for, on the clock of [`crate::lookup::Lookup::clock`]: how far this
    /// is ahead limits their rate.
    pub paid_until: u64,
    /// From the program that refuses a packet to the one that tells its sender: the argument of
    /// [`crate::verdict::Verdict::Refuse`].
    pub why: u32,
    /// Not used; 0.
    pub reserved: u32,
}

/// The ring that a service had before its present one. Each of the two words changes by one aligned store; whichever of old
/// and new ones a program reads, the ring is a valid one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FormerRing {
    /// Where it stands, as in [`ServiceEntry::ring`]. A slot may hold 0: what was there is gone.
    pub ring: u64,
    /// Until when packets go by it, in ticks; 0: not at all.
    pub until: u32,
    /// 1 if the ring has changed since the map was made, so that flows may be remembered.
    pub changed: u32,
}

impl FormerRing {
    /// Packets go by it now.
    #[inline(always)]
    pub const fn is_open(&self, now: u32) -> bool {
        self.until != 0 && self.until != now && crate::conntrack::idle_ticks(now, self.until) == 0
    }

    /// First line and number of slots.
    #[inline(always)]
    pub const fn place(&self) -> (u32, u32) {
        ((self.ring >> 32) as u32, self.ring as u32)
    }
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

/// What one program says of its packet to the next one that the packet goes on in, on the same CPU. Besides saving work, it
/// hides from the verifier in how many ways the headers can be read.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Note<A> {
    /// The flow.
    pub key: FlowKey<A>,
    /// Its hash. What is left from a packet of another flow says nothing.
    pub hash: u32,
    /// A [`crate::dsr::Arrival`] as a number.
    pub arrival: u32,
    /// The backend with which a flow is to begin.
    pub chosen: u32,
    /// The service.
    pub service: u32,
    /// Bytes of the IP header.
    pub header_length: u32,
    /// Bytes of the IP packet.
    pub total_length: u32,
    /// Time to live.
    pub ttl: u32,
    /// Flags of TCP.
    pub tcp_flags: u32,
    /// 1 if it has no transport header of the flow: a later fragment, or an ICMP error about the flow.
    pub later: u32,
    /// How an ICMP error came out of a tunnel: a [`crate::dsr::Arrival`] as a number; 0 if it did not.
    pub error: u32,
    /// Bits of [`frontend_flag`] of the frontend.
    pub flags: u32,
    /// Not used; 0.
    pub reserved: u32,
}

/// What an address is among those of the cluster's nodes.
pub mod node_flag {
    /// Another node's.
    pub const PEER: u32 = 1;
    /// This node's own.
    pub const OWN: u32 = 2;
}

/// Counters of a service or backend. Bytes are those of the IP packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets from clients.
    pub packets: u64,
    /// Bytes from clients.
    pub bytes: u64,
    /// Flows begun.
    pub new_flows: u64,
}

/// Counters of a drop reason.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropCounters {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What stands before the bytes of a sampled packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampleHead {
    /// When, on the monotonic clock, in nanoseconds.
    pub time: u64,
    /// Index of the device that the packet came in by; at tc egress, of the one that it leaves by.
    pub device: u32,
    /// Which program saw it: [`hook`].
    pub hook: u32,
    /// Number of the [`crate::drop_reason::DropReason`]; 0 if it is forwarded.
    pub reason: u32,
    /// Bytes of the whole frame.
    pub length: u32,
    /// Bytes of it that follow.
    pub captured: u32,
    /// Id of the service that it counts for; 0 if it is dropped.
    pub service: u32,
    /// Id of the backend; 0 for the front.
    pub backend: u32,
    /// Not used; 0.
    pub reserved: u32,
}

/// Which program saw a sampled packet.
pub mod hook {
    /// XDP.
    pub const XDP: u32 = 1;
    /// tc ingress.
    pub const TC_INGRESS: u32 = 2;
    /// tc egress.
    pub const TC_EGRESS: u32 = 3;
    /// tc ingress: an ICMP error about a flow that another node may know. It is for the agent, and no sample.
    pub const SHARED: u32 = 4;
}

/// What a program leaves for the sampler, and where that puts the sample together.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SampleNote {
    /// What is known of the packet.
    pub head: SampleHead,
    /// Its beginning.
    pub bytes: [u8; crate::limits::SNAP_MAX as usize],
    /// What the program returns.
    pub action: u32,
    /// Not used; 0.
    pub reserved: u32,
}

/// How many samples of a kind a CPU has taken.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampleBudget {
    /// In this tick.
    pub tick: u32,
    /// So many.
    pub taken: u32,
    /// Samples for which the ring buffer had no room, ever.
    pub lost: u64,
}

/// What is counted beside services, backends and drops; indices into EVENT_STATS.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stat {
    /// Fragments left to the kernel: of other protocols, or later ones for no VIP without a first one.
    FragmentsPassed = 0,
    /// Packets left to the tc companion.
    HandedOver = 1,
    /// A proven flow found its table full and stayed half-open.
    FlowTableFull = 2,
    /// Replies turned back.
    Replies = 3,
    /// Packets that were not ours.
    NotOurs = 4,
    /// Flows moved to another backend because theirs was gone.
    FlowsMoved = 5,
    /// ICMP errors about a flow, translated for its client or backend.
    IcmpErrors = 6,
    /// Echo requests to a VIP, answered.
    EchoReplies = 7,
    /// Later fragments that followed their first; one that is handed over counts twice.
    FragmentsFollowed = 8,
    /// ICMP errors of our own: the time to live of a packet ran out here, or it was too big.
    ErrorsSent = 12,
    /// ICMP errors of our own that the limit forbade.
    ErrorsLimited = 13,
    /// ICMP errors about flows that this node does not know, sent on to the backend in the ring.
    ErrorsByRing = 14,
    /// Packets sent to another node in a tunnel.
    Tunnelled = 17,
    /// Packets that came from another node in a tunnel.
    Untunnelled = 18,
    /// Packets in a tunnel that went where they went before their ring changed.
    FlowsKept = 19,
    /// First segments to clients in which the MSS was lowered.
    MssLowered = 20,
    /// ICMP errors about flows that this node does not know, for the agent to send to all nodes.
    ErrorsShared = 24,
    /// ICMP errors about packets in a tunnel, translated for their senders.
    TunnelErrors = 25,
    /// Clients told by a reset, or by an ICMP error, that nobody is there.
    Refused = 26,
}

/// How many words EVENT_STATS has.
pub const STATS: u32 = 32;

/// Metadata in front of a packet that XDP leaves to the tc companion (8 bytes, `data_meta`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handover {
    /// [`HANDOVER_MAGIC`] plus a [`Task`].
    pub task: u32,
    /// Argument of the task.
    pub argument: u32,
}

/// Tells our metadata from that of others.
pub const HANDOVER_MAGIC: u32 = 0x7765_6900;

/// What the companion is to do with a packet that carries [`Handover`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Nothing: XDP is done with it.
    Done = 0,
    /// Mark it for the front.
    Front = 1,
    /// Forward it with the kernel's help (neighbour unresolved, a device that XDP cannot send to, or a tag in it).
    Forward = 2,
}

/// IPv4 instances.
pub type FrontendKey4 = FrontendKey<Addr4>;
/// IPv6 instance.
pub type FrontendKey6 = FrontendKey<Addr6>;
/// IPv4 instance.
pub type BackendEntry4 = BackendEntry<Addr4>;
/// IPv6 instance.
pub type BackendEntry6 = BackendEntry<Addr6>;
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
pub type NextHop4 = NextHop<Addr4>;
/// IPv6 instance.
pub type NextHop6 = NextHop<Addr6>;
/// IPv4 instance.
pub type Note4 = Note<Addr4>;
/// IPv6 instance.
pub type Note6 = Note<Addr6>;
/// IPv4 instance.
pub type FragmentKey4 = FragmentKey<Addr4>;
/// IPv6 instance.
pub type FragmentKey6 = FragmentKey<Addr6>;

/// Sizes without padding: the sum of the fields.
const _: () = {
    assert!(size_of::<FrontendKey4>() == 8 && size_of::<FrontendKey6>() == 24);
    assert!(size_of::<FrontendEntry>() == 8);
    assert!(size_of::<ServiceEntry>() == 16);
    assert!(size_of::<RingLine>() == 64);
    assert!(size_of::<BackendEntry4>() == 16 && size_of::<BackendEntry6>() == 32);
    assert!(size_of::<FlowKey4>() == 16 && size_of::<FlowKey6>() == 40);
    assert!(size_of::<FlowEntry4>() == 4 + 4 + 20 && size_of::<FlowEntry6>() == 16 + 4 + 20);
    assert!(size_of::<ReplyEntry4>() == 8 + 4 + 12 + 4 && size_of::<ReplyEntry6>() == 32 + 4 + 12 + 4 + 4);
    assert!(size_of::<FragmentKey4>() == 12 && size_of::<FragmentKey6>() == 40 && size_of::<FragmentEntry>() == 8);
    assert!(
        size_of::<FormerRing>() == 16
            && size_of::<TrackedEntry>() == 12
            && size_of::<AffinityKey>() == 24
            && size_of::<AffinityEntry>() == 12
            && size_of::<LoadEntry>() == 16
            && size_of::<Note4>() == 64
            && size_of::<Note6>() == 88
    );
    assert!(size_of::<DeviceEntry>() == 32);
    assert!(size_of::<Refusals>() == 16);
    assert!(size_of::<NextHop4>() == 8 + 8 + 32 && size_of::<NextHop6>() == 8 + 32 + 32);
    assert!(size_of::<Counters>() == 24 && size_of::<DropCounters>() == 16);
    assert!(size_of::<Handover>() == 8);
    assert!(size_of::<SampleHead>() == 40 && size_of::<SampleBudget>() == 16);
    assert!(size_of::<SampleNote>() == 48 + crate::limits::SNAP_MAX as usize);
    assert!(size_of::<Be16>() == 2 && size_of::<Be32>() == 4);
};

#[cfg(feature = "user")]
mod pod {
    #![expect(unsafe_code, reason = "aya::Pod is an unsafe marker for plain data")]
    use super::*;

    macro_rules! pod {
        ($($name:ty),+ $(,)?) => {
            // SAFETY: repr(C), integers only, no padding (asserted above): every bit pattern is valid.
            $(unsafe impl aya::Pod for $name {})+
        };
    }

    pod!(Be32, Addr6, FrontendEntry, ServiceEntry, RingLine, FragmentEntry, DeviceEntry, Counters, DropCounters);
    pod!(
        socket::SocketKey4,
        socket::SocketKey6,
        socket::SocketPeer4,
        socket::SocketPeer6,
        socket::SocketChoice,
        socket::PortLine,
        SampleHead,
        SampleBudget,
        Refusals,
        FormerRing,
        TrackedEntry,
        AffinityKey,
        AffinityEntry,
        LoadEntry,
        Note4,
        Note6,
    );

    macro_rules! pod_of_family {
        ($($name:ident),+) => {
            // SAFETY: as above; the sizes of both instances are asserted.
            $(unsafe impl<A: Address + aya::Pod> aya::Pod for $name<A> {})+
        };
    }

    pod_of_family!(FrontendKey, BackendEntry, FlowKey, FlowEntry, ReplyEntry, FragmentKey);
}
