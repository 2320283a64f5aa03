//! What each CPU remembers of packets that came lately ([`crate::recent`]).

use super::FrontendEntry;
use crate::addr::{Addr4, Addr6, Address};
use crate::be::Be16;

/// What a destination was found to be.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecentFrontend<A: Address> {
    /// When ([`crate::lookup::Lookup::stamp`]); 0 if the place is free.
    pub stamp: u64,
    /// Address.
    pub address: A,
    /// Port.
    pub port: Be16,
    /// IP protocol number, host order.
    pub protocol: u16,
    /// Nothing.
    pub fill: A::Fill,
    /// The frontend; [`super::frontend_flag::NONE`] if there is none.
    pub frontend: FrontendEntry,
}

/// The hardware address of a device.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecentDevice {
    /// When ([`crate::lookup::Lookup::stamp`]); 0 if the place is free.
    pub stamp: u64,
    /// Its index.
    pub device: u32,
    /// Three raw 16-bit words; zero if the device is not known, or has none.
    pub mac: [u16; 3],
    /// Nothing.
    pub fill: [u16; 3],
}

/// The clock, which stands still between two ticks of the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecentClock {
    /// The tick.
    pub jiffies: u64,
    /// What [`crate::lookup::Lookup::clock`] said in it.
    pub clock: u64,
}

/// IPv4 instance.
pub type RecentFrontend4 = RecentFrontend<Addr4>;
/// IPv6 instance.
pub type RecentFrontend6 = RecentFrontend<Addr6>;

/// Sizes without padding: the sum of the fields.
const _: () = {
    assert!(size_of::<RecentFrontend4>() == 24 && size_of::<RecentFrontend6>() == 40);
    assert!(size_of::<RecentDevice>() == 24 && size_of::<RecentClock>() == 16);
};
