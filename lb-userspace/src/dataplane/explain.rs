//! What would become of a packet: the very pipeline of the programs, run over the live maps. Nothing is sent and nothing is
//! written; routing, and what else only a kernel program sees, is asked of the kernel.

mod ask;
mod family;
mod live;
mod packet;
mod seen;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use aya::programs::ProgramInfo;
use lb_common::abi::{DeviceEntry, device_flag, map, program};
use lb_common::addr::{Family as _, V4, V6};
use lb_common::ethernet::Ethernet;
use lb_common::host::Bytes;
use lb_common::lookup::{Lookup as _, Route};
use lb_common::pipeline;
use lb_common::verdict::Verdict;

use super::config::Pins;
use super::error::{DataplaneError, map_io};
use super::maps::Maps;
use super::netlink::{Link, Netlink};
use super::{inspect, sys};

use family::LiveFamily;
use live::Live;
pub use packet::{Probe, ProbeError};
pub use seen::Seen;

/// What would become of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Name of the device that it comes in by.
    pub device: String,
    /// XDP runs there; else the companion does it all.
    pub xdp: bool,
    /// What was looked up, in order.
    pub seen: Vec<Seen>,
    /// What becomes of it.
    pub verdict: Verdict,
    /// The backend that it counts for.
    pub backend: Option<Target>,
    /// Where it goes next.
    pub next_hop: Option<NextHop>,
    /// From which node to which, if it goes on in a tunnel.
    pub tunnel: Option<(IpAddr, IpAddr)>,
    /// The frame as it goes on.
    pub bytes: Vec<u8>,
}

/// A backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its id.
    pub id: u32,
    /// Address and port.
    pub at: SocketAddr,
    /// It is on this node.
    pub local: bool,
}

/// The next hop of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// Index of the device.
    pub device: u32,
    /// Its name.
    pub name: String,
    /// Hardware address of the next hop; `None` while it is not resolved.
    pub mac: Option<[u8; 6]>,
}

/// The live maps of a pin path.
pub struct Explainer {
    pins: Pins,
    links: Vec<Link>,
    uplinks: Vec<(u32, DeviceEntry)>,
    /// Id of our XDP program.
    xdp: Option<u32>,
}

impl Explainer {
    /// Opens the pins and looks at the devices of the calling thread's network namespace.
    pub fn open(pin_path: &Path) -> Result<Self, DataplaneError> {
        let pins = Pins::new(pin_path);
        inspect::require_pins(&pins, pin_path)?;
        let devices = Maps::new(pins.clone()).hash::<u32, DeviceEntry>(map::DEVICES)?;
        let entries = devices.iter().collect::<Result<Vec<_>, _>>();
        let entries = entries.map_err(|error| DataplaneError::map(map::DEVICES)(map_io(error)))?;
        let mut uplinks: Vec<_> = entries
            .into_iter()
            .filter(|(_, entry)| entry.flags & device_flag::UPLINK != 0 && entry.bond == 0)
            .collect();
        uplinks.sort_by_key(|(index, _)| *index);
        let xdp = ProgramInfo::from_pin(pins.program(program::XDP)).ok().map(|info| info.id());
        Ok(Self { pins, links: Netlink::connect()?.links()?, uplinks, xdp })
    }

    /// What would become of a client's packet. It comes in by `interface`, else by the one that leads back to the client if
    /// that is an external one, else by the first external one.
    pub fn probe(&self, probe: &Probe, interface: Option<&str>) -> Result<Explanation, DataplaneError> {
        let device = self.ingress(probe.from.ip(), interface)?;
        let entry = self.uplinks.iter().find(|(index, _)| *index == device).map(|(_, entry)| entry.mac);
        self.frame(device, &probe.frame(entry.unwrap_or_default()))
    }

    /// What would become of a frame that comes in by a device.
    pub fn frame(&self, device: u32, frame: &[u8]) -> Result<Explanation, DataplaneError> {
        match Ethernet::parse(&Bytes(frame.to_vec())) {
            Ok(parsed) if parsed.ether_type == V6::ETHER_TYPE => self.run::<V6>(device, frame),
            _ => self.run::<V4>(device, frame),
        }
    }

