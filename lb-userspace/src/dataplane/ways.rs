//! By which devices backends on other nodes are reached, as the routing table has it.
//!
//! A device that is no external interface, the tunnel of an overlay network mostly, needs our program at its ingress: packets
//! go out from its own address, and the replies come in by it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;

use super::netlink::{Link, Netlink};
use super::report::Note;
use crate::model::problem::code;

/// How many addresses are looked up at one time beside those that are new; the others wait for their turn.
const AT_ONCE: usize = 2_048;

/// A way to backends on other nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WayStatus {
    /// How packets get there.
    pub way: WayKind,
    /// Name of the device; none if there is no route.
    pub device: Option<String>,
    /// Which driver of the kernel's own made the device, such as `vxlan`.
    pub kind: Option<String>,
    /// How many backends' addresses are reached so.
    pub backends: usize,
    /// Why so.
    pub reason: String,
}

/// How packets get to a backend on another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum WayKind {
    /// Out of an external interface, by XDP where it has it.
    Uplink,
    /// Out of another device, by tc.
    Tunnel,
    /// In a tunnel of our own to the backend's node, which answers clients itself.
    Dsr,
    /// Not at all.
    None,
}

/// Devices by backend address; none where there is no route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ways {
    devices: BTreeMap<IpAddr, Option<u32>>,
    /// Nodes that DSR carries packets to: by which device, and for how many backends.
    nodes: BTreeMap<IpAddr, (Option<u32>, usize)>,
    /// The last address that was looked up.
    last: Option<IpAddr>,
}

impl Ways {
    /// Looks up addresses that are new, and a part of the others; forgets those that are gone.
    pub(crate) fn update(&mut self, netlink: &Netlink, backends: &BTreeSet<IpAddr>, nodes: &BTreeMap<IpAddr, usize>) {
        let device = |address| netlink.way_to(address).ok().flatten();
        self.update_with(backends, AT_ONCE, device);
        self.update_nodes(nodes, device);
    }

    /// Looks up addresses that have just come, or come back; gives their devices, `None` where there is no route.
    pub(crate) fn add(&mut self, netlink: &Netlink, backends: &[IpAddr]) -> BTreeSet<Option<u32>> {
        self.add_with(backends, |address| netlink.way_to(address).ok().flatten())
    }

    fn add_with(&mut self, backends: &[IpAddr], device: impl Fn(IpAddr) -> Option<u32>) -> BTreeSet<Option<u32>> {
        let found: Vec<_> = backends.iter().map(|address| (*address, device(*address))).collect();
        let devices = found.iter().map(|(_, device)| *device).collect();
        self.devices.extend(found);
        devices
    }

    /// There are few of them: all are looked up each time.
    fn update_nodes(&mut self, nodes: &BTreeMap<IpAddr, usize>, device: impl Fn(IpAddr) -> Option<u32>) {
        self.nodes = nodes.iter().map(|(node, backends)| (*node, (device(*node), *backends))).collect();
    }

    fn update_with(&mut self, backends: &BTreeSet<IpAddr>, budget: usize, device: impl Fn(IpAddr) -> Option<u32>) {
        self.devices.retain(|address, _| backends.contains(address));
        let new = backends.iter().filter(|address| !self.devices.contains_key(address)).copied().collect::<Vec<_>>();
        let turn = |address: &&IpAddr| self.last.is_none_or(|last| **address > last);
        let old: Vec<IpAddr> = self.devices.keys().filter(turn).take(budget).copied().collect();
        // At the end it begins anew.
        self.last = if old.len() < budget { None } else { old.last().copied() };
        for address in new.into_iter().chain(old) {
            self.devices.insert(address, device(address));
        }
    }

    /// The devices beside the `uplinks` that need our program.
    pub(crate) fn tunnels(&self, links: &[Link], uplinks: &BTreeSet<u32>) -> Vec<Link> {
        let devices: BTreeSet<u32> = self.devices.values().copied().flatten().collect();
        let is_tunnel =
            |link: &&Link| devices.contains(&link.index) && !uplinks.contains(&link.index) && !link.loopback;
        links.iter().filter(is_tunnel).cloned().collect()
    }

    /// What there is to tell of the ways.
    pub(crate) fn status(&self, links: &[Link], uplinks: &BTreeSet<u32>) -> Vec<WayStatus> {
        let mut counts: BTreeMap<Option<u32>, usize> = BTreeMap::new();
        for device in self.devices.values() {
            *counts.entry(*device).or_default() += 1;
        }
        let link = |device: Option<u32>| links.iter().find(|link| Some(link.index) == device);
        let elsewhere = counts.into_iter().filter(|(device, _)| link(*device).is_none_or(|link| !link.loopback));
        let by_nat = elsewhere.map(|(device, backends)| status(link(device), backends, uplinks));
        let mut carried: BTreeMap<Option<u32>, usize> = BTreeMap::new();
        for (device, backends) in self.nodes.values() {
            *carried.entry(*device).or_default() += backends;
        }
        by_nat.chain(carried.into_iter().map(|(device, backends)| by_dsr(link(device), backends))).collect()
    }
}

