//! What is counted.

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
    /// Flows that did not begin, because no port was free for source NAT.
    pub snat_exhausted: u64,
}

/// Indices into SYN_BUDGETS: those of the node each in a cache line (64 bytes) of its own, for all CPUs write them.
pub mod budget {
    /// All that is new.
    pub const NODE: u32 = 0;
    /// What comes again after it was dropped.
    pub const AGAIN: u32 = 8;
    /// The service of id 0; the others follow.
    pub const SERVICES: u32 = 16;
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
    /// Neighbours who asked for an announced address and were told.
    NeighboursTold = 27,
    /// Packets in which another station says that it has an address that is announced here.
    Rivals = 28,
    /// First segments to the front that were answered with a SYN cookie.
    CookiesSent = 29,
    /// Connections to the front that begin with the answer to a SYN cookie.
    CookiesTaken = 30,
}

/// How many words EVENT_STATS has.
pub const STATS: u32 = 32;

/// Sizes without padding: the sum of the fields.
const _: () = {
    assert!(size_of::<Counters>() == 32 && size_of::<DropCounters>() == 16);
};
