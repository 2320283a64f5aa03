//! Tables out of fuzz input, such as the agent may write: small, so that flows get into each other's way.

use std::net::IpAddr;

use arbitrary::{Result, Unstructured};
use lb_common::abi::{
    BackendEntry, FlowKey, FormerRing, FrontendEntry, FrontendKey, backend_flag, flow_flag, frontend_flag, node_flag,
    setting,
};
use lb_common::addr::{Addr6, Address};
use lb_common::be::{Be16, Be32};
use lb_common::drop_reason::DropReason;
use lb_common::ethernet::Addresses;
use lb_common::flow::{is_same_flow, replies_of, reply_entry};
use lb_common::host::Maps;
use lb_common::lookup::{Lookup, Route, Table};

use super::owners::Tuple;
use crate::packets::{PORTS, Place, Side};
use crate::wire::{SCTP, TCP, UDP};

/// Ids of backends and services that may be in use.
const IDS: u32 = 6;
/// Which of the nodes this one is, and which are others; there is no node of any further number.
pub(super) const OWN: u8 = 1;
pub(super) const PEERS: [u8; 2] = [2, 3];
/// The external interfaces.
const DEVICES: [u32; 2] = [7, 8];

/// New tables.
pub(super) fn random<F: Side>(u: &mut Unstructured<'_>) -> Result<Maps<F>> {
    let mut maps = Maps::<F>::default();
    for id in 1..=u.int_in_range(1..=IDS)? {
        add_backend(&mut maps, id, u)?;
    }
    for id in 1..=u.int_in_range(1..=IDS)? {
        let ring = ring(u)?;
        let entry = maps.add_ring(&ring);
        maps.services.insert(id, entry);
    }
    for _ in 0..u.int_in_range(1..=8)? {
        add_frontend(&mut maps, u)?;
    }
    nodes(&mut maps, u)?;
    maps.node_addresses = (1..=u.int_in_range(1..=2)?).map(|n| F::addr(F::place(Place::Node, n))).collect();
    maps.mac = u.arbitrary::<bool>()?.then(ours);
    maps.listening = *u.choose(&[0, frontend_flag::FRONT_HTTP, frontend_flag::FRONT])?;
    maps.settings[setting::NODE_PORTS as usize] = (30_080 << 16) | 30_081;
    let range = (15_000, u.int_in_range(15_000..=15_020)?);
    maps.settings[setting::SNAT_PORTS as usize] = setting::snat_ports(range, range);
    maps.proven_capacity = *u.choose(&[usize::MAX, usize::MAX, 1, 0])?;
    let unresolved = u.arbitrary()?;
    maps.routing = Box::new(move |to| route::<F>(F::ip(to), unresolved));
    for device in DEVICES {
        maps.uplink_addresses.insert(device, F::addr(F::place(Place::Node, device as u8)));
        maps.ingress = device;
    }
    Ok(maps)
}

/// This node and two others, and how much fits between them.
fn nodes<F: Side>(maps: &mut Maps<F>, u: &mut Unstructured<'_>) -> Result<()> {
    match F::place(Place::Node, OWN) {
        IpAddr::V4(own) => {
            maps.settings[setting::NODE_ADDRESS4 as usize] = u64::from(Be32::from_bytes(own.octets()).raw());
        }
        IpAddr::V6(own) => {
            let [high, low] = Addr6::from_bytes(own.octets()).raw();
            maps.settings[setting::NODE_ADDRESS6 as usize] = high;
            maps.settings[setting::NODE_ADDRESS6_LOW as usize] = low;
        }
    }
    maps.settings[setting::TUNNEL_MTU as usize] = *u.choose(&[1_500, 1_500, 0, 100])?;
    maps.nodes.insert(F::addr(F::place(Place::Node, OWN)), node_flag::OWN);
    for peer in PEERS {
        maps.nodes.insert(F::addr(F::place(Place::Node, peer)), node_flag::PEER);
    }
    Ok(())
}

fn ours() -> [u16; 3] {
    let [a, b, c, d, e, f] = crate::packets::OURS;
    [[a, b], [c, d], [e, f]].map(u16::from_ne_bytes)
}

fn add_backend<F: Side>(maps: &mut Maps<F>, id: u32, u: &mut Unstructured<'_>) -> Result<()> {
    let place = *u.choose(&[Place::LocalPod, Place::RemotePod, Place::RemotePod, Place::Node])?;
    let address = F::addr(F::place(place, u.int_in_range(1..=2)?));
    let generation = maps.backends.get(&id).map_or(1, |old| old.generation + 1);
    let flags = if place == Place::RemotePod { 0 } else { backend_flag::LOCAL };
    let protocol = u32::from(*u.choose(&[TCP, UDP, SCTP])?);
    let port = Be16::new(*u.choose(&[8080, 53, 80])?);
    maps.backend_nodes.remove(&id);
    if place == Place::RemotePod && u.ratio(3, 4)? {
        maps.backend_nodes.insert(id, F::addr(F::place(Place::Node, *u.choose(&PEERS)?)));
    }
    maps.backends.insert(id, BackendEntry { address, port, flags, generation, protocol, ..Default::default() });
    Ok(())
}

