//! Names of the maps, equal to the statics in `lb-ebpf`, and so to the names of their pins. A name that ends in 4 or 6 is of
//! one family; ids of services and backends, and lines of rings, are of both: a backend stands in BACKENDS4 or BACKENDS6.

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
/// Hash of [`super::AnnouncedKey4`] to [`super::AnnouncedEntry`]: the addresses that this node answers for.
pub const ANNOUNCED4: &str = "ANNOUNCED4";
/// Hash of [`super::AnnouncedKey6`] to [`super::AnnouncedEntry`].
pub const ANNOUNCED6: &str = "ANNOUNCED6";
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
/// Per-CPU array of [`super::RecentFrontend4`]: what destinations were found to be lately.
pub const RECENT_FRONTENDS4: &str = "RECENT_FRONTENDS4";
/// Per-CPU array of [`super::RecentFrontend6`], like RECENT_FRONTENDS4.
pub const RECENT_FRONTENDS6: &str = "RECENT_FRONTENDS6";
/// Per-CPU array of [`super::RecentDevice`] by the low bits of the device's index.
pub const RECENT_DEVICES: &str = "RECENT_DEVICES";
/// Per-CPU array of one [`super::RecentClock`].
pub const RECENT_CLOCK: &str = "RECENT_CLOCK";
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
/// Array of `u64` by [`super::budget`]: until when an allowance for unproven connections is taken, in nanoseconds of the clock.
pub const SYN_BUDGETS: &str = "SYN_BUDGETS";
/// Array of `u64`: hash of a flow in bits 32–63, when its first segment was dropped in bits 0–31, in units of 2^20 ns.
pub const SEEN_SYNS: &str = "SEEN_SYNS";
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
