//! Sockets whose backend is gone. A connected socket cannot be led elsewhere: what it sends would go nowhere, and nothing
//! would tell its process. So the kernel is asked to close it, in whichever network namespace it is.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::MapData;
use lb_common::abi::socket::{SocketKey, SocketPeer, peer_flag};
use lb_common::abi::{BackendEntry, BackendEntry4, BackendEntry6, map, protocol};
use lb_common::addr::{Addr4, Addr6, Address};

use super::error::DataplaneError;
use super::mapped::{Access, MappedArray};
use super::maps::{Maps, walk};
use super::sock_diag::{Found, SockDiag};
use super::{namespaces, sys};
use crate::model::Protocol;

/// A backend, as the desired state knows it.
pub type Endpoint = (SocketAddr, Protocol);

/// Finds and closes sockets whose backend is gone.
pub(crate) struct Orphans {
    peers4: MapData,
    peers6: MapData,
    backends4: MappedArray<BackendEntry4>,
    backends6: MappedArray<BackendEntry6>,
}

impl Orphans {
    pub(crate) fn open(maps: &Maps) -> Result<Self, DataplaneError> {
        Ok(Self {
            peers4: maps.data(map::SOCKET_PEERS4)?,
            peers6: maps.data(map::SOCKET_PEERS6)?,
            backends4: maps.mapped(map::BACKENDS4, Access::Read)?,
            backends6: maps.mapped(map::BACKENDS6, Access::Read)?,
        })
    }

    /// Closes the connected sockets whose backend is gone from the maps; TCP only if `exists` does not know it either:
    /// a backend that is merely not ready goes on with the connections that it has. Gives how many were closed.
    pub(crate) fn close(&self, exists: impl Fn(&Endpoint) -> bool) -> Result<u64, DataplaneError> {
        let gone4 = gone(&self.peers4, &self.backends4, &exists).map_err(DataplaneError::map(map::SOCKET_PEERS4))?;
        let gone6 = gone(&self.peers6, &self.backends6, &exists).map_err(DataplaneError::map(map::SOCKET_PEERS6))?;
        let wanted: BTreeMap<u64, Vec<SocketAddr>> = by_cookie(&gone4).chain(by_cookie(&gone6)).fold(
            BTreeMap::new(),
            |mut all: BTreeMap<u64, Vec<SocketAddr>>, (cookie, place)| {
                all.entry(cookie).or_default().push(place);
                all
            },
        );
        if wanted.is_empty() {
            return Ok(0);
        }
        let closed = close_all(&wanted);
        // Those that were not found were closed by their processes.
        forget(&self.peers4, &gone4).map_err(DataplaneError::map(map::SOCKET_PEERS4))?;
        forget(&self.peers6, &gone6).map_err(DataplaneError::map(map::SOCKET_PEERS6))?;
        Ok(closed)
    }
}

/// Whether the kernel can close sockets.
pub(crate) fn can_close() -> io::Result<bool> {
    SockDiag::connect()?.can_close()
}

/// A connected socket whose backend is gone: its key in the map, and the backend's place.
struct Gone<A: Address> {
    key: SocketKey<A>,
    place: SocketAddr,
}

fn gone<A: Place>(
    peers: &MapData,
    backends: &MappedArray<BackendEntry<A>>,
    exists: &impl Fn(&Endpoint) -> bool,
) -> io::Result<Vec<Gone<A>>> {
    let lives = |peer: &SocketPeer<A>| {
        let backend = backends.read(peer.backend);
        backend.is_some_and(|backend| backend.generation == peer.generation && backend.protocol != 0)
    };
    let mut found = Vec::new();
    walk::<SocketKey<A>, SocketPeer<A>>(peers, None, usize::MAX, |entries| {
        for (key, peer) in entries {
            if peer.flags & peer_flag::CONNECTED == 0 || peer.backend == 0 || lives(peer) {
                continue;
            }
            let place = SocketAddr::new(key.address.ip(), key.port.host());
            if key.protocol == u16::from(protocol::TCP) && exists(&(place, Protocol::Tcp)) {
                continue;
            }
            found.push(Gone { key: *key, place });
        }
        Ok(())
    })?;
    Ok(found)
}

fn by_cookie<A: Address>(gone: &[Gone<A>]) -> impl Iterator<Item = (u64, SocketAddr)> {
    gone.iter().map(|gone| {
        let [low, high] = gone.key.cookie;
        (u64::from(low) | u64::from(high) << 32, gone.place)
    })
}

fn close_all(wanted: &BTreeMap<u64, Vec<SocketAddr>>) -> u64 {
    let closed = AtomicU64::new(0);
    let is_wanted = |found: &Found| wanted.get(&found.cookie()).is_some_and(|places| places.contains(&found.peer()));
    namespaces::in_each(&namespaces::all(), || {
        let diag = SockDiag::connect()?;
        for ip_protocol in [protocol::TCP, protocol::UDP] {
            let listed = diag.connected(ip_protocol).map(|found| found.into_iter().filter(is_wanted));
            closed.fetch_add(close_each(listed, |found| diag.close(found)), Ordering::Relaxed);
        }
        Ok(())
    });
    closed.into_inner()
}

/// Closes each of these, and gives how many were. One that cannot be closed, since its process was faster say, or a protocol
/// that cannot be listed, is no reason to leave the others.
fn close_each<T>(listed: io::Result<impl Iterator<Item = T>>, close: impl Fn(&T) -> io::Result<()>) -> u64 {
    let of_listed =
        |found: T| close(&found).inspect_err(|error| tracing::debug!(%error, "a socket is not closed")).is_ok();
    match listed {
        Ok(found) => found.filter_map(|found| of_listed(found).then_some(1)).sum(),
        Err(error) => {
            tracing::debug!(%error, "sockets cannot be listed");
            0
        }
    }
}

fn forget<A: Address>(peers: &MapData, gone: &[Gone<A>]) -> io::Result<()> {
    let keys: Vec<_> = gone.iter().map(|gone| gone.key).collect();
    sys::delete_batch(peers.fd().as_fd(), &keys).map(drop)
}

/// An address of the maps as one of the library.
trait Place: Address {
    fn ip(&self) -> IpAddr;
}

impl Place for Addr4 {
    fn ip(&self) -> IpAddr {
        Ipv4Addr::from(self.bytes()).into()
    }
}

impl Place for Addr6 {
    fn ip(&self) -> IpAddr {
        Ipv6Addr::from(self.bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn one_that_cannot_be_closed_does_not_save_the_others() {
        let seen = RefCell::new(Vec::new());
        let close = |number: &u32| {
            seen.borrow_mut().push(*number);
            if *number == 2 { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
        };
        assert_eq!(close_each(Ok([1, 2, 3].into_iter()), close), 2);
        assert_eq!(*seen.borrow(), [1, 2, 3]);
        assert_eq!(close_each(Err::<std::ops::Range<u32>, _>(io::ErrorKind::Other.into()), close), 0);
    }
}
