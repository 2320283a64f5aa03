//! The programs in the kernel: loaded in a network namespace of their own with real routes and neighbours, run by
//! BPF_PROG_TEST_RUN.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, MapData, PerCpuArray, PerCpuValues};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions, Xdp};
use aya::test_helpers::NetNsGuard;
use aya::util::KernelVersion;
use lb_common::abi::{
    self, AnnouncedEntry, AnnouncedKey, BackendEntry4, BackendEntry6, DeviceEntry, DropCounters, FlowEntry4, FlowKey4,
    FormerRing, FrontendEntry, FrontendKey4, FrontendKey6, Handover, Refusals, ReplyEntry4, RingLine, SampleHead,
    ServiceEntry, Task, TrackedEntry, device_flag, map, program, setting,
};
use lb_common::addr::{Addr6, Address as _, Family, V4, V6};
use lb_common::be::Be32;
use lb_common::drop_reason::{DROP_REASONS, DropReason};
use lb_common::host::Maps;
use lb_common::limits::RING_LINE_SLOTS;

use crate::fixture::{Outcome, hex};
use crate::loaded::Loaded;
use crate::packet::UPLINK;
use crate::world::{Devices, FRONT_MARK, NODE, UPLINK2, address, mac};

/// XDP return values.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;
/// tc return values.
const TC_ACT_SHOT: u32 = 2;
const TC_ACT_REDIRECT: u32 = 7;

/// The loaded programs and their namespace.
pub(crate) struct Kernel {
    ebpf: Loaded,
    pub(crate) devices: Devices,
    listener: std::net::TcpListener,
    /// What XDP left for the companion with the last packet.
    pub(crate) handed_over: Handover,
    _netns: NetNsGuard,
}

/// How many CPUs may take samples.
pub(crate) fn cpus() -> u32 {
    aya::util::nr_cpus().unwrap() as u32
}

/// True if this process may load programs and run them on packets of its own; says so if not.
pub(crate) fn available() -> bool {
    if weir_lab::left_to_root("the kernel half of this test") {
        return false;
    }
    // net/bpf/test_run.c, `bpf_prog_test_run_xdp`: before, nobody says by which device a packet came in
    let takes_contexts = KernelVersion::current().is_ok_and(|kernel| kernel >= KernelVersion::new(5, 15, 0));
    if !takes_contexts {
        eprintln!("skipped: the kernel half of fixtures needs test runs of XDP with a context (Linux 5.15)");
    }
    takes_contexts
}

impl Kernel {
    /// Brings the programs into a fresh namespace and fills the maps from the host's.
    pub(crate) fn new(tables: impl Fn(Devices) -> Maps<V4>) -> Self {
        let netns = NetNsGuard::new().unwrap();
        for line in NETWORK.lines().map(str::trim).filter(|line| !line.is_empty()) {
            run(line);
        }
        for family in ["ipv4", "ipv6"] {
            std::fs::write(format!("/proc/sys/net/{family}/conf/all/forwarding"), "1").unwrap();
        }
        let devices = Devices { first: index("up0"), second: index("up1") };
        let mut ebpf = Loaded::take();
        // attached natively, so that the test run finds a receive queue with XDP on the device
        ["up0", "up1"].into_iter().for_each(|device| ebpf.attach_xdp(device));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut kernel = Self { ebpf, devices, listener, handed_over: Handover::default(), _netns: netns };
        kernel.fill(&tables(devices));
        kernel
    }

