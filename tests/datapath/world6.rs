//! The world of the IPv6 fixtures, once for the host and once for the kernel, and the bench that runs them in both.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use lb_common::abi::{BackendEntry6, FlowEntry6, FlowKey6, FrontendEntry, FrontendKey6, ReplyEntry6, TrackedEntry};
use lb_common::abi::{backend_flag, frontend_flag, map, node_flag, program, setting};
use lb_common::addr::{Addr6, V4, V6};
use lb_common::be::Be16;
use lb_common::conntrack::ticks;
use lb_common::drop_reason::DropReason;
use lb_common::ethernet::{Addresses, Ethernet};
use lb_common::host::{Bytes, Maps};
use lb_common::lookup::{Route, Table};
use lb_common::pipeline;
use lb_common::verdict::Verdict;

use crate::fixture::{Hook, hex, monotonic_ns, outcome_of};
use crate::kernel::{self, Kernel};
use crate::packet::{ROUTER, UPLINK};
use crate::packet6::Builder6;
use crate::world::{Devices, FRONT_MARK, NEXT_NODE, ROUTER2, UPLINK2, mac};

pub(crate) const CLIENT: &str = "2001:db8::7";
pub(crate) const VIP: &str = "fd00:100::100";
/// A cluster IP with the same backends.
pub(crate) const CLUSTER_IP: &str = "fd00:96::1";
pub(crate) const FRONT: &str = "fd00:100::1";
pub(crate) const NODE: &str = "fd00:10::11";
/// Where the second uplink is.
pub(crate) const NODE2: &str = "fd00:20::11";
pub(crate) const LOCAL_POD: &str = "fd00:244:1::10";
pub(crate) const REMOTE_POD: &str = "fd00:244:2::20";
/// Another node, behind the router of the first uplink.
pub(crate) const NODE_3: &str = "2001:db8:40::13";
/// Behind the second uplink, whose router has an address of its network; that of the first is link-local.
pub(crate) const FAR_POD: &str = "fd00:30::5";

/// Frontends: address, port, protocol, service, flags. The unspecified address is a NodePort.
const FRONTENDS: &[(&str, u16, u16, u32, u32)] = &[
    (VIP, 80, 6, 1, 0),
    (VIP, 81, 6, 2, 0),
    (VIP, 82, 6, 3, 0),
    (VIP, 83, 6, 4, 0),
    (VIP, 53, 17, 5, 0),
    (VIP, 5353, 17, 6, 0),
    ("::", 30_088, 6, 1, 0),
    (FRONT, 80, 6, 7, frontend_flag::FRONT_HTTPS),
    // forwarded by DSR: to another node, and on this one
    (VIP, 90, 6, 8, frontend_flag::DSR),
    (VIP, 5300, 17, 9, frontend_flag::DSR),
    (VIP, 91, 6, 10, frontend_flag::DSR),
    // and to either of two, as services 15 and 16 of IPv4
    (VIP, 93, 6, 11, frontend_flag::DSR),
    (VIP, 5301, 17, 12, frontend_flag::DSR),
    // for clients inside the cluster
    (CLUSTER_IP, 80, 6, 1, frontend_flag::CLUSTER),
    (CLUSTER_IP, 81, 6, 2, frontend_flag::CLUSTER),
    // nobody there
    (VIP, 84, 6, 13, 0),
    (VIP, 55, 17, 13, 0),
];

/// Backends by id: address, port, protocol, on this node. Service n has backend n.
const BACKENDS: &[(&str, u16, u32, bool)] = &[
    (LOCAL_POD, 8080, 6, true),
    (REMOTE_POD, 8080, 6, false),
    (FAR_POD, 8080, 6, false),
    ("fd00:99::1", 8080, 6, false),
    (LOCAL_POD, 53, 17, true),
    (REMOTE_POD, 53, 17, false),
];

pub(crate) fn address(text: &str) -> Addr6 {
    Addr6::from_bytes(text.parse::<Ipv6Addr>().unwrap().octets())
}

/// The key of a frontend.
pub(crate) fn key(at: &str, port: u16, protocol: u16) -> FrontendKey6 {
    FrontendKey6 { address: address(at), port: Be16::new(port), protocol, fill: [0] }
}

