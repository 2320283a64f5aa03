//! How large the tables are by default. The loader may set other sizes; the programs never look at these numbers.

/// Services that can hold an id; id 0 means none.
pub const SERVICES: u32 = 65_536;
/// Backends of one family that can hold an id; id 0 means none.
pub const BACKENDS: u32 = 131_072;
/// Frontends of one family.
pub const FRONTENDS: u32 = 131_072;
/// Cache lines of ring slots, 64 bytes and [`RING_LINE_SLOTS`] slots each: 16 MiB, 4,000 services of ten backends.
pub const RING_LINES: u32 = 262_144;
/// Slots in one cache line of the ring area.
pub const RING_LINE_SLOTS: u32 = 16;
/// Proven flows of one family (as many reply entries).
pub const FLOWS: u32 = 262_144;
/// Flows of one family whose backend has not answered yet.
pub const HALF_OPEN_FLOWS: u32 = 65_536;
/// Fragmented datagrams of one family whose first fragment has come.
pub const FRAGMENTS: u32 = 8_192;
/// Ways of one family that each CPU remembers; a power of two.
pub const NEXT_HOPS: u32 = 4_096;
/// Destinations of one family of which each CPU remembers what they are; a power of two.
pub const RECENT_FRONTENDS: u32 = 1_024;
/// Devices of which each CPU remembers the hardware address; a power of two.
pub const RECENT_DEVICES: u32 = 8;
/// Addresses of this node.
pub const NODE_ADDRESSES: u32 = 4_096;
/// Addresses of the cluster's nodes, of one family.
pub const NODES: u32 = 16_384;
/// Flows of one family in tunnels that a change of their ring concerns.
pub const TRACKED_FLOWS: u32 = 65_536;
/// Addresses of one family that this node announces to its neighbours, one for each device; memory is taken as they are
/// written.
pub const ANNOUNCED: u32 = 131_072;
/// Network devices that carry an address.
pub const DEVICES: u32 = 1_024;
/// Listeners of the front: [`LISTENERS_PER_KIND`] for HTTP, then as many for HTTPS, then both again for IPv6.
pub const LISTENERS: u32 = 4 * LISTENERS_PER_KIND;
/// Listeners of one kind and family, one per core that the front uses.
pub const LISTENERS_PER_KIND: u32 = 128;
/// The longest ring of one service; a prime.
pub const RING_MAX: u32 = 65_537;
/// Sockets of one family of which it is known whom they mean by the backend that they talk to; the least recently used
/// goes first.
pub const SOCKET_PEERS: u32 = 65_536;
/// Choices of unconnected sockets of one family; the least recently used goes first.
pub const SOCKET_CHOICES: u32 = 16_384;
/// Bytes of the ring buffer of samples; a power of two, and whole pages.
pub const SAMPLE_BYTES: u32 = 512 << 10;
/// Bytes of a packet that a sample holds at most.
pub const SNAP_MAX: u32 = 4_096;
/// Bytes of a dropped packet that are sampled without being asked for: its headers.
pub const DROP_SNAP: u32 = 128;
/// ICMP errors about flows of other nodes that each CPU gives to the agent in each tick of about a second.
pub const SHARED_ERRORS: u32 = 32;
/// Dropped packets of each reason that are sampled on each CPU in each tick of about a second.
pub const DROP_SAMPLES: u32 = 4;
/// Networks of one family from which everything is dropped; memory is taken as they are written.
pub const DENIED: u32 = 1 << 20;
/// Networks of one family that services are restricted to; memory is taken as they are written.
pub const RANGES: u32 = 1 << 18;
/// First segments that were dropped because there were too many, of which it is remembered that they came; a power of two.
pub const SEEN_SYNS: u32 = 1 << 20;
/// Clients that keep their backend; the least recently used goes first.
pub const AFFINITIES: u32 = 65_536;
