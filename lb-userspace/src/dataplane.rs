//! The only place that writes maps, and beside `lb-ebpf` the only one that contains `unsafe`.
//!
//! [`Dataplane::start`] loads the kernel object over the pinned maps, [`Dataplane::store`] writes them, and
//! [`Dataplane::attach`] lets packets in. Everything stays pinned: when the agent ends, packets go on.

pub mod addresses;
pub mod announced;
pub mod apply;
mod attach;
mod bpf_store;
mod bpffs;
mod calls;
mod cgroup;
mod config;
mod devices;
mod driver;
mod entry;
mod error;
pub mod explain;
pub mod fake;
mod family;
mod flows;
mod former;
mod gc;
mod grace;
mod hop_watch;
mod host;
mod inspect;
mod ipv6;
#[cfg(feature = "bpf-log")]
mod kernel_log;
pub mod kube_proxy;
mod link;
mod listeners;
mod loader;
mod lock;
mod mapped;
mod maps;
mod namespaces;
mod neighbours;
mod netlink;
mod node_counts;
pub mod object;
mod orphans;
mod outstanding;
mod placement;
mod policies;
mod ports;
mod probe;
mod record;
mod report;
mod ring_area;
mod route;
mod samples;
mod shared_errors;
mod slices;
mod sock_diag;
mod socket_level;
mod spec;
mod stats;
pub mod store;
mod survey;
mod sys;
mod sysctl;
mod tc;
pub mod told_routes;
mod transfer;
mod tunnels;
mod unload;
mod verify;
mod watch;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::programs::TcAttachType;
use lb_common::abi::{Stat, program};
use lb_common::conntrack;
use lb_common::drop_reason::DropReason;
use lb_common::sample::Capture;

use bpf_store::BpfStore;
use config::Pins;
use gc::Collector;
use hop_watch::Epoch;
use ipv6::Ipv6;
use lock::Lock;
use mapped::Access;
use maps::Maps;
use netlink::{Link, Netlink};
use node_counts::NodeCounts;
use orphans::Orphans;
use placement::{Place, Way};
use policies::{Affinities, Loads};
use record::Record;
use socket_level::SocketSettings;
use stats::CounterReader;
use store::MapStore;
use survey::Refusals;
use transfer::Transfers;
use ways::Ways;

use crate::tables::{BackendId, ServiceId, Tables};

pub use config::{
    CgroupChoice, Config, DEFAULT_FWMARK, DEFAULT_PIN_PATH, DEFAULT_SNAT_PORTS, DEFAULT_TABLE, MapSizes, run_dir,
};
pub use error::DataplaneError;
pub use flows::{FlowMode, FlowRecord, flows};
pub use gc::GcReport;
pub use hop_watch::HopWatch;
pub use inspect::{Inspection, inspect};
pub use lock::{LockError, holder as lock_holder};
pub use netlink::NetlinkError;
pub use orphans::Endpoint;
pub use outstanding::unacknowledged;
pub use placement::XdpPolicy;
pub use probe::{Conntrack, conntrack};
pub use report::{Feature, InterfaceMode, InterfaceStatus, Note, ProgramStatus, StartReport};
pub use samples::{SampleReader, interface_names, split as split_sample};
pub use shared_errors::SharedErrors;
pub use socket_level::SocketLevel;
pub use stats::{CounterSnapshot, MapStatus};
pub use sys::monotonic_ns;
pub use sysctl::SysctlError;
pub use unload::{UnloadReport, unload};
pub use watch::AddressWatch;
pub use ways::{WayKind, WayStatus};

/// The programs, links and maps of this agent, and its lock on the pin path.
pub struct Dataplane {
    config: Config,
    pins: Pins,
    maps: Maps,
    run_dir: PathBuf,
    object: Ebpf,
    /// Maps that get another size, until the programs are attached.
    transfers: Transfers,
    counters: CounterReader,
    /// For listing what is in use; never writes.
    view: BpfStore,
    node_counts: NodeCounts,
    collector: Collector,
    orphans: Orphans,
    attached: bool,
    /// What was decided for the external interfaces when they were last attached to.
    decided: Vec<Place>,
    refusals: Refusals,
    /// By which devices backends on other nodes are reached, and those of them with a program of their own.
    ways: Ways,
    tunnels: Vec<Link>,
    /// As it was when the host was last prepared.
    ipv6: Ipv6,
    report: StartReport,
    _lock: Lock,
}

