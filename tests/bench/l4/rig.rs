//! The programs, loaded with the tables of one case in a namespace with a real route.

use std::process::Command;

use aya::maps::{Array, HashMap, MapData, ProgramArray};
use aya::programs::{ProgramError, TestRun as _, TestRunOptions, Xdp, XdpMode};
use aya::test_helpers::NetNsGuard;
use aya::{Ebpf, EbpfLoader};
use lb_common::abi::{
    BackendEntry4, DeviceEntry, FlowEntry4, FlowKey4, FrontendEntry, FrontendKey4, RingLine, ServiceEntry,
    backend_flag, device_flag, flow_flag, map, program, setting,
};
use lb_common::be::{Be16, Be32};
use lb_common::conntrack::{FlowState, ticks};
use lb_common::csum::fold;

use crate::case::{Case, Kind};

const VIP: [u8; 4] = [10, 100, 100, 100];
const VIP_PORT: u16 = 80;
const LOCAL_POD: [u8; 4] = [10, 244, 1, 10];
const REMOTE_POD: [u8; 4] = [10, 244, 2, 20];
const NODE: [u8; 4] = [10, 10, 0, 11];
/// The client of flow 0; the wrapper adds to its low half.
const CLIENT: [u8; 4] = [172, 16, 0, 0];
/// The source port of the first 65,536 flows.
const CLIENT_PORT: u16 = 1024;

/// One case, ready to run.
pub(crate) struct Rig {
    weir: Ebpf,
    lab: Ebpf,
    device: u32,
    _netns: NetNsGuard,
}

impl Rig {
    /// Loads the programs and fills the tables.
    pub(crate) fn new(case: &Case) -> Self {
        let netns = NetNsGuard::new().unwrap();
        let device = network();
        let entries = case.flows.min(65_536) as u32 + 1;
        let mut loader = EbpfLoader::new();
        for (name, size) in [(map::FLOWS4, entries), (map::REPLIES4, entries), (map::RINGS, 16)] {
            loader.map_max_entries(name, size);
        }
        if case.kind == Kind::NewSnat {
            // fewer than there are SNAT ports to one backend: leases end by eviction, and none is ever refused
            for name in [map::HALF_FLOWS4, map::HALF_REPLIES4] {
                loader.map_max_entries(name, 8_192);
            }
        }
        let mut weir = loader.load(lb_userspace::dataplane::object::OBJECT).unwrap();
        let path = std::env::var_os("WEIR_LAB_OBJECT").expect("WEIR_LAB_OBJECT names the object of the lab's programs");
        let mut lab = Ebpf::load_file(path).unwrap();
        load(&mut weir, program::XDP);
        for name in ["lab_restore", "lab_nothing", "lab_route"] {
            load(&mut lab, name);
        }
        // attached, so that the test run finds a receive queue with XDP on the device
        xdp(&mut lab, "lab_restore").attach("up0", XdpMode::Driver).unwrap();
        let mut rig = Self { weir, lab, device, _netns: netns };
        rig.fill_tables(case);
        rig.fill_flows(case);
        rig.fill_wrapper(case);
        rig
    }

    /// ns of CPU time per packet of the wrapper and weir's XDP program.
    pub(crate) fn cost(&mut self, packets: u32) -> f64 {
        self.under_test(|rig| xdp(&mut rig.weir, program::XDP).fd().unwrap().try_clone().unwrap());
        self.run(packets)
    }

    /// Of the wrapper and a program that does nothing.
    pub(crate) fn cost_of_wrapper(&mut self, packets: u32) -> f64 {
        self.under_test(|rig| xdp(&mut rig.lab, "lab_nothing").fd().unwrap().try_clone().unwrap());
        self.run(packets)
    }

    /// Of the wrapper and one lookup in the routing table.
    pub(crate) fn cost_of_route(&mut self, packets: u32) -> f64 {
        self.under_test(|rig| xdp(&mut rig.lab, "lab_route").fd().unwrap().try_clone().unwrap());
        self.run(packets)
    }

    fn under_test(&mut self, program: impl Fn(&mut Self) -> aya::programs::ProgramFd) {
        let fd = program(self);
        let mut array: ProgramArray<&mut MapData> = self.lab.map_mut("UNDER_TEST").unwrap().try_into().unwrap();
        array.set(0, &fd, 0).unwrap();
    }

