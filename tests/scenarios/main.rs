//! Scenario tests: a real client, real agents, a cluster of network namespaces.
//!
//! They need root, so plain `cargo test` lists them as ignored; `./run test` runs them.

mod agent_life;
mod agent_node;
mod capture;
mod changes;
mod checksums;
mod clients;
mod commands;
mod common;
mod drops;
mod dsr;
mod endpoints;
mod errors;
mod explain;
mod flows;
mod fragments;
mod front;
mod front_inside;
mod front_life;
mod hops;
mod host_network;
mod hostile;
mod icmp;
mod inside;
mod interfaces;
mod ipv6;
mod ipv6_host;
mod kube;
mod lab;
mod neighbours;
mod overlay;
mod policies;
mod problems;
mod reroute;
mod rewrites;
mod sctp;
mod seeds_layer4;
mod seeds_layer7;
mod sockets;
mod streams;
mod tls;
mod top;
mod tunnels;
mod unserved;
