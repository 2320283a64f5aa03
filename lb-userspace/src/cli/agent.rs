//! Flags of `weir agent`.

use std::path::PathBuf;

use clap::Args;
use lb_common::limits;

use super::{DEFAULT_ADMIN, DEFAULT_PIN_PATH, ManifestArgs};

/// Flags of `weir agent`.
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// Where Services, Ingresses and the rest come from: dir:PATH, or kube; repeatable
    #[arg(long, value_name = "SOURCE", required = true)]
    pub source: Vec<String>,
    /// For --source kube: the file that names the API server and how to log in there [default: as a pod of the cluster]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// For --source kube: weights that Pods ask for count; each agent then watches the Pods of all nodes
    #[arg(long)]
    pub pod_weights: bool,
    /// External interface [default: those with a default route]; repeatable
    #[arg(long, value_name = "IF")]
    pub interface: Vec<String>,
    /// Where XDP is used: auto (where the driver runs it natively, but not on a veth), native (on a veth as well), off (nowhere:
    /// tc takes all packets)
    #[arg(long, value_name = "WHERE", default_value = "auto")]
    pub xdp: String,
    /// Address of this node [default: those of the external interfaces]; repeatable
    #[arg(long, value_name = "ADDR")]
    pub node_ip: Vec<String>,
    /// NodePorts answer on the node's addresses in here [default: on all of them]; repeatable
    #[arg(long, value_name = "CIDR")]
    pub nodeport_addresses: Vec<String>,
    /// Drop everything that comes in from the networks in this file, one a line; it is read again when it changes
    #[arg(long, value_name = "FILE")]
    pub deny_list: Option<PathBuf>,
    /// loadBalancerSourceRanges hold for all addresses that clients outside know, not only for those of load balancers
    #[arg(long)]
    pub source_ranges_everywhere: bool,
    /// Cluster IPs answer what comes in by external interfaces as well
    #[arg(long)]
    pub external_cluster_ips: bool,
    /// Ports for source NAT; the agent reserves them in ip_local_reserved_ports, `weir unload` takes them out again
    #[arg(long, value_name = "A-B", default_value = "15000-29999")]
    pub snat_ports: String,
    /// Address of its own for source NAT, so that no flow of the host can collide; repeatable
    #[arg(long, value_name = "ADDR")]
    pub snat_address: Vec<String>,
    /// TCP connections per second that may go to this node's pods without a client that goes on after an answer; those of a minute
    /// at once, 0 for any number [default: a thousandth of net.netfilter.nf_conntrack_max]
    #[arg(long, value_name = "N")]
    pub syn_limit: Option<String>,
    /// Redirect straight into local pods' interfaces, past the host's netfilter
    #[arg(long)]
    pub fast_local: bool,
    /// Mark of packets for the front: one bit that nobody else uses
    #[arg(long, value_name = "M", default_value = "0x2000")]
    pub fwmark: String,
    /// Routing table for packets of the front
    #[arg(long, value_name = "T", default_value = "0x7765")]
    pub table: String,
    /// Folder that a BIRD 2 shares, which tells routers of addresses: the agent writes bird.conf there, and speaks with BIRD at bird.ctl
    #[arg(long, value_name = "DIR")]
    pub bird: Option<PathBuf>,
    /// Routing table in which BIRD finds them; no packet is looked up there
    #[arg(long, value_name = "T", default_value = "0x7766")]
    pub bird_table: String,
    /// Where maps, programs and links are pinned; a bpffs is mounted where there is none
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PIN_PATH)]
    pub pin_path: PathBuf,
    /// Where socket-level balancing attaches [default: the root of the unified hierarchy]
    #[arg(long, value_name = "DIR")]
    pub cgroup: Option<PathBuf>,
    /// No socket-level balancing
    #[arg(long, conflicts_with = "cgroup")]
    pub no_socket_level: bool,
    /// Where /healthz /readyz /metrics /api/v1 answer
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_ADMIN)]
    pub admin: String,
    /// Where /metrics answers too, and nothing else does: an address that others may reach
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<String>,
    /// Server to ask for the names of ExternalName Services, repeatable [default: those of /etc/resolv.conf]
    #[arg(long, value_name = "ADDR:PORT")]
    pub name_server: Vec<String>,
    /// Such names may stand for loopback and link-local addresses of the node
    #[arg(long)]
    pub local_names: bool,
    /// /metrics has those of ingress-nginx as well, by their names
    #[arg(long)]
    pub nginx_metrics: bool,
    /// Collector that gets a span of each request, by OTLP over HTTP (POST /v1/traces); only where weir was built with the
    /// feature `otlp`
    #[arg(long, value_name = "HOST:PORT")]
    pub otlp: Option<String>,
    /// The part of requests that get a span where their traces begin here, from 0 to 1; other traces say it themselves
    #[arg(long, value_name = "N", default_value = "1", requires = "otlp")]
    pub otlp_ratio: String,
    /// What an agent does that another one has taken over from, once its front has drained: end, or stand-by (for
    /// containers, where it would be started again): go on if the other one ends
    #[arg(long, value_name = "WHAT", default_value = "end")]
    pub when_replaced: String,
    /// As which the agent calls itself when another one takes over.
    #[arg(long, hide = true)]
    pub retired: bool,
    /// It was told to end before it came to that.
    #[arg(long, hide = true, requires = "retired")]
    pub told: bool,
    /// Print the Plan, touch nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Form of the log on stderr: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: String,
    /// How much is logged: error, warn, info, debug or trace; changed live by POST /api/v1/log-level
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
    /// Sizes of the maps.
    #[command(flatten)]
    pub sizes: SizeArgs,
    /// What the manifests mean.
    #[command(flatten)]
    pub manifests: ManifestArgs,
}

/// Sizes of the maps; memory is taken when the agent starts.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sizes of the maps")]
pub struct SizeArgs {
    /// Services
    #[arg(long, value_name = "N", default_value_t = limits::SERVICES.to_string())]
    pub max_services: String,
    /// Frontends
    #[arg(long, value_name = "N", default_value_t = limits::FRONTENDS.to_string())]
    pub max_frontends: String,
    /// Backends
    #[arg(long, value_name = "N", default_value_t = limits::BACKENDS.to_string())]
    pub max_backends: String,
    /// Lines of 16 ring slots
    #[arg(long, value_name = "N", default_value_t = limits::RING_LINES.to_string())]
    pub max_ring_lines: String,
    /// Flows whose backend has answered
    #[arg(long, value_name = "N", default_value_t = limits::FLOWS.to_string())]
    pub max_flows: String,
    /// Flows whose backend has not answered yet
    #[arg(long, value_name = "N", default_value_t = limits::HALF_OPEN_FLOWS.to_string())]
    pub max_half_open_flows: String,
    /// Memory for the tables of flows of both families, as 512Mi or 2Gi, instead of the two numbers: a fifth of it for flows
    /// whose backend has not answered yet
    #[arg(long, value_name = "BYTES", conflicts_with_all = ["max_flows", "max_half_open_flows"])]
    pub flow_memory: Option<String>,
}
