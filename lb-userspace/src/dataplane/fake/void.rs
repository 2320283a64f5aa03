//! A store that takes everything and holds nothing: what is measured over it is the way to the writes, not the writes.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::dataplane::store::{MapStore, StoreError};
use crate::tables::{
    BackendId, BackendKey, Frontend, FrontendKey, IpFamily, Ring, ServiceId, ServicePolicy, Settings, Tables,
};

/// Takes every write at once.
#[derive(Debug)]
pub struct Void;

macro_rules! takes {
    ($($name:ident($($argument:ty),*);)*) => {
        impl MapStore for Void {
            fn load(&mut self) -> Result<Tables, StoreError> {
                Ok(Tables::default())
            }

            $(fn $name(&mut self, $(_: $argument),*) -> Result<(), StoreError> {
                Ok(())
            })*
        }
    };
}

takes! {
    upsert_frontend(&FrontendKey, &Frontend);
    delete_frontend(&FrontendKey);
    upsert_backend(IpFamily, BackendId, &BackendKey);
    delete_backend(IpFamily, BackendId);
    upsert_backend_node(IpFamily, BackendId, IpAddr);
    delete_backend_node(IpFamily, BackendId);
    upsert_node(IpAddr, bool);
    delete_node(IpAddr);
    keep_ring(ServiceId);
    write_ring(ServiceId, &Ring);
    delete_service(ServiceId);
    upsert_node_address(IpAddr);
    delete_node_address(IpAddr);
    upsert_vip(IpAddr);
    delete_vip(IpAddr);
    write_policy(ServiceId, &ServicePolicy);
    upsert_range(ServiceId, IpNet);
    delete_range(ServiceId, IpNet);
    upsert_denied(IpNet);
    delete_denied(IpNet);
    write_settings(&Settings);
    grace_period();
}
