//! The boundary between plan and maps: one small trait with three implementations (kernel maps, memory, and memory that
//! fails now and then).

use std::net::IpAddr;

use ipnet::IpNet;

use crate::tables::{
    BackendId, BackendKey, Frontend, FrontendKey, IpFamily, Ring, ServiceId, ServicePolicy, Settings, Tables,
};

/// A write or read of a map that failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The map is full.
    #[error("map {map} is full at {capacity} entries; raise its size with {flag}")]
    Full {
        /// Name of the map.
        map: &'static str,
        /// Its size.
        capacity: u32,
        /// What raises it.
        flag: &'static str,
    },
    /// The system call failed.
    #[error("map {map}: {operation} failed")]
    Io {
        /// Name of the map.
        map: &'static str,
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// The data plane's maps, entry by entry. Every write is idempotent; deleting what is not there is success.
pub trait MapStore: Send {
    /// What the maps hold now. Used at start, so that ids and rings live through a restart.
    fn load(&mut self) -> Result<Tables, StoreError>;

    /// Writes a frontend (one atomic replacement of a hash element).
    fn upsert_frontend(&mut self, key: &FrontendKey, value: &Frontend) -> Result<(), StoreError>;

    /// Removes a frontend.
    fn delete_frontend(&mut self, key: &FrontendKey) -> Result<(), StoreError>;

    /// Writes a backend under an id that nothing points at, with the next generation.
    fn upsert_backend(&mut self, family: IpFamily, id: BackendId, key: &BackendKey) -> Result<(), StoreError>;

    /// Marks a backend as unused; its generation survives. No ring has named it since the last grace period.
    fn delete_backend(&mut self, family: IpFamily, id: BackendId) -> Result<(), StoreError>;

    /// Says where a backend's node is.
    fn upsert_backend_node(&mut self, family: IpFamily, id: BackendId, node: IpAddr) -> Result<(), StoreError>;

    /// Forgets where a backend's node is.
    fn delete_backend_node(&mut self, family: IpFamily, id: BackendId) -> Result<(), StoreError>;

    /// Adds an address of a node of the cluster, perhaps this one's `own`.
    fn upsert_node(&mut self, address: IpAddr, own: bool) -> Result<(), StoreError>;

    /// Removes an address of a node of the cluster.
    fn delete_node(&mut self, address: IpAddr) -> Result<(), StoreError>;

    /// Lets the ring that the service has now serve the flows that began under it for a while after it is replaced.
    fn keep_ring(&mut self, service: ServiceId) -> Result<(), StoreError>;

    /// Writes the service's ring into free slots and swaps it in by one store; creates the service if need be.
    fn write_ring(&mut self, service: ServiceId, ring: &Ring) -> Result<(), StoreError>;

    /// Removes a service and its ring. No frontend has led to it since the last grace period.
    fn delete_service(&mut self, service: ServiceId) -> Result<(), StoreError>;

    /// Adds an address of the node.
    fn upsert_node_address(&mut self, address: IpAddr) -> Result<(), StoreError>;

    /// Removes an address of the node.
    fn delete_node_address(&mut self, address: IpAddr) -> Result<(), StoreError>;

    /// Adds an address that has a frontend and is not the node's own.
    fn upsert_vip(&mut self, address: IpAddr) -> Result<(), StoreError>;

    /// Removes such an address.
    fn delete_vip(&mut self, address: IpAddr) -> Result<(), StoreError>;

    /// Says how the flows of a service choose; the service is there.
    fn write_policy(&mut self, service: ServiceId, policy: &ServicePolicy) -> Result<(), StoreError>;

    /// Lets clients of a network reach a service.
    fn upsert_range(&mut self, service: ServiceId, network: IpNet) -> Result<(), StoreError>;

    /// Lets them reach it no longer.
    fn delete_range(&mut self, service: ServiceId, network: IpNet) -> Result<(), StoreError>;

    /// Drops everything from a network, as long as the settings say that some are denied.
    fn upsert_denied(&mut self, network: IpNet) -> Result<(), StoreError>;

    /// Takes packets from it again.
    fn delete_denied(&mut self, network: IpNet) -> Result<(), StoreError>;

    /// Writes the single settings.
    fn write_settings(&mut self, settings: &Settings) -> Result<(), StoreError>;

    /// Waits until no packet in flight still uses what was removed or replaced before. Called once per plan that removes
    /// or replaces something: when nothing points any more at the services and backends that it deletes next. So these ids
    /// may be used again at once, and the slots of rings that were replaced.
    fn grace_period(&mut self) -> Result<(), StoreError>;
}
