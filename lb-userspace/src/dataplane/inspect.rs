//! A read-only look at the pins, for the reading commands when no agent answers.

use std::io;
use std::path::Path;

use aya::programs::ProgramInfo;
use lb_common::abi::program;

use super::attach;
use super::bpf_store::BpfStore;
use super::config::Pins;
use super::error::DataplaneError;
use super::mapped::Access;
use super::maps::Maps;
use super::netlink::{AttachedXdp, Link, Netlink};
use super::report::{InterfaceMode, InterfaceStatus, ProgramStatus};
use super::socket_level::{self, SocketLevel};
use super::stats::{self, CounterReader, CounterSnapshot, MapStatus};
use super::store::MapStore;
use crate::tables::Tables;

/// What the pins tell.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Contents of the maps.
    pub tables: Tables,
    /// Counters.
    pub counters: CounterSnapshot,
    /// Fill of the maps.
    pub maps: Vec<MapStatus>,
    /// Interfaces with a program of ours.
    pub interfaces: Vec<InterfaceStatus>,
    /// Socket-level balancing.
    pub socket_level: SocketLevel,
}

/// Reads the maps and links of a pin path; changes nothing.
pub fn inspect(pin_path: &Path) -> Result<Inspection, DataplaneError> {
    let pins = Pins::new(pin_path);
    require_pins(&pins, pin_path)?;
    let maps = Maps::new(pins.clone());
    let mut store = BpfStore::open(&maps, Access::Read)?;
    Ok(Inspection {
        counters: CounterReader::open(&maps)?.read(&store)?,
        maps: stats::fill(&maps, &store)?,
        tables: store.load()?,
        interfaces: interfaces(&pins)?,
        socket_level: socket_level::inspect(&pins),
    })
}

/// Maps of this version are pinned there.
pub(super) fn require_pins(pins: &Pins, pin_path: &Path) -> Result<(), DataplaneError> {
    match pins.maps().metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(DataplaneError::NotPinned { path: pin_path.to_owned() })
        }
        found => found.map(drop).map_err(DataplaneError::file("read", pins.maps())),
    }
}

fn interfaces(pins: &Pins) -> Result<Vec<InterfaceStatus>, DataplaneError> {
    let links = Netlink::connect()?.links()?;
    Ok(links.into_iter().filter_map(|link| interface(pins, link)).collect())
}

/// An interface with a pinned link. Filters of clsact have none: where the kernel has no tcx links (before 6.6), interfaces
/// without XDP are not found.
fn interface(pins: &Pins, link: Link) -> Option<InterfaceStatus> {
    let pinned = |name| pins.link(name, &link.name).exists();
    let (xdp, tc) = (pinned(program::XDP), pinned(program::TC_INGRESS));
    let mode = match link.xdp.filter(|_| xdp) {
        Some(AttachedXdp { native: true, .. }) => InterfaceMode::Native,
        Some(AttachedXdp { native: false, .. }) => InterfaceMode::Generic,
        None if tc => InterfaceMode::Tc,
        None => InterfaceMode::None,
    };
    (xdp || tc).then(|| InterfaceStatus {
        mode,
        reason: None,
        tc: tc.then_some("tcx"),
        programs: programs(pins, mode),
        kind: link.kind,
        index: link.index,
        name: link.name,
        notes: Vec::new(),
    })
}

fn programs(pins: &Pins, mode: InterfaceMode) -> Vec<ProgramStatus> {
    let has_xdp = matches!(mode, InterfaceMode::Native | InterfaceMode::Generic);
    let names = [(program::XDP, has_xdp), (program::TC_INGRESS, true), (program::TC_EGRESS, true)];
    let info = |name| ProgramInfo::from_pin(pins.program(name)).ok().map(|info| attach::describe(name, &info));
    names.into_iter().filter(|(_, there)| *there).filter_map(|(name, _)| info(name)).collect()
}
