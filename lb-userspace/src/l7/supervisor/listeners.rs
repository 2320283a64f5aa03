//! The front's listening sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Socket, Type};

use crate::l7::control::{BACKLOG, MAX_LISTENERS};

/// The listeners of a front.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// Those of IPv4, then as many of IPv6; none of these where the kernel has no IPv6.
    pub(super) listeners: Vec<TcpListener>,
    /// The port of all.
    pub(super) port: u16,
    /// Why they answer only on addresses of this node, if so.
    pub(super) not_transparent: Option<String>,
}

/// How many ports are tried until one is free in both families.
const TRIES: u32 = 16;

/// Opens one listener per core and family, all on one loopback port of the kernel's choice: who is led to the front from
/// inside of the node finds it by that number in either family.
pub(super) fn open(cores: usize) -> io::Result<Opened> {
    let mut tried = 0;
    loop {
        let mut opened = Opened::default();
        opened.port = opened.add(Ipv4Addr::LOCALHOST.into(), 0, cores)?;
        let added = opened.add(Ipv6Addr::LOCALHOST.into(), opened.port, cores);
        tried += 1;
        match added.map_err(|error| (error.raw_os_error(), error)) {
            Ok(_) => return Ok(opened),
            // A kernel without IPv6, or with IPv6 switched off on its loopback interface: then nobody arrives by it.
            Err((Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL), _)) => return Ok(opened),
            Err((Some(libc::EADDRINUSE), _)) if tried < TRIES => {}
            Err((_, error)) => return Err(error),
        }
    }
}

/// Opens one socket for HTTP/3 per core and family at this port of all addresses: an answer over UDP leaves from the port that
/// its socket has, so it cannot be one of the kernel's choice.
pub(super) fn open_quic(cores: usize, port: u16) -> io::Result<Vec<UdpSocket>> {
    let mut sockets = Vec::new();
    for any in [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()] {
        for _ in 0..cores.clamp(1, MAX_LISTENERS) {
            match quic_socket(SocketAddr::new(any, port)) {
                Ok(socket) => sockets.push(socket),
                // As with the listeners: then nobody arrives by IPv6.
                Err(error) if any.is_ipv6() && error.raw_os_error() == Some(libc::EAFNOSUPPORT) => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(sockets)
}

fn quic_socket(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM.nonblocking(), None)?;
    socket.set_reuse_port(true)?;
    // For answers from VIPs that are on no interface; that it cannot be had is told of the listeners.
    let _ = match at {
        SocketAddr::V4(_) => socket.set_ip_transparent_v4(true),
        SocketAddr::V6(_) => socket.set_only_v6(true).and_then(|()| socket.set_ip_transparent_v6(true)),
    };
    socket.bind(&at.into())?;
    Ok(UdpSocket::from(socket))
}

impl Opened {
    /// Opens the listeners of one family; gives their port.
    fn add(&mut self, loopback: IpAddr, mut port: u16, cores: usize) -> io::Result<u16> {
        for _ in 0..cores.clamp(1, MAX_LISTENERS) {
            let listener = self.listener(SocketAddr::new(loopback, port))?;
            port = listener.local_addr()?.port();
            self.listeners.push(listener);
        }
        Ok(port)
    }

    fn listener(&mut self, at: SocketAddr) -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(at), Type::STREAM.nonblocking(), None)?;
        // The data plane picks the listener itself; the group is the safety net when one is gone.
        socket.set_reuse_port(true)?;
        // Without it the answer to a SYN for an address that is on no interface has no route.
        let transparent = match at {
            SocketAddr::V4(_) => socket.set_ip_transparent_v4(true),
            SocketAddr::V6(_) => socket.set_only_v6(true).and_then(|()| socket.set_ip_transparent_v6(true)),
        };
        if let Err(error) = transparent {
            self.not_transparent = Some(format!(
                "IP_TRANSPARENT could not be set on the front's listeners: {error}; it needs CAP_NET_ADMIN or CAP_NET_RAW"
            ));
        }
        socket.bind(&at.into())?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::from(socket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_share_one_loopback_port() {
        let opened = open(3).expect("listeners");
        let places: Vec<_> = opened.listeners.iter().map(|one| one.local_addr().expect("bound")).collect();
        assert_eq!(places[..3], [SocketAddr::from((Ipv4Addr::LOCALHOST, opened.port)); 3]);
        // None on a machine without IPv6.
        assert!(places.len() == 3 || places.len() == 6, "{places:?}");
        assert!(
            places[3..].iter().all(|place| *place == SocketAddr::from((Ipv6Addr::LOCALHOST, opened.port))),
            "{places:?}"
        );
        assert!(open(0).expect("listeners").listeners.len() <= 2);
    }
}
