//! The address family as a type parameter: one code, two instances, small keys for IPv4.

use core::fmt::Debug;
use core::hash::Hash;

use crate::be::Be32;

/// An IPv4 address in network byte order.
pub type Addr4 = Be32;

/// An IPv6 address: four words in network byte order (alignment 4, so that keys have no padding).
pub type Addr6 = [Be32; 4];

/// An address of either family, as it stands in map keys: whole words in network byte order.
pub trait Address: Copy + Eq + Debug + Default + Hash + Ord + 'static {
    /// The address that stands for "any" in a NodePort's frontend key.
    const ANY: Self;

    /// The words of the address, for hashing and checksums; IPv4 has one, the rest are zero.
    fn words(&self) -> [u32; 4];

    /// How many of [`Address::words`] count.
    const WORDS: usize;
}

impl Address for Addr4 {
    const ANY: Self = Be32::new(0);
    const WORDS: usize = 1;

    #[inline(always)]
    fn words(&self) -> [u32; 4] {
        [self.raw(), 0, 0, 0]
    }
}

impl Address for Addr6 {
    const ANY: Self = [Be32::new(0); 4];
    const WORDS: usize = 4;

    #[inline(always)]
    fn words(&self) -> [u32; 4] {
        [self[0].raw(), self[1].raw(), self[2].raw(), self[3].raw()]
    }
}

/// An address family: what differs between IPv4 and IPv6, and nothing else.
pub trait Family: Copy + 'static {
    /// The address as it stands in keys.
    type Addr: Address;
    /// EtherType of the family, host order.
    const ETHER_TYPE: u16;
}

/// IPv4.
#[derive(Clone, Copy, Debug)]
pub struct V4;

/// IPv6.
#[derive(Clone, Copy, Debug)]
pub struct V6;

impl Family for V4 {
    type Addr = Addr4;
    const ETHER_TYPE: u16 = 0x0800;
}

impl Family for V6 {
    type Addr = Addr6;
    const ETHER_TYPE: u16 = 0x86dd;
}
