//! Addresses that this node answers for.

use crate::addr::{Addr4, Addr6, Address};
use crate::ethernet::Mac;

/// An address in the network of a device.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnnouncedKey<A: Address> {
    /// The address.
    pub address: A,
    /// Index of the device that questions come in by.
    pub device: u32,
    /// Zero.
    pub fill: A::Fill,
}

/// What is answered, and who else says that he has the address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnnouncedEntry {
    /// When somebody else was heard last, in nanoseconds of [`crate::lookup::Lookup::clock`]; 0: nobody was.
    pub heard: u64,
    /// His hardware address ([`AnnouncedEntry::pack`]).
    pub rival: u64,
    /// The hardware address that neighbours are told.
    pub mac: Mac,
    /// Bits of [`announced_flag`].
    pub flags: u16,
}

/// Bits of [`AnnouncedEntry::flags`].
pub mod announced_flag {
    /// Nobody is told: it is only listened to who else has the address.
    pub const SILENT: u16 = 1;
}

impl AnnouncedEntry {
    /// A hardware address as one word, which is stored at once.
    #[inline(always)]
    pub const fn pack([a, b, c]: Mac) -> u64 {
        let ([a, b], [c, d], [e, f]) = (a.to_ne_bytes(), b.to_ne_bytes(), c.to_ne_bytes());
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }
}

/// IPv4 instance.
pub type AnnouncedKey4 = AnnouncedKey<Addr4>;
/// IPv6 instance.
pub type AnnouncedKey6 = AnnouncedKey<Addr6>;

/// Sizes without padding: the sum of the fields.
const _: () = {
    assert!(size_of::<AnnouncedKey4>() == 8 && size_of::<AnnouncedKey6>() == 24);
    assert!(size_of::<AnnouncedEntry>() == 24);
};
