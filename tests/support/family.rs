use std::net::IpAddr;

use crate::cluster::{CLIENT, CLIENT6};
use crate::node::Node;
use crate::pod::Pod;

/// An address family: what a test needs to do the same in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The one of two values that is meant for this family.
    pub fn of<T>(self, four: T, six: T) -> T {
        match self {
            Self::V4 => four,
            Self::V6 => six,
        }
    }

    /// The client's address.
    pub fn client(self) -> IpAddr {
        self.of(CLIENT.into(), CLIENT6.into())
    }

    /// A node's address on the switch.
    pub fn node(self, node: &Node) -> IpAddr {
        self.of(node.ip.into(), node.ip6.into())
    }

    /// A pod's address.
    pub fn pod(self, pod: &Pod) -> IpAddr {
        self.of(pod.ip.into(), pod.ip6.into())
    }

    /// What tcpdump and `iptables` call it, as the end of a word.
    pub fn ip(self) -> &'static str {
        self.of("ip", "ip6")
    }

    /// Makes `ip` speak of it.
    pub fn option(self) -> &'static str {
        self.of("-4", "-6")
    }

    /// Bytes of a header of IP without options or extensions.
    pub fn header(self) -> usize {
        self.of(20, 40)
    }
}