    /// Fills the maps of IPv4, and those of both families, from the host's.
    pub(crate) fn fill(&mut self, maps: &Maps<V4>) {
        let mut frontends: HashMap<_, FrontendKey4, FrontendEntry> = self.hash(map::FRONTENDS4);
        for (key, value) in &maps.frontends {
            frontends.insert(key, value, 0).unwrap();
        }
        let mut backends: Array<_, BackendEntry4> = self.array(map::BACKENDS4);
        for (&id, value) in &maps.backends {
            backends.set(id, value, 0).unwrap();
        }
        let mut addresses: HashMap<_, Be32, u32> = self.hash(map::NODE_ADDRS4);
        for at in &maps.node_addresses {
            addresses.insert(at, 1, 0).unwrap();
        }
        let mut vips: HashMap<_, Be32, u32> = self.hash(map::VIPS4);
        for at in &maps.vips {
            vips.insert(at, 1, 0).unwrap();
        }
        self.fill_shared(&maps.services, &maps.rings, &maps.settings);
        self.fill_devices();
        self.fill_dsr(maps);
        self.fill_former_rings(&maps.former_rings);
        let denied = maps.denied.iter().map(|(at, length)| Key::new(*length, at.raw()));
        self.fill_networks(map::DENIED4, denied);
        let ranges = maps.ranges.iter().map(|(of, at, length)| Key::new(32 + length, [*of, at.raw()]));
        self.fill_networks(map::RANGES4, ranges);
        let mut listeners: aya::maps::SockMap<&mut MapData> =
            self.ebpf.map_mut(map::LISTENERS).unwrap().try_into().unwrap();
        listeners.set(0, &self.listener, 0).unwrap();
    }

    /// Fills the maps of IPv6, and those of both families, from the host's.
    pub(crate) fn fill_ipv6(&mut self, maps: &Maps<V6>) {
        let mut frontends: HashMap<_, FrontendKey6, FrontendEntry> = self.hash(map::FRONTENDS6);
        for (key, value) in &maps.frontends {
            frontends.insert(key, value, 0).unwrap();
        }
        let mut backends: Array<_, BackendEntry6> = self.array(map::BACKENDS6);
        for (&id, value) in &maps.backends {
            backends.set(id, value, 0).unwrap();
        }
        for (name, addresses) in [(map::NODE_ADDRS6, &maps.node_addresses), (map::VIPS6, &maps.vips)] {
            let mut set: HashMap<_, Addr6, u32> = self.hash(name);
            for at in addresses {
                set.insert(at, 1, 0).unwrap();
            }
        }
        let denied = maps.denied.iter().map(|(at, length)| Key::new(*length, at.words()));
        self.fill_networks(map::DENIED6, denied);
        let range = |(of, at, length): &(u32, Addr6, u32)| {
            let [a, b, c, d] = at.words();
            Key::new(32 + length, [*of, a, b, c, d])
        };
        self.fill_networks(map::RANGES6, maps.ranges.iter().map(range));
        let mut devices: HashMap<_, u32, DeviceEntry> = self.hash(map::DEVICES);
        for (&index, &address6) in &maps.uplink_addresses {
            let entry = DeviceEntry { address6, ..devices.get(&index, 0).unwrap() };
            devices.insert(index, entry, 0).unwrap();
        }
        let mut nodes: HashMap<_, Addr6, u32> = self.hash(map::NODES6);
        for (address, flags) in &maps.nodes {
            nodes.insert(address, flags, 0).unwrap();
        }
        let mut backends: HashMap<_, u32, Addr6> = self.hash(map::BACKEND_NODES6);
        for (id, node) in &maps.backend_nodes {
            backends.insert(id, node, 0).unwrap();
        }
        self.fill_former_rings(&maps.former_rings);
        self.fill_shared(&maps.services, &maps.rings, &maps.settings);
    }

    fn fill_shared(&mut self, entries: &std::collections::HashMap<u32, ServiceEntry>, slots: &[u32], words: &[u64]) {
        let mut services: Array<_, ServiceEntry> = self.array(map::SERVICES);
        for (&id, value) in entries {
            services.set(id, value, 0).unwrap();
        }
        let mut rings: Array<_, RingLine> = self.array(map::RINGS);
        for (line, slots) in (0..).zip(slots.chunks(RING_LINE_SLOTS as usize)) {
            rings.set(line, RingLine { slots: slots.try_into().unwrap() }, 0).unwrap();
        }
        let mut settings: Array<_, u64> = self.array(map::SETTINGS);
        for (index, &word) in (0..setting::COUNT).zip(words).filter(|(index, _)| *index != setting::HOP_EPOCH) {
            settings.set(index, word, 0).unwrap();
        }
    }

    fn fill_networks<K: aya::Pod>(&mut self, name: &str, keys: impl Iterator<Item = Key<K>>) {
        let mut trie: LpmTrie<&mut MapData, K, u32> = self.ebpf.map_mut(name).unwrap().try_into().unwrap();
        keys.for_each(|key| trie.insert(&key, 1, 0).unwrap());
    }

