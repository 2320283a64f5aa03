//! The compiled contents of the data plane: typed, sorted, one text line per entry.
//!
//! Tables know both address families; the data plane sorts entries into the maps of a family.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::model::{Algorithm, FrontListener, Protocol};

pub use crate::model::IpFamily;
pub use ring::Ring;

mod ring;
pub(crate) mod text;

/// Id of a service in the maps; never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ServiceId(pub u32);

/// Id of a backend in the maps; never 0. The families share one numbering, as they share the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct BackendId(pub u32);

/// Key of a frontend. A NodePort stands under the unspecified address of its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrontendKey {
    /// The VIP, or the unspecified address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// The way of clients on this node, where it is not that of others ([`Frontend::inside`]).
    pub inside: bool,
}

/// Where a frontend leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frontend {
    /// The service.
    pub service: ServiceId,
    /// Set if the node's own front answers.
    pub front: Option<FrontListener>,
    /// Only processes and pods of this node reach it; what comes in by an external interface does not.
    pub cluster: bool,
    /// Clients on this node go the way of the same key with [`FrontendKey::inside`].
    pub inside: bool,
    /// Packets for backends on other nodes go there in a tunnel ([`crate::model::Forwarding::Dsr`]).
    pub dsr: bool,
    /// Only for clients in the service's [`Tables::ranges`].
    pub ranges: bool,
    /// New flows choose as the service's [`ServicePolicy`] says.
    pub chooses: bool,
    /// The front answers, and with SYN cookies while its listener is full.
    pub cookies: bool,
    /// Clients are led to backends on this node only, and there are some on others: without one here nobody is refused.
    pub elsewhere: bool,
}

/// How the new flows of a service choose, where that is not by their hash alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServicePolicy {
    /// Seconds for which a client keeps its backend; 0: it does not.
    pub affinity: u32,
    /// How else.
    pub algorithm: Algorithm,
}

/// Key of a backend. What the key names never changes; what differs is another backend with another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendKey {
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// It runs on this node.
    pub local: bool,
}

/// Everything that the data plane's maps should hold. Rings of a service are per family: a dual-stack service has two
/// service ids, one per family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Frontends.
    pub frontends: BTreeMap<FrontendKey, Frontend>,
    /// Services with their rings.
    pub services: BTreeMap<ServiceId, Ring>,
    /// Backends of each family.
    pub backends: BTreeMap<(IpFamily, BackendId), BackendKey>,
    /// Addresses of this node on which NodePorts answer.
    pub node_addresses: BTreeSet<IpAddr>,
    /// Addresses that have a frontend and are not the node's own: echo requests to them are answered.
    pub vips: BTreeSet<IpAddr>,
    /// Where the nodes of backends on other nodes are, as far as that is known: the ends of tunnels.
    pub backend_nodes: BTreeMap<(IpFamily, BackendId), IpAddr>,
    /// Addresses of the cluster's nodes, and whether each is this node's own: who may send in a tunnel, and where it ends.
    pub nodes: BTreeMap<IpAddr, bool>,
    /// Services whose flows choose otherwise than by their hash.
    pub policies: BTreeMap<ServiceId, ServicePolicy>,
    /// Networks of the clients of services that are not for everybody.
    pub ranges: BTreeSet<(ServiceId, IpNet)>,
    /// Networks from which everything is dropped.
    pub denied: Arc<BTreeSet<IpNet>>,
    /// Single settings.
    pub settings: Settings,
}

impl Tables {
    /// Services whose packets go to other nodes in a tunnel.
    pub fn tunnelled(&self) -> BTreeSet<ServiceId> {
        self.frontends.values().filter(|frontend| frontend.dsr).map(|frontend| frontend.service).collect()
    }
}

/// Single settings of the data plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// First and last port for SNAT.
    pub snat_ports: (u16, u16),
    /// Lowest and highest NodePort in use; `None` if there is none.
    pub node_ports: Option<(u16, u16)>,
    /// Address that SNAT takes instead of the device's own.
    pub snat_address4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub snat_address6: Option<Ipv6Addr>,
    /// Mark for packets to the front.
    pub front_mark: u32,
    /// Address of this node that tunnels to other nodes come from.
    pub node_address4: Option<Ipv4Addr>,
    /// The same of IPv6.
    pub node_address6: Option<Ipv6Addr>,
    /// The smallest MTU of the external interfaces, which is taken for that of the network between the nodes; 0 if it is
    /// not known.
    pub tunnel_mtu: u16,
    /// How many unproven TCP connections per second may go to pods of this node, with those of a minute at once; 0 for no limit.
    pub syn_limit: u32,
    /// Some network of IPv4 is denied.
    pub denies4: bool,
    /// The same for IPv6.
    pub denies6: bool,
}
