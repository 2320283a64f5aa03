//! How the world learns where addresses of pools are.
//!
//! [`wanted`] says which addresses are announced and which nodes may do it, [`owners`] which of the nodes that live does: both
//! pure, so that all agents come to the same without asking each other. [`hello`] is how they know who lives: each tells its
//! neighbours twice a second, in the very networks in which the addresses are. [`frame`] makes what is said to everybody when
//! an address moves. The agent's `announcer` brings it together.
//!
//! [`bgp`] says what routers are told, and [`bird`] writes that for BIRD and reads what it answers; the agent's `speaker` does it.

pub mod bgp;
pub mod bird;
pub mod frame;
pub mod hello;
pub mod owners;
pub mod routers;
pub mod wanted;

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Who announces what, as this node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Addresses that are to be announced to neighbours, and by which node they are; `None`: by nobody, since no node that may
    /// lives.
    pub owners: BTreeMap<IpAddr, Option<String>>,
    /// How many this node announces.
    pub own: u64,
    /// Addresses that this node has left to another station, by its hardware address, or has defended against it.
    pub contested: BTreeMap<IpAddr, Contest>,
    /// How many addresses this node has taken since it began.
    pub taken: u64,
    /// How often it heard another station say that it has one of them.
    pub rivals: u64,
}

/// Another station has an address of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contest {
    /// Its hardware address.
    pub rival: [u8; 6],
    /// This node has left the address to it.
    pub left: bool,
}
