//! The small world in which fixtures run: tables and routes, once for the host and once for the kernel.

use std::net::Ipv4Addr;

use lb_common::abi::{BackendEntry4, FrontendEntry, FrontendKey4, backend_flag, frontend_flag, node_flag, setting};
use lb_common::addr::{Addr4, V4};
use lb_common::be::{Be16, Be32};
use lb_common::drop_reason::DropReason;
use lb_common::ethernet::{Addresses, Mac};
use lb_common::host::Maps;
use lb_common::lookup::Route;

use crate::packet::{ROUTER, UPLINK};

/// Address of the uplink, and so of the node.
pub(crate) const NODE: &str = "10.10.0.11";
/// Address of the next node.
pub(crate) const NODE_2: &str = "10.10.0.12";
/// Address of another node, behind the router.
pub(crate) const NODE_3: &str = "10.40.0.13";
/// A VIP.
pub(crate) const VIP: &str = "10.100.100.100";
/// Another VIP with the same backends.
pub(crate) const VIP2: &str = "10.100.100.101";
/// A cluster IP with the same backends.
pub(crate) const CLUSTER_IP: &str = "10.96.0.1";
/// VIP of the front.
pub(crate) const FRONT: &str = "10.1.33.159";
/// A pod on this node.
pub(crate) const LOCAL_POD: &str = "10.244.1.10";
/// A pod on the next node.
pub(crate) const REMOTE_POD: &str = "10.244.2.20";
/// A pod behind the second uplink.
pub(crate) const FAR_POD: &str = "10.30.0.5";
/// A client, behind the router.
pub(crate) const CLIENT: &str = "192.0.2.7";
/// First port for SNAT.
pub(crate) const SNAT_FIRST: u16 = 15_000;
/// Mark of packets for the front.
pub(crate) const FRONT_MARK: u32 = 0x2000;
/// Last port for SNAT.
pub(crate) const SNAT_LAST: u16 = 29_999;

/// Hardware address of the next node.
pub(crate) const NEXT_NODE: [u8; 6] = [2, 0, 0, 0, 0, 0x12];
/// Hardware address of the second uplink.
pub(crate) const UPLINK2: [u8; 6] = [2, 0, 0, 0, 0, 0x21];
/// Hardware address of the router on the second uplink.
pub(crate) const ROUTER2: [u8; 6] = [2, 0, 0, 0, 0, 0x22];

/// Indices of the two uplinks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Devices {
    pub(crate) first: u32,
    pub(crate) second: u32,
}

/// Frontends: address, port, protocol, service, flags. The address 0.0.0.0 is a NodePort.
const FRONTENDS: &[(&str, u16, u16, u32, u32)] = &[
    (VIP, 7070, 6, 1, 0),
    (VIP2, 7070, 6, 1, 0),
    ("0.0.0.0", 30_088, 6, 1, 0),
    (VIP, 53, 17, 2, 0),
    (VIP, 80, 6, 3, 0),
    (VIP, 81, 6, 4, 0),
    (VIP, 82, 6, 5, 0),
    (VIP, 83, 6, 6, 0),
    (VIP, 84, 6, 7, 0),
    (VIP, 5353, 17, 8, 0),
    (FRONT, 80, 6, 9, frontend_flag::FRONT_HTTP),
    (FRONT, 443, 6, 10, frontend_flag::FRONT_HTTPS),
    ("0.0.0.0", 31_188, 6, 9, frontend_flag::FRONT_HTTP),
    (CLUSTER_IP, 7070, 6, 1, frontend_flag::CLUSTER),
    (CLUSTER_IP, 80, 6, 3, frontend_flag::CLUSTER),
    // forwarded by DSR: to the next node, on this node, to a node that is not known, and to either of two
    (VIP, 90, 6, 11, frontend_flag::DSR),
    (VIP, 5300, 17, 12, frontend_flag::DSR),
    (VIP, 91, 6, 13, frontend_flag::DSR),
    (VIP, 92, 6, 14, frontend_flag::DSR),
    (VIP, 93, 6, 15, frontend_flag::DSR),
    (VIP, 5301, 17, 16, frontend_flag::DSR),
    // a frontend whose port lies in the SNAT range
    (VIP, 15_001, 6, 3, 0),
];

/// Backends by id: address, port, protocol, local.
const BACKENDS: &[(&str, u16, u32, bool)] = &[
    (LOCAL_POD, 8080, 6, true),
    ("10.244.1.11", 53, 17, true),
    (REMOTE_POD, 8080, 6, false),
    (FAR_POD, 8080, 6, false),
    ("10.10.0.99", 8080, 6, false),
    ("10.99.0.1", 8080, 6, false),
    ("10.244.2.21", 53, 17, false),
];

