//! Addresses for Services of type LoadBalancer: pools of them, and who gets which.
//!
//! [`claim`] says what Services ask for, [`pool`] what there is, [`allocate`] brings the two together, all of it pure: the same
//! Services, pools and memory give the same addresses in whatever order they come. What a Service has been given stands in
//! its status, and that is the memory: an address that a Service has stays with it. [`giving`] makes of it what statuses
//! should say.

mod allocate;
mod claim;
mod giving;
mod memory;
mod pool;
pub mod range;

pub use claim::{asked_addresses, is_annotation};
pub use giving::{Giver, Giving, PoolCounts};
pub use memory::Memory;
pub use pool::{Pool, Pools};

#[cfg(test)]
mod tests;
