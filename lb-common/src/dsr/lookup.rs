//! What DSR looks up and records beside what the pipeline does.

use crate::abi::{FlowKey, FormerRing, TrackedEntry};
use crate::lookup::Lookup;

use super::Tunnel;

/// The maps of DSR, for one address family.
pub trait Nodes<F: Tunnel>: Lookup<F> {
    /// What an address is among those of the cluster's nodes: bits of [`crate::abi::node_flag`]; 0 if it is none.
    fn node(&self, address: F::Addr) -> u32;

    /// Where the node of a backend is; `None` if it is this node, or not known.
    fn node_of(&self, backend: u32) -> Option<F::Addr>;

    /// The ring that a service had before its present one.
    fn former_ring(&self, service: u32) -> Option<FormerRing>;

    /// What was remembered of a flow.
    fn tracked(&self, key: &FlowKey<F::Addr>) -> Option<Self::Ref<'_, TrackedEntry>>;

    /// Remembers a flow; the least recently used goes first.
    fn track(&self, key: &FlowKey<F::Addr>, entry: &TrackedEntry);

    /// Forgets a flow.
    fn untrack(&self, key: &FlowKey<F::Addr>);
}
