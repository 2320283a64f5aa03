//! The groups in which IPv6 addresses are asked for: a device passes on what is sent to a group only if somebody is in it, and so
//! does a switch that looks.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv6Addr, UdpSocket};

/// A group in the network of a device.
type Group = (u32, Ipv6Addr);

/// Memberships. A socket holds as many as fit into its options (net.core.optmem_max): then there is another one.
#[derive(Debug, Default)]
pub(super) struct Groups {
    sockets: Vec<UdpSocket>,
    /// By which of the sockets.
    joined: BTreeMap<Group, usize>,
}

impl Groups {
    /// Is in these groups from now on, and in no others. What fails is tried again with the next call.
    pub(super) fn join(&mut self, wanted: &BTreeSet<Group>) {
        let left: Vec<_> = self.joined.keys().filter(|group| !wanted.contains(group)).copied().collect();
        for group in left {
            if let Some(socket) = self.joined.remove(&group).and_then(|index| self.sockets.get(index)) {
                let _ = socket.leave_multicast_v6(&group.1, group.0); // the device may be gone, and its groups with it
            }
        }
        for group in wanted {
            if self.joined.contains_key(group) {
                continue;
            }
            match self.enter(group) {
                Ok(index) => drop(self.joined.insert(*group, index)),
                Err(error) => {
                    tracing::warn!(%error, group = %group.1, "questions for an IPv6 address may not be heard");
                }
            }
        }
    }

    fn enter(&mut self, (device, group): &Group) -> io::Result<usize> {
        if let Some(last) = self.sockets.last()
            && last.join_multicast_v6(group, *device).is_ok()
        {
            return Ok(self.sockets.len() - 1);
        }
        let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0))?;
        socket.join_multicast_v6(group, *device)?;
        self.sockets.push(socket);
        Ok(self.sockets.len() - 1)
    }
}
