//! The front's listening sockets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

use crate::l7::control::{BACKLOG, MAX_LISTENERS};

/// Listeners of one port.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) listeners: Vec<TcpListener>,
    pub(super) port: u16,
    /// Why they answer only on addresses of this node, if so.
    pub(super) not_transparent: Option<String>,
}

/// Opens one listener per core on a loopback port of the kernel's choice.
pub(super) fn open(cores: usize) -> io::Result<Opened> {
    let mut opened = Opened { listeners: Vec::new(), port: 0, not_transparent: None };
    for _ in 0..cores.clamp(1, MAX_LISTENERS) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
        // The data plane picks the listener itself; the group is the safety net when one is gone.
        socket.set_reuse_port(true)?;
        // Without it the answer to a SYN for an address that is on no interface has no route.
        if let Err(error) = socket.set_ip_transparent_v4(true) {
            opened.not_transparent = Some(format!(
                "IP_TRANSPARENT could not be set on the front's listeners: {error}; it needs CAP_NET_ADMIN or CAP_NET_RAW"
            ));
        }
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, opened.port)).into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        opened.port = listener.local_addr()?.port();
        opened.listeners.push(listener);
    }
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_share_one_loopback_port() {
        let opened = open(3).expect("listeners");
        assert_eq!(opened.listeners.len(), 3);
        for listener in &opened.listeners {
            assert_eq!(listener.local_addr().expect("bound"), SocketAddr::from((Ipv4Addr::LOCALHOST, opened.port)));
        }
        assert_eq!(open(0).expect("listeners").listeners.len(), 1);
    }
}