    fn run(&mut self, packets: u32) -> f64 {
        let packet = [0u8; 64];
        let context: Vec<u8> =
            [0, packet.len() as u32, 0, self.device, 0, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut once = |repeat| {
            let options =
                TestRunOptions { data_in: Some(&packet), ctx_in: Some(&context), repeat, ..Default::default() };
            let before = cpu_ns();
            let result = xdp(&mut self.lab, "lab_restore").test_run(options).unwrap();
            assert!((1..=4).contains(&result.return_value), "the wrapper could not call: {}", result.return_value);
            (cpu_ns() - before) as f64
        };
        once(packets / 16);
        once(packets) / f64::from(packets)
    }

    fn fill_tables(&mut self, case: &Case) {
        let protocol = protocol(case);
        let (remote, id) = (matches!(case.kind, Kind::Snat | Kind::NewSnat), 1);
        let (at, flags) = if remote { (REMOTE_POD, 0) } else { (LOCAL_POD, backend_flag::LOCAL) };
        let mut frontends: HashMap<_, FrontendKey4, FrontendEntry> = hash(&mut self.weir, map::FRONTENDS4);
        let key =
            |address, port| FrontendKey4 { address, port: Be16::new(port), protocol: u16::from(protocol), fill: [] };
        frontends.insert(key(Be32::from_bytes(VIP), VIP_PORT), FrontendEntry { service: id, flags: 0 }, 0).unwrap();
        for other in 1..case.services {
            let address = Be32::new(0x0a65_0000 + other);
            frontends.insert(key(address, VIP_PORT), FrontendEntry { service: id, flags: 0 }, 0).unwrap();
        }
        let entry = BackendEntry4 {
            address: Be32::from_bytes(at),
            port: Be16::new(8080),
            flags,
            generation: 1,
            protocol: u32::from(protocol),
            ..Default::default()
        };
        array::<BackendEntry4>(&mut self.weir, map::BACKENDS4).set(id, entry, 0).unwrap();
        let service = ServiceEntry { ring: ServiceEntry::pack_ring(0, 101), flags: 0, used: 1 };
        array::<ServiceEntry>(&mut self.weir, map::SERVICES).set(id, service, 0).unwrap();
        let mut rings = array::<RingLine>(&mut self.weir, map::RINGS);
        for line in 0..7 {
            rings.set(line, RingLine { slots: [id; 16] }, 0).unwrap();
        }
        let mut settings = array::<u64>(&mut self.weir, map::SETTINGS);
        settings.set(setting::SNAT_PORTS, setting::snat_ports((15_000, 29_999), (15_000, 29_999)), 0).unwrap();
        settings.set(setting::NODE_PORTS, (30_000 << 16) | 32_767, 0).unwrap();
        let device = DeviceEntry {
            address4: Be32::from_bytes(NODE),
            flags: device_flag::XDP_TRANSMIT | device_flag::UPLINK,
            ..DeviceEntry::default()
        };
        let mut devices: HashMap<_, u32, DeviceEntry> = hash(&mut self.weir, map::DEVICES);
        devices.insert(self.device, device, 0).unwrap();
    }

    /// Proven flows, as the wrapper makes their packets. SNAT ports are given out in order.
    fn fill_flows(&mut self, case: &Case) {
        let flags = match case.kind {
            Kind::Local | Kind::LocalUdp => flow_flag::LOCAL,
            Kind::Snat => flow_flag::SNAT,
            Kind::NewLocal | Kind::NewSnat | Kind::NotOurs => return,
        };
        let now = ticks(monotonic_ns());
        let protocol = u32::from(protocol(case));
        let mut flows: HashMap<_, FlowKey4, FlowEntry4> = hash(&mut self.weir, map::FLOWS4);
        for flow in 0..case.flows as u32 {
            let client = Be32::new(u32::from_be_bytes(CLIENT) + flow);
            let key = FlowKey4 {
                source: client,
                destination: Be32::from_bytes(VIP),
                source_port: Be16::new(CLIENT_PORT),
                destination_port: Be16::new(VIP_PORT),
                protocol,
            };
            let snat = flags == flow_flag::SNAT;
            let entry = FlowEntry4 {
                snat_address: if snat { Be32::from_bytes(NODE) } else { client },
                snat_port: Be16::new(if snat { 15_000 + (flow % 15_000) as u16 } else { CLIENT_PORT }),
                state: FlowState::PROVEN.number(),
                flags: flags | flow_flag::REPLIED,
                backend: 1,
                generation: 1,
                service: 1,
                last_seen: now,
            };
            flows.insert(key, entry, 0).unwrap();
        }
    }

    fn fill_wrapper(&mut self, case: &Case) {
        array::<[u32; 14]>(&mut self.lab, "TEMPLATE").set(0, template(case), 0).unwrap();
        array::<u64>(&mut self.lab, "FLOW_MASK").set(0, case.flows - 1, 0).unwrap();
    }
}

/// The headers of flow 0 with a right IPv4 checksum; IP identification 0xffff, from which the wrapper takes.
fn template(case: &Case) -> [u32; 14] {
    let mut frame = [0u8; 56];
    frame[12] = 8;
    let is_udp = case.kind == Kind::LocalUdp;
    let length: u16 = 64 - 14;
    let destination = if case.kind == Kind::NotOurs { [198, 51, 100, 1] } else { VIP };
    frame[14..18].copy_from_slice(&[0x45, 0, (length >> 8) as u8, length as u8]);
    frame[18..22].copy_from_slice(&[0xff, 0xff, 0, 0]);
    frame[22..24].copy_from_slice(&[64, protocol(case)]);
    frame[26..30].copy_from_slice(&CLIENT);
    frame[30..34].copy_from_slice(&destination);
    let sum = frame[14..34].chunks(2).map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    frame[24..26].copy_from_slice(&(!fold(sum)).to_be_bytes());
    frame[34..36].copy_from_slice(&CLIENT_PORT.to_be_bytes());
    frame[36..38].copy_from_slice(&VIP_PORT.to_be_bytes());
    if is_udp {
        frame[38..42].copy_from_slice(&[0, (length - 20) as u8, 0x12, 0x34]);
    } else {
        let flags = if matches!(case.kind, Kind::NewLocal | Kind::NewSnat) { 0x02 } else { 0x10 };
        frame[46..48].copy_from_slice(&[0x50, flags]);
        frame[50..52].copy_from_slice(&[0x12, 0x34]);
    }
    std::array::from_fn(|at| {
        u32::from_ne_bytes([frame[4 * at], frame[4 * at + 1], frame[4 * at + 2], frame[4 * at + 3]])
    })
}

fn protocol(case: &Case) -> u8 {
    if case.kind == Kind::LocalUdp { 17 } else { 6 }
}

/// An uplink with a resolved next hop; gives its index.
fn network() -> u32 {
    let lines = [
        "link set lo up",
        "link add up0 type veth peer name peer0",
        "link set up0 up",
        "link set peer0 up",
        "addr add 10.10.0.11/24 dev up0",
        "neigh add 10.10.0.12 lladdr 02:00:00:00:00:12 dev up0 nud permanent",
        "route add 10.244.2.0/24 via 10.10.0.12",
    ];
    for line in lines {
        ip(line);
    }
    std::fs::write("/proc/sys/net/ipv4/conf/all/forwarding", "1").unwrap();
    ip("-o link show dev up0").split(':').next().and_then(|n| n.parse().ok()).expect("ip prints the index first")
}

fn ip(line: &str) -> String {
    let output = Command::new("ip").args(line.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut Xdp {
    ebpf.program_mut(name).unwrap().try_into().unwrap()
}

/// Loads a program; the verifier gives up with EAGAIN when its thread gets a signal, and wants to be called again.
fn load(ebpf: &mut Ebpf, name: &str) {
    for _ in 0..20 {
        match xdp(ebpf, name).load() {
            Err(ProgramError::LoadError { io_error, .. }) if io_error.kind() == std::io::ErrorKind::WouldBlock => {}
            other => return other.unwrap(),
        }
    }
    panic!("the verifier was interrupted twenty times");
}

fn hash<'a, K: aya::Pod, V: aya::Pod>(ebpf: &'a mut Ebpf, name: &str) -> HashMap<&'a mut MapData, K, V> {
    ebpf.map_mut(name).unwrap().try_into().unwrap()
}

fn array<'a, V: aya::Pod>(ebpf: &'a mut Ebpf, name: &str) -> Array<&'a mut MapData, V> {
    ebpf.map_mut(name).unwrap().try_into().unwrap()
}

/// CPU time of this thread.
fn cpu_ns() -> u64 {
    nanoseconds(rustix::time::ClockId::ThreadCPUTime)
}

/// The clock of the flow tables.
fn monotonic_ns() -> u64 {
    nanoseconds(rustix::time::ClockId::MonotonicCoarse)
}

fn nanoseconds(clock: rustix::time::ClockId) -> u64 {
    let now = rustix::time::clock_gettime(clock);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
