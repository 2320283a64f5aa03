//! Addresses of this machine; can be asked before there is a data plane.

use std::net::IpAddr;

use super::error::DataplaneError;
use super::host;
use super::netlink::{Link, Netlink};

/// Addresses of all interfaces that others can reach: not those of loopback, not link-local.
pub fn of_node() -> Result<Vec<IpAddr>, DataplaneError> {
    let links = Netlink::connect()?.links()?;
    Ok(reachable(links.iter().filter(|link| !link.loopback)))
}

/// Addresses of the interfaces named, or of those with a default route.
pub fn of_uplinks(names: &[String]) -> Result<Vec<IpAddr>, DataplaneError> {
    Ok(reachable(host::uplinks(&Netlink::connect()?, names)?.iter()))
}

/// The smallest MTU of these interfaces: what a tunnel between nodes can carry, as far as this node can tell. 0: unknown.
pub fn smallest_mtu(names: &[String]) -> Result<u16, DataplaneError> {
    let links = host::uplinks(&Netlink::connect()?, names)?;
    let smallest = links.iter().map(|link| link.mtu).filter(|mtu| *mtu > 0).min();
    Ok(smallest.map_or(0, |mtu| u16::try_from(mtu).unwrap_or(u16::MAX)))
}

fn reachable<'a>(links: impl Iterator<Item = &'a Link>) -> Vec<IpAddr> {
    let is_link_local = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    links.flat_map(|link| link.addresses.iter().copied()).filter(|address| !is_link_local(address)).collect()
}
