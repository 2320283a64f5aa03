//! What the kernel programs and the agent share: the map types ([`abi`]) and the logic of the packet pipeline.
//!
//! Everything here is `no_std`, allocates nothing and runs in the kernel and on the host alike: `lb-ebpf` gives the
//! traits [`packet::Packet`] and [`lookup::Lookup`] their kernel implementation, tests and tools give them a slice and
//! hash maps. Modules stand in the order in which a packet meets them.
#![no_std]

#[cfg(any(test, feature = "host"))]
extern crate std;

pub mod abi;
pub mod addr;
pub mod be;
pub mod conntrack;
pub mod cookie;
pub mod csum;
pub mod drop_reason;
pub mod dsr;
pub mod ethernet;
mod extension;
pub mod flow;
pub mod fragment;
pub mod hash;
pub mod hop;
#[cfg(any(test, feature = "host"))]
pub mod host;
pub mod icmp;
pub mod ip;
pub mod limit;
pub mod limits;
pub mod lookup;
pub mod maglev;
pub mod neighbour;
pub mod packet;
pub mod parse;
pub mod pipeline;
pub mod policy;
pub mod question;
pub mod recent;
pub mod rewrite;
pub mod sample;
pub mod snat;
pub mod socket;
pub mod transport;
pub mod verdict;