/// Rings by service id.
const RINGS: &[(u32, &[u32])] = &[
    (11, &[3; 7]),
    (12, &[7]),
    (13, &[1; 7]),
    (14, &[4]),
    (15, &[3, 3, 3, 3, 3, 3, 1]),
    (16, &[7, 7, 7, 7, 7, 7, 2]),
    (1, &[1; 7]),
    (2, &[2]),
    (3, &[3; 7]),
    (4, &[4]),
    (5, &[]),
    (6, &[5]),
    (7, &[6]),
    (8, &[7]),
    (9, &[]),
    (10, &[]),
];

/// The tables on the host.
pub(crate) fn host(devices: Devices) -> Maps<V4> {
    let mut maps = Maps::<V4>::default();
    for &(at, port, protocol, service, flags) in FRONTENDS {
        let key = FrontendKey4 { address: address(at), port: Be16::new(port), protocol, fill: [] };
        maps.frontends.insert(key, FrontendEntry { service, flags });
    }
    for (id, &(at, port, protocol, local)) in (1..).zip(BACKENDS) {
        let flags = if local { backend_flag::LOCAL } else { 0 };
        let (address, port) = (address(at), Be16::new(port));
        let entry = BackendEntry4 { address, port, flags, generation: 3, protocol, ..Default::default() };
        maps.backends.insert(id, entry);
    }
    for &(service, slots) in RINGS {
        let entry = maps.add_ring(slots);
        maps.services.insert(service, entry);
    }
    maps.nodes.extend([
        (address(NODE), node_flag::OWN),
        (address(NODE_2), node_flag::PEER),
        (address(NODE_3), node_flag::PEER),
    ]);
    maps.backend_nodes.extend([(3, address(NODE_2)), (7, address(NODE_2))]);
    maps.settings[setting::NODE_ADDRESS4 as usize] = u64::from(address(NODE).raw());
    maps.settings[setting::TUNNEL_MTU as usize] = 1500;
    maps.node_addresses.push(address(NODE));
    maps.vips.extend([VIP, VIP2, FRONT].map(address));
    maps.mac = Some(mac(UPLINK));
    maps.listening = frontend_flag::FRONT_HTTP;
    maps.settings[setting::NODE_PORTS as usize] = (30_088 << 16) | 31_188;
    maps.settings[setting::SNAT_PORTS as usize] = setting::snat_ports((SNAT_FIRST, SNAT_LAST), (SNAT_FIRST, SNAT_LAST));
    maps.settings[setting::FRONT_MARK as usize] = u64::from(FRONT_MARK);
    maps.settings[setting::LISTENER_COUNTS as usize] = 1;
    maps.routing = Box::new(move |destination| route(destination.bytes(), devices));
    maps.uplink_addresses.insert(devices.first, address(NODE));
    maps.uplink_addresses.insert(devices.second, address("10.20.0.11"));
    maps
}

/// The routing table that the kernel's half builds with `ip`.
fn route(destination: [u8; 4], devices: Devices) -> Route {
    let direct = |device, to, from| Route::Direct { device, addresses: Addresses::new(mac(to), mac(from)), mtu: 1_500 };
    match destination {
        // the node's own and broadcast addresses are not forwarded to
        [10, 10 | 20, 0, 0 | 11 | 255] => Route::None(DropReason::NoRoute),
        [10, 10, 0, 1] => direct(devices.first, ROUTER, UPLINK),
        [10, 10, 0, 12] => direct(devices.first, NEXT_NODE, UPLINK),
        [10, 10, 0, _] => Route::Kernel { device: devices.first },
        [10, 20, 0, 1] | [10, 30, 0, _] => direct(devices.second, ROUTER2, UPLINK2),
        [10, 20, 0, _] => Route::Kernel { device: devices.second },
        [10, 244, 2, _] => direct(devices.first, NEXT_NODE, UPLINK),
        [10, 99, 0, 1] => Route::None(DropReason::NoRoute),
        _ => direct(devices.first, ROUTER, UPLINK),
    }
}

/// An address as it stands in keys.
pub(crate) fn address(text: &str) -> Addr4 {
    Be32::from_bytes(text.parse::<Ipv4Addr>().unwrap().octets())
}

/// A hardware address as the pipeline has it.
pub(crate) fn mac(bytes: [u8; 6]) -> Mac {
    let [a, b, c, d, e, f] = bytes;
    [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]), u16::from_ne_bytes([e, f])]
}
