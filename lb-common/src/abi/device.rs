//! Devices, next hops, and the nodes of the cluster.

use crate::addr::{Addr4, Addr6};
use crate::ethernet::Addresses;

/// A network device that carries an address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceEntry {
    /// Its IPv4 address, from which SNAT goes out; 0 if none.
    pub address4: Addr4,
    /// Bits of [`device_flag`].
    pub flags: u32,
    /// Its IPv6 address; zero if none.
    pub address6: Addr6,
    /// Its hardware address, three raw 16-bit words; zero if it has none.
    pub mac: [u16; 3],
    /// Zero.
    pub fill: [u16; 3],
    /// Index of the bond that it is a port of, else 0. The entry then says what that of the bond says: XDP runs on the ports.
    pub bond: u32,
}

/// Bits of [`DeviceEntry::flags`].
pub mod device_flag {
    /// XDP may send out of this device: our program is attached to it natively.
    pub const XDP_TRANSMIT: u32 = 1;
    /// An external interface: our programs see what comes in by it, so replies of SNATed flows find their way back.
    pub const UPLINK: u32 = 2;
    /// No external interface, but backends on other nodes are behind it, and our program turns their replies back.
    pub const TUNNEL: u32 = 4;
    /// Its packets begin with the IP header.
    pub const BARE: u32 = 8;
    /// VLAN devices stand on it: a tag names a network of its own.
    pub const VLANS: u32 = 16;
    /// What comes in by it came in by an external interface that it stands on or is the VRF of.
    pub const OUTSIDE: u32 = 32;
}

/// A next hop that the routing table gave, as long as it holds ([`crate::hop`]).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextHop<A> {
    /// When it ends, on the clock of [`crate::lookup::Lookup::clock`]; 0 if the place is free.
    pub expires: u64,
    /// Source address of the packets.
    pub source: A,
    /// Their destination.
    pub destination: A,
    /// The epoch in which it was asked for ([`super::setting::HOP_EPOCH`]).
    pub epoch: u32,
    /// The device that the packets come in by.
    pub ingress: u32,
    /// Their protocol: rules of routing may go by it.
    pub protocol: u32,
    /// Out of this device.
    pub device: u32,
    /// The largest IP packet that the way takes, in bytes.
    pub mtu: u32,
    /// Hardware addresses of the device and the next hop.
    pub addresses: Addresses,
}

/// What an address is among those of the cluster's nodes.
pub mod node_flag {
    /// Another node's.
    pub const PEER: u32 = 1;
    /// This node's own.
    pub const OWN: u32 = 2;
}

/// IPv4 instance.
pub type NextHop4 = NextHop<Addr4>;
/// IPv6 instance.
pub type NextHop6 = NextHop<Addr6>;

/// Sizes without padding: the sum of the fields.
const _: () = {
    assert!(size_of::<DeviceEntry>() == 40);
    assert!(size_of::<NextHop4>() == 8 + 8 + 32 && size_of::<NextHop6>() == 8 + 32 + 32);
};
