//! The packet path: the same fixtures through the host pipeline and through the programs in the kernel, byte for byte.
//!
//! Host fixtures run everywhere; the kernel half needs root and says so when it is skipped.

mod bond;
mod cookies;
mod dsr;
mod egress;
mod errors;
mod explain;
mod fixture;
mod forward;
mod fragments;
mod hops;
mod icmp;
mod inside;
mod kernel;
mod leases;
mod limits;
mod loaded;
mod malformed;
mod neighbours;
mod packet;
mod packet6;
mod policy;
mod random;
mod refusals;
mod replies;
mod samples;
mod sctp;
mod stations;
mod tunnel;
mod unserved;
mod v6;
mod verifier;
mod world;
mod world6;