impl Dataplane {
    /// Takes the lock, mounts bpffs where it is not, compares the pinned maps, loads and pins the object, sets sysctls,
    /// adds rule and route. Attaches nothing: first the maps are to be written.
    pub async fn start(config: &Config) -> Result<Self, DataplaneError> {
        let (pins, run_dir) = (Pins::new(&config.pin_path), run_dir(&config.pin_path));
        let lock = Lock::acquire(&run_dir)?;
        let netlink = Netlink::connect()?;
        let uplinks = host::uplinks(&netlink, &config.interfaces)?;
        // Refuses what cannot be before anything is touched.
        let places = survey::places(&netlink, &pins, config, &uplinks, &Refusals::new())?;
        let mut report =
            StartReport { kernel: probe::kernel_release(), features: probe::features(), ..StartReport::default() };
        report.notes = probe::warnings(&report.features);
        if let Some(path) = bpffs::ensure(&config.pin_path)? {
            report.notes.push(Note::info("bpffs-mounted", format!("bpffs was mounted at {}", path.display())));
        }
        #[cfg_attr(not(feature = "bpf-log"), expect(unused_mut, reason = "only the kernel's log changes it"))]
        let (mut object, transfers) = loader::load(&pins, &config.sizes, &mut report.notes)?;
        #[cfg(feature = "bpf-log")]
        kernel_log::follow(&mut object)?;
        host::prepare(config, &run_dir, &netlink, &uplinks, &mut report.notes)?;
        let maps = Maps::new(pins.clone());
        let view = BpfStore::open(&maps, Access::Read)?;
        let dataplane = Self {
            counters: CounterReader::open(&maps)?,
            node_counts: NodeCounts::new(view.count_by_node()?),
            view,
            collector: Collector::open(&maps)?,
            orphans: Orphans::open(&maps)?,
            config: config.clone(),
            attached: false,
            decided: Vec::new(),
            refusals: Refusals::new(),
            ways: Ways::default(),
            tunnels: survey::earlier_tunnels(&run_dir, &netlink.links()?)?,
            ipv6: host::ipv6(&uplinks),
            pins,
            maps,
            run_dir,
            object,
            transfers,
            report,
            _lock: lock,
        };
        SocketSettings::open(&dataplane.maps)?.write_node(config)?;
        // An earlier agent's programs go on while we start: what they may do is to stay as it is.
        let native =
            |place: &Place| place.facts.foreign.is_none() && place.facts.link.xdp.is_some_and(|xdp| xdp.native);
        let may = |place: &Place| native(place) && placement::may_redirect_to(&place.facts);
        let uplinks = places.iter().map(|place| (place.facts.link.index, may(place))).collect();
        devices::write(&dataplane.maps, &netlink.links()?, &config.node_ips, &uplinks, &dataplane.tunnel_indices())?;
        Ok(dataplane)
    }

    /// Attaches the programs to the interfaces; links that are there already are updated in place. To be called once the
    /// maps are written.
    pub fn attach(&mut self) -> Result<(), DataplaneError> {
        let netlink = Netlink::connect()?;
        let places = self.places()?;
        self.tunnels = self.wanted_tunnels(&netlink, &places)?;
        self.attach_to(&netlink, places)?;
        self.attached = true;
        self.report.socket_level =
            socket_level::attach(&mut self.object, &self.pins, &self.config.cgroup, &mut self.report.notes);
        loader::remove_other_versions(&self.pins, &mut self.report.notes)
    }

