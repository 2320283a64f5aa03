//! The contents of every map, defined once for kernel and agent.
//!
//! Rules: `repr(C)`, no padding (each file asserts its sizes), whole aligned words in keys, no `bool`, `enum` or `Option`;
//! addresses and ports in network byte order. Whoever changes a type, a map or its meaning changes [`ABI_VERSION`], which
//! stands in the path of the pins.

mod announced;
mod call;
mod counters;
mod device;
mod flow;
mod handover;
pub mod map;
#[cfg(feature = "user")]
mod pod;
mod policy;
pub mod program;
pub mod protocol;
mod recent;
mod sample;
mod service;
pub mod setting;
pub mod socket;

pub use announced::*;
pub use call::*;
pub use counters::*;
pub use device::*;
pub use flow::*;
pub use handover::*;
pub use policy::*;
pub use recent::*;
pub use sample::*;
pub use service::*;

/// Version of everything in this module. It stays until the next release: an agent makes a single map anew whose entries have
/// another size, and says so (`map-recreated`).
pub const ABI_VERSION: u32 = 4;
