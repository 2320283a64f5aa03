//! Whom a service is for, and how its new flows choose.

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

/// Sizes without padding: the sum of the fields.
const _: () = {
    assert!(size_of::<AffinityKey>() == 24 && size_of::<AffinityEntry>() == 12 && size_of::<LoadEntry>() == 16);
};