    /// Follows changes of interfaces and addresses: writes DEVICES, attaches to interfaces that are new, or whose packets
    /// are to be taken otherwise now. An interface that is gone, or whose default route is, is no reason to let go of the
    /// others.
    pub fn refresh(&mut self) -> Result<(), DataplaneError> {
        let netlink = Netlink::connect()?;
        if !self.attached {
            return Ok(());
        }
        self.write_devices(&netlink)?;
        let attached: Vec<u32> = self.report.interfaces.iter().map(|interface| interface.index).collect();
        let uplinks = host::present_uplinks(&netlink, &self.config.interfaces, &attached)?;
        for interface in &mut self.report.interfaces {
            if uplinks.iter().all(|link| link.index != interface.index) {
                interface.set_gone();
            }
        }
        let places = survey::places(&netlink, &self.pins, &self.config, &uplinks, &self.refusals)?;
        let as_before = |place: &Place| {
            let same = |old: &&Place| old.facts.link.index == place.facts.link.index && old.way == place.way;
            self.decided.iter().any(|old| same(&old))
        };
        let (as_before, ipv6) = (places.iter().all(as_before), host::ipv6(&uplinks));
        if as_before && ipv6 == self.ipv6 {
            return Ok(());
        }
        self.report.notes.retain(|note| note.code != ipv6::NOTE);
        host::prepare(&self.config, &self.run_dir, &netlink, &uplinks, &mut self.report.notes)?;
        self.ipv6 = ipv6;
        if as_before { Ok(()) } else { self.attach_to(&netlink, places) }
    }

    /// Looks by which devices backends on other nodes are reached, and follows what has changed: devices that are no external
    /// interfaces get the program that turns replies back. Call it after each change of the backends, and every few seconds,
    /// since routes change.
    pub fn follow_ways(&mut self) -> Result<(), DataplaneError> {
        if !self.attached {
            return Ok(());
        }
        let netlink = Netlink::connect()?;
        let tunnels = self.wanted_tunnels(&netlink, &self.decided.clone())?;
        let same = |a: &Link, b: &Link| (a.index, &a.name) == (b.index, &b.name) && a.addresses == b.addresses;
        let unchanged =
            tunnels.len() == self.tunnels.len() && tunnels.iter().zip(&self.tunnels).all(|(a, b)| same(a, b));
        if unchanged {
            return Ok(());
        }
        Record::add_tunnels(&self.run_dir, tunnels.iter().map(|tunnel| tunnel.name.clone()))?;
        attach::attach_tunnels(&mut self.object, &self.pins, &tunnels)?;
        self.tunnels = tunnels;
        self.record_tunnels()?;
        self.write_devices(&netlink)?;
        let sockets = self.config.cgroup != CgroupChoice::Off;
        attach::remove_other_links(&self.pins, &self.decided, &self.tunnels, sockets, &mut self.report.notes)
    }

    /// The same where nothing is new but backends on other nodes at these addresses: that needs no look at all the others.
    pub fn follow_ways_to(&mut self, backends: &[IpAddr]) -> Result<(), DataplaneError> {
        if !self.attached || backends.is_empty() {
            return Ok(());
        }
        let devices = self.ways.add(&Netlink::connect()?, backends);
        let tunnels = self.tunnel_indices();
        let uplinks = self.uplink_indices();
        // one without a route is to be told
        let is_known = |device: &Option<u32>| device.is_some_and(|it| tunnels.contains(&it) || uplinks.contains(&it));
        if devices.iter().all(is_known) { Ok(()) } else { self.follow_ways() }
    }

    /// By which devices backends on other nodes are reached.
    pub fn ways(&self) -> Vec<WayStatus> {
        self.report.ways.clone()
    }

    /// The maps, for whoever applies plans. There should be one writer at a time.
    pub fn store(&self) -> Result<Box<dyn MapStore>, DataplaneError> {
        Ok(Box::new(BpfStore::open(&self.maps, Access::Write)?.counting(self.node_counts.clone())))
    }

    /// Steers the front's packets to these sockets, which must be listening.
    pub fn set_listeners(&mut self, http: &[TcpListener], https: &[TcpListener]) -> Result<(), DataplaneError> {
        listeners::set(&self.maps, http, https)?;
        SocketSettings::open(&self.maps)?.write_front_ports(http, https)
    }

    /// The external interfaces as they were when last attached.
    pub fn interfaces(&self) -> Vec<InterfaceStatus> {
        self.report.interfaces.clone()
    }