    /// What neighbours of the first uplink are told of an address.
    pub(crate) fn announce<F: Family<Addr: aya::Pod>>(&mut self, name: &str, address: F::Addr, entry: AnnouncedEntry) {
        let key = AnnouncedKey { address, device: self.devices.first, fill: Default::default() };
        self.hash(name).insert(key, entry, 0).unwrap();
    }

    fn fill_devices(&mut self) {
        let (first, second) = (self.devices.first, self.devices.second);
        let mut devices: HashMap<_, u32, DeviceEntry> = self.hash(map::DEVICES);
        for (index, at, hardware) in [(first, NODE, UPLINK), (second, "10.20.0.11", UPLINK2)] {
            let flags = device_flag::XDP_TRANSMIT | device_flag::UPLINK;
            let entry = DeviceEntry { address4: address(at), flags, mac: mac(hardware), ..Default::default() };
            devices.insert(index, entry, 0).unwrap();
        }
    }

    fn fill_dsr(&mut self, maps: &Maps<V4>) {
        let mut nodes: HashMap<_, Be32, u32> = self.hash(map::NODES4);
        for (address, flags) in &maps.nodes {
            nodes.insert(address, flags, 0).unwrap();
        }
        let mut backends: HashMap<_, u32, Be32> = self.hash(map::BACKEND_NODES4);
        for (id, node) in &maps.backend_nodes {
            backends.insert(id, node, 0).unwrap();
        }
    }

    /// The rings that services of either family had.
    fn fill_former_rings(&mut self, former: &std::collections::HashMap<u32, FormerRing>) {
        let mut rings: Array<_, FormerRing> = self.array(map::FORMER_RINGS);
        for (&service, ring) in former {
            rings.set(service, ring, 0).unwrap();
        }
    }

    /// Flows in tunnels that are remembered.
    pub(crate) fn tracked(&self) -> BTreeMap<FlowKey4, TrackedEntry> {
        let map: HashMap<_, FlowKey4, TrackedEntry> = self.ebpf.map(map::TRACKED4).unwrap().try_into().unwrap();
        map.iter().map(Result::unwrap).collect()
    }

    /// Makes the second uplink something else, with these bits of [`device_flag`].
    pub(crate) fn set_flags(&mut self, device: u32, flags: u32) {
        let mut devices: HashMap<_, u32, DeviceEntry> = self.hash(map::DEVICES);
        let DeviceEntry { address4, address6, .. } = devices.get(&device, 0).unwrap();
        devices.insert(device, DeviceEntry { address4, address6, flags, ..Default::default() }, 0).unwrap();
    }

    /// Sets further bits of [`device_flag`].
    pub(crate) fn add_flags(&mut self, device: u32, flags: u32) {
        let mut devices: HashMap<_, u32, DeviceEntry> = self.hash(map::DEVICES);
        let entry = devices.get(&device, 0).unwrap();
        devices.insert(device, DeviceEntry { flags: entry.flags | flags, ..entry }, 0).unwrap();
    }

    /// Makes the second uplink a port of a bond, which the first one stands for; the port itself forwards nothing.
    pub(crate) fn make_port(&mut self) {
        let (bond, port) = (self.devices.first, self.devices.second);
        for family in ["ipv4", "ipv6"] {
            std::fs::write(format!("/proc/sys/net/{family}/conf/up1/forwarding"), "0").unwrap();
        }
        let mut devices: HashMap<_, u32, DeviceEntry> = self.hash(map::DEVICES);
        let entry = devices.get(&bond, 0).unwrap();
        devices.insert(port, DeviceEntry { bond, ..entry }, 0).unwrap();
    }

    /// Runs a packet through XDP as if it came in by the second uplink; gives what XDP returned.
    pub(crate) fn xdp_at_second(&mut self, packet: &[u8]) -> (u32, Vec<u8>) {
        let context = xdp_md(packet.len(), self.devices.second);
        let xdp: &mut Xdp = self.ebpf.program_mut(program::XDP).unwrap().try_into().unwrap();
        let mut out = vec![0; packet.len() + 64];
        let options = TestRunOptions {
            data_in: Some(packet),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..Default::default()
        };
        let result = xdp.test_run(options).unwrap();
        out.truncate(result.data_size_out as usize);
        (result.return_value, out)
    }

