//! Keeps the next hops of the uplinks resolved. XDP never confirms a neighbour: without this an entry that went stale would
//! be used for ever, and a next hop whose hardware address changes would swallow what is sent to it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteVia};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::{Netlink, NetlinkError};

/// A neighbour: interface and address.
type Hop = (u32, IpAddr);

/// Asks the kernel to keep the gateways of the `uplinks`, and those of the `backends` that are their neighbours, resolved
/// and probed (`NTF_EXT_MANAGED`, since 5.16). Entries that are managed or permanent already are left alone; gives how many
/// were not.
pub(super) fn keep_resolved(
    netlink: &Netlink,
    uplinks: &BTreeSet<u32>,
    backends: &BTreeSet<IpAddr>,
) -> Result<usize, NetlinkError> {
    let routes = netlink.dump("list routes", RouteNetlinkMessage::GetRoute(RouteMessage::default()))?;
    let mut neighbours = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut question = NeighbourMessage::default();
        question.header.family = family;
        neighbours.extend(netlink.dump("list neighbours", RouteNetlinkMessage::GetNeighbour(question))?);
    }
    let known: Vec<(Hop, bool)> = neighbours.iter().filter_map(neighbour).collect();
    let mut wanted: BTreeSet<Hop> = routes.iter().flat_map(gateways).collect();
    wanted.extend(known.iter().map(|(hop, _)| *hop).filter(|(_, address)| backends.contains(address)));
    wanted.retain(|(interface, _)| uplinks.contains(interface));
    for (hop, _) in known.iter().filter(|(_, is_kept)| *is_kept) {
        wanted.remove(hop);
    }
    for hop in &wanted {
        netlink.order("keep a neighbour resolved", manage(*hop), NLM_F_CREATE | NLM_F_REPLACE)?;
    }
    Ok(wanted.len())
}

/// The entry, and whether the kernel or the administrator keeps it.
fn neighbour(message: &RouteNetlinkMessage) -> Option<(Hop, bool)> {
    let RouteNetlinkMessage::NewNeighbour(message) = message else { return None };
    let mut is_kept = matches!(message.header.state, NeighbourState::Permanent | NeighbourState::Noarp);
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => address = Some(IpAddr::V4(*found)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(found)) => address = Some(IpAddr::V6(*found)),
            NeighbourAttribute::ExtFlags(flags) => is_kept |= flags.contains(NeighbourExtFlags::Managed),
            _ => {}
        }
    }
    Some(((message.header.ifindex, address?), is_kept))
}

/// The gateways of a route: its own, or one per hop of a multipath route.
fn gateways(message: &RouteNetlinkMessage) -> Vec<Hop> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return Vec::new() };
    let interface = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    });
    let mut hops: Vec<Hop> = interface.zip(gateway(&message.attributes)).into_iter().collect();
    for attribute in &message.attributes {
        if let RouteAttribute::MultiPath(paths) = attribute {
            hops.extend(paths.iter().filter_map(|path| Some((path.interface_index, gateway(&path.attributes)?))));
        }
    }
    hops
}

/// Link-local ones too: routers announce themselves by these. One of the other family stands in an attribute of its own.
fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Gateway(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })
}

/// The state of an entry that is there stays as it is (net/core/neighbour.c, `__neigh_update`, `NEIGH_UPDATE_F_MANAGED`).
fn manage((interface, address): Hop) -> RouteNetlinkMessage {
    let (family, address) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
    };
    let mut message = NeighbourMessage::default();
    message.header.family = family;
    message.header.ifindex = interface;
    message.attributes =
        vec![NeighbourAttribute::Destination(address), NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed)];
    RouteNetlinkMessage::NewNeighbour(message)
}
