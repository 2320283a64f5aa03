//! Asks kernel and drivers what [`placement`] wants to know of the external interfaces.

use std::collections::BTreeMap;
use std::path::Path;

use super::attach;
use super::config::{Config, Pins};
use super::driver::Drivers;
use super::error::DataplaneError;
use super::netlink::{Link, Netlink};
use super::placement::{self, Facts, Place};
use super::record::Record;
use super::report::Note;
use crate::model::problem::code;

/// Drivers that refused XDP: by interface index the MTU at that time, and why.
pub(crate) type Refusals = BTreeMap<u32, (u32, String)>;

/// Decides for each of the `uplinks` how its packets are taken.
pub(crate) fn places(
    netlink: &Netlink,
    pins: &Pins,
    config: &Config,
    uplinks: &[Link],
    refusals: &Refusals,
) -> Result<Vec<Place>, DataplaneError> {
    let (links, drivers) = (netlink.links()?, Drivers::connect());
    let place = |link: &Link| {
        let refused = refusals.get(&link.index).filter(|(mtu, _)| *mtu == link.mtu).map(|(_, why)| why.clone());
        let facts = Facts {
            foreign: attach::foreign_xdp(pins, link)?,
            features: drivers.xdp_features(link.index),
            strips_tags: drivers.strips_tags(&link.name),
            carries_vlans: placement::carries_vlans(&links, link.index),
            refused,
            link: link.clone(),
        };
        let way = placement::decide(&facts, config.xdp);
        Ok(Place { notes: replacements(&links, config, link), facts, way })
    };
    uplinks.iter().map(place).collect()
}

/// The tunnels that an earlier agent attached to.
pub(crate) fn earlier_tunnels(run_dir: &Path, links: &[Link]) -> Result<Vec<Link>, DataplaneError> {
    let record = Record::read(run_dir)?;
    Ok(links.iter().filter(|link| record.tunnels.contains(&link.name)).cloned().collect())
}

/// What drivers refused, not to try it again and again: attaching may cost a card a second of its link.
pub(crate) fn refusals(places: &[Place]) -> Refusals {
    let facts = places.iter().map(|place| &place.facts);
    facts.filter_map(|facts| Some((facts.link.index, (facts.link.mtu, facts.refused.clone()?)))).collect()
}

/// Says which names on the command line lead to an interface of another name.
fn replacements(links: &[Link], config: &Config, head: &Link) -> Vec<Note> {
    let named = links.iter().filter(|link| config.interfaces.contains(&link.name) && link.name != head.name);
    let ports = named.filter(|link| placement::head(links, link).index == head.index);
    let note = |port: &Link| {
        let message = format!("--interface {}: it is a port of {}, to which the programs go", port.name, head.name);
        Note::info(code::INTERFACE_REPLACED, message)
    };
    ports.map(note).collect()
}