    /// What there is to say of the external interfaces as they are now.
    pub fn remarks(&self) -> impl Iterator<Item = Note> {
        self.report
            .interfaces
            .iter()
            .flat_map(|interface| &interface.notes)
            .cloned()
            .chain(self.report.ways.iter().filter_map(ways::remark))
    }

    /// Socket-level balancing as it was when attached.
    pub fn socket_level(&self) -> SocketLevel {
        self.report.socket_level.clone()
    }

    /// Closes connected sockets whose backend is gone ([`Endpoint`]s that `exists` knows keep their TCP connections), so
    /// that their processes notice. Gives how many were closed; none where the kernel cannot.
    pub fn close_orphans(&self, exists: impl Fn(&Endpoint) -> bool) -> Result<u64, DataplaneError> {
        if self.report.socket_level.closes_sockets == Some(true) { self.orphans.close(exists) } else { Ok(0) }
    }

    /// How full the maps are.
    pub fn maps(&self) -> Result<Vec<MapStatus>, DataplaneError> {
        stats::fill(&self.maps, &self.view)
    }

    /// The counters.
    pub fn counters(&self) -> Result<CounterSnapshot, DataplaneError> {
        self.counters.read(&self.view)
    }

    /// How many packets were dropped for a reason: one system call.
    pub fn dropped(&self, reason: DropReason) -> Result<u64, DataplaneError> {
        self.counters.dropped(reason)
    }

    /// Flows of a service that did not begin because no port was free for source NAT: one system call.
    pub fn snat_exhausted(&self, id: ServiceId) -> Result<u64, DataplaneError> {
        self.counters.snat_exhausted(id)
    }

    /// How often something happened: one system call.
    pub fn event(&self, stat: Stat) -> Result<u64, DataplaneError> {
        self.counters.event(stat)
    }

    /// The reading end of the samples. There should be one.
    pub fn samples(&self) -> Result<SampleReader, DataplaneError> {
        SampleReader::open(&self.maps)
    }

    /// What sends ICMP errors that come with the samples to the other nodes.
    pub fn shared_errors(&self) -> Result<SharedErrors, DataplaneError> {
        SharedErrors::open(&self.maps)
    }

    /// Has packets sampled for some seconds from now; nothing but a few drops if it is `None`.
    pub fn capture(&self, wanted: Option<Capture>) -> Result<(), DataplaneError> {
        samples::capture(&self.maps, wanted)
    }

    /// Samples that found no room, since the ring buffer was made.
    pub fn samples_lost(&self) -> Result<u64, DataplaneError> {
        samples::lost(&self.maps)
    }

    /// Has the kernel keep the next hops of the uplinks resolved (since 5.16; before, nothing is done). Gives how many were
    /// not kept so far; call it every few seconds, since routes and backends change.
    pub fn keep_next_hops(&self) -> Result<usize, DataplaneError> {
        if !probe::is_at_least(5, 16) {
            return Ok(0);
        }
        let uplinks = self.report.interfaces.iter().filter(|interface| interface.mode != InterfaceMode::None);
        let uplinks = uplinks.map(|interface| interface.index).collect();
        let backends = self.view.remote_backend_addresses();
        Ok(neighbours::keep_resolved(&Netlink::connect()?, &uplinks, &backends)?)
    }

    /// Looks for idle flows in a part of the flow tables; call it every few seconds.
    pub fn collect_garbage(&mut self) -> Result<GcReport, DataplaneError> {
        self.collector.collect(conntrack::ticks(sys::monotonic_ns()))
    }

    /// Clients keep no backend that takes no new flows of the service any more. To be called when rings have changed.
    pub fn forget_affinities(&self, tables: &Tables) -> Result<usize, DataplaneError> {
        Affinities::open(&self.maps)?.forget(tables)
    }

    /// Counts the living flows of backends whose services lead to those with fewer; call it every few seconds.
    pub fn count_loads(&self, weights: &BTreeMap<BackendId, u16>) -> Result<(), DataplaneError> {
        if weights.is_empty() {
            return Ok(());
        }
        Loads::open(&self.maps)?.count(weights, conntrack::ticks(sys::monotonic_ns()))
    }

