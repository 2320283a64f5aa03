//! Checked settings of the agent and of `weir check`: the command line, with every mistake in it told at once.

mod flag;
mod manifests;
mod not_yet;
mod see;
mod source;
mod top;
mod webhook;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use crate::cli::{AgentArgs, CheckArgs, MigrateArgs, ReadArgs, SizeArgs, UnloadArgs};
use crate::dataplane::{CgroupChoice, MapSizes, XdpPolicy};
use crate::l7::control::Collector;
use crate::model::Problem;
use crate::telemetry::{LogFormat, LogLevel};

pub use flag::{ConfigError, Mistake};
pub use manifests::Manifests;
pub use see::{CaptureCommand, ExplainCommand, FlowsCommand};
pub use source::SourceChoice;
pub use top::TopCommand;
pub use webhook::WebhookCommand;

use flag::Flags;

/// NodePorts are allocated in here, as Kubernetes does by default; ports for source NAT must stay outside.
const NODE_PORTS: (u16, u16) = (30_000, 32_767);

/// Settings of `weir agent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where objects come from, in the order of the command line.
    pub sources: Vec<SourceChoice>,
    /// The weights of all Pods are read from the API server.
    pub pod_weights: bool,
    /// External interfaces; empty: those with a default route.
    pub interfaces: Vec<String>,
    /// Whether XDP is used.
    pub xdp: XdpPolicy,
    /// Addresses of this node; empty: those of the external interfaces.
    pub node_ips: Vec<IpAddr>,
    /// Where NodePorts answer; empty: on all addresses of the node.
    pub nodeport_addresses: Vec<IpNet>,
    /// The file with the networks from which everything is dropped.
    pub deny_list: Option<PathBuf>,
    /// `loadBalancerSourceRanges` hold for all external addresses.
    pub source_ranges_everywhere: bool,
    /// Cluster IPs answer what comes in by external interfaces.
    pub external_cluster_ips: bool,
    /// First and last port for source NAT.
    pub snat_ports: (u16, u16),
    /// Address for source NAT instead of the device's own.
    pub snat_address4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub snat_address6: Option<Ipv6Addr>,
    /// Where socket-level balancing attaches.
    pub cgroup: CgroupChoice,
    /// Mark of packets for the front.
    pub fwmark: u32,
    /// Routing table for packets of the front.
    pub table: u32,
    /// Who tells routers of addresses.
    pub bird: Option<Bird>,
    /// Where maps, programs and links are pinned.
    pub pin_path: PathBuf,
    /// How many unproven TCP connections per second may go to pods of this node, 0 for any; `None`: as the kernel's table of tracked
    /// connections has room.
    pub syn_limit: Option<u32>,
    /// Sizes of the maps.
    pub sizes: MapSizes,
    /// Where the admin API answers.
    pub admin: SocketAddr,
    /// Where only the metrics answer.
    pub metrics: Option<SocketAddr>,
    /// Servers to ask for names outside of the cluster; empty: the system's.
    pub name_servers: Vec<SocketAddr>,
    /// Such names may stand for addresses of the node itself.
    pub local_names: bool,
    /// The metrics of ingress-nginx are there as well.
    pub nginx_metrics: bool,
    /// Gets a span of each request.
    pub collector: Option<Collector>,
    /// Once another agent has taken over, it waits in case that one ends.
    pub stands_by: bool,
    /// It only waits for the end of its front: another agent has taken over.
    pub retired: bool,
    /// It ends then, also where it would stand by: it was told to.
    pub told: bool,
    /// Print the Plan, touch nothing.
    pub dry_run: bool,
    /// Form of the log.
    pub log_format: LogFormat,
    /// How much is logged at first.
    pub log_level: LogLevel,
    /// What the manifests mean.
    pub manifests: Manifests,
    /// Flags that are accepted but do nothing yet, as info Problems.
    pub not_yet: Vec<Problem>,
}

/// A BIRD beside the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bird {
    /// The folder that both share.
    pub folder: PathBuf,
    /// The routing table that BIRD reads.
    pub table: u32,
}

impl TryFrom<&AgentArgs> for Config {
    type Error = ConfigError;

