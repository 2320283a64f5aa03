//! Frontends, services and their rings, backends.

use crate::addr::{Addr4, Addr6, Address};
use crate::be::Be16;

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
    /// First segments are answered with SYN cookies while the front's listener is full ([`crate::cookie`]); with [`FRONT`].
    pub const COOKIES: u32 = 32;
    /// Only this node's own processes and pods reach it: what comes in by an external interface does not.
    pub const CLUSTER: u32 = 1 << 16;
    /// Clients on this node go the way of the entry with [`super::INSIDE`] in its key.
    pub const INSIDE: u32 = 1 << 17;
    /// Clients are led to backends on this node only, and there are some on others.
    pub const ELSEWHERE: u32 = 1 << 18;
    /// In what is remembered of a destination ([`super::super::RecentFrontend`]): there is no frontend.
    pub const NONE: u32 = 1 << 31;
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

/// One cache line of ring slots: backend ids, 0 for none.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLine {
    /// The slots.
    pub slots: [u32; crate::limits::RING_LINE_SLOTS as usize],
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

/// IPv4 instance.
pub type FrontendKey4 = FrontendKey<Addr4>;
/// IPv6 instance.
pub type FrontendKey6 = FrontendKey<Addr6>;
/// IPv4 instance.
pub type BackendEntry4 = BackendEntry<Addr4>;
/// IPv6 instance.
pub type BackendEntry6 = BackendEntry<Addr6>;

/// Sizes without padding: the sum of the fields.
const _: () = {
    assert!(size_of::<FrontendKey4>() == 8 && size_of::<FrontendKey6>() == 24);
    assert!(size_of::<FrontendEntry>() == 8);
    assert!(size_of::<ServiceEntry>() == 16 && size_of::<RingLine>() == 64 && size_of::<FormerRing>() == 16);
    assert!(size_of::<BackendEntry4>() == 16 && size_of::<BackendEntry6>() == 32);
};
