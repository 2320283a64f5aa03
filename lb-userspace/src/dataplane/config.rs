//! What the data plane needs to know, checked by whoever builds it, and where its files are.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use lb_common::abi::ABI_VERSION;
use lb_common::limits;

use super::placement::XdpPolicy;

/// Where pins stand if nothing else is said.
pub const DEFAULT_PIN_PATH: &str = "/sys/fs/bpf/weir";
/// Mark of packets for the front: none of kube-proxy's 0x4000 and 0x8000, Cilium's 0x0f00, Calico's 0xffff0000.
pub const DEFAULT_FWMARK: u32 = 0x2000;
/// Routing table for marked packets ("we" as two bytes); any number that nobody else uses will do.
pub const DEFAULT_TABLE: u32 = 0x7765;
/// Ports for SNAT: outside NodePorts (30000–32767) and the kernel's own choice (32768–60999).
pub const DEFAULT_SNAT_PORTS: (u16, u16) = (15_000, 29_999);

/// Settings of the data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `--pin-path`: programs at `prog/`, links at `link/`, maps at `map/vABI/`.
    pub pin_path: PathBuf,
    /// `--interface`; empty: those with a default route.
    pub interfaces: Vec<String>,
    /// `--xdp`.
    pub xdp: XdpPolicy,
    /// `--node-ip`: where a device carries several addresses, these are preferred as the source of SNAT.
    pub node_ips: Vec<IpAddr>,
    /// `--snat-ports`.
    pub snat_ports: (u16, u16),
    /// Where socket-level balancing attaches.
    pub cgroup: CgroupChoice,
    /// NodePorts answer the node's own processes on loopback, too.
    pub loopback_node_ports: bool,
    /// `--fwmark`.
    pub fwmark: u32,
    /// `--table`.
    pub table: u32,
    /// Sizes of the maps.
    pub sizes: MapSizes,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pin_path: DEFAULT_PIN_PATH.into(),
            interfaces: Vec::new(),
            xdp: XdpPolicy::default(),
            node_ips: Vec::new(),
            snat_ports: DEFAULT_SNAT_PORTS,
            cgroup: CgroupChoice::Off,
            loopback_node_ports: true,
            fwmark: DEFAULT_FWMARK,
            table: DEFAULT_TABLE,
            sizes: MapSizes::default(),
        }
    }
}

/// Where socket-level balancing attaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CgroupChoice {
    /// Nowhere: `--no-socket-level`.
    #[default]
    Off,
    /// At the root of the unified hierarchy, wherever that is mounted.
    Root,
    /// `--cgroup`: for the processes of this directory and those below it.
    Directory(PathBuf),
}

/// Sizes of the maps that grow with the cluster; each has a flag of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSizes {
    /// `--max-services`.
    pub services: u32,
    /// `--max-frontends`.
    pub frontends: u32,
    /// `--max-backends`.
    pub backends: u32,
    /// `--max-ring-lines`: lines of 16 slots.
    pub ring_lines: u32,
    /// `--max-flows`: proven flows.
    pub flows: u32,
    /// `--max-half-open-flows`.
    pub half_open_flows: u32,
}

impl Default for MapSizes {
    fn default() -> Self {
        Self {
            services: limits::SERVICES,
            frontends: limits::FRONTENDS,
            backends: limits::BACKENDS,
            ring_lines: limits::RING_LINES,
            flows: limits::FLOWS,
            half_open_flows: limits::HALF_OPEN_FLOWS,
        }
    }
}

/// Where the run-time files of an agent live: its lock, its record, the sockets of its front.
pub fn run_dir(pin_path: &Path) -> PathBuf {
    let name = pin_path.to_string_lossy().trim_matches('/').replace('/', "-");
    Path::new("/run/weir").join(name)
}

/// The pins below a pin path.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    root: PathBuf,
}

impl Pins {
    pub(crate) fn new(pin_path: &Path) -> Self {
        Self { root: pin_path.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn programs(&self) -> PathBuf {
        self.root.join("prog")
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs().join(name)
    }

    pub(crate) fn links(&self) -> PathBuf {
        self.root.join("link")
    }

    /// The link of a program to an interface. bpffs keeps names with dots for itself (kernel/bpf/inode.c,
    /// `bpf_lookup`), interface names cannot hold a colon: so one stands for the other.
    pub(crate) fn link(&self, program: &str, interface: &str) -> PathBuf {
        self.links().join(format!("{program}_{}", interface.replace('.', ":")))
    }

    /// The link of a program that is attached once.
    pub(crate) fn single_link(&self, program: &str) -> PathBuf {
        self.links().join(program)
    }

    pub(crate) fn all_maps(&self) -> PathBuf {
        self.root.join("map")
    }

    /// The maps of this version of the ABI.
    pub(crate) fn maps(&self) -> PathBuf {
        self.all_maps().join(format!("v{ABI_VERSION}"))
    }

    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// A map beside the one of this name, while that gets another size.
    pub(crate) fn map_in(&self, name: &str, role: &str) -> PathBuf {
        self.maps().join(format!("{name}-{role}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pins_hold_no_dots() {
        let pins = Pins::new(Path::new("/sys/fs/bpf/weir"));
        assert_eq!(pins.link("weir_xdp", "eth0.100"), Path::new("/sys/fs/bpf/weir/link/weir_xdp_eth0:100"));
    }

    #[test]
    fn each_pin_path_has_a_run_directory_of_its_own() {
        assert_eq!(run_dir(Path::new("/sys/fs/bpf/weir")), Path::new("/run/weir/sys-fs-bpf-weir"));
        assert_eq!(run_dir(Path::new("/sys/fs/bpf/weir/")), Path::new("/run/weir/sys-fs-bpf-weir"));
    }
}