    /// Runs a packet through XDP as if it came in by the first uplink.
    pub(crate) fn xdp(&mut self, packet: &[u8]) -> (Outcome, Vec<u8>) {
        self.xdp_split(packet, packet.len()).unwrap()
    }

    /// The same with so many bytes in the first of the packet's buffers; `None` where the kernel cannot make such a packet
    /// (before 6.18).
    pub(crate) fn xdp_split(&mut self, packet: &[u8], first: usize) -> Option<(Outcome, Vec<u8>)> {
        let context = xdp_md(first, self.devices.first);
        let xdp: &mut Xdp = self.ebpf.program_mut(program::XDP).unwrap().try_into().unwrap();
        let mut out = vec![0; packet.len() + 64];
        let mut context_out = vec![0; context.len()];
        let options = TestRunOptions {
            data_in: Some(packet),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ctx_out: Some(&mut context_out),
            ..Default::default()
        };
        let result = match xdp.test_run(options) {
            Err(error) if first != packet.len() => {
                eprintln!("skipped: no packets with {first} bytes in the first buffer: {error}");
                return None;
            }
            result => result.unwrap(),
        };
        out.truncate(result.data_size_out as usize);
        // with metadata, the output begins with it, and `data` is behind it
        let meta = u32::from_ne_bytes(context_out[..4].try_into().unwrap()) as usize;
        let words: Vec<u8> = out.drain(..meta).collect();
        let word = |at: usize| words.get(at..at + 4).map_or(0, |word| u32::from_ne_bytes(word.try_into().unwrap()));
        self.handed_over = Handover { task: word(0), flow: word(4) };
        let outcome = match (result.return_value, self.handed_over.task()) {
            (XDP_PASS, Some(Task::Done)) => Outcome::Deliver,
            (XDP_PASS, Some(Task::Front)) => Outcome::Front,
            (XDP_PASS, Some(Task::Forward | Task::SendOn)) => Outcome::HandOver,
            (XDP_PASS, None) => Outcome::Pass,
            (XDP_TX, _) => Outcome::Transmit(self.devices.first),
            (XDP_REDIRECT, _) => Outcome::Transmit(self.devices.second),
            (XDP_DROP, _) => Outcome::Drop,
            (other, _) => panic!("XDP returned {other}"),
        };
        Some((outcome, out))
    }

    /// Runs a packet through the tc program `name`.
    pub(crate) fn tc(&mut self, name: &str, packet: &[u8]) -> (Outcome, Vec<u8>) {
        let device = self.devices.first;
        let classifier: &mut SchedClassifier = self.ebpf.program_mut(name).unwrap().try_into().unwrap();
        let mut out = vec![0; packet.len() + 64];
        let context = sk_buff(device);
        let mut context_out = vec![0; context.len()];
        let options = TestRunOptions {
            data_in: Some(packet),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ctx_out: Some(&mut context_out),
            ..Default::default()
        };
        let result = classifier.test_run(options).unwrap_or_else(|error| panic!("{error}: {}", hex(packet)));
        out.truncate(result.data_size_out as usize);
        let outcome = match result.return_value {
            TC_ACT_SHOT => Outcome::Drop,
            TC_ACT_REDIRECT => Outcome::Redirect,
            _ if context_out[8..12] == FRONT_MARK.to_ne_bytes() => Outcome::Front,
            _ if out == packet => Outcome::Pass,
            _ => Outcome::Deliver,
        };
        (outcome, out)
    }

    /// Empties a hash.
    #[allow(dead_code, reason = "for the fuzz target that shares this file")]
    pub(crate) fn empty<K: aya::Pod, V: aya::Pod>(&mut self, name: &str) {
        let mut map: HashMap<_, K, V> = self.hash(name);
        let keys: Vec<K> = map.keys().map(Result::unwrap).collect();
        for key in keys {
            map.remove(&key).unwrap();
        }
    }

    /// As if no ICMP error had been sent.
    pub(crate) fn forget_refusals(&mut self) {
        let mut map: PerCpuArray<&mut MapData, Refusals> =
            self.ebpf.map_mut(map::REFUSALS).unwrap().try_into().unwrap();
        let cpus = aya::util::nr_cpus().unwrap();
        map.set(0, PerCpuValues::try_from(vec![Refusals::default(); cpus]).unwrap(), 0).unwrap();
    }

