//! Networks that routers are told of, as routes of a table of their own, where BIRD reads them. No rule leads to that table, and the
//! routes lead nowhere: no packet meets them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::{Netlink, NetlinkError};
use crate::announce::bird::ROUTE_PROTOCOL;

/// Our routes in one of the kernel's tables.
#[derive(Clone, Copy, Debug)]
pub struct ToldRoutes {
    table: u32,
}

impl ToldRoutes {
    /// Those of a table.
    pub const fn new(table: u32) -> Self {
        Self { table }
    }

    /// What is there.
    pub fn read(self) -> Result<BTreeSet<IpNet>, NetlinkError> {
        let found = ours(&Netlink::connect()?)?;
        Ok(found.into_iter().filter(|(table, _)| *table == self.table).map(|(_, network)| network).collect())
    }

    /// Adds these. What is there already is success.
    pub fn insert(self, networks: &BTreeSet<IpNet>) -> Result<(), NetlinkError> {
        let netlink = Netlink::connect()?;
        let (what, flags) = ("add a route for routers", NLM_F_CREATE | NLM_F_EXCL);
        let add = |network| netlink.order(what, RouteNetlinkMessage::NewRoute(route(self.table, network)), flags);
        networks.iter().try_for_each(|network| accept(add(*network), libc::EEXIST))
    }

    /// Removes these. What is gone already is success.
    pub fn remove(self, networks: &BTreeSet<IpNet>) -> Result<(), NetlinkError> {
        let netlink = Netlink::connect()?;
        networks.iter().try_for_each(|network| remove(&netlink, self.table, *network))
    }

    /// Removes what an agent with another table has left.
    pub fn remove_others(self) -> Result<(), NetlinkError> {
        let netlink = Netlink::connect()?;
        let others = ours(&netlink)?.into_iter().filter(|(table, _)| *table != self.table);
        others.into_iter().try_for_each(|(table, network)| remove(&netlink, table, network))
    }
}

/// Removes our routes from all tables. Gives how many there were.
pub fn remove_all() -> Result<usize, NetlinkError> {
    let netlink = Netlink::connect()?;
    let found = ours(&netlink)?;
    found.iter().try_for_each(|(table, network)| remove(&netlink, *table, *network))?;
    Ok(found.len())
}

fn remove(netlink: &Netlink, table: u32, network: IpNet) -> Result<(), NetlinkError> {
    let message = RouteNetlinkMessage::DelRoute(route(table, network));
    accept(netlink.order("remove a route for routers", message, 0), libc::ESRCH)
}

fn accept(result: Result<(), NetlinkError>, code: i32) -> Result<(), NetlinkError> {
    match result {
        Err(NetlinkError { source, .. }) if source.raw_os_error() == Some(code) => Ok(()),
        result => result,
    }
}

/// All routes of ours, with their tables.
fn ours(netlink: &Netlink) -> Result<BTreeSet<(u32, IpNet)>, NetlinkError> {
    let mut found = BTreeSet::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut question = RouteMessage::default();
        question.header.address_family = family;
        let messages = netlink.dump("list routes for routers", RouteNetlinkMessage::GetRoute(question))?;
        found.extend(messages.iter().filter_map(read));
    }
    Ok(found)
}

fn read(message: &RouteNetlinkMessage) -> Option<(u32, IpNet)> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return None };
    if message.header.protocol != RouteProtocol::from(ROUTE_PROTOCOL) || message.header.kind != RouteType::BlackHole {
        return None;
    }
    let table = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    });
    let network = IpNet::new(address?, message.header.destination_prefix_length).ok()?;
    Some((table.unwrap_or(message.header.table.into()), network))
}

/// `ip route add blackhole NETWORK table T proto 119`.
fn route(table: u32, network: IpNet) -> RouteMessage {
    let mut message = RouteMessage::default();
    let (family, destination) = match network.addr() {
        IpAddr::V4(address) => (AddressFamily::Inet, RouteAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, RouteAddress::Inet6(address)),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = network.prefix_len();
    message.header.kind = RouteType::BlackHole;
    message.header.scope = RouteScope::Universe;
    message.header.protocol = RouteProtocol::from(ROUTE_PROTOCOL);
    message.header.table = RouteHeader::RT_TABLE_UNSPEC;
    message.attributes = vec![RouteAttribute::Table(table), RouteAttribute::Destination(destination)];
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_read_as_it_was_written() {
        for text in ["192.0.2.1/32", "192.0.2.0/24", "2001:db8::1/128", "2001:db8::/64"] {
            let network: IpNet = text.parse().expect("a network");
            assert_eq!(read(&RouteNetlinkMessage::NewRoute(route(30_566, network))), Some((30_566, network)));
            let mut other = route(30_566, network);
            other.header.protocol = RouteProtocol::Static;
            assert_eq!(read(&RouteNetlinkMessage::NewRoute(other)), None);
        }
    }
}
