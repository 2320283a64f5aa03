//! Clusters of network namespaces: what the scenario tests and the demo of weir stand on.
//!
//! A [`Cluster`] is a client, nodes and a switch between them, each in a network namespace, and pods behind a bridge on
//! every node. Pods and clients are threads of this process that entered a namespace; agents are processes.
//! All of it ends with the value that stands for it, after a panic too; what a killed run left is swept by the next.

mod agent;
mod branch;
mod capture;
mod cluster;
mod command;
mod control_group;
mod control_plane;
mod crowd;
mod echo;
mod family;
mod flow;
mod http;
mod icmp;
mod lab_object;
mod lacking;
mod manifest;
mod name_server;
mod netns;
mod node;
mod overlay;
mod packet;
mod pod;
mod process;
mod rights;
mod routing;
mod rules;
pub mod sctp;
mod session;
mod sweep;
mod uplink;
mod usage;
mod wait;

pub use agent::{Agent, AgentOptions};
pub use branch::Branch;
pub use capture::{Capture, Packet};
pub use cluster::{Binaries, CLIENT, CLIENT6, Cluster, ClusterOptions, Gateways6};
pub use control_group::ControlGroup;
pub use control_plane::{AGENT_USER, Audited, ControlPlane, KubeProxy, kubernetes_programs};
pub use crowd::Crowd;
pub use echo::{Echo, raise_file_limit};
pub use family::Family;
pub use flow::{Flow, FlowReport, ask_tcp, ask_udp, greet};
pub use http::{Request, Response, connect};
pub use icmp::{ping, ping6};
pub use lab_object::LabObject;
pub use lacking::{LACKING, lacks};
pub use manifest::{Port, Service, pods_and_nodes};
pub use name_server::NameServer;
pub use netns::Netns;
pub use node::Node;
pub use packet::{Segment, Segment6, answer_to, send_raw, send_raw_all, send_raw6};
pub use pod::{Pod, Server, ServerOptions};
pub use process::Process;
pub use rights::{LEFT_TO_ROOT, is_root, left_to_root};
pub use routing::{Bird, Router};
pub use session::Session;
pub use sweep::sweep;
pub use usage::cpu_time;
pub use wait::{SOON, eventually};