/// The tables on the host.
pub(crate) fn host(devices: Devices) -> Maps<V6> {
    let mut maps = Maps::<V6>::default();
    for &(at, port, protocol, service, flags) in FRONTENDS {
        maps.frontends.insert(key(at, port, protocol), FrontendEntry { service, flags });
    }
    for (id, &(at, port, protocol, local)) in (1..).zip(BACKENDS) {
        let flags = if local { backend_flag::LOCAL } else { 0 };
        let (address, port) = (address(at), Be16::new(port));
        maps.backends.insert(id, BackendEntry6 { address, port, flags, generation: 3, protocol, fill: [0] });
        let ring = maps.add_ring(&[id; 3]);
        maps.services.insert(id, ring);
    }
    let of_dsr: [(u32, &[u32]); 6] = [
        (8, &[2; 3]),
        (9, &[6; 3]),
        (10, &[1; 3]),
        (11, &[2, 2, 2, 2, 2, 2, 1]),
        (12, &[6, 6, 6, 6, 6, 6, 5]),
        (13, &[]),
    ];
    for (service, slots) in of_dsr {
        let ring = maps.add_ring(slots);
        maps.services.insert(service, ring);
    }
    maps.nodes.extend([(address(NODE), node_flag::OWN), (address(NODE_3), node_flag::PEER)]);
    maps.backend_nodes.extend([(2, address(NODE_3)), (6, address(NODE_3))]);
    let [high, low] = address(NODE).raw();
    maps.settings[setting::NODE_ADDRESS6 as usize] = high;
    maps.settings[setting::NODE_ADDRESS6_LOW as usize] = low;
    maps.settings[setting::TUNNEL_MTU as usize] = 1_500;
    maps.node_addresses.push(address(NODE));
    maps.vips.extend([VIP, FRONT].map(address));
    maps.mac = Some(mac(UPLINK));
    maps.settings[setting::NODE_PORTS as usize] = (30_088 << 16) | 30_088;
    maps.settings[setting::SNAT_PORTS as usize] = setting::snat_ports((15_000, 29_999), (15_000, 29_999));
    maps.settings[setting::FRONT_MARK as usize] = u64::from(FRONT_MARK);
    maps.routing = Box::new(move |destination| route(destination, devices));
    maps.uplink_addresses.insert(devices.first, address(NODE));
    maps.uplink_addresses.insert(devices.second, address(NODE2));
    maps
}

/// The routing table that the kernel's half builds with `ip`.
fn route(to: Addr6, devices: Devices) -> Route {
    let direct = |device, to, from| Route::Direct { device, addresses: Addresses::new(mac(to), mac(from)), mtu: 1_500 };
    let address = Ipv6Addr::from(to.bytes());
    match address.segments() {
        _ if [NODE, NODE2].iter().any(|own| to == self::address(own)) => Route::None(DropReason::NoRoute),
        [0xfd00, 0x99, 0, 0, 0, 0, 0, 1] => Route::None(DropReason::NoRoute),
        [0xfd00, 0x244, 2, 0, ..] => direct(devices.first, NEXT_NODE, UPLINK),
        [0xfd00, 0x30, 0, 0, ..] => direct(devices.second, ROUTER2, UPLINK2),
        [0xfd00, 0x10, 0, 0, ..] => Route::Kernel { device: devices.first },
        [0xfd00, 0x20, 0, 0, ..] => Route::Kernel { device: devices.second },
        _ => direct(devices.first, ROUTER, UPLINK),
    }
}

/// The host's side of a fixture, and the kernel's where there is one.
pub(crate) struct Bench6 {
    pub(crate) host: Maps<V6>,
    pub(crate) devices: Devices,
    pub(crate) kernel: Option<Kernel>,
}

impl Bench6 {
    pub(crate) fn new() -> Self {
        Self::with(host)
    }

    /// Both sides with tables of one's own.
    pub(crate) fn with(tables: impl Fn(Devices) -> Maps<V6>) -> Self {
        let mut kernel = kernel::available().then(|| Kernel::new(|_| Maps::<V4>::default()));
        let devices = kernel.as_ref().map_or(Devices { first: 7, second: 8 }, |kernel| kernel.devices);
        let host = tables(devices);
        if let Some(kernel) = &mut kernel {
            kernel.fill_ipv6(&host);
        }
        Self { host, devices, kernel }
    }

