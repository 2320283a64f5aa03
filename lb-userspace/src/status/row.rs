//! The rows of the JSON: names and meaning are the contract with scripts. Unknown is null.

use std::net::IpAddr;

use lb_common::abi;
use serde::{Deserialize, Serialize};

use crate::announce::routers::SessionState;
use crate::dataplane::kube_proxy::KubeProxy;
use crate::dataplane::{InterfaceMode, InterfaceStatus, MapStatus, ProgramStatus, SocketLevel, WayKind, WayStatus};
use crate::model::{BackendState, Forwarding, FrontendKind, IpFamily, Problem, Protocol, ServiceType, TrafficPolicy};

/// What is counted of a service or backend, from the client's side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Packets from clients.
    pub packets: u64,
    /// Bytes from clients.
    pub bytes: u64,
    /// Flows begun.
    pub new_flows: u64,
    /// Flows that did not begin, because no port was free for source NAT.
    #[serde(default)]
    pub snat_exhausted: u64,
}

impl std::ops::Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            packets: self.packets + other.packets,
            bytes: self.bytes + other.bytes,
            new_flows: self.new_flows + other.new_flows,
            snat_exhausted: self.snat_exhausted + other.snat_exhausted,
        }
    }
}

impl From<&abi::Counters> for Counters {
    fn from(counters: &abi::Counters) -> Self {
        let abi::Counters { packets, bytes, new_flows, snat_exhausted } = *counters;
        Self { packets, bytes, new_flows, snat_exhausted }
    }
}

/// A row of `weir services`. Names are null where only the maps were read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRow {
    /// Namespace.
    pub namespace: Option<String>,
    /// Name of the Service.
    pub name: Option<String>,
    /// Name of the port.
    pub port_name: Option<String>,
    /// The Service's port.
    pub port: Option<u16>,
    /// Protocol.
    pub protocol: Option<Protocol>,
    /// Type of the Service.
    #[serde(rename = "type")]
    pub service_type: Option<ServiceType>,
    /// Id in the maps, that of the preferred family; null if it is not there.
    pub id: Option<u32>,
    /// What it is in each family, the preferred one first.
    #[serde(default)]
    pub families: Vec<FamilyRow>,
    /// Where clients arrive.
    pub frontends: Vec<FrontendRow>,
    /// How many backends there are.
    pub backends: BackendCounts,
    /// How a backend is chosen.
    pub algorithm: Option<String>,
    /// How packets reach other nodes; null if the front answers.
    pub forwarding: Option<Forwarding>,
    /// Why so; null if the front answers.
    pub forwarding_reason: Option<String>,
    /// Whether a client stays with its backend.
    pub affinity: Option<String>,
    /// Which backends clients from outside are led to.
    #[serde(default)]
    pub external_traffic_policy: Option<TrafficPolicy>,
    /// Which backends clients at the cluster IP are led to.
    #[serde(default)]
    pub internal_traffic_policy: Option<TrafficPolicy>,
    /// Port of the node under which an outer load balancer asks whether there are local backends.
    #[serde(default)]
    pub health_check_node_port: Option<u16>,
    /// Length of the ring of the preferred family.
    pub ring_slots: Option<usize>,
    /// Counters of all families.
    pub counters: Option<Counters>,
}

/// A service in one family, for clients that are led by one policy: it has an id and a ring of its own there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FamilyRow {
    /// The family.
    pub family: IpFamily,
    /// The policy.
    #[serde(default)]
    pub policy: TrafficPolicy,
    /// Id in the maps; null if it is not there.
    pub id: Option<u32>,
    /// Length of the ring.
    pub ring_slots: Option<usize>,
    /// Counters.
    pub counters: Option<Counters>,
}

/// A frontend of a service. The address of a NodePort is null: it answers on the node's addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendRow {
    /// Kind.
    pub kind: Option<FrontendKind>,
    /// The VIP.
    pub address: Option<IpAddr>,
    /// Port.
    pub port: u16,
    /// Name of the node that announces the address to its neighbours; null if none does.
    #[serde(default)]
    pub announced_by: Option<String>,
}

/// Backends of a service by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendCounts {
    /// Take new flows.
    pub active: usize,
    /// Keep the flows they have.
    pub terminating: usize,
    /// Take nothing.
    pub unhealthy: usize,
}

