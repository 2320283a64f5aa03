//! A worker between raw sockets: the tests write and read bytes, so that no library smooths over what is on the wire.

mod clients;
mod drain;
mod forwarding;
mod harness;
mod http2;
mod pressure;
mod refusals;
mod smuggling;
mod streaming;
mod upgrades;
mod upstreams;
