//! The Plan: the ordered writes that turn the actual Tables into the desired ones.
//!
//! Its phases make sure that nothing ever points at something missing, whatever packet or crash comes in between.

use std::fmt::{Display, Formatter, Result};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::tables::text::RingText;
use crate::tables::{BackendId, BackendKey, Frontend, FrontendKey, IpFamily, Ring, ServiceId, ServicePolicy, Settings};

/// The steps of a Plan, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Frontends, VIPs and node addresses that nobody should reach any more, and nodes that are gone.
    DeleteFrontends,
    /// New backends and their nodes, before a ring names them.
    UpsertBackends,
    /// Rings, new and changed, before a frontend leads to them.
    WriteRings,
    /// Settings, before a frontend needs them.
    WriteSettings,
    /// Frontends, VIPs and node addresses, new and changed.
    UpsertFrontends,
    /// Services and their rings that no frontend leads to; after a grace period.
    DeleteRings,
    /// Backends that no ring names, and where they were; after the same grace period.
    DeleteBackends,
}

/// One write to one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Remove a frontend.
    DeleteFrontend(FrontendKey),
    /// Remove an address of the node.
    DeleteNodeAddress(IpAddr),
    /// Remove an address that has no frontend any more.
    DeleteVip(IpAddr),
    /// Write a backend.
    UpsertBackend(IpFamily, BackendId, BackendKey),
    /// Say where a backend's node is.
    UpsertBackendNode(IpFamily, BackendId, IpAddr),
    /// Add an address of a node of the cluster.
    UpsertNode {
        /// The address.
        address: IpAddr,
        /// It is this node's.
        own: bool,
    },
    /// Remove an address of a node of the cluster.
    DeleteNode(IpAddr),
    /// A backend's node is not known any more.
    DeleteBackendNode(IpFamily, BackendId),
    /// Write a ring, and its service with it.
    WriteRing {
        /// The service.
        service: ServiceId,
        /// Its ring.
        ring: Ring,
        /// The service has another ring now.
        replaces: bool,
        /// The ring that it has now is needed for a while: flows in a tunnel have no entry on this node.
        keeps: bool,
    },
    /// Say how the flows of a service choose.
    WritePolicy(ServiceId, ServicePolicy),
    /// Let clients of a network reach a service.
    UpsertRange(ServiceId, IpNet),
    /// Let them reach it no longer.
    DeleteRange(ServiceId, IpNet),
    /// Drop everything from a network.
    UpsertDenied(IpNet),
    /// Take packets from it again.
    DeleteDenied(IpNet),
    /// Write the single settings.
    WriteSettings(Settings),
    /// Write a frontend.
    UpsertFrontend {
        /// Its key.
        key: FrontendKey,
        /// Where it leads.
        frontend: Frontend,
        /// It leads somewhere else now.
        replaces: bool,
    },
    /// Add an address of the node.
    UpsertNodeAddress(IpAddr),
    /// Add an address that has a frontend.
    UpsertVip(IpAddr),
    /// Remove a service with its ring.
    DeleteService(ServiceId),
    /// Remove a backend.
    DeleteBackend(IpFamily, BackendId),
}

impl Write {
    /// The phase that it belongs to.
    pub const fn phase(&self) -> Phase {
        match self {
            Write::DeleteFrontend(_) | Write::DeleteNodeAddress(_) | Write::DeleteVip(_) | Write::DeleteNode(_) => {
                Phase::DeleteFrontends
            }
            Write::UpsertBackend(..) | Write::UpsertBackendNode(..) | Write::UpsertNode { .. } => Phase::UpsertBackends,
            Write::UpsertRange(..) | Write::UpsertDenied(_) => Phase::UpsertBackends,
            Write::WriteRing { .. } | Write::WritePolicy(..) => Phase::WriteRings,
            Write::WriteSettings(_) => Phase::WriteSettings,
            Write::UpsertFrontend { .. } | Write::UpsertNodeAddress(_) | Write::UpsertVip(_) => Phase::UpsertFrontends,
            Write::DeleteService(_) => Phase::DeleteRings,
            Write::DeleteBackend(..) | Write::DeleteBackendNode(..) => Phase::DeleteBackends,
            // what takes its place is written before
            Write::DeleteRange(..) | Write::DeleteDenied(_) => Phase::DeleteBackends,
        }
    }

