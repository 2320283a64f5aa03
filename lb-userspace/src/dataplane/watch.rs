//! Tells when interfaces or addresses of the node change.
#![expect(unsafe_code, reason = "tokio takes a descriptor only on the promise that it stays the same")]

use std::io;
use std::time::Duration;

use rtnetlink::MulticastGroup;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout_at};

use super::netlink::NetlinkError;

/// Changes come in bursts (link up, its addresses, ...): what follows this soon belongs to the first.
const BURST: Duration = Duration::from_millis(50);

/// Messages of the kernel's routing netlink about changes of some kinds, in the network namespace it was made in.
pub(super) struct Subscription {
    socket: AsyncFd<Socket>,
}

/// A subscription to changes of interfaces and addresses.
pub struct AddressWatch {
    changes: Subscription,
    /// Until when what comes belongs to a change that has not been told yet.
    burst: Option<Instant>,
}

impl AddressWatch {
    /// Subscribes. Needs a tokio runtime.
    pub fn subscribe() -> Result<Self, NetlinkError> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        Ok(Self { changes: Subscription::to(&groups, "watch addresses")?, burst: None })
    }

    /// Waits until something has changed. If the wait is cancelled, the next one tells what this one has seen.
    pub async fn changed(&mut self) -> Result<(), NetlinkError> {
        let failed = |source| NetlinkError { operation: "watch addresses", source };
        loop {
            let Some(end) = self.burst else {
                self.changes.some().await.map_err(failed)?;
                self.burst = Some(Instant::now() + BURST);
                continue;
            };
            let Ok(more) = timeout_at(end, self.changes.some()).await else {
                self.burst = None;
                return Ok(());
            };
            more.map_err(failed)?;
        }
    }
}

impl Subscription {
    /// Subscribes to groups of messages. Needs a tokio runtime.
    pub(super) fn to(groups: &[MulticastGroup], operation: &'static str) -> Result<Self, NetlinkError> {
        let failed = |source| NetlinkError { operation, source };
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed)?;
        let groups = groups.iter().fold(0, |bits, group| bits | 1 << (*group as u32 - 1));
        socket.bind(&SocketAddr::new(0, groups)).map_err(failed)?;
        socket.set_non_blocking(true).map_err(failed)?;
        // SAFETY: a `Socket` owns one descriptor from its making to its end and always gives that one.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        Ok(Self { socket: socket.map_err(|error| failed(error.into()))? })
    }

    /// Waits for one message and takes all that have arrived. What they say does not matter; a queue that overflowed
    /// (`ENOBUFS`) says that something changed, too.
    pub(super) async fn some(&self) -> io::Result<()> {
        let mut ready = self.socket.readable().await?;
        loop {
            let mut buffer = Vec::with_capacity(8_192);
            let received = ready.try_io(|socket| socket.get_ref().recv(&mut buffer, 0));
            match received {
                Err(_would_block) => return Ok(()),
                Ok(Err(error)) if error.raw_os_error() != Some(libc::ENOBUFS) => return Err(error),
                Ok(_) => {}
            }
        }
    }
}
