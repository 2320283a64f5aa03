//! ICMP errors about flows that another node may know: a router sends an error to whichever node its hash names, and only
//! the node that gave a flow its lease knows whom the error is for (RFC 7690 tells of the same with anycast). The kernel
//! gives such errors to the agent, a few a second, and they go to all other nodes in tunnels, marked so that none sends them
//! on: the one that knows the flow delivers, the others drop.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use aya::Pod;
use aya::maps::{Array, HashMap, MapData, MapError};
use lb_common::abi::{map, node_flag};
use lb_common::addr::{Addr4, Addr6, V4, V6};
use lb_common::dsr::{Mark, Tunnel};
use lb_common::ethernet::Ethernet;
use lb_common::host::Bytes;
use socket2::{Domain, Protocol, Socket, Type};

use super::entry::{ip, ip6};
use super::error::{DataplaneError, map_io};
use super::maps::Maps;
use crate::clock;

/// Packets a second that one node sends so at most, to all others together: anybody can cause them.
const RATE: u32 = 1_000;
/// Bytes of an ICMP error at most: a router quotes no more (RFC 1812 section 4.3.2.3, RFC 4443 section 2.4).
const LONGEST4: usize = 576;
const LONGEST6: usize = 1_280;

/// Sends ICMP errors to the other nodes of the cluster.
pub struct SharedErrors {
    nodes4: HashMap<MapData, Addr4, u32>,
    nodes6: HashMap<MapData, Addr6, u32>,
    settings: Array<MapData, u64>,
    /// `None` where the machine has not the family, or the agent not the right to such sockets.
    socket4: Option<Socket>,
    socket6: Option<Socket>,
    allowance: Allowance,
}

/// What may still be sent within a second.
struct Allowance {
    left: Cell<u32>,
    since: Cell<Instant>,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { left: Cell::new(RATE), since: Cell::new(now) }
    }

    /// True if so many packets may be sent now: all of them or none. More than there are in a second take all of it.
    fn take(&self, packets: usize, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.since.get()).as_secs_f64() * f64::from(RATE);
        if earned >= 1.0 {
            self.left.set(self.left.get().saturating_add(earned as u32).min(RATE));
            self.since.set(now);
        }
        let rest = self.left.get().checked_sub(u32::try_from(packets).map_or(RATE, |packets| packets.min(RATE)));
        rest.inspect(|rest| self.left.set(*rest)).is_some()
    }
}

impl SharedErrors {
    pub(super) fn open(maps: &Maps) -> Result<Self, DataplaneError> {
        Ok(Self {
            nodes4: maps.hash(map::NODES4)?,
            nodes6: maps.hash(map::NODES6)?,
            settings: maps.array(map::SETTINGS)?,
            socket4: raw_socket(Domain::IPV4),
            socket6: raw_socket(Domain::IPV6),
            allowance: Allowance::new(clock::now()),
        })
    }

    /// Sends the error in a frame to every other node of its family; gives how many.
    pub fn send(&self, frame: &[u8]) -> io::Result<usize> {
        let frame = Bytes(frame.to_vec());
        let Ok(header) = Ethernet::parse(&frame) else { return Ok(0) };
        let inner = &frame.0[header.network..];
        match inner.first().map(|first| first >> 4) {
            Some(4) if inner.len() <= LONGEST4 => self.to_peers::<V4>(inner, &self.nodes4, self.socket4.as_ref(), ip),
            Some(6) if inner.len() <= LONGEST6 => self.to_peers::<V6>(inner, &self.nodes6, self.socket6.as_ref(), ip6),
            _ => Ok(0),
        }
    }