    fn try_from(args: &AgentArgs) -> Result<Self, ConfigError> {
        let mut flags = Flags::default();
        let (snat_address4, snat_address6) = snat_addresses(&mut flags, &args.snat_address);
        let config = Config {
            sources: source::read(&mut flags, &args.source, args.kubeconfig.as_deref()),
            pod_weights: args.pod_weights,
            interfaces: flags.each("--interface", &args.interface, flag::interface),
            xdp: flags.one("--xdp", &args.xdp, flag::parsed).unwrap_or_default(),
            node_ips: flags.each("--node-ip", &args.node_ip, flag::own_address),
            nodeport_addresses: flags.each("--nodeport-addresses", &args.nodeport_addresses, flag::network),
            deny_list: args.deny_list.clone(),
            source_ranges_everywhere: args.source_ranges_everywhere,
            external_cluster_ips: args.external_cluster_ips,
            snat_ports: flags.one("--snat-ports", &args.snat_ports, snat_ports).unwrap_or_default(),
            snat_address4,
            snat_address6,
            cgroup: cgroup(args),
            fwmark: flags.one("--fwmark", &args.fwmark, fwmark).unwrap_or_default(),
            table: flags.one("--table", &args.table, routing_table).unwrap_or_default(),
            bird: bird(&mut flags, args),
            pin_path: pin_path(&mut flags, &args.pin_path),
            syn_limit: flags.maybe("--syn-limit", args.syn_limit.as_deref(), syn_limit),
            sizes: sizes(&mut flags, &args.sizes),
            admin: admin(&mut flags, &args.admin),
            metrics: flags.maybe("--metrics", args.metrics.as_deref(), flag::socket),
            name_servers: flags.each("--name-server", &args.name_server, flag::socket),
            local_names: args.local_names,
            nginx_metrics: args.nginx_metrics,
            collector: collector(&mut flags, args),
            stands_by: flags.one("--when-replaced", &args.when_replaced, flag::stands_by).unwrap_or_default(),
            retired: args.retired,
            told: args.told,
            dry_run: args.dry_run,
            log_format: flags.one("--log-format", &args.log_format, flag::parsed).unwrap_or_default(),
            log_level: flags.one("--log-level", &args.log_level, flag::parsed).unwrap_or_default(),
            manifests: Manifests::read(&mut flags, &args.manifests),
            not_yet: not_yet::problems(args),
        };
        flags.finish(config)
    }
}

fn collector(flags: &mut Flags, args: &AgentArgs) -> Option<Collector> {
    let address = args.otlp.clone()?;
    if !cfg!(feature = "otlp") {
        flags.mistake("--otlp", &address, "a weir that was built with the feature otlp");
    }
    if !address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
        flags.mistake("--otlp", &address, "HOST:PORT, 4318 for most collectors");
    }
    let ratio = flags.one("--otlp-ratio", &args.otlp_ratio, |text| {
        let ratio = text.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        ratio.ok_or_else(|| "a number from 0 to 1".to_owned())
    });
    Some(Collector { address, per_million: (ratio? * 1e6).round() as u32 })
}

impl TryFrom<&CheckArgs> for Manifests {
    type Error = ConfigError;

    fn try_from(args: &CheckArgs) -> Result<Self, ConfigError> {
        let mut flags = Flags::default();
        let manifests = Manifests::read(&mut flags, &args.manifests);
        flags.finish(manifests)
    }
}

impl TryFrom<&MigrateArgs> for Manifests {
    type Error = ConfigError;

    fn try_from(args: &MigrateArgs) -> Result<Self, ConfigError> {
        let mut flags = Flags::default();
        let manifests = Manifests::read(&mut flags, &args.manifests);
        flags.finish(manifests)
    }
}

/// Where a reading command asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The agent.
    pub admin: SocketAddr,
    /// The maps, if no agent answers.
    pub pin_path: PathBuf,
}

impl TryFrom<&ReadArgs> for Reader {
    type Error = ConfigError;

    fn try_from(args: &ReadArgs) -> Result<Self, ConfigError> {
        let mut flags = Flags::default();
        let reader = Reader::read(&mut flags, args);
        flags.finish(reader)
    }
}

impl Reader {
    fn read(flags: &mut Flags, args: &ReadArgs) -> Self {
        Self { admin: admin(flags, &args.admin), pin_path: pin_path(flags, &args.pin_path) }
    }
}

/// What `weir unload` takes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unload {
    /// Everything that is pinned here.
    pub pin_path: PathBuf,
    /// Even while an agent runs.
    pub force: bool,
}

impl TryFrom<&UnloadArgs> for Unload {
    type Error = ConfigError;

    fn try_from(args: &UnloadArgs) -> Result<Self, ConfigError> {
        let mut flags = Flags::default();
        let unload = Unload { pin_path: pin_path(&mut flags, &args.pin_path), force: args.force };
        flags.finish(unload)
    }
}

fn cgroup(args: &AgentArgs) -> CgroupChoice {
    match &args.cgroup {
        _ if args.no_socket_level => CgroupChoice::Off,
        Some(directory) => CgroupChoice::Directory(directory.clone()),
        None => CgroupChoice::Root,
    }
}

fn sizes(flags: &mut Flags, args: &SizeArgs) -> MapSizes {
    let mut size = |flag, text: &String| flags.one(flag, text, map_size).unwrap_or_default();
    let sizes = MapSizes {
        services: size("--max-services", &args.max_services),
        frontends: size("--max-frontends", &args.max_frontends),
        backends: size("--max-backends", &args.max_backends),
        ring_lines: size("--max-ring-lines", &args.max_ring_lines),
        flows: size("--max-flows", &args.max_flows),
        half_open_flows: size("--max-half-open-flows", &args.max_half_open_flows),
    };
    match flags.maybe("--flow-memory", args.flow_memory.as_deref(), flow_memory) {
        Some(flows) => MapSizes { flows, half_open_flows: flows / HALF_OPEN_SHARE, ..sizes },
        None => sizes,
    }
}