/// A row of `weir backends`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendRow {
    /// Id in the maps; null if it is not there.
    pub id: Option<u32>,
    /// How often the id was used.
    pub generation: Option<u32>,
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Node it runs on.
    pub node: Option<String>,
    /// It runs on this node.
    pub local: bool,
    /// Whether it takes traffic.
    pub state: Option<BackendState>,
    /// Relative share of new flows.
    pub weight: Option<u16>,
    /// `namespace/name` of the pod.
    pub pod: Option<String>,
    /// `namespace/name:port` of each service it belongs to.
    pub services: Vec<String>,
    /// Counters.
    pub counters: Option<Counters>,
}

/// A row of `weir routes`; host and path are `*` where any will do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteRow {
    /// Host.
    pub host: String,
    /// Path.
    pub path: String,
    /// How the path matches: the type of the rule, or `Regex`; null for a default backend.
    pub path_type: Option<String>,
    /// `namespace/name` of the Ingress.
    pub ingress: String,
    /// `namespace/name` of the Service.
    pub service: String,
    /// Port of the Service as the Ingress names it.
    pub service_port: String,
    /// How many endpoints take requests.
    pub endpoints: usize,
    /// Those of them that do not answer as `health-check-path` asks for, and take requests only where no other does.
    #[serde(default)]
    pub unhealthy: Vec<String>,
    /// What happens to a request on the way, such as `rewrite-target /`.
    pub filters: Vec<String>,
    /// Whether an Ingress lists the host under `spec.tls`, and TLS ends here; null: not known.
    pub tls: Option<bool>,
    /// Secret with the certificate of the host, `namespace/name`; null: it has the default one.
    #[serde(default)]
    pub certificate: Option<String>,
    /// What is wrong with the route.
    pub problem: Option<String>,
}

/// `weir status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusRow {
    /// Version of the agent.
    pub version: String,
    /// Name of the node.
    pub node: Option<String>,
    /// `/readyz` answers 200.
    pub ready: bool,
    /// What is missing until then.
    pub missing: Vec<String>,
    /// Where objects come from.
    pub sources: Vec<SourceRow>,
    /// Where programs are attached.
    pub interfaces: Vec<InterfaceRow>,
    /// Socket-level balancing.
    pub socket_level: Option<SocketLevelRow>,
    /// What there is of kube-proxy; null if nobody looked.
    #[serde(default)]
    pub kube_proxy: Option<KubeProxyRow>,
    /// By which devices backends on other nodes are reached.
    #[serde(default)]
    pub ways: Vec<WayRow>,
    /// Routers that are told of addresses.
    #[serde(default)]
    pub routers: Vec<RouterRow>,
    /// How full the maps are.
    pub maps: Vec<MapRow>,
    /// How packets reach other nodes, by way and reason.
    pub forwarding: Vec<ForwardingRow>,
    /// The layer 7 process; null if there is none.
    pub front: Option<FrontRow>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Socket-level balancing: addresses of services are replaced when processes and pods of this node name them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketLevelRow {
    /// It is on.
    pub attached: bool,
    /// The control group whose processes it serves; null if that is not known.
    pub cgroup: Option<String>,
    /// That control group holds every process of the machine.
    pub whole_node: Option<bool>,
    /// Connected sockets whose backend is gone are closed, so that their processes notice; null: not known yet.
    pub closes_sockets: Option<bool>,
    /// What is missing, and why.
    pub reasons: Vec<String>,
}

impl From<&SocketLevel> for SocketLevelRow {
    fn from(level: &SocketLevel) -> Self {
        Self {
            attached: level.attached,
            cgroup: level.cgroup.as_ref().map(|path| path.display().to_string()),
            whole_node: level.cgroup.as_ref().map(|_| level.whole_node),
            closes_sockets: level.closes_sockets,
            reasons: level.reasons.clone(),
        }
    }
}

/// What there is of kube-proxy on the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubeProxyRow {
    /// It runs.
    pub running: bool,
    /// Where it has rules: `iptables`, `ip6tables`, `iptables-legacy`, `nftables table ip kube-proxy`, `ipvs`, ...
    pub rules: Vec<String>,
}

impl From<&KubeProxy> for KubeProxyRow {
    fn from(found: &KubeProxy) -> Self {
        Self { running: found.running, rules: found.rules.iter().map(ToString::to_string).collect() }
    }
}