    fn run<F: LiveFamily>(&self, device: u32, frame: &[u8]) -> Result<Explanation, DataplaneError> {
        let live = Live::<F>::open(&self.pins, device, sys::monotonic_ns())?;
        let attached = self.link(device).and_then(|link| link.xdp).map(|xdp| xdp.program);
        let xdp = attached.is_some() && attached == self.xdp;
        live.resolves.set(!xdp);
        let mut packet = Bytes(frame.to_vec());
        let mut verdict = pipeline::ingress(&mut packet, &live);
        let unclaimed = xdp && verdict == Verdict::Pass && is_for_vip(&live, &packet);
        if unclaimed || matches!(verdict, Verdict::HandOver(_)) {
            live.saw(Seen::HandedOver);
            live.resolves.set(true);
            packet = Bytes(frame.to_vec());
            verdict = pipeline::ingress(&mut packet, &live);
        }
        let name = self.link(device).map_or_else(|| device.to_string(), |link| link.name.clone());
        let local = matches!(verdict, Verdict::Deliver).then(|| self.way_to_pod(&live, &packet)).flatten();
        let seen = live.finish()?;
        let backend = backend(&seen);
        let next_hop = match verdict {
            Verdict::Transmit(out) => Some(self.next_hop(out, &seen)),
            Verdict::Answer => Some(NextHop { device, name: name.clone(), mac: None }),
            Verdict::Deliver => local,
            _ => None,
        };
        let tunnel = matches!(verdict, Verdict::Transmit(_)).then(|| tunnel_of::<F>(&packet)).flatten();
        Ok(Explanation { device: name, xdp, seen, verdict, backend, next_hop, tunnel, bytes: packet.0 })
    }

    /// Where the kernel sends what was rewritten for a pod on this node.
    fn way_to_pod<F: LiveFamily>(&self, live: &Live<F>, packet: &Bytes) -> Option<NextHop> {
        let frame = Ethernet::parse(packet).ok()?;
        let ip = F::parse(packet, frame.network).ok()?;
        live.resolves.set(false);
        match live.way(ip.source, ip.destination, ip.protocol, ip.total_length) {
            Route::Direct { device, addresses, .. } => Some(self.hop(device, Some(addresses.destination()))),
            Route::Kernel { device } => Some(self.hop(device, None)),
            Route::None(_) | Route::TooBig { .. } => None,
        }
    }

    fn next_hop(&self, device: u32, seen: &[Seen]) -> NextHop {
        let mac = seen.iter().rev().find_map(|seen| match seen {
            Seen::Route { route: Route::Direct { addresses, .. }, .. } => Some(addresses.destination()),
            _ => None,
        });
        self.hop(device, mac)
    }

    fn hop(&self, device: u32, mac: Option<[u16; 3]>) -> NextHop {
        let name = self.link(device).map_or_else(|| device.to_string(), |link| link.name.clone());
        let bytes = |[a, b, c]: [u16; 3]| {
            let ([a, b], [c, d], [e, f]) = (a.to_ne_bytes(), b.to_ne_bytes(), c.to_ne_bytes());
            [a, b, c, d, e, f]
        };
        NextHop { device, name, mac: mac.map(bytes) }
    }

    /// Index of the device that a packet of the client comes in by.
    fn ingress(&self, client: IpAddr, interface: Option<&str>) -> Result<u32, DataplaneError> {
        if let Some(name) = interface {
            let link = self.links.iter().find(|link| link.name == name);
            let known = || self.links.iter().map(|link| link.name.clone()).collect();
            return link
                .map(|link| link.index)
                .ok_or_else(|| DataplaneError::UnknownInterface { name: name.to_owned(), known: known() });
        }
        let back = Netlink::connect()?.way_to(client)?;
        let is_uplink = |index: &u32| self.uplinks.iter().any(|(uplink, _)| uplink == index);
        let first = || self.uplinks.first().map(|(index, _)| *index);
        back.filter(is_uplink).or_else(first).ok_or(DataplaneError::NoInterface)
    }

    fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }
}

/// The backend that the packet counted for last, as it was looked up.
fn backend(seen: &[Seen]) -> Option<Target> {
    let counted = seen.iter().rev().find_map(|seen| match seen {
        Seen::Counted { backend, .. } => Some(*backend),
        _ => None,
    })?;
    seen.iter().rev().find_map(|seen| match seen {
        Seen::Backend { id, at, local, .. } if *id == counted => Some(Target { id: *id, at: *at, local: *local }),
        _ => None,
    })
}

/// The ends of the tunnel that the packet is in: what the pipeline sends otherwise is never of that protocol.
fn tunnel_of<F: LiveFamily>(packet: &Bytes) -> Option<(IpAddr, IpAddr)> {
    let frame = Ethernet::parse(packet).ok()?;
    let ip = F::parse(packet, frame.network).ok()?;
    (ip.protocol == F::TUNNEL).then(|| (F::ip(ip.source), F::ip(ip.destination)))
}

/// The packet is for a VIP: what XDP passes of these, for a port that nobody has, the companion answers.
fn is_for_vip<F: LiveFamily>(live: &Live<F>, packet: &Bytes) -> bool {
    let Ok(frame) = Ethernet::parse(packet) else { return false };
    let addresses = F::addresses(packet, frame.network).filter(|_| frame.ether_type == F::ETHER_TYPE);
    addresses.is_some_and(|(_, destination)| live.is_vip(destination))
}
