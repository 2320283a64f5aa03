//! DSR on the host: packets that grow, and the maps of nodes.

use core::cell::RefMut;

use super::{Bytes, Maps};
use crate::abi::{FlowKey, FormerRing, TrackedEntry};
use crate::dsr::{Nodes, Room, Tunnel};
use crate::ethernet::HEADER;

impl Room for Bytes {
    fn wrap<F: Tunnel>(&mut self) -> Option<()> {
        self.insert(F::HEADER)
    }

    fn unwrap(&mut self, network: usize, length: usize) -> Option<()> {
        self.0.drain(network..network + length);
        Some(())
    }

    fn cut(&mut self, length: usize) -> Option<()> {
        self.0.truncate(length);
        Some(())
    }

    fn recast(&mut self, length: usize, header: usize) -> Option<()> {
        self.cut(length)?;
        self.insert(header)
    }

    fn longest(&self, length: usize, _headers: usize, _tcp: bool) -> usize {
        length
    }
}

impl Bytes {
    /// Room behind the Ethernet header. What stands in it is left to the caller, as it is in the kernel. As on tc, tags are
    /// taken off.
    fn insert(&mut self, bytes: usize) -> Option<()> {
        while self.0.get(12..14).is_some_and(|kind| matches!(kind, [0x81, 0] | [0x88, 0xa8])) {
            self.0.drain(12..16);
        }
        let header = self.0.get(..HEADER)?;
        let fill = core::iter::repeat_n(0xff, bytes);
        self.0 = header.iter().copied().chain(fill).chain(self.0[HEADER..].iter().copied()).collect();
        Some(())
    }
}

impl<F: Tunnel> Nodes<F> for Maps<F> {
    fn node(&self, address: F::Addr) -> u32 {
        self.nodes.get(&address).copied().unwrap_or(0)
    }

    fn node_of(&self, backend: u32) -> Option<F::Addr> {
        self.backend_nodes.get(&backend).copied()
    }

    fn former_ring(&self, service: u32) -> Option<FormerRing> {
        Some(self.former_rings.get(&service).copied().unwrap_or_default())
    }

    fn tracked(&self, key: &FlowKey<F::Addr>) -> Option<RefMut<'_, TrackedEntry>> {
        RefMut::filter_map(self.tracked.borrow_mut(), |tracked| tracked.get_mut(key)).ok()
    }

    fn track(&self, key: &FlowKey<F::Addr>, entry: &TrackedEntry) {
        self.tracked.borrow_mut().insert(*key, *entry);
    }

    fn untrack(&self, key: &FlowKey<F::Addr>) {
        self.tracked.borrow_mut().remove(key);
    }
}