/// Bytes of a flow of IPv4 and one of IPv6, each with its reply entry (docs/architecture.md, "Maps").
const FLOW_BYTES: u64 = 224 + 304;
/// For so many proven flows there is room for one that is half-open.
const HALF_OPEN_SHARE: u32 = 4;

/// How many proven flows of each family there can be in so much memory, beside the half-open ones.
fn flow_memory(text: &str) -> Result<u32, String> {
    let units = [("Ki", 10), ("Mi", 20), ("Gi", 30)];
    let (number, shift) = units
        .into_iter()
        .find_map(|(unit, shift)| text.strip_suffix(unit).map(|number| (number, shift)))
        .unwrap_or((text, 0));
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    let flows = bytes.map(|bytes| bytes / (FLOW_BYTES + FLOW_BYTES / u64::from(HALF_OPEN_SHARE)));
    let flows = flows.and_then(|flows| u32::try_from(flows).ok()).filter(|flows| (1 << 10..=1 << 24).contains(flows));
    flows.ok_or_else(|| "bytes from 1Mi to 10Gi, as 512Mi".to_owned())
}

/// Id 0 means none, so one entry is nothing; at the upper end every map is below the kernel's limit of 4 GiB.
fn map_size(text: &str) -> Result<u32, String> {
    let size = flag::number(text).filter(|size| (2..=1 << 24).contains(size));
    size.ok_or_else(|| "a number of entries from 2 to 16777216".to_owned())
}

/// At most so many unproven connections per second; those of a minute are counted in 32 bits.
pub const MAX_SYN_LIMIT: u32 = 10_000_000;

fn syn_limit(text: &str) -> Result<u32, String> {
    let limit = flag::number(text).filter(|limit| *limit <= MAX_SYN_LIMIT);
    limit.ok_or_else(|| format!("a number of connections per second up to {MAX_SYN_LIMIT}, 0 for no limit"))
}

fn snat_ports(text: &str) -> Result<(u16, u16), String> {
    let expected = || "two ports A-B with 1024 <= A <= B, outside the NodePorts 30000-32767".to_owned();
    let (first, last) = text.split_once('-').ok_or_else(expected)?;
    let range: (u16, u16) =
        (first.trim().parse().map_err(|_| expected())?, last.trim().parse().map_err(|_| expected())?);
    let overlaps = range.0 <= NODE_PORTS.1 && range.1 >= NODE_PORTS.0;
    if range.0 < 1024 || range.0 > range.1 || overlaps { Err(expected()) } else { Ok(range) }
}

/// The maps hold one address of each family for source NAT; more of them are told by [`not_yet`].
fn snat_addresses(flags: &mut Flags, given: &[String]) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let addresses = flags.each("--snat-address", given, flag::own_address);
    let (mut v4, mut v6) = (None, None);
    for address in addresses {
        match address {
            IpAddr::V4(address) => v4 = v4.or(Some(address)),
            IpAddr::V6(address) => v6 = v6.or(Some(address)),
        }
    }
    (v4, v6)
}

/// The mark is set and tested as `M/M`, so it is one bit.
fn fwmark(text: &str) -> Result<u32, String> {
    let bit = flag::number(text).filter(|mark| mark.is_power_of_two());
    bit.ok_or_else(|| "one bit that nobody else uses, such as 0x2000".to_owned())
}

/// 253 to 255 are the kernel's own tables, 0 means none.
fn routing_table(text: &str) -> Result<u32, String> {
    let table = flag::number(text).filter(|table| !matches!(table, 0 | 253..=255));
    table.ok_or_else(|| "the number of a routing table other than 0, 253, 254 and 255, such as 0x7765".to_owned())
}

/// Routes of the table for the front would be told to routers as well.
fn bird(flags: &mut Flags, args: &AgentArgs) -> Option<Bird> {
    let table = flags.one("--bird-table", &args.bird_table, routing_table);
    if table.is_some() && table == flag::number(&args.table) {
        flags.mistake("--bird-table", &args.bird_table, "another table than --table");
    }
    let folder = args.bird.as_deref()?;
    if !folder.is_absolute() {
        flags.mistake("--bird", &folder.display().to_string(), "an absolute path, such as /run/weir/bird");
    }
    Some(Bird { folder: folder.to_owned(), table: table? })
}

fn pin_path(flags: &mut Flags, path: &std::path::Path) -> PathBuf {
    let absolute = path.is_absolute() && path.components().all(|part| part != std::path::Component::ParentDir);
    if !absolute {
        flags.mistake("--pin-path", &path.display().to_string(), "an absolute path, such as /sys/fs/bpf/weir");
    }
    path.to_owned()
}

fn admin(flags: &mut Flags, text: &str) -> SocketAddr {
    flags.one("--admin", text, flag::socket).unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}
