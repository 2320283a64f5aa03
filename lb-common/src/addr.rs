//! The address family as a type parameter: one code, two instances, small keys for IPv4.

use core::fmt::Debug;
use core::hash::Hash;

use crate::be::Be32;

/// An IPv4 address in network byte order.
pub type Addr4 = Be32;

/// An IPv6 address: two words of 64 bits in network byte order. Two, not four: each is one register, and the stack of a
/// kernel program has room for 64 values that do not fit into registers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Addr6 {
    high: u64,
    low: u64,
}

impl Addr6 {
    /// From the bytes as they stand on the wire.
    #[inline(always)]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Self::from_raw([u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes([i, j, k, l, m, n, o, p])])
    }

    /// From two words as they stand in a packet.
    #[inline(always)]
    pub const fn from_raw([high, low]: [u64; 2]) -> Self {
        Self { high, low }
    }

    /// The words as they stand in a packet.
    #[inline(always)]
    pub const fn raw(self) -> [u64; 2] {
        [self.high, self.low]
    }

    /// The bytes as they stand on the wire.
    #[inline(always)]
    pub const fn bytes(self) -> [u8; 16] {
        let ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]) = (self.high.to_ne_bytes(), self.low.to_ne_bytes());
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }
}

/// An address of either family, as it stands in map keys: whole words in network byte order. Entries of maps rely on there
/// being two of them.
pub trait Address: sealed::Sealed + Copy + Eq + Debug + Default + Hash + Ord + 'static {
    /// The address that stands for "any" in a NodePort's frontend key.
    const ANY: Self;

    /// The words of the address, for hashing; IPv4 has one, the rest are zero.
    fn words(&self) -> [u32; 4];

    /// The same in words of 64 bits, for checksums; IPv4 stands in the lower half of the first.
    fn longs(&self) -> [u64; 2];

    /// How many of [`Address::words`] count.
    const WORDS: usize;

    /// What an address and 32 bits lack to a multiple of the address's alignment.
    type Fill: Copy + Eq + Debug + Default + Hash + Ord + 'static;
}

impl Address for Addr4 {
    const ANY: Self = Be32::new(0);
    const WORDS: usize = 1;
    type Fill = [u32; 0];

    #[inline(always)]
    fn words(&self) -> [u32; 4] {
        [self.raw(), 0, 0, 0]
    }

    #[inline(always)]
    fn longs(&self) -> [u64; 2] {
        [u64::from(self.raw()), 0]
    }
}

impl Address for Addr6 {
    const ANY: Self = Self::from_raw([0; 2]);
    const WORDS: usize = 4;
    type Fill = [u32; 1];

    #[inline(always)]
    fn words(&self) -> [u32; 4] {
        let ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]) = (self.high.to_ne_bytes(), self.low.to_ne_bytes());
        [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]].map(u32::from_ne_bytes)
    }

    #[inline(always)]
    fn longs(&self) -> [u64; 2] {
        self.raw()
    }
}

mod sealed {
    /// Only this crate says what an address is. To the agent it is plain data besides.
    #[cfg(feature = "user")]
    pub trait Sealed: aya::Pod {}
    /// Only this crate says what an address is.
    #[cfg(not(feature = "user"))]
    pub trait Sealed {}

    impl Sealed for super::Addr4 {}
    impl Sealed for super::Addr6 {}
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