fn add_frontend<F: Side>(maps: &mut Maps<F>, u: &mut Unstructured<'_>) -> Result<()> {
    let node_port = u.ratio(1, 4)?;
    let place = F::addr(F::place(Place::Vip, u.int_in_range(1..=3)?));
    let address = if node_port { F::Addr::ANY } else { place };
    let port = if node_port { u.int_in_range(30_080..=30_081)? } else { *u.choose(PORTS)? };
    let protocol = u16::from(*u.choose(&[TCP, UDP, SCTP])?);
    let front = u.ratio(1, 8)?;
    // no other node may send from a node's address
    let dsr = !front && !node_port && u.ratio(1, 3)?;
    let flags = match (front, dsr) {
        (true, _) => frontend_flag::FRONT_HTTP,
        (false, true) => frontend_flag::DSR,
        (false, false) => 0,
    };
    let entry = FrontendEntry { service: u.int_in_range(1..=IDS)?, flags };
    maps.frontends.insert(FrontendKey { address, port: Be16::new(port), protocol, ..Default::default() }, entry);
    if !node_port {
        maps.vips.push(place);
    }
    Ok(())
}

fn ring(u: &mut Unstructured<'_>) -> Result<Vec<u32>> {
    let slots = *u.choose(&[0, 1, 2, 7, 16, 17])?;
    (0..slots).map(|_| u.int_in_range(0..=IDS)).collect()
}

/// A backend goes, comes back, or its id is given to another one.
pub(super) fn change_backend<F: Side>(maps: &mut Maps<F>, u: &mut Unstructured<'_>) -> Result<()> {
    let id = u.int_in_range(1..=IDS)?;
    if u.arbitrary()? {
        return add_backend(maps, id, u);
    }
    if let Some(backend) = maps.backends.get_mut(&id) {
        backend.protocol = 0;
    }
    Ok(())
}

/// A service gets another ring; the one that it had is kept for a while.
pub(super) fn change_ring<F: Side>(maps: &mut Maps<F>, u: &mut Unstructured<'_>) -> Result<()> {
    let id = u.int_in_range(1..=IDS)?;
    let ring = ring(u)?;
    let entry = maps.add_ring(&ring);
    let former = maps.services.insert(id, entry);
    if let Some(former) = former.filter(|former| former.ring_place().1 == ring.len() as u32) {
        let until = maps.now.get() + u.int_in_range(0..=300)?;
        maps.former_rings.insert(id, FormerRing { ring: former.ring, until, changed: 1 });
    }
    Ok(())
}

/// To pods on the second node the way may be unresolved, and there is none to those on the third.
fn route<F: Side>(to: IpAddr, unresolved: bool) -> Route {
    let [first, second] = DEVICES;
    if to == F::place(Place::RemotePod, 3) {
        return Route::None(DropReason::NoRoute);
    }
    if to == F::place(Place::Client, 3) {
        return Route::TooBig { mtu: 60 };
    }
    if to == F::place(Place::RemotePod, 2) {
        return if unresolved {
            Route::Kernel { device: second }
        } else {
            Route::Direct { device: second, addresses: Addresses::new([1, 2, 3], [4, 5, 6]), mtu: 1500 }
        };
    }
    Route::Direct { device: first, addresses: Addresses::new([7, 8, 9], [10, 11, 12]), mtu: 1500 }
}

/// The tuple under which the backend sees the flow of a client's packet, whether the backend is on this node, and the tick
/// at which the lease was last used, if the flow holds that tuple.
pub(super) fn held_by<F: Side>(maps: &Maps<F>, client: &Tuple) -> Option<(Tuple, bool, u32)> {
    let key = FlowKey {
        source: F::addr(client.source.0),
        destination: F::addr(client.destination.0),
        source_port: Be16::new(client.source.1),
        destination_port: Be16::new(client.destination.1),
        protocol: u32::from(client.protocol),
    };
    [Table::Proven, Table::HalfOpen].into_iter().find_map(|table| {
        let entry = *maps.flow(table, &key)?;
        let replies = replies_of(&key, &entry, &maps.backend(entry.backend)?);
        let held = *maps.reply(table, &replies)?;
        let wire = Tuple {
            source: (F::ip(replies.destination), replies.destination_port.host()),
            destination: (F::ip(replies.source), replies.source_port.host()),
            protocol: client.protocol,
        };
        let local = entry.flags & flow_flag::LOCAL != 0;
        is_same_flow(&held, &reply_entry(&key, &entry, 0)).then_some((wire, local, held.last_seen))
    })
}