/// A router that is told of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouterRow {
    /// Its address.
    pub address: IpAddr,
    /// The number of its autonomous system.
    pub asn: u32,
    /// There is a session.
    pub established: bool,
    /// What BIRD says of it.
    pub info: String,
}

impl From<&SessionState> for RouterRow {
    fn from(session: &SessionState) -> Self {
        let SessionState { peer, asn, established, info } = session;
        Self { address: *peer, asn: *asn, established: *established, info: info.clone() }
    }
}

/// A source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceRow {
    /// `dir` or `kube`.
    pub kind: String,
    /// The directory.
    pub target: String,
    /// Everything it holds has been read once.
    pub complete: bool,
}

/// A way to other nodes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForwardingRow {
    /// The way.
    pub forwarding: Forwarding,
    /// Who asked for it.
    pub reason: String,
    /// How many services go it.
    pub services: usize,
}

/// An interface with programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceRow {
    /// Name.
    pub name: String,
    /// Index; null from agents that did not tell.
    #[serde(default)]
    pub index: Option<u32>,
    /// Which driver of the kernel's own made it, such as `veth` or `bond`; null for hardware.
    #[serde(default)]
    pub kind: Option<String>,
    /// How its packets are taken: `native` (XDP in the driver), `generic` (only of older agents), or `tc`; null if nothing is
    /// attached.
    pub mode: Option<String>,
    /// Why not by native XDP.
    pub reason: Option<String>,
    /// How the tc programs hang: `tcx` or `clsact`.
    #[serde(default)]
    pub tc: Option<String>,
    /// The programs.
    pub programs: Vec<ProgramRow>,
}

/// A way to backends on other nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WayRow {
    /// `uplink` (out of an external interface, by XDP where it has it), `tunnel` (out of another device, by tc),
    /// `dsr` (in a tunnel of our own to the backend's node), or `none`.
    pub way: String,
    /// Name of the device; null if there is no route.
    pub device: Option<String>,
    /// Which driver of the kernel's own made the device, such as `vxlan`; null for hardware.
    pub kind: Option<String>,
    /// How many addresses of backends are reached so.
    pub backends: usize,
    /// Why so.
    pub reason: String,
}

/// A loaded program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgramRow {
    /// Name.
    pub name: String,
    /// Id in the kernel.
    pub id: Option<u32>,
    /// Instructions as the verifier counted them.
    pub instructions: Option<u32>,
}

/// A map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MapRow {
    /// Name.
    pub name: String,
    /// Entries in use; null where the kernel cannot tell.
    pub entries: Option<u64>,
    /// Most entries.
    pub capacity: u64,
}

/// The layer 7 process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontRow {
    /// Sockets that listen.
    pub listeners: usize,
    /// Routes in force.
    pub routes: usize,
    /// Process id.
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u64,
    /// Requests answered.
    pub requests: Option<u64>,
}

impl From<&InterfaceStatus> for InterfaceRow {
    fn from(interface: &InterfaceStatus) -> Self {
        let mode = match interface.mode {
            InterfaceMode::Native => Some("native"),
            InterfaceMode::Generic => Some("generic"),
            InterfaceMode::Tc => Some("tc"),
            InterfaceMode::None => None,
        };
        let program = |program: &ProgramStatus| ProgramRow {
            name: program.name.to_owned(),
            id: Some(program.id),
            instructions: program.instructions,
        };
        Self {
            name: interface.name.clone(),
            index: Some(interface.index),
            kind: interface.kind.clone(),
            mode: mode.map(str::to_owned),
            reason: interface.reason.clone(),
            tc: interface.tc.map(str::to_owned),
            programs: interface.programs.iter().map(program).collect(),
        }
    }
}

impl From<&WayStatus> for WayRow {
    fn from(way: &WayStatus) -> Self {
        let name = match way.way {
            WayKind::Uplink => "uplink",
            WayKind::Tunnel => "tunnel",
            WayKind::Dsr => "dsr",
            WayKind::None => "none",
        };
        Self {
            way: name.to_owned(),
            device: way.device.clone(),
            kind: way.kind.clone(),
            backends: way.backends,
            reason: way.reason.clone(),
        }
    }
}

impl From<&MapStatus> for MapRow {
    fn from(map: &MapStatus) -> Self {
        Self { name: map.name.to_owned(), entries: map.entries, capacity: map.capacity.into() }
    }
}