    /// Instructions that the verifier walked through (since 5.16).
    pub(crate) fn instructions(&self, name: &str) -> u32 {
        self.ebpf.program(name).unwrap().info().unwrap().verified_instruction_count().unwrap()
    }

    /// Forward entries of the proven or half-open table.
    pub(crate) fn flows(&self, name: &str) -> BTreeMap<FlowKey4, FlowEntry4> {
        self.entries(name)
    }

    /// Reply entries of the proven or half-open table.
    pub(crate) fn replies(&self, name: &str) -> BTreeMap<FlowKey4, ReplyEntry4> {
        self.entries(name)
    }

    /// All entries of a hash map.
    pub(crate) fn entries<K: aya::Pod + Ord, V: aya::Pod>(&self, name: &str) -> BTreeMap<K, V> {
        let map: HashMap<_, K, V> = self.ebpf.map(name).unwrap().try_into().unwrap();
        map.iter().map(Result::unwrap).collect()
    }

    /// Changes all values of a hash.
    pub(crate) fn change<K: aya::Pod + Ord, V: aya::Pod>(&mut self, name: &str, change: impl Fn(&mut V)) {
        let entries = self.entries::<K, V>(name);
        let mut map: HashMap<_, K, V> = self.hash(name);
        for (key, mut value) in entries {
            change(&mut value);
            map.insert(key, value, 0).unwrap();
        }
    }

    /// Packets dropped, by reason.
    pub(crate) fn drops(&self) -> BTreeMap<DropReason, u64> {
        let map: PerCpuArray<_, DropCounters> = self.ebpf.map(map::DROP_STATS).unwrap().try_into().unwrap();
        let packets = |reason: DropReason| map.get(&(reason as u32), 0).unwrap().iter().map(|c| c.packets).sum();
        assert!(DropReason::ALL.len() < DROP_REASONS as usize);
        DropReason::ALL.iter().map(|&reason| (reason, packets(reason))).filter(|(_, n)| *n > 0).collect()
    }

    /// Counters of a service.
    pub(crate) fn service_counters(&self, id: u32) -> abi::Counters {
        let map: PerCpuArray<_, abi::Counters> = self.ebpf.map(map::SERVICE_STATS).unwrap().try_into().unwrap();
        map.get(&id, 0).unwrap().iter().fold(abi::Counters::default(), |sum, c| abi::Counters {
            packets: sum.packets + c.packets,
            bytes: sum.bytes + c.bytes,
            new_flows: sum.new_flows + c.new_flows,
            snat_exhausted: sum.snat_exhausted + c.snat_exhausted,
        })
    }

    /// How often something else happened; indexed by `abi::Stat`.
    pub(crate) fn events(&self) -> [u64; abi::STATS as usize] {
        let map: PerCpuArray<_, u64> = self.ebpf.map(map::EVENT_STATS).unwrap().try_into().unwrap();
        std::array::from_fn(|index| map.get(&(index as u32), 0).unwrap().iter().sum())
    }

    /// Pins maps and the programs that are run by pin, as an agent does below its pin path.
    pub(crate) fn pin(&mut self, root: &std::path::Path) {
        let (maps, programs) = (root.join(format!("map/v{}", abi::ABI_VERSION)), root.join("prog"));
        for dir in [&maps, &programs] {
            std::fs::create_dir_all(dir).unwrap();
        }
        for (name, map) in self.ebpf.maps() {
            // read-only data of the compiler's is no map of ours
            if !name.contains('.') {
                map.pin(maps.join(name)).unwrap();
            }
        }
        let ask: &mut SchedClassifier = self.ebpf.program_mut(program::ASK).unwrap().try_into().unwrap();
        ask.pin(programs.join(program::ASK)).unwrap();
        let xdp: &mut Xdp = self.ebpf.program_mut(program::XDP).unwrap().try_into().unwrap();
        xdp.pin(programs.join(program::XDP)).unwrap();
    }

    /// Sets a word of the settings.
    pub(crate) fn set(&mut self, index: u32, word: u64) {
        let mut settings: Array<_, u64> = self.array(map::SETTINGS);
        settings.set(index, word, 0).unwrap();
    }

