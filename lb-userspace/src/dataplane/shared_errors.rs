//! ICMP errors about flows that another node may know: a router sends an error to whichever node its hash names, and only
//! the node that gave a flow its lease knows whom the error is for (RFC 7690 tells of the same with anycast). The kernel
//! gives such errors to the agent, a few a second, and they go to all other nodes in tunnels, marked so that none sends them
//! on: the one that knows the flow delivers, the others drop.

use std::io;
use std::net::{IpAddr, SocketAddr};

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

/// Sends ICMP errors to the other nodes of the cluster.
pub struct SharedErrors {
    nodes4: HashMap<MapData, Addr4, u32>,
    nodes6: HashMap<MapData, Addr6, u32>,
    settings: Array<MapData, u64>,
    /// `None` where the machine has not the family, or the agent not the right to such sockets.
    socket4: Option<Socket>,
    socket6: Option<Socket>,
}

impl SharedErrors {
    pub(super) fn open(maps: &Maps) -> Result<Self, DataplaneError> {
        Ok(Self {
            nodes4: maps.hash(map::NODES4)?,
            nodes6: maps.hash(map::NODES6)?,
            settings: maps.array(map::SETTINGS)?,
            socket4: raw_socket(Domain::IPV4),
            socket6: raw_socket(Domain::IPV6),
        })
    }

    /// Sends the error in a frame to every other node of its family; gives how many.
    pub fn send(&self, frame: &[u8]) -> io::Result<usize> {
        let frame = Bytes(frame.to_vec());
        let Ok(header) = Ethernet::parse(&frame) else { return Ok(0) };
        let inner = &frame.0[header.network..];
        match inner.first().map(|first| first >> 4) {
            Some(4) => self.to_peers::<V4>(inner, &self.nodes4, self.socket4.as_ref(), ip),
            Some(6) => self.to_peers::<V6>(inner, &self.nodes6, self.socket6.as_ref(), ip6),
            _ => Ok(0),
        }
    }

    fn to_peers<F: Tunnel>(
        &self,
        inner: &[u8],
        nodes: &HashMap<MapData, F::Addr, u32>,
        socket: Option<&Socket>,
        ip: impl Fn(F::Addr) -> IpAddr,
    ) -> io::Result<usize>
    where
        F::Addr: Pod,
    {
        let own = F::own(|index| self.settings.get(&index, 0).unwrap_or(0));
        let (Some(own), Some(socket)) = (own, socket) else { return Ok(0) };
        let mut sent = 0;
        for peer in peers(nodes) {
            let peer = peer.map_err(map_io)?;
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

    use super::*;

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
