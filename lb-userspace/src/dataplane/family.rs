//! What the maps of the two address families have in common, and how their addresses stand in them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::Pod;
use lb_common::abi::map;
use lb_common::addr::{Addr4, Addr6, Family, V4, V6};
use lb_common::be::Be32;

use crate::tables::IpFamily;

/// An address family with maps of its own.
pub(crate) trait MapFamily: Family<Addr: Pod> {
    /// As a value.
    const FAMILY: IpFamily;
    /// Names of its maps.
    const MAPS: MapNames;

    /// The address as it stands in the maps; `None` if it is of the other family.
    fn address(ip: IpAddr) -> Option<Self::Addr>;

    /// An address of the maps.
    fn ip(address: Self::Addr) -> IpAddr;
}

/// Names of the maps of a family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MapNames {
    pub(crate) frontends: &'static str,
    pub(crate) backends: &'static str,
    pub(crate) flows: &'static str,
    pub(crate) replies: &'static str,
    pub(crate) half_flows: &'static str,
    pub(crate) node_addresses: &'static str,
    pub(crate) vips: &'static str,
}

impl MapFamily for V4 {
    const FAMILY: IpFamily = IpFamily::V4;
    const MAPS: MapNames = MapNames {
        frontends: map::FRONTENDS4,
        backends: map::BACKENDS4,
        flows: map::FLOWS4,
        replies: map::REPLIES4,
        half_flows: map::HALF_FLOWS4,
        node_addresses: map::NODE_ADDRS4,
        vips: map::VIPS4,
    };

    fn address(ip: IpAddr) -> Option<Addr4> {
        match ip {
            IpAddr::V4(address) => Some(Be32::from_bytes(address.octets())),
            IpAddr::V6(_) => None,
        }
    }

    fn ip(address: Addr4) -> IpAddr {
        Ipv4Addr::from(address.bytes()).into()
    }
}

impl MapFamily for V6 {
    const FAMILY: IpFamily = IpFamily::V6;
    const MAPS: MapNames = MapNames {
        frontends: map::FRONTENDS6,
        backends: map::BACKENDS6,
        flows: map::FLOWS6,
        replies: map::REPLIES6,
        half_flows: map::HALF_FLOWS6,
        node_addresses: map::NODE_ADDRS6,
        vips: map::VIPS6,
    };

    fn address(ip: IpAddr) -> Option<Addr6> {
        match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(Addr6::from_bytes(address.octets())),
        }
    }

    fn ip(address: Addr6) -> IpAddr {
        Ipv6Addr::from(address.bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use lb_common::addr::Address;

    use super::*;

    #[test]
    fn the_unspecified_address_stands_for_any() {
        assert_eq!(V4::address(IpFamily::V4.unspecified()), Some(Addr4::ANY));
        assert_eq!(V6::address(IpFamily::V6.unspecified()), Some(Addr6::ANY));
    }

    #[test]
    fn addresses_go_in_and_out_of_their_own_family_only() {
        let (four, six): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        assert_eq!((V4::address(four).map(V4::ip), V4::address(six)), (Some(four), None));
        assert_eq!((V6::address(six).map(V6::ip), V6::address(four)), (Some(six), None));
    }
}
