//! The host that the data plane runs on: its external interfaces, and what is set on it beside programs and maps.

use std::path::Path;

use super::config::Config;
use super::error::DataplaneError;
use super::ipv6::{self, Ipv6};
use super::netlink::{Link, Netlink};
use super::placement;
use super::ports::PortSet;
use super::record::{Policy, Record};
use super::report::Note;
use super::route;
use super::sysctl::Sysctls;
use crate::tables::IpFamily;

/// The interfaces named, or those with a default route. What is a port of a bond, team or bridge stands for its master.
pub(crate) fn uplinks(netlink: &Netlink, names: &[String]) -> Result<Vec<Link>, DataplaneError> {
    let links = netlink.links()?;
    if names.is_empty() {
        let indices = netlink.default_route_interfaces()?;
        let found = heads(&links, |link| indices.contains(&link.index));
        return if found.is_empty() { Err(DataplaneError::NoInterface) } else { Ok(found) };
    }
    for name in names {
        if links.iter().all(|link| link.name != *name) {
            let known = links.iter().map(|link| link.name.clone()).collect();
            return Err(DataplaneError::UnknownInterface { name: name.clone(), known });
        }
    }
    Ok(heads(&links, |link| names.contains(&link.name)))
}

/// Like [`uplinks`], later: what is there of them, and what was attached to before and still exists.
pub(crate) fn present_uplinks(
    netlink: &Netlink,
    names: &[String],
    attached: &[u32],
) -> Result<Vec<Link>, DataplaneError> {
    let defaults = netlink.default_route_interfaces()?;
    let is_uplink = |link: &Link| match names {
        [] => defaults.contains(&link.index) || attached.contains(&link.index),
        names => names.contains(&link.name),
    };
    Ok(heads(&netlink.links()?, is_uplink))
}

fn heads(links: &[Link], wanted: impl Fn(&Link) -> bool) -> Vec<Link> {
    let mut found: Vec<Link> = Vec::new();
    for link in links.iter().filter(|link| wanted(link)).map(|link| placement::head(links, link)) {
        if found.iter().all(|other| other.index != link.index) {
            found.push(link.clone());
        }
    }
    found
}

/// What there is of IPv6 now.
pub(crate) fn ipv6(uplinks: &[Link]) -> Ipv6 {
    Ipv6::find(&Sysctls::default(), &names(uplinks))
}

fn names(uplinks: &[Link]) -> Vec<String> {
    uplinks.iter().map(|link| link.name.clone()).collect()
}

/// Sets sysctls, adds rule and route, and writes down what `unload` has to take back.
pub(crate) fn prepare(
    config: &Config,
    run_dir: &Path,
    netlink: &Netlink,
    uplinks: &[Link],
    notes: &mut Vec<Note>,
) -> Result<(), DataplaneError> {
    let names = names(uplinks);
    let (sysctls, policy) = (Sysctls::default(), Policy { fwmark: config.fwmark, table: config.table });
    let mut record = Record::read(run_dir)?;
    if let Some(old) = record.policy.filter(|&old| old != policy) {
        route::remove(netlink, old, IpFamily::V4)?;
        if Ipv6::find(&sysctls, &names) != Ipv6::Missing {
            route::remove(netlink, old, IpFamily::V6)?;
        }
    }
    record.policy = Some(policy);
    record.interfaces.extend(names.iter().cloned());
    record.write(run_dir)?;
    let ipv6 = Ipv6::find(&sysctls, &names);
    notes.extend(ipv6.note().filter(|note| !notes.contains(note)));
    let mut changes = sysctls.prepare(&names)?;
    let advertised = netlink.advertised_route_interfaces()?;
    changes.extend(ipv6::forward(&sysctls, &ipv6, &names, &netlink.links()?, &advertised, &mut record)?);
    notes.extend(changes.into_iter().map(|change| Note::info("sysctl-set", change)));
    reserve_ports(&sysctls, config, &mut record)?;
    record.write(run_dir)?;
    for interface in sysctls.strict_reverse_path(&names) {
        let message = format!(
            "rp_filter of {interface} is 1, and there are several external interfaces: replies that take another way are \
             lost; 2 would be right"
        );
        let note = Note::warning("rp-filter-strict", message);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    route::add(netlink, policy, IpFamily::V4, &names)?;
    let names: Vec<String> = names.into_iter().filter(|name| ipv6.is_on(name)).collect();
    if ipv6.is_on("lo") {
        route::add(netlink, policy, IpFamily::V6, &names)?;
    }
    Ok(())
}

/// Reserves the ports for SNAT; what an earlier agent added remains ours to take back.
fn reserve_ports(sysctls: &Sysctls, config: &Config, record: &mut Record) -> Result<(), DataplaneError> {
    let before = record.reserved_ports.parse().unwrap_or_else(|_| PortSet::new());
    let added = sysctls.reserve_ports(config.snat_ports)?;
    record.reserved_ports = before.union(&added).to_string();
    Ok(())
}
