//! Fills DEVICES: which address SNAT takes on the way out of a device, out of which devices XDP may send, and by which
//! devices packets come from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::abi::{DeviceEntry, device_flag, map};
use lb_common::addr::Addr6;
use lb_common::be::Be32;

use super::error::{DataplaneError, map_io};
use super::hop_watch::Epoch;
use super::maps::Maps;
use super::netlink::Link;
use super::placement;

/// Writes what `links` say and removes devices that are gone. `uplinks` are the interfaces with our programs, and whether XDP
/// may send out of them, `tunnels` the devices with our program for backends behind them.
pub(crate) fn write(
    maps: &Maps,
    links: &[Link],
    node_ips: &[IpAddr],
    uplinks: &BTreeMap<u32, bool>,
    tunnels: &BTreeSet<u32>,
) -> Result<(), DataplaneError> {
    let failed = |error| DataplaneError::map(map::DEVICES)(map_io(error));
    let wanted = entries(links, node_ips, uplinks, tunnels);
    let mut devices = maps.hash::<u32, DeviceEntry>(map::DEVICES)?;
    for (&index, entry) in &wanted {
        devices.insert(index, entry, 0).map_err(failed)?;
    }
    let stale: Vec<u32> = devices.keys().filter_map(Result::ok).filter(|index| !wanted.contains_key(index)).collect();
    for index in stale {
        match devices.remove(&index).map_err(map_io) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(DataplaneError::map(map::DEVICES)(source));
            }
            _ => {}
        }
    }
    Epoch::open(maps)?.begin()
}

fn entries(
    links: &[Link],
    node_ips: &[IpAddr],
    uplinks: &BTreeMap<u32, bool>,
    tunnels: &BTreeSet<u32>,
) -> BTreeMap<u32, DeviceEntry> {
    let flags = |link: &Link| match (uplinks.get(&link.index), tunnels.contains(&link.index)) {
        (Some(true), _) => device_flag::UPLINK | device_flag::XDP_TRANSMIT,
        (Some(false), _) => device_flag::UPLINK,
        (None, true) if link.ethernet => device_flag::TUNNEL,
        (None, true) => device_flag::TUNNEL | device_flag::BARE,
        (None, false) => 0,
    };
    let vlans = |link: &Link| match placement::carries_vlans(links, link.index) {
        true => device_flag::VLANS,
        false => 0,
    };
    let mut entries = BTreeMap::new();
    for link in links.iter().filter(|link| !link.loopback) {
        let outside = if comes_from_outside(links, link, uplinks) { device_flag::OUTSIDE } else { 0 };
        if !link.addresses.is_empty() {
            entries.insert(link.index, entry(link, node_ips, flags(link) | vlans(link) | outside));
        } else if outside != 0 {
            // only that: without an address it is nobody's way, and its frames are not judged by theirs
            entries.insert(link.index, DeviceEntry { flags: outside, ..DeviceEntry::default() });
        }
    }
    let bonds =
        |link: &Link| Some((link.index, bond_of(link).and_then(|bond| entries.get(&bond).map(|on| (bond, *on)))?));
    let ports: Vec<_> = links.iter().filter_map(bonds).collect();
    for (index, (bond, entry)) in ports {
        entries.insert(index, DeviceEntry { bond, ..entry });
    }
    entries
}

/// The bond that the link is a port of. XDP on a bond runs on its ports, and there a packet came in by the port
/// (drivers/net/bonding/bond_main.c, `bond_xdp_set`, since 5.15).
fn bond_of(link: &Link) -> Option<u32> {
    link.master.filter(|_| link.master_kind.as_deref() == Some("bond"))
}

/// The kernel says of a packet by which device it came in last: of one with a tag, the VLAN device, and in a VRF, the VRF.
fn comes_from_outside(links: &[Link], link: &Link, uplinks: &BTreeMap<u32, bool>) -> bool {
    let is_uplink = |index: u32| uplinks.contains_key(&index);
    let mut stands_on = link;
    // a VLAN device may stand on another one, never on itself
    for _ in 0..links.len() {
        if is_uplink(stands_on.index) {
            return true;
        }
        let lower = stands_on.lower.filter(|_| STANDING.iter().any(|kind| stands_on.is(kind)));
        match links.iter().find(|link| Some(link.index) == lower) {
            Some(link) => stands_on = link,
            None => break,
        }
    }
    link.is("vrf") && links.iter().any(|port| port.master == Some(link.index) && is_uplink(port.index))
}

/// Devices that take what comes in by the one below them, as it is. Tunnels say what is below them, too.
const STANDING: [&str; 4] = ["vlan", "macvlan", "ipvlan", "macsec"];

fn entry(link: &Link, node_ips: &[IpAddr], flags: u32) -> DeviceEntry {
    let preferred = || link.addresses.iter().filter(|address| node_ips.contains(address)).chain(&link.addresses);
    let address4 = preferred().find_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    let address6 = preferred().find_map(|address| match address {
        IpAddr::V6(address) if !address.is_unicast_link_local() => Some(*address),
        _ => None,
    });
    DeviceEntry {
        address4: Be32::from_bytes(address4.unwrap_or(Ipv4Addr::UNSPECIFIED).octets()),
        flags,
        address6: Addr6::from_bytes(address6.unwrap_or(Ipv6Addr::UNSPECIFIED).octets()),
        mac: mac(link.mac),
        fill: [0; 3],
        bond: 0,
    }
}

