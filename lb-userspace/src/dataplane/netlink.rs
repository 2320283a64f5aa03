//! Questions and orders to the kernel's routing netlink, one after the other on a blocking socket of the calling
//! thread's network namespace.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

pub(crate) use super::link::{AttachedXdp, Link};

/// A request that the kernel refused or that did not reach it.
#[derive(Debug, thiserror::Error)]
#[error("netlink: cannot {operation}")]
pub struct NetlinkError {
    /// What was tried.
    pub operation: &'static str,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// A connection to the kernel.
pub(crate) struct Netlink {
    socket: Socket,
}

impl Netlink {
    pub(crate) fn connect() -> Result<Self, NetlinkError> {
        let failed = |source| NetlinkError { operation: "connect", source };
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed)?;
        socket.bind_auto().map_err(failed)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed)?;
        Ok(Self { socket })
    }

    /// All interfaces with their addresses.
    pub(crate) fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        let links = self.dump("list interfaces", RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        let mut links: Vec<Link> = links.iter().filter_map(Link::from_message).collect();
        let messages = self.dump("list addresses", RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        let mut addresses: Vec<_> = messages.iter().filter_map(address).collect();
        addresses.sort_by_key(|(_, _, standing)| *standing);
        for (index, address, _) in addresses.into_iter().filter(|(_, _, standing)| *standing != Standing::NotYet) {
            if let Some(link) = links.iter_mut().find(|link| link.index == index) {
                link.addresses.push(address);
            }
        }
        Ok(links)
    }

    /// Indices of the interfaces that a default route of the main table leads to.
    pub(crate) fn default_route_interfaces(&self) -> Result<BTreeSet<u32>, NetlinkError> {
        let messages = self.dump("list routes", RouteNetlinkMessage::GetRoute(RouteMessage::default()))?;
        Ok(messages.iter().flat_map(default_route).collect())
    }

    /// Index of the device by which the node reaches an address; `None` if it does not.
    pub(crate) fn way_to(&self, address: IpAddr) -> Result<Option<u32>, NetlinkError> {
        let operation = "ask for the route to an address";
        let mut message = RouteMessage::default();
        let (family, bits, destination) = match address {
            IpAddr::V4(ip) => (AddressFamily::Inet, 32, RouteAddress::Inet(ip)),
            IpAddr::V6(ip) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(ip)),
        };
        message.header.address_family = family;
        message.header.destination_prefix_length = bits;
        message.attributes.push(RouteAttribute::Destination(destination));
        let unreachable = |error: &io::Error| {
            matches!(error.raw_os_error(), Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL))
        };
        match self.exchange(RouteNetlinkMessage::GetRoute(message), NLM_F_ACK) {
            Ok(answers) => Ok(answers.iter().find_map(output_device)),
            Err(error) if unreachable(&error) => Ok(None),
            Err(source) => Err(NetlinkError { operation, source }),
        }
    }

    /// Indices of the interfaces that a route leads to which a router has advertised (RFC 4861).
    pub(crate) fn advertised_route_interfaces(&self) -> Result<BTreeSet<u32>, NetlinkError> {
        let messages = self.dump("list routes", RouteNetlinkMessage::GetRoute(RouteMessage::default()))?;
        let is_advertised = |message: &&RouteNetlinkMessage| match message {
            RouteNetlinkMessage::NewRoute(route) => route.header.protocol == RouteProtocol::Ra,
            _ => false,
        };
        Ok(messages.iter().filter(is_advertised).flat_map(route_interfaces).collect())
    }

    /// An order that is answered by an acknowledgement.
    pub(crate) fn order(
        &self,
        operation: &'static str,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        self.exchange(message, NLM_F_ACK | flags).map(drop).map_err(|source| NetlinkError { operation, source })
    }

    /// A question that is answered by a list.
    pub(crate) fn dump(
        &self,
        operation: &'static str,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        self.exchange(message, NLM_F_DUMP).map_err(|source| NetlinkError { operation, source })
    }

    fn exchange(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        request.header.sequence_number = 1;
        request.finalize();
        let mut buffer = vec![0; request.buffer_len()];
        request.serialize(&mut buffer);
        self.socket.send(&buffer, 0)?;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            if read_datagram(&datagram, &mut answers)? {
                return Ok(answers);
            }
        }
    }
}