    /// Takes the samples out of the ring buffer.
    pub(crate) fn samples(&mut self) -> Vec<(SampleHead, Vec<u8>)> {
        let mut ring = aya::maps::RingBuf::try_from(self.ebpf.map_mut(map::SAMPLES).unwrap()).unwrap();
        let mut samples = Vec::new();
        while let Some(item) = ring.next() {
            samples.push(lb_userspace::dataplane::split_sample(&item).unwrap());
        }
        samples
    }

    /// A backend of the table of its family.
    pub(crate) fn backend<E: aya::Pod>(&self, table: &str, id: u32) -> E {
        let map: Array<_, E> = self.ebpf.map(table).unwrap().try_into().unwrap();
        map.get(&id, 0).unwrap()
    }

    /// Makes the programs forget what they remember of tables, as agents do with each change.
    fn begin_epoch(&mut self) {
        static EPOCHS: AtomicU64 = AtomicU64::new(1 << 20);
        let mut settings: Array<_, u64> = self.ebpf.map_mut(map::SETTINGS).unwrap().try_into().unwrap();
        settings.set(setting::HOP_EPOCH, EPOCHS.fetch_add(1, Ordering::Relaxed), 0).unwrap();
    }

    /// A hash, to be changed.
    fn hash<K: aya::Pod, V: aya::Pod>(&mut self, name: &str) -> HashMap<&mut MapData, K, V> {
        self.begin_epoch();
        self.ebpf.map_mut(name).unwrap().try_into().unwrap()
    }

    /// An array, to be changed.
    fn array<V: aya::Pod>(&mut self, name: &str) -> Array<&mut MapData, V> {
        self.begin_epoch();
        self.ebpf.map_mut(name).unwrap().try_into().unwrap()
    }
}

/// Two uplinks with resolved neighbours, routes to everything the fixtures name. The first has an index of more than 16 bits,
/// as devices of long-lived machines do.
const NETWORK: &str = "
    ip link set lo up
    ip link add up0 index 70001 address 02:00:00:00:00:11 type veth peer name peer0
    ip link add up1 address 02:00:00:00:00:21 type veth peer name peer1
    ip link set up0 up
    ip link set peer0 up
    ip link set up1 up
    ip link set peer1 up
    ip addr add 10.10.0.11/24 dev up0
    ip addr add 10.20.0.11/24 dev up1
    ip neigh add 10.10.0.1 lladdr 02:00:00:00:00:01 dev up0 nud permanent
    ip neigh add 10.10.0.12 lladdr 02:00:00:00:00:12 dev up0 nud permanent
    ip neigh add 10.20.0.1 lladdr 02:00:00:00:00:22 dev up1 nud permanent
    ip route add default via 10.10.0.1
    ip route add 10.244.2.0/24 via 10.10.0.12
    ip route add 10.30.0.0/24 via 10.20.0.1
    ip route add blackhole 10.99.0.1/32
    ip addr add fd00:10::11/64 dev up0 nodad
    ip addr add fd00:20::11/64 dev up1 nodad
    ip -6 neigh add fe80::1 lladdr 02:00:00:00:00:01 dev up0 nud permanent
    ip -6 neigh add fe80::12 lladdr 02:00:00:00:00:12 dev up0 nud permanent
    ip -6 neigh add fd00:20::1 lladdr 02:00:00:00:00:22 dev up1 nud permanent
    ip -6 route add default via fe80::1 dev up0
    ip -6 route add fd00:244:2::/64 via fe80::12 dev up0
    ip -6 route add fd00:30::/64 via fd00:20::1 dev up1
    ip -6 route add blackhole fd00:99::1/128
";

/// Runs a command of plain words in the namespace that the test is in.
pub(crate) fn run(line: &str) {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

fn index(device: &str) -> u32 {
    let path = format!("/sys/class/net/{device}/ifindex");
    // /sys shows the namespace it was mounted in; `ip` asks the namespace we are in
    let output = Command::new("ip").args(["-o", "link", "show", "dev", device]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split(':').next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no index of {path} in {text:?}"))
}

/// `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
fn xdp_md(length: usize, device: u32) -> Vec<u8> {
    [0, length as u32, 0, device, 0, 0].iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// The beginning of `struct __sk_buff`, of which only `ifindex` (its eleventh word) is set; `mark` is its third.
fn sk_buff(device: u32) -> Vec<u8> {
    let mut words = [0u32; 48];
    words[10] = device;
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
