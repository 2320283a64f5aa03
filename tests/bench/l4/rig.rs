//! The programs, loaded with the tables of one case in a namespace with a real route.

use std::process::Command;

use aya::maps::{MapData, PerCpuArray, ProgramArray};
use aya::programs::{ProgramError, ProgramFd, TestRun as _, TestRunOptions, Xdp, XdpMode};
use aya::test_helpers::NetNsGuard;
use aya::{Ebpf, EbpfLoader};
use lb_common::abi::{CALLED, Counters, DropCounters, map, program};
use lb_common::drop_reason::DropReason;
use lb_userspace::dataplane::object;

use crate::case::{Case, Kind};
use crate::frame::{Template, length, template};
use crate::tables::{array, fill};

/// What XDP returns for a packet to the stack, and for one that goes out again.
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

/// One case, ready to run.
pub(crate) struct Rig {
    case: Case,
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
        let mut loader = EbpfLoader::new();
        object::tell(&mut loader);
        for (name, size) in sizes(case) {
            loader.map_max_entries(name, size);
        }
        let mut weir = match std::env::var_os("WEIR_BENCH_OBJECT") {
            Some(path) => loader.load_file(path),
            None => loader.load(&object::for_this_kernel()),
        }
        .unwrap();
        let path = std::env::var_os("WEIR_LAB_OBJECT").expect("WEIR_LAB_OBJECT names the object of the lab's programs");
        let mut lab = Ebpf::load_file(path).unwrap();
        load(&mut weir, program::XDP);
        case.programs().into_iter().for_each(|name| call(&mut weir, name));
        for name in ["lab_restore", "lab_nothing", "lab_grow", "lab_route"] {
            load(&mut lab, name);
        }
        // attached, so that the test run finds a receive queue with XDP on the device
        xdp(&mut lab, "lab_restore").attach("up0", XdpMode::Driver).unwrap();
        fill(&mut weir, case, device);
        array::<Template>(&mut lab, "TEMPLATE").set(0, template(case), 0).unwrap();
        array::<u64>(&mut lab, "FLOW_MASK").set(0, case.flows - 1, 0).unwrap();
        Self { case: *case, weir, lab, device, _netns: netns }
    }

    /// ns of CPU time per packet of weir's programs alone.
    pub(crate) fn cost(&mut self, packets: u32) -> f64 {
        let before = self.counted();
        let program = fd(&mut self.weir, program::XDP);
        let (gross, result) = self.run(&program, packets);
        let out = self.case.is_remote();
        let may_end_so = result == if out { XDP_TX } else { XDP_PASS } || self.case.kind == Kind::NewSnat;
        assert!(may_end_so, "{} ends with {result}: {:?}", self.case.label(), self.drops());
        self.all_sent(self.counted() - before, u64::from(packets / 16 + packets));
        gross - self.cost_of_wrapper(packets)
    }

    /// Of the wrapper: around a program that does nothing, or of what is half the wrapper's work half.
    fn cost_of_wrapper(&mut self, packets: u32) -> f64 {
        let (nothing, grow) = (fd(&mut self.lab, "lab_nothing"), fd(&mut self.lab, "lab_grow"));
        let nothing = self.run(&nothing, packets).0;
        if self.case.is_dsr() { nothing.midpoint(self.run(&grow, packets).0) } else { nothing }
    }

    /// Of one lookup in the routing table.
    pub(crate) fn cost_of_route(&mut self, packets: u32) -> f64 {
        let route = fd(&mut self.lab, "lab_route");
        self.run(&route, packets).0 - self.cost_of_wrapper(packets)
    }

    /// ns per packet with the wrapper, and what became of the last one.
    fn run(&mut self, program: &ProgramFd, packets: u32) -> (f64, u32) {
        let mut array: ProgramArray<&mut MapData> = self.lab.map_mut("UNDER_TEST").unwrap().try_into().unwrap();
        array.set(0, program, 0).unwrap();
        let packet = vec![0u8; length(&self.case)];
        let context: Vec<u8> =
            [0, packet.len() as u32, 0, self.device, 0, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut once = |repeat| {
            let options =
                TestRunOptions { data_in: Some(&packet), ctx_in: Some(&context), repeat, ..Default::default() };
            let before = cpu_ns();
            let result = xdp(&mut self.lab, "lab_restore").test_run(options).unwrap();
            ((cpu_ns() - before) as f64, result.return_value)
        };
        once(packets / 16);
        let (time, result) = once(packets);
        (time / f64::from(packets), result)
    }

    /// What is measured is that packets are sent: a kernel that is interrupted runs some more of them, and of many flows that begin
    /// with one backend a few find no port.
    fn all_sent(&self, sent: u64, packets: u64) {
        let least = if self.case.kind == Kind::NewSnat { packets / 20 * 19 } else { packets };
        let (ours, label) = (self.case.kind != Kind::NotOurs, self.case.label());
        assert!(sent >= if ours { least } else { 0 }, "{label}: {sent} of {packets} sent, {:?}", self.drops());
        assert!(ours || sent == 0, "{label}: {sent} counted");
    }

    /// Packets that were dropped, by reason.
    fn drops(&self) -> Vec<(DropReason, u64)> {
        let map: PerCpuArray<_, DropCounters> = self.weir.map(map::DROP_STATS).unwrap().try_into().unwrap();
        let packets = |reason: DropReason| map.get(&(reason as u32), 0).unwrap().iter().map(|c| c.packets).sum();
        DropReason::ALL.iter().map(|&reason| (reason, packets(reason))).filter(|(_, packets)| *packets > 0).collect()
    }

    /// Packets that services have counted.
    fn counted(&self) -> u64 {
        let map: PerCpuArray<_, Counters> = self.weir.map(map::SERVICE_STATS).unwrap().try_into().unwrap();
        map.get(&1, 0).unwrap().iter().map(|counters| counters.packets).sum()
    }
}