    fn to_peers<F: Tunnel>(
        &self,
        inner: &[u8],
        nodes: &HashMap<MapData, F::Addr, u32>,
        socket: Option<&Socket>,
        ip: impl Fn(F::Addr) -> IpAddr,
    ) -> io::Result<usize> {
        let own = F::own(|index| self.settings.get(&index, 0).unwrap_or(0));
        let (Some(own), Some(socket)) = (own, socket) else { return Ok(0) };
        let peers = peers(nodes).collect::<Result<Vec<_>, _>>().map_err(map_io)?;
        if !self.allowance.take(peers.len(), clock::now()) {
            tracing::debug!("more ICMP errors than are passed on to other nodes");
            return Ok(0);
        }
        let mut sent = 0;
        for peer in peers {
            let Some(packet) = in_tunnel::<F>(inner, own, peer) else { return Ok(sent) };
            // whom it does not reach now the next error may: routers repeat them
            match socket.send_to(&packet, &SocketAddr::from((ip(peer), 0)).into()) {
                Ok(_) => sent += 1,
                Err(error) => tracing::debug!(%error, peer = %ip(peer), "an ICMP error was not passed on"),
            }
        }
        Ok(sent)
    }
}

/// The addresses of other nodes.
fn peers<A: Pod>(nodes: &HashMap<MapData, A, u32>) -> impl Iterator<Item = Result<A, MapError>> {
    let other =
        |found: &Result<(A, u32), MapError>| found.as_ref().map_or(true, |(_, flags)| flags & node_flag::PEER != 0);
    nodes.iter().filter(other).map(|found| found.map(|(address, _)| address))
}

/// The packet behind an outer header that says that it must not be sent on. Its time to live stays: nobody routes it.
fn in_tunnel<F: Tunnel>(inner: &[u8], own: F::Addr, peer: F::Addr) -> Option<Vec<u8>> {
    let class = F::class(&Bytes(inner.to_vec()), 0)?;
    let mut packet = Bytes(vec![0; F::HEADER]);
    F::put_outer(&mut packet, 0, (own, peer), inner.len(), Mark { again: true, class }, 0)?;
    packet.0.extend_from_slice(inner);
    Some(packet.0)
}

/// A socket that takes whole IP packets.
fn raw_socket(domain: Domain) -> Option<Socket> {
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)));
    let socket = socket.and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
    socket
        .inspect_err(|error| tracing::warn!(%error, "ICMP errors about flows of other nodes will not reach them"))
        .ok()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_more_is_sent_than_the_rate_allows() {
        let start = clock::now();
        let allowance = Allowance::new(start);
        let sent = |at: Instant| (0..10_000).filter(|_| allowance.take(49, at)).count();
        assert_eq!(sent(start), 20);
        assert_eq!(sent(start + Duration::from_millis(500)), 10);
        assert_eq!(sent(start + Duration::from_secs(60)), 20);
        assert!(!allowance.take(1_001, start + Duration::from_secs(60)), "none of them rather than some");
        assert!(allowance.take(1_001, start + Duration::from_secs(62)));
    }

    #[test]
    fn an_error_goes_into_a_tunnel_that_ends_there() {
        let (own, peer) = (Addr4::from_bytes([10, 0, 0, 1]), Addr4::from_bytes([10, 0, 0, 2]));
        let inner = [0x45, 0xc0, 0, 24, 0, 0, 0, 0, 64, 1, 0, 0, 203, 0, 113, 1, 10, 100, 100, 100, 3, 4, 0, 0];
        let packet = in_tunnel::<V4>(&inner, own, peer).unwrap();
        let outer = Bytes(packet[..20].to_vec());
        assert_eq!(V4::mark(&outer, 0), Some(Mark { again: true, class: 0xc0 }));
        assert_eq!(
            (&packet[2..4], &packet[9..10], &packet[12..20]),
            (&[0, 44][..], &[4][..], &[10, 0, 0, 1, 10, 0, 0, 2][..])
        );
        assert_eq!(packet[20..], inner);
        let (own, peer) = (Ipv6Addr::LOCALHOST.octets(), Ipv6Addr::UNSPECIFIED.octets());
        let packet = in_tunnel::<V6>(&[0x60; 48], Addr6::from_bytes(own), Addr6::from_bytes(peer)).unwrap();
        assert_eq!((packet[3] & 1, packet[6], packet.len()), (1, 41, 88));
    }
}
