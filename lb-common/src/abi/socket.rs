//! Entries of the maps of socket-level balancing.

use crate::addr::{Addr4, Addr6, Address};
use crate::be::Be16;

/// What one socket talks to, or believes to talk to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketKey<A: Address> {
    /// The socket's cookie, which no other socket of this machine has had: low word, high word.
    pub cookie: [u32; 2],
    /// SOCKET_PEERS: address of the backend. SOCKET_CHOICES: address that the process named.
    pub address: A,
    /// Port of that.
    pub port: Be16,
    /// IP protocol number, host order.
    pub protocol: u16,
    /// Nothing; keeps the whole on words of the address's size.
    pub fill: A::Fill,
}

/// Whom the process means when its socket talks to a backend.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketPeer<A> {
    /// Address that the process named.
    pub address: A,
    /// Port of that.
    pub port: Be16,
    /// Bits of [`peer_flag`].
    pub flags: u16,
    /// Service id; 0 for the front.
    pub service: u32,
    /// Backend id; 0 for the front.
    pub backend: u32,
    /// Generation of the backend when it was chosen.
    pub generation: u32,
}

/// Bits of [`SocketPeer::flags`].
pub mod peer_flag {
    /// The socket is connected, so it cannot be moved to another backend.
    pub const CONNECTED: u16 = 1;
}

/// The backend that an unconnected socket's datagrams to one frontend go to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketChoice {
    /// Service id.
    pub service: u32,
    /// Backend id.
    pub backend: u32,
    /// Generation of the backend when it was chosen.
    pub generation: u32,
}

/// A byte for each of 64 ports: 1 if a socket of this machine was ever led to a backend with that UDP port. Bytes and not
/// bits, because several processors set them at once.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortLine {
    /// Port number modulo [`PORTS_PER_LINE`] is the index.
    pub seen: [u8; PORTS_PER_LINE as usize],
}

/// Ports in one [`PortLine`].
pub const PORTS_PER_LINE: u32 = 64;
/// How many lines SOCKET_PORTS has.
pub const PORT_LINES: u32 = 65_536 / PORTS_PER_LINE;

/// Indices into SOCKET_SETTINGS. Each word changes by one aligned store.
pub mod socket_setting {
    /// Cookie of the node's own network namespace; 0 if it is not known.
    pub const NAMESPACE: u32 = 0;
    /// 1 if NodePorts answer on the loopback addresses of the node's own namespace.
    pub const LOOPBACK: u32 = 1;
    /// Ports of the front's listeners: HTTP in bits 0–15, HTTPS in bits 16–31, and those before the last change in bits
    /// 32–47 and 48–63; host order, 0 if there is none.
    pub const FRONT_PORTS: u32 = 2;
    /// IPv4 address of the node under which pods reach the front, the raw word in network order; 0 if there is none.
    pub const FRONT_ADDRESS4: u32 = 3;
    /// First half of the IPv6 address, the raw words in network order; 0 if there is none. Two words cannot change at
    /// once: whoever changes the address writes 0 here, then the second half, then this.
    pub const FRONT_ADDRESS6: u32 = 4;
    /// Its second half.
    pub const FRONT_ADDRESS6_LOW: u32 = 5;
    /// How many words there are.
    pub const COUNT: u32 = 8;
}

/// IPv4 instance.
pub type SocketKey4 = SocketKey<Addr4>;
/// IPv6 instance.
pub type SocketKey6 = SocketKey<Addr6>;
/// IPv4 instance.
pub type SocketPeer4 = SocketPeer<Addr4>;
/// IPv6 instance.
pub type SocketPeer6 = SocketPeer<Addr6>;

/// Sizes without padding: the sum of the fields.
const _: () = {
    assert!(size_of::<SocketKey4>() == 8 + 4 + 4 && size_of::<SocketKey6>() == 8 + 16 + 4 + 4);
    assert!(size_of::<SocketPeer4>() == 4 + 16 && size_of::<SocketPeer6>() == 16 + 16);
    assert!(size_of::<SocketChoice>() == 12);
    assert!(size_of::<PortLine>() == 64);
};