/// Takes the messages out of a datagram; true if it held the last one. What this build of the packet library does not
/// understand (a new attribute of some exotic device) is passed over.
fn read_datagram(datagram: &[u8], answers: &mut Vec<RouteNetlinkMessage>) -> io::Result<bool> {
    let mut rest = datagram;
    while let Some(length) = rest.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes) as usize) {
        let Some(bytes) = rest.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
        match NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes).map(|message| message.payload) {
            Ok(NetlinkPayload::InnerMessage(message)) => answers.push(message),
            Ok(NetlinkPayload::Done(_)) => return Ok(true),
            Ok(NetlinkPayload::Error(error)) if error.code.is_none() => return Ok(true),
            Ok(NetlinkPayload::Error(error)) => return Err(error.to_io()),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "netlink message passed over"),
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Ok(false)
}

/// How far an address can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// It stays.
    Lasting,
    /// It is on its way out, or one for the privacy of clients that changes every day (RFC 8981): no source for others'
    /// flows while there is a better one.
    Passing,
    /// Nobody knows yet that no other machine has it, or one has (RFC 4862, section 5.4).
    NotYet,
}

impl Standing {
    /// One bit means "temporary" for IPv6 and "secondary" for IPv4, where it says nothing.
    fn of(flags: AddressFlags, address: IpAddr) -> Self {
        if !address.is_ipv6() {
            return Self::Lasting;
        }
        let is_waiting = flags.contains(AddressFlags::Tentative) && !flags.contains(AddressFlags::Optimistic);
        if is_waiting || flags.contains(AddressFlags::Dadfailed) {
            Self::NotYet
        } else if flags.intersects(AddressFlags::Secondary | AddressFlags::Deprecated) {
            Self::Passing
        } else {
            Self::Lasting
        }
    }
}

/// The attribute holds all flags, the header the first eight, for kernels before 3.14.
fn flags(message: &AddressMessage) -> AddressFlags {
    let header = |flags: AddressHeaderFlags| AddressFlags::from_bits_retain(flags.bits().into());
    let all = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    all.unwrap_or(header(message.header.flags))
}

/// On point-to-point links `Address` is the other end and `Local` our own (include/uapi/linux/if_addr.h).
fn address(message: &RouteNetlinkMessage) -> Option<(u32, IpAddr, Standing)> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    });
    let address = address?;
    Some((message.header.index, address, Standing::of(flags(message), address)))
}

fn output_device(message: &RouteNetlinkMessage) -> Option<u32> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return None };
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}

fn default_route(route: &RouteNetlinkMessage) -> Vec<u32> {
    let RouteNetlinkMessage::NewRoute(message) = route else { return Vec::new() };
    let header = &message.header;
    let is_default = header.destination_prefix_length == 0
        && header.kind == RouteType::Unicast
        && header.table == RouteHeader::RT_TABLE_MAIN;
    if is_default { route_interfaces(route) } else { Vec::new() }
}

/// The interfaces that a route leads to.
fn route_interfaces(message: &RouteNetlinkMessage) -> Vec<u32> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return Vec::new() };
    let interfaces = message.attributes.iter().flat_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => vec![*index],
        RouteAttribute::MultiPath(hops) => hops.iter().map(|hop| hop.interface_index).collect(),
        _ => Vec::new(),
    });
    interfaces.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lasting_addresses_come_before_passing_ones() {
        let of = |flags, address: &str| Standing::of(flags, address.parse().unwrap());
        for (flags, expected) in [
            (AddressFlags::Permanent, Standing::Lasting),
            (AddressFlags::Managetempaddr, Standing::Lasting),
            (AddressFlags::Secondary, Standing::Passing),
            (AddressFlags::Deprecated | AddressFlags::Permanent, Standing::Passing),
            (AddressFlags::Tentative, Standing::NotYet),
            (AddressFlags::Tentative | AddressFlags::Optimistic, Standing::Lasting),
            (AddressFlags::Dadfailed | AddressFlags::Permanent, Standing::NotYet),
        ] {
            assert_eq!(of(flags, "2001:db8::1"), expected, "{flags:?}");
            assert_eq!(of(flags, "192.0.2.1"), Standing::Lasting, "{flags:?}");
        }
        assert!(Standing::Lasting < Standing::Passing);
    }
}