/// Raw 16-bit words, as a packet holds them.
fn mac(bytes: [u8; 6]) -> [u16; 3] {
    let [a, b, c, d, e, f] = bytes;
    [[a, b], [c, d], [e, f]].map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, addresses: &[&str]) -> Link {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let name = format!("eth{index}");
        Link { index, name, loopback: index == 1, addresses, mac: [2, 0, 0, 0, 1, index as u8], ..Link::default() }
    }

    #[test]
    fn prefers_node_ips_and_leaves_out_what_has_no_address() {
        let links =
            [link(1, &["127.0.0.1"]), link(2, &["10.0.0.1", "10.0.0.2", "fe80::1", "2001:db8::1"]), link(3, &[])];
        let entries = entries(&links, &["10.0.0.2".parse().unwrap()], &[(2, true)].into(), &BTreeSet::new());
        assert_eq!(entries.keys().copied().collect::<Vec<_>>(), [2]);
        assert_eq!(entries[&2].address4, Be32::from_bytes([10, 0, 0, 2]));
        assert_eq!(entries[&2].flags, device_flag::UPLINK | device_flag::XDP_TRANSMIT | device_flag::OUTSIDE);
        assert_eq!(entries[&2].mac.map(u16::to_ne_bytes).as_flattened(), [2, 0, 0, 0, 1, 2]);
        assert_eq!(entries[&2].address6.bytes(), "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
    }

    #[test]
    fn the_first_address_serves_where_none_is_preferred() {
        let entries = entries(&[link(2, &["10.0.0.1", "10.0.0.2"])], &[], &BTreeMap::new(), &BTreeSet::new());
        assert_eq!(entries[&2].address4, Be32::from_bytes([10, 0, 0, 1]));
        assert_eq!(entries[&2].flags, 0);
    }

    #[test]
    fn what_carries_vlans_says_so() {
        let vlan = Link { kind: Some("vlan".into()), lower: Some(2), ..link(3, &["10.1.0.1"]) };
        let entries = entries(&[link(2, &["10.0.0.1"]), vlan], &[], &[(2, false)].into(), &BTreeSet::new());
        let flags: Vec<_> = entries.values().map(|entry| entry.flags).collect();
        let outside = device_flag::OUTSIDE;
        assert_eq!(flags, [device_flag::UPLINK | device_flag::VLANS | outside, outside]);
    }

    #[test]
    fn what_leads_outside_says_so_without_an_address() {
        let on = |index, kind: &str, lower| Link { kind: Some(kind.into()), lower: Some(lower), ..link(index, &[]) };
        let vrf = Link { kind: Some("vrf".into()), ..link(7, &[]) };
        let uplink = Link { master: Some(7), master_kind: Some("vrf".into()), ..link(2, &[]) };
        let links =
            [uplink, on(3, "vlan", 2), on(4, "macvlan", 3), on(5, "vxlan", 2), on(6, "veth", 2), vrf, link(8, &[])];
        let entries = entries(&links, &[], &[(2, true)].into(), &BTreeSet::new());
        let found: Vec<_> = entries.iter().map(|(index, entry)| (*index, entry.flags, entry.mac)).collect();
        assert_eq!(found, [2, 3, 4, 7].map(|index| (index, device_flag::OUTSIDE, [0; 3])));
    }

    #[test]
    fn ports_of_a_bond_say_what_the_bond_says() {
        let port = |index| Link { master: Some(2), master_kind: Some("bond".into()), ..link(index, &[]) };
        let bridged = Link { master: Some(2), master_kind: Some("bridge".into()), ..link(5, &[]) };
        let mut links = [link(2, &["10.0.0.1"]), port(3), port(4), bridged];
        let found = entries(&links, &[], &[(2, true)].into(), &BTreeSet::new());
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(found[&3], DeviceEntry { bond: 2, ..found[&2] });
        assert_eq!((found[&2].bond, found[&3].mac, found[&4].bond), (0, found[&2].mac, 2));
        // an index may be of any size
        links[0].index = 70_000;
        links[1].master = Some(70_000);
        let found = entries(&links, &[], &[(70_000, true)].into(), &BTreeSet::new());
        assert_eq!(found[&3].bond, 70_000);
    }

    #[test]
    fn tunnels_say_whether_they_carry_frames() {
        let mut links = [link(2, &["10.0.0.1"]), link(3, &["10.244.1.0"]), link(4, &["10.244.1.0"])];
        links[1].ethernet = true;
        let entries = entries(&links, &[], &[(2, false)].into(), &[3, 4].into());
        let flags: Vec<_> = entries.values().map(|entry| entry.flags).collect();
        let uplink = device_flag::UPLINK | device_flag::OUTSIDE;
        assert_eq!(flags, [uplink, device_flag::TUNNEL, device_flag::TUNNEL | device_flag::BARE]);
    }
}
