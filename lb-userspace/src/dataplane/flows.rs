//! Every flow in the maps, read from the pins: with an agent or without one.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use aya::maps::MapData;
use lb_common::abi::{BackendEntry, FlowEntry, FlowKey, flow_flag};
use lb_common::addr::{V4, V6};
use lb_common::be::Be16;
use lb_common::conntrack::{FlowState, idle_ticks, ticks};

use super::config::Pins;
use super::error::{DataplaneError, map_io};
use super::family::MapFamily;
use super::mapped::Access;
use super::maps::{Maps, walk};
use super::{inspect, sys};

/// A flow, seen from its client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowRecord {
    /// IP protocol number.
    pub protocol: u8,
    /// Who began it.
    pub client: SocketAddr,
    /// Where it arrived.
    pub frontend: SocketAddr,
    /// Where it goes; `None` if that backend is gone.
    pub backend: Option<SocketAddr>,
    /// What the backend sees as its client, where that is not the client.
    pub snat: Option<SocketAddr>,
    /// How the backend is reached.
    pub mode: FlowMode,
    /// [`FlowState::label`].
    pub state: &'static str,
    /// Since the last packet of either direction, in seconds; the clock of the flows ticks every 1.07 s.
    pub idle_seconds: u64,
    /// Id of the service.
    pub service: u32,
}

/// How the backend of a flow is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlowMode {
    /// It is on this node.
    Local,
    /// It is on this node, and its service forwards by DSR: packets may have come in a tunnel from another node.
    Dsr,
    /// By source NAT, on another node.
    Snat,
}

/// Gives every flow to `take`: proven and half-open ones. A flow that moves from one table to the other meanwhile may come
/// twice or not at all.
pub fn flows(pin_path: &Path, mut take: impl FnMut(FlowRecord)) -> Result<(), DataplaneError> {
    let pins = Pins::new(pin_path);
    inspect::require_pins(&pins, pin_path)?;
    let maps = Maps::new(pins);
    flows_of::<V4>(&maps, &mut take)?;
    flows_of::<V6>(&maps, &mut take)
}

fn flows_of<F: MapFamily>(maps: &Maps, take: &mut impl FnMut(FlowRecord)) -> Result<(), DataplaneError> {
    let now = ticks(sys::monotonic_ns());
    let backends = maps.mapped::<BackendEntry<F::Addr>>(F::MAPS.backends, Access::Read)?;
    for name in [F::MAPS.flows, F::MAPS.half_flows] {
        let table = maps.data(name)?;
        let each = |key: &FlowKey<F::Addr>, flow: &FlowEntry<F::Addr>| {
            take(record::<F>(key, flow, backends.read(flow.backend), now));
        };
        walk_flows::<F>(&table, each).map_err(DataplaneError::map(name))?;
    }
    Ok(())
}

/// Walks over a table in batches that do not touch the order of its least recently used entries.
fn walk_flows<F: MapFamily>(
    table: &MapData,
    mut each: impl FnMut(&FlowKey<F::Addr>, &FlowEntry<F::Addr>),
) -> io::Result<()> {
    let info = table.info().map_err(map_io)?;
    let (found, expected) = (info.value_size() as usize, size_of::<FlowEntry<F::Addr>>());
    if found != expected {
        return Err(io::Error::other(format!("values of {found} bytes, expected {expected}")));
    }
    walk::<FlowKey<F::Addr>, FlowEntry<F::Addr>>(table, None, usize::MAX, |entries| {
        entries.iter().for_each(|(key, flow)| each(key, flow));
        Ok(())
    })
    .map(drop)
}

fn record<F: MapFamily>(
    key: &FlowKey<F::Addr>,
    flow: &FlowEntry<F::Addr>,
    backend: Option<BackendEntry<F::Addr>>,
    now: u32,
) -> FlowRecord {
    let at = |address: F::Addr, port: Be16| SocketAddr::new(F::ip(address), port.host());
    let backend = backend.filter(|backend| backend.generation == flow.generation && backend.protocol != 0);
    let translated = flow.flags & flow_flag::SNAT != 0;
    FlowRecord {
        protocol: key.protocol as u8,
        client: at(key.source, key.source_port),
        frontend: at(key.destination, key.destination_port),
        backend: backend.map(|backend| at(backend.address, backend.port)),
        snat: translated.then(|| at(flow.snat_address, flow.snat_port)),
        mode: mode(flow.flags),
        state: FlowState::from_number(flow.state).label(),
        idle_seconds: (u64::from(idle_ticks(now, flow.last_seen)) << 30) / 1_000_000_000,
        service: flow.service,
    }
}

/// On another node a backend is always reached by source NAT, where there is a flow: DSR keeps none there.
const fn mode(flags: u32) -> FlowMode {
    match (flags & flow_flag::LOCAL != 0, flags & flow_flag::DSR != 0) {
        (false, _) => FlowMode::Snat,
        (true, true) => FlowMode::Dsr,
        (true, false) => FlowMode::Local,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::be::Be32;

    const fn address(last: u8) -> Be32 {
        Be32::from_bytes([10, 0, 0, last])
    }

    fn example(flags: u32, generation: u32) -> FlowRecord {
        let key = FlowKey {
            source: address(1),
            destination: address(2),
            source_port: Be16::new(5_000),
            destination_port: Be16::new(80),
            protocol: 6,
        };
        let backend = BackendEntry {
            address: address(3),
            port: Be16::new(8_080),
            flags: 0,
            generation: 4,
            protocol: 6,
            fill: [],
        };
        let flow = FlowEntry {
            snat_address: address(9),
            snat_port: Be16::new(15_001),
            state: FlowState::PROVEN.number(),
            flags,
            backend: 1,
            generation,
            service: 7,
            last_seen: 100,
        };
        record::<V4>(&key, &flow, Some(backend), 128)
    }

    #[test]
    fn an_entry_becomes_addresses_and_words() {
        let far = example(flow_flag::SNAT, 4);
        let text = |at: Option<SocketAddr>| at.map(|at| at.to_string());
        assert_eq!((far.client.to_string(), far.frontend.to_string()), ("10.0.0.1:5000".into(), "10.0.0.2:80".into()));
        assert_eq!((text(far.backend), text(far.snat)), (Some("10.0.0.3:8080".into()), Some("10.0.0.9:15001".into())));
        assert_eq!((far.mode, far.state, far.idle_seconds, far.service), (FlowMode::Snat, "established", 30, 7));
        let near = example(flow_flag::LOCAL, 4);
        assert_eq!((near.mode, near.snat), (FlowMode::Local, None));
        assert_eq!(example(flow_flag::LOCAL | flow_flag::DSR, 4).mode, FlowMode::Dsr);
    }

    #[test]
    fn a_backend_of_another_generation_is_gone() {
        assert_eq!(example(flow_flag::SNAT, 3).backend, None);
    }
}