/// A backend may be in two rows: NodePorts of a service that forwards by DSR are reached by source NAT.
fn by_dsr(link: Option<&Link>, backends: usize) -> WayStatus {
    const REASON: &str =
        "their services forward by dsr: in a tunnel to the backend's node, which answers clients itself";
    let (way, reason) = match link {
        None => (WayKind::None, "there is no route to their nodes"),
        Some(_) => (WayKind::Dsr, REASON),
    };
    let (device, kind) = (link.map(|link| link.name.clone()), link.and_then(|link| link.kind.clone()));
    WayStatus { way, device, kind, backends, reason: reason.to_owned() }
}

fn status(link: Option<&Link>, backends: usize, uplinks: &BTreeSet<u32>) -> WayStatus {
    let (way, reason) = match link {
        None => (WayKind::None, "there is no route to them".to_owned()),
        Some(link) if uplinks.contains(&link.index) => {
            (WayKind::Uplink, format!("routed through {}, an external interface: source NAT to its address", link.name))
        }
        Some(link) if link.addresses.is_empty() => {
            (WayKind::None, format!("routed through {}, which has no address that replies could go to", link.name))
        }
        Some(link) => (
            WayKind::Tunnel,
            format!("routed through {}, no external interface: source NAT to its address, by tc", link.name),
        ),
    };
    let (device, kind) = (link.map(|link| link.name.clone()), link.and_then(|link| link.kind.clone()));
    WayStatus { way, device, kind, backends, reason }
}

/// Warns of backends that are not reached.
pub(crate) fn remark(way: &WayStatus) -> Option<Note> {
    let message = || format!("{} addresses of backends on other nodes are not reached: {}", way.backends, way.reason);
    (way.way == WayKind::None).then(|| Note::warning(code::BACKENDS_UNREACHABLE, message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u8) -> IpAddr {
        IpAddr::from([10, 244, 2, number])
    }

    fn link(index: u32, name: &str, kind: Option<&str>, addresses: &[IpAddr]) -> Link {
        let (name, kind) = (name.to_owned(), kind.map(str::to_owned));
        Link { index, name, kind, addresses: addresses.to_vec(), ethernet: true, ..Link::default() }
    }

    #[test]
    fn every_address_has_its_turn_and_new_ones_do_not_wait() {
        let mut ways = Ways::default();
        let backends: BTreeSet<IpAddr> = (0..10).map(address).collect();
        ways.update_with(&backends, 4, |_| Some(1));
        assert_eq!(ways.devices.len(), 10, "all of them were new");
        for seen in [4, 8, 10] {
            ways.update_with(&backends, 4, |_| Some(2));
            assert_eq!(ways.devices.values().filter(|device| **device == Some(2)).count(), seen);
        }
        ways.update_with(&(0..4).map(address).collect(), 4, |_| None);
        assert_eq!(ways.devices.values().copied().collect::<Vec<_>>(), [None; 4], "the round begins anew");
    }

    #[test]
    fn what_comes_back_is_looked_up_again() {
        let mut ways = Ways::default();
        assert_eq!(ways.add_with(&[address(1)], |_| None), [None].into());
        let device = |asked_for| Some(if asked_for == address(1) { 7 } else { 8 });
        assert_eq!(ways.add_with(&[address(1), address(2)], device), [Some(7), Some(8)].into());
        assert_eq!(ways.devices.values().copied().collect::<Vec<_>>(), [Some(7), Some(8)]);
    }

    #[test]
    fn ways_are_told_with_the_reason() {
        let node = IpAddr::from([192, 0, 2, 1]);
        let links = [
            link(1, "lo", None, &[]),
            link(2, "eth0", None, &[node]),
            link(3, "flannel.1", Some("vxlan"), &[address(0)]),
            link(4, "cali1", Some("veth"), &[]),
        ];
        let mut ways = Ways::default();
        let device = |address: IpAddr| match address.to_string().rsplit('.').next() {
            Some("1" | "2") => Some(2),
            Some("3") => Some(3),
            Some("4") => Some(4),
            _ => None,
        };
        ways.update_with(&(1..=5).map(address).collect(), 9, device);
        ways.update_nodes(&[(node, 3), (address(9), 4)].into(), device);
        let uplinks = [2].into();
        let told: Vec<_> = ways.status(&links, &uplinks);
        let short: Vec<_> = told.iter().map(|way| (way.way, way.device.as_deref(), way.backends)).collect();
        let expected = [
            (WayKind::None, None, 1),
            (WayKind::Uplink, Some("eth0"), 2),
            (WayKind::Tunnel, Some("flannel.1"), 1),
            (WayKind::None, Some("cali1"), 1),
            (WayKind::None, None, 4),
            (WayKind::Dsr, Some("eth0"), 3),
        ];
        assert_eq!(short, expected);
        assert!(told[2].reason.contains("no external interface") && told[2].kind.as_deref() == Some("vxlan"));
        assert_eq!(
            told.iter().filter_map(remark).map(|note| note.code).collect::<Vec<_>>(),
            ["backends-unreachable"; 3]
        );
        let names: Vec<_> = ways.tunnels(&links, &uplinks).into_iter().map(|link| link.name).collect();
        assert_eq!(names, ["flannel.1", "cali1"]);
    }
}