/// Sizes of the maps: of those that the case does not use, small ones.
fn sizes(case: &Case) -> Vec<(&'static str, u32)> {
    let flows = if case.is_new() { 65_536 } else { case.flows.max(65_536) as u32 + 1 };
    let (used, unused) = if case.is_ipv6() {
        ([map::FLOWS6, map::REPLIES6], [map::FLOWS4, map::REPLIES4, map::HALF_FLOWS4, map::HALF_REPLIES4])
    } else {
        ([map::FLOWS4, map::REPLIES4], [map::FLOWS6, map::REPLIES6, map::HALF_FLOWS6, map::HALF_REPLIES6])
    };
    let mut sizes = vec![(map::RINGS, 16), (map::SEEN_SYNS, 1_024)];
    sizes.extend(used.map(|name| (name, flows)));
    sizes.extend(unused.map(|name| (name, 1_024)));
    if case.kind == Kind::NewSnat {
        // far fewer than there are SNAT ports to one backend: leases end by eviction, and few are refused
        sizes.extend([map::HALF_FLOWS4, map::HALF_REPLIES4].map(|name| (name, 2_048)));
    }
    sizes
}

/// An uplink with a resolved next hop; gives its index.
fn network() -> u32 {
    let lines = [
        "link set lo up",
        "link add up0 address 02:00:00:00:00:11 type veth peer name peer0",
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

fn fd(ebpf: &mut Ebpf, name: &str) -> ProgramFd {
    xdp(ebpf, name).fd().unwrap().try_clone().unwrap()
}

/// Loads a program in which others go on, and puts it in its place.
fn call(weir: &mut Ebpf, name: &str) {
    load(weir, name);
    let program = fd(weir, name);
    let called = CALLED.iter().find(|called| called.program == name).expect("it is called");
    let mut array: ProgramArray<&mut MapData> = weir.map_mut(called.map).unwrap().try_into().unwrap();
    array.set(called.slot, &program, 0).unwrap();
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

/// CPU time of this thread.
fn cpu_ns() -> u64 {
    nanoseconds(rustix::time::ClockId::ThreadCPUTime)
}

/// The clock of the flow tables.
pub(crate) fn monotonic_ns() -> u64 {
    nanoseconds(rustix::time::ClockId::MonotonicCoarse)
}

fn nanoseconds(clock: rustix::time::ClockId) -> u64 {
    let now = rustix::time::clock_gettime(clock);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