    /// Runs a packet on both sides, asserts that they agree, and gives what the host says.
    pub(crate) fn run(&mut self, hook: Hook, packet: &[u8]) -> (Verdict, Vec<u8>) {
        self.host.now.set(ticks(monotonic_ns()));
        self.host.resolves = hook != Hook::Ingress;
        self.host.ingress = self.devices.first;
        self.host.refusals.take(); // both sides may tell each sender
        let mut bytes = Bytes(packet.to_vec());
        let mut verdict = match hook {
            Hook::Ingress | Hook::Companion => pipeline::ingress(&mut bytes, &self.host),
            Hook::Egress => match pipeline::egress(&mut bytes, &self.host) {
                Verdict::HandOver(_) => pipeline::inside(&mut bytes, &self.host),
                verdict => verdict,
            },
            Hook::Tunnel => pipeline::tunnel(&mut bytes, &self.host),
        };
        if let Verdict::Refuse(why) = verdict {
            let frame = Ethernet::parse(&bytes).unwrap();
            verdict = pipeline::tell::<V6, _, _>(&mut bytes, &frame, &self.host, why);
        }
        let Some(kernel) = &mut self.kernel else { return (verdict, bytes.0) };
        kernel.forget_refusals();
        let (outcome, out) = match hook {
            Hook::Ingress => kernel.xdp(packet),
            Hook::Egress => kernel.tc(program::TC_EGRESS, packet),
            Hook::Companion => kernel.tc(program::TC_INGRESS, packet),
            Hook::Tunnel => kernel.tc(program::TUNNEL, packet),
        };
        let expected = outcome_of(hook, verdict, bytes.0 != packet, self.devices);
        assert_eq!(outcome, expected, "kernel and host disagree on {}", hex(packet));
        if !matches!(verdict, Verdict::Drop(_)) {
            assert_eq!(hex(&out), hex(&bytes.0), "kernel (left) and host (right) make other bytes of {}", hex(packet));
        }
        (verdict, bytes.0)
    }

    /// A packet that must come out as `expected`, by `verdict`.
    pub(crate) fn becomes(&mut self, hook: Hook, packet: &Builder6, verdict: Verdict, expected: &Builder6) {
        let (got, bytes) = self.run(hook, &packet.bytes());
        assert_eq!((got, hex(&bytes)), (verdict, hex(&expected.bytes())), "{packet:?}");
    }

    /// A packet from the wire that must be dropped for this reason, and counted on both sides.
    pub(crate) fn dropped(&mut self, packet: &[u8], reason: DropReason) {
        let before = self.host.drops.borrow()[reason as usize].packets;
        assert_eq!(self.run(Hook::Ingress, packet).0, Verdict::Drop(reason), "{}", hex(packet));
        assert_eq!(self.host.drops.borrow()[reason as usize].packets, before + 1);
        if let Some(kernel) = &self.kernel {
            assert_eq!(kernel.drops().get(&reason), Some(&(before + 1)), "{reason:?} in the kernel");
        }
    }

    /// Reply entries of the host.
    pub(crate) fn replies(&self, table: Table) -> BTreeMap<FlowKey6, ReplyEntry6> {
        self.host.replies[table as usize].borrow().iter().map(|(k, v)| (*k, *v)).collect()
    }

    /// The flow tables of both sides are equal but for the times, and so are the counters.
    pub(crate) fn assert_equal_state(&self) {
        let Some(kernel) = &self.kernel else { return };
        for (table, flows, replies) in
            [(Table::Proven, map::FLOWS6, map::REPLIES6), (Table::HalfOpen, map::HALF_FLOWS6, map::HALF_REPLIES6)]
        {
            let here: BTreeMap<FlowKey6, FlowEntry6> =
                self.host.flows[table as usize].borrow().iter().map(|(k, v)| (*k, *v)).collect();
            let timeless = |(key, entry)| (key, FlowEntry6 { last_seen: 0, ..entry });
            let there: BTreeMap<FlowKey6, FlowEntry6> = kernel.entries(flows);
            assert!(there.into_iter().map(timeless).eq(here.into_iter().map(timeless)), "{flows}");
            let timeless = |(key, entry)| (key, ReplyEntry6 { last_seen: 0, ..entry });
            let there: BTreeMap<FlowKey6, ReplyEntry6> = kernel.entries(replies);
            assert!(there.into_iter().map(timeless).eq(self.replies(table).into_iter().map(timeless)), "{replies}");
        }
        let remembered: BTreeMap<FlowKey6, TrackedEntry> = kernel.entries(map::TRACKED6);
        let timeless = |(key, entry)| (key, TrackedEntry { last_seen: 0, ..entry });
        let here: BTreeMap<FlowKey6, TrackedEntry> = self.host.tracked.borrow().iter().map(|(k, v)| (*k, *v)).collect();
        assert!(remembered.into_iter().map(timeless).eq(here.into_iter().map(timeless)), "{}", map::TRACKED6);
        for id in 1..=13 {
            let host = self.host.service_stats.borrow().get(&id).copied().unwrap_or_default();
            assert_eq!(kernel.service_counters(id), host, "counters of service {id}");
        }
        assert_eq!(kernel.events(), *self.host.stats.borrow(), "events");
    }
}