    /// A packet in flight may still use what was there before.
    const fn retires(&self) -> bool {
        match self {
            Write::DeleteFrontend(_) | Write::DeleteService(_) | Write::DeleteBackend(..) => true,
            Write::WriteRing { replaces, .. } | Write::UpsertFrontend { replaces, .. } => *replaces,
            Write::DeleteNodeAddress(_) | Write::UpsertNodeAddress(_) => false,
            Write::DeleteVip(_) | Write::UpsertVip(_) => false,
            Write::UpsertBackend(..) | Write::UpsertBackendNode(..) | Write::UpsertNode { .. } => false,
            Write::DeleteNode(_) | Write::DeleteBackendNode(..) | Write::WriteSettings(_) => false,
            Write::WritePolicy(..) | Write::UpsertRange(..) | Write::DeleteRange(..) => false,
            Write::UpsertDenied(_) | Write::DeleteDenied(_) => false,
        }
    }
}

/// Writes in the order of their phases. Empty: the actual Tables are the desired ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    writes: Vec<Write>,
}

impl Plan {
    /// Puts writes into the order of their phases; within a phase they keep theirs.
    pub fn new(mut writes: Vec<Write>) -> Self {
        writes.sort_by_key(Write::phase);
        Self { writes }
    }

    /// There is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// All writes in order.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// The writes before the grace period, and the deletions after it.
    pub fn halves(&self) -> (&[Write], &[Write]) {
        self.writes.split_at(self.writes.partition_point(|write| write.phase() < Phase::DeleteRings))
    }

    /// Something is removed or replaced, so a grace period is due between the halves.
    pub fn needs_grace(&self) -> bool {
        self.writes.iter().any(Write::retires)
    }
}

/// One line per write.
impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.writes.iter().try_for_each(|write| writeln!(f, "{write}"))
    }
}

impl Display for Write {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Write::DeleteFrontend(key) => write!(f, "delete frontend {key}"),
            Write::DeleteNodeAddress(address) => write!(f, "delete node-address {address}"),
            Write::DeleteVip(address) => write!(f, "delete vip {address}"),
            Write::UpsertBackend(family, id, key) => write!(f, "add backend {family} {id} {key}"),
            Write::UpsertBackendNode(family, id, node) => write!(f, "write backend-node {family} {id} {node}"),
            Write::UpsertNode { address, own } => write!(f, "add node {address}{}", if *own { " own" } else { "" }),
            Write::DeleteNode(address) => write!(f, "delete node {address}"),
            Write::DeleteBackendNode(family, id) => write!(f, "delete backend-node {family} {id}"),
            Write::WriteRing { service, ring, replaces, .. } => {
                write!(f, "{} service {service} {}", verb(*replaces), RingText(ring))
            }
            Write::WritePolicy(service, policy) => write!(f, "write policy {service} {policy}"),
            Write::UpsertRange(service, network) => write!(f, "add range {service} {network}"),
            Write::DeleteRange(service, network) => write!(f, "delete range {service} {network}"),
            Write::UpsertDenied(network) => write!(f, "add denied {network}"),
            Write::DeleteDenied(network) => write!(f, "delete denied {network}"),
            Write::WriteSettings(settings) => write!(f, "write settings {settings}"),
            Write::UpsertFrontend { key, frontend, replaces } => {
                write!(f, "{} frontend {key} -> {frontend}", verb(*replaces))
            }
            Write::UpsertNodeAddress(address) => write!(f, "add node-address {address}"),
            Write::UpsertVip(address) => write!(f, "add vip {address}"),
            Write::DeleteService(service) => write!(f, "delete service {service}"),
            Write::DeleteBackend(family, id) => write!(f, "delete backend {family} {id}"),
        }
    }
}

const fn verb(replaces: bool) -> &'static str {
    if replaces { "replace" } else { "add" }
}
