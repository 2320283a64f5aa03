//! Listening TCP sockets of this network namespace, and who holds them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::FDTarget;

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// What it is bound to.
    pub address: SocketAddr,
    /// Its inode, by which its holder is found.
    pub inode: u64,
}

impl Listening {
    /// Whether a connection to `address` on this port arrives here. A socket on `[::]` is taken to listen on IPv4 too,
    /// as `net.ipv6.bindv6only` is 0 nearly everywhere.
    pub fn answers(&self, address: IpAddr) -> bool {
        let bound = self.address.ip().to_canonical();
        match (bound, address) {
            (IpAddr::V4(bound), IpAddr::V4(_)) if bound.is_unspecified() => true,
            (IpAddr::V6(bound), _) if bound.is_unspecified() => true,
            _ => bound == address,
        }
    }
}

/// All sockets that listen on a port, IPv4 and IPv6.
pub fn listening_on(port: u16) -> Result<Vec<Listening>, procfs::ProcError> {
    // A kernel without IPv6 has no tcp6.
    let v6 = procfs::net::tcp6().unwrap_or_default();
    let listens = |entry: &TcpNetEntry| entry.state == TcpState::Listen && entry.local_address.port() == port;
    let all = procfs::net::tcp()?.into_iter().chain(v6).filter(listens);
    Ok(all.map(|entry| Listening { address: entry.local_address, inode: entry.inode }).collect())
}

/// Who holds one of these sockets, such as `process 812 (nginx)`; `None` if it cannot be seen.
pub fn holder(sockets: &[Listening]) -> Option<String> {
    let inodes: BTreeSet<u64> = sockets.iter().map(|socket| socket.inode).collect();
    let holds = |process: &procfs::process::Process| {
        let socket = |target: FDTarget| matches!(target, FDTarget::Socket(inode) if inodes.contains(&inode));
        process.fd().is_ok_and(|fds| fds.flatten().any(|fd| socket(fd.target)))
    };
    let process = procfs::process::all_processes().ok()?.flatten().find(holds)?;
    let name = process.stat().map(|stat| stat.comm).unwrap_or_default();
    Some(format!("process {} ({name})", process.pid()))
}

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user of the process on this machine that made its socket, as the kernel noted when it did.
    pub user: u32,
    /// The inode of its socket.
    pub inode: u64,
}

/// Who asks; `None` if it is no process on this machine. `from` is its own end, `to` the other one.
pub fn owner_of(from: SocketAddr, to: SocketAddr) -> Option<Owner> {
    let same = |one: SocketAddr, other: SocketAddr| {
        (one.ip().to_canonical(), one.port()) == (other.ip().to_canonical(), other.port())
    };
    let is_it = |entry: &TcpNetEntry| same(entry.local_address, from) && same(entry.remote_address, to);
    // A kernel without IPv6 has no tcp6.
    let v4 = procfs::net::tcp().unwrap_or_default();
    let found = v4.into_iter().chain(procfs::net::tcp6().unwrap_or_default()).find(is_it)?;
    // What no process holds any more has no user, and shows 0 (get_tcp4_sock() and get_timewait4_sock(), net/ipv4/tcp_ipv4.c).
    (found.inode != 0).then_some(Owner { user: found.uid, inode: found.inode })
}

/// The inode of a socket; `None`: it has none.
pub fn inode_of(socket: impl AsFd) -> Option<u64> {
    rustix::fs::fstat(socket).ok().map(|stat| stat.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(address: &str) -> Listening {
        Listening { address: address.parse().unwrap(), inode: 0 }
    }

    #[test]
    fn a_wildcard_answers_every_address_of_its_family() {
        let table = [
            ("0.0.0.0:80", "192.0.2.1", true),
            ("0.0.0.0:80", "2001:db8::1", false),
            ("[::]:80", "192.0.2.1", true),
            ("[::]:80", "2001:db8::1", true),
            ("192.0.2.1:80", "192.0.2.1", true),
            ("192.0.2.1:80", "192.0.2.2", false),
            ("[::ffff:192.0.2.1]:80", "192.0.2.1", true),
            ("127.0.0.1:80", "192.0.2.1", false),
        ];
        for (bound, address, expected) in table {
            assert_eq!(listening(bound).answers(address.parse().unwrap()), expected, "{bound} {address}");
        }
    }

    #[test]
    fn the_user_of_a_connection_is_that_of_who_made_it() {
        for own in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(own) else { continue };
            let to = listener.local_addr().unwrap();
            let client = std::net::TcpStream::connect(to).unwrap();
            let from = client.local_addr().unwrap();
            let (user, inode) = (rustix::process::geteuid().as_raw(), inode_of(&client).unwrap());
            assert_eq!(owner_of(from, to), Some(Owner { user, inode }), "{own}");
            assert_eq!(owner_of(from, SocketAddr::new(to.ip(), 1)), None, "{own}");
            drop(client);
            assert_eq!(owner_of(from, to), None, "{own}: it is closed");
        }
    }

    /// Whoever was handed a listener can make a connection of it, which then belongs to who made the listener.
    #[test]
    fn a_listener_that_becomes_a_connection_stays_the_same_socket() {
        let lent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (inode, other) = (inode_of(&lent).unwrap(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let (socket, to) = (socket2::Socket::from(lent), other.local_addr().unwrap());
        socket.shutdown(std::net::Shutdown::Both).unwrap();
        socket.connect(&to.into()).unwrap();
        let from = socket.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(owner_of(from, to).unwrap().inode, inode);
    }

    #[test]
    fn our_own_listener_is_found_with_its_holder() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sockets = listening_on(address.port()).unwrap();
        assert!(sockets.iter().any(|socket| socket.address == address), "{sockets:?}");
        let holder = holder(&sockets).unwrap();
        assert!(holder.starts_with(&format!("process {} (", std::process::id())), "{holder}");
    }
}