    /// What was found at start.
    pub fn start_report(&self) -> &StartReport {
        &self.report
    }

    /// Tells when interfaces or addresses change. Needs a tokio runtime.
    pub fn watch(&self) -> Result<AddressWatch, DataplaneError> {
        Ok(AddressWatch::subscribe()?)
    }

    /// Ends what the programs remember of next hops when something changes; to be run. Needs a tokio runtime.
    pub fn follow_next_hops(&self) -> Result<HopWatch, DataplaneError> {
        HopWatch::new(&self.maps)
    }

    /// The run directory of this agent.
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// The external interfaces as they are, and how their packets are to be taken.
    fn places(&self) -> Result<Vec<Place>, DataplaneError> {
        let netlink = Netlink::connect()?;
        let uplinks = host::uplinks(&netlink, &self.config.interfaces)?;
        survey::places(&netlink, &self.pins, &self.config, &uplinks, &self.refusals)
    }

    fn attach_to(&mut self, netlink: &Netlink, mut places: Vec<Place>) -> Result<(), DataplaneError> {
        Record::add_tunnels(&self.run_dir, self.tunnels.iter().map(|tunnel| tunnel.name.clone()))?;
        let (sockets, notes) = (self.config.cgroup != CgroupChoice::Off, &mut self.report.notes);
        let (object, pins, tunnels) = (&mut self.object, &self.pins, &self.tunnels);
        self.report.interfaces = self
            .transfers
            .during(pins, notes, |notes| attach::attach(object, pins, &mut places, tunnels, sockets, notes))?;
        self.refusals = survey::refusals(&places);
        self.decided = places;
        self.record_tunnels()?;
        self.write_devices(netlink)
    }

    /// The devices that need the program for tunnels, as routes to the backends are now.
    fn wanted_tunnels(&mut self, netlink: &Netlink, places: &[Place]) -> Result<Vec<Link>, DataplaneError> {
        let backends = self.view.remote_backend_addresses();
        self.ways.update(netlink, &backends, &self.node_counts.get());
        let links = netlink.links()?;
        let uplinks = places.iter().map(|place| place.facts.link.index).collect();
        self.report.ways = self.ways.status(&links, &uplinks);
        Ok(self.ways.tunnels(&links, &uplinks))
    }

    fn uplink_indices(&self) -> BTreeSet<u32> {
        self.decided.iter().map(|place| place.facts.link.index).collect()
    }

    fn tunnel_indices(&self) -> BTreeSet<u32> {
        self.tunnels.iter().map(|tunnel| tunnel.index).collect()
    }

    /// For the next agent, and for `unload`. A device that is no tunnel any more loses its filter, for nobody would know
    /// of it; where there are links, they are removed by their pins.
    fn record_tunnels(&self) -> Result<(), DataplaneError> {
        let mut record = Record::read(&self.run_dir)?;
        let tunnels: BTreeSet<_> = self.tunnels.iter().map(|tunnel| tunnel.name.clone()).collect();
        for former in record.tunnels.difference(&tunnels) {
            tc::detach_clsact(former, TcAttachType::Ingress, program::TUNNEL);
        }
        record.tunnels = tunnels;
        record.write(&self.run_dir)
    }

    fn write_devices(&self, netlink: &Netlink) -> Result<(), DataplaneError> {
        let is_there = |place: &&Place| {
            let gone = |interface: &InterfaceStatus| interface.mode == InterfaceMode::None;
            self.report.interfaces.iter().any(|i| i.index == place.facts.link.index && !gone(i))
        };
        let may = |place: &Place| place.way == Way::Xdp && placement::may_redirect_to(&place.facts);
        let uplinks = self.decided.iter().filter(is_there).map(|place| (place.facts.link.index, may(place))).collect();
        devices::write(&self.maps, &netlink.links()?, &self.config.node_ips, &uplinks, &self.tunnel_indices())?;
        Epoch::open(&self.maps)?.begin() // out of which devices XDP may send is part of a next hop
    }
}

#[cfg(test)]
mod tests;
