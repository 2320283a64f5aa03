//! What differs between the families when live maps are read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::Pod;
use aya::maps::lpm_trie::Key;
use lb_common::abi::{DeviceEntry, RangeKey4, RangeKey6, map};
use lb_common::addr::{Addr4, Addr6, Address, V4, V6};
use lb_common::dsr::Tunnel;
use lb_common::neighbour::Discovery;
use lb_common::question::Kind;

/// Names of the maps of a family.
pub(super) struct FamilyMaps {
    pub(super) frontends: &'static str,
    pub(super) backends: &'static str,
    pub(super) flows: &'static str,
    pub(super) half_flows: &'static str,
    pub(super) replies: &'static str,
    pub(super) half_replies: &'static str,
    pub(super) fragments: &'static str,
    pub(super) node_addresses: &'static str,
    pub(super) vips: &'static str,
    pub(super) nodes: &'static str,
    pub(super) backend_nodes: &'static str,
    pub(super) tracked: &'static str,
    pub(super) denied: &'static str,
    pub(super) ranges: &'static str,
}

/// A family whose maps can be read.
pub(super) trait LiveFamily: Tunnel + Discovery {
    /// Its maps.
    const MAPS: FamilyMaps;
    /// How its routes are asked for.
    const ROUTE: Kind;
    /// An address among those denied.
    type Words: Pod;
    /// An address among those of a service.
    type RangeKey: Pod;

    /// The key of an address among those denied.
    fn denied_key(address: Self::Addr) -> Key<Self::Words>;

    /// The key of a client among those of a service.
    fn range_key(service: u32, client: Self::Addr) -> Key<Self::RangeKey>;

    /// An address for people.
    fn ip(address: Self::Addr) -> IpAddr;

    /// The raw words.
    fn words(address: Self::Addr) -> [u32; 4] {
        address.words()
    }

    /// A device's own address.
    fn address_of(device: &DeviceEntry) -> Option<Self::Addr>;
}

impl LiveFamily for V4 {
    const MAPS: FamilyMaps = FamilyMaps {
        frontends: map::FRONTENDS4,
        backends: map::BACKENDS4,
        flows: map::FLOWS4,
        half_flows: map::HALF_FLOWS4,
        replies: map::REPLIES4,
        half_replies: map::HALF_REPLIES4,
        fragments: map::FRAGMENTS4,
        node_addresses: map::NODE_ADDRS4,
        vips: map::VIPS4,
        nodes: map::NODES4,
        backend_nodes: map::BACKEND_NODES4,
        tracked: map::TRACKED4,
        denied: map::DENIED4,
        ranges: map::RANGES4,
    };
    const ROUTE: Kind = Kind::Route4;
    type Words = u32;
    type RangeKey = RangeKey4;

    fn denied_key(address: Addr4) -> Key<u32> {
        Key::new(32, address.raw())
    }

    fn range_key(service: u32, client: Addr4) -> Key<RangeKey4> {
        Key::new(64, [service, client.raw()])
    }

    fn ip(address: Addr4) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(address.bytes()))
    }

    fn address_of(device: &DeviceEntry) -> Option<Addr4> {
        Some(device.address4).filter(|address| *address != Addr4::ANY)
    }
}

impl LiveFamily for V6 {
    const MAPS: FamilyMaps = FamilyMaps {
        frontends: map::FRONTENDS6,
        backends: map::BACKENDS6,
        flows: map::FLOWS6,
        half_flows: map::HALF_FLOWS6,
        replies: map::REPLIES6,
        half_replies: map::HALF_REPLIES6,
        fragments: map::FRAGMENTS6,
        node_addresses: map::NODE_ADDRS6,
        vips: map::VIPS6,
        nodes: map::NODES6,
        backend_nodes: map::BACKEND_NODES6,
        tracked: map::TRACKED6,
        denied: map::DENIED6,
        ranges: map::RANGES6,
    };
    const ROUTE: Kind = Kind::Route6;
    type Words = [u32; 4];
    type RangeKey = RangeKey6;

    fn denied_key(address: Addr6) -> Key<[u32; 4]> {
        Key::new(128, address.words())
    }

    fn range_key(service: u32, client: Addr6) -> Key<RangeKey6> {
        let [a, b, c, d] = client.words();
        Key::new(160, [service, a, b, c, d])
    }

    fn ip(address: Addr6) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from(address.bytes()))
    }

    fn address_of(device: &DeviceEntry) -> Option<Addr6> {
        Some(device.address6).filter(|address| *address != Addr6::ANY)
    }
}
