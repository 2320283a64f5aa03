//! The tables of one case.

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData};
use lb_common::abi::{
    BackendEntry, DeviceEntry, FlowEntry, FlowKey, FrontendEntry, FrontendKey, RingLine, ServiceEntry, backend_flag,
    device_flag, flow_flag, frontend_flag, map, setting,
};
use lb_common::addr::{Addr4, Addr6, Address};
use lb_common::be::{Be16, Be32};
use lb_common::conntrack::{FlowState, ticks};

use crate::case::{Case, Kind};
use crate::frame::{CLIENT, CLIENT_PORT, UPLINK, VIP, VIP_PORT, mapped, protocol};

const LOCAL_POD: [u8; 4] = [10, 244, 1, 10];
const REMOTE_POD: [u8; 4] = [10, 244, 2, 20];
const NODE: [u8; 4] = [10, 10, 0, 11];
const OTHER_NODE: [u8; 4] = [10, 10, 0, 12];
/// The service of all frontends, and its one backend.
const SERVICE: u32 = 1;
const BACKEND: u32 = 1;

/// Fills the tables for packets that come in by the device.
pub(crate) fn fill(weir: &mut Ebpf, case: &Case, device: u32) {
    shared(weir, device);
    if case.is_ipv6() {
        let address = |bytes| Addr6::from_bytes(mapped(bytes));
        family(weir, case, [map::FRONTENDS6, map::BACKENDS6, map::FLOWS6], address);
    } else {
        family(weir, case, [map::FRONTENDS4, map::BACKENDS4, map::FLOWS4], Be32::from_bytes);
    }
}

fn family<A: Address + aya::Pod>(
    weir: &mut Ebpf,
    case: &Case,
    [frontends, backends, flows]: [&str; 3],
    address: impl Fn([u8; 4]) -> A,
) {
    let flags = if case.is_dsr() { frontend_flag::DSR } else { 0 };
    let vips = (1..case.services).map(|other| (0x0a65_0000 + other).to_be_bytes()).chain([VIP]);
    let mut map = hash::<FrontendKey<A>, FrontendEntry>(weir, frontends);
    for vip in vips {
        let (port, protocol) = (Be16::new(VIP_PORT), u16::from(protocol(case)));
        let key = FrontendKey { address: address(vip), port, protocol, fill: Default::default() };
        map.insert(key, FrontendEntry { service: SERVICE, flags }, 0).unwrap();
    }
    let entry = BackendEntry {
        address: address(if case.is_remote() { REMOTE_POD } else { LOCAL_POD }),
        port: Be16::new(8080),
        flags: if case.is_remote() { 0 } else { backend_flag::LOCAL },
        generation: 1,
        protocol: u32::from(protocol(case)),
        ..Default::default()
    };
    array::<BackendEntry<A>>(weir, backends).set(BACKEND, entry, 0).unwrap();
    if matches!(case.kind, Kind::Local | Kind::Snat) {
        fill_flows(&mut hash(weir, flows), case, address);
    }
}

/// Proven flows, as the wrapper makes their packets. SNAT ports are given out in order.
fn fill_flows<A: Address + aya::Pod>(
    flows: &mut HashMap<&mut MapData, FlowKey<A>, FlowEntry<A>>,
    case: &Case,
    address: impl Fn([u8; 4]) -> A,
) {
    let now = ticks(crate::rig::monotonic_ns());
    let [a, b, _, _] = CLIENT;
    for flow in 0..case.flows as u32 {
        let [_, high, c, d] = flow.to_be_bytes();
        let (client, port) = (address([a, b, c, d]), Be16::new(CLIENT_PORT + u16::from(high)));
        let key = FlowKey {
            source: client,
            destination: address(VIP),
            source_port: port,
            destination_port: Be16::new(VIP_PORT),
            protocol: u32::from(protocol(case)),
        };
        let (snat_address, snat_port, flag) = if case.is_remote() {
            (address(NODE), Be16::new(15_000 + (flow % 15_000) as u16), flow_flag::SNAT)
        } else {
            (client, port, flow_flag::LOCAL)
        };
        let entry = FlowEntry {
            snat_address,
            snat_port,
            state: FlowState::PROVEN.number(),
            flags: flag | flow_flag::REPLIED,
            backend: BACKEND,
            generation: 1,
            service: SERVICE,
            last_seen: now,
        };
        flows.insert(key, entry, 0).unwrap();
    }
}

/// What both families use.
fn shared(weir: &mut Ebpf, device: u32) {
    let service = ServiceEntry { ring: ServiceEntry::pack_ring(0, 101), flags: 0, used: 1 };
    array::<ServiceEntry>(weir, map::SERVICES).set(SERVICE, service, 0).unwrap();
    let mut rings = array::<RingLine>(weir, map::RINGS);
    for line in 0..7 {
        rings.set(line, RingLine { slots: [BACKEND; 16] }, 0).unwrap();
    }
    let mut settings = array::<u64>(weir, map::SETTINGS);
    let words = [
        (setting::SNAT_PORTS, setting::snat_ports((15_000, 29_999), (15_000, 29_999))),
        (setting::NODE_PORTS, (30_000 << 16) | 32_767),
        (setting::NODE_ADDRESS4, u64::from(Be32::from_bytes(NODE).raw())),
        (setting::TUNNEL_MTU, 1_500),
    ];
    for (index, word) in words {
        settings.set(index, word, 0).unwrap();
    }
    let [a, b, c, d, e, f] = UPLINK;
    let entry = DeviceEntry {
        address4: Be32::from_bytes(NODE),
        flags: device_flag::XDP_TRANSMIT | device_flag::UPLINK,
        mac: [[a, b], [c, d], [e, f]].map(u16::from_ne_bytes),
        ..DeviceEntry::default()
    };
    hash::<u32, DeviceEntry>(weir, map::DEVICES).insert(device, entry, 0).unwrap();
    hash::<u32, Addr4>(weir, map::BACKEND_NODES4).insert(BACKEND, Be32::from_bytes(OTHER_NODE), 0).unwrap();
}

pub(crate) fn hash<'a, K: aya::Pod, V: aya::Pod>(ebpf: &'a mut Ebpf, name: &str) -> HashMap<&'a mut MapData, K, V> {
    ebpf.map_mut(name).unwrap().try_into().unwrap()
}

pub(crate) fn array<'a, V: aya::Pod>(ebpf: &'a mut Ebpf, name: &str) -> Array<&'a mut MapData, V> {
    ebpf.map_mut(name).unwrap().try_into().unwrap()
}
