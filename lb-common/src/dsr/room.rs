//! Packets that grow and shrink.

use super::Tunnel;
use crate::packet::Packet;

/// A packet that can take another header.
pub trait Room: Packet {
    /// Makes room for an outer header of the family behind the Ethernet header, which must have no tags in it.
    fn wrap<F: Tunnel>(&mut self) -> Option<()>;

    /// Takes away the `length` bytes of an outer header at `network`.
    fn unwrap(&mut self, network: usize, length: usize) -> Option<()>;

    /// Cuts the packet to `length` bytes.
    fn cut(&mut self, length: usize) -> Option<()>;

    /// Cuts the packet to `length` bytes and makes room for `header` bytes behind the Ethernet header.
    fn recast(&mut self, length: usize, header: usize) -> Option<()>;

    /// How long the largest IP packet will be that becomes of this one, which is `length` bytes long, `headers` of them no
    /// payload: on tc it may be a super-packet, which is cut into segments later. Those of TCP fit whatever happens.
    fn longest(&self, length: usize, headers: usize, tcp: bool) -> usize;
}
