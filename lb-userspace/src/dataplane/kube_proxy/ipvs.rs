//! What kube-proxy's mode `ipvs` leaves: a device that holds the addresses of Services, and virtual services, by generic
//! netlink (include/uapi/linux/ip_vs.h).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;

use super::raw::{self, ACK, Attributes, Connection, DUMP};

/// The device.
const DEVICE: &str = "kube-ipvs0";
/// There while the kernel has IPVS: asking for the family of a module that is not loaded would load it.
const LOADED: &str = "/proc/thread-self/net/ip_vs";
/// Where kube-proxy puts node ports, which are at the node's own addresses.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

/// `NETLINK_ROUTE`, its messages, `struct ifinfomsg`, `struct ifaddrmsg` (include/uapi/linux/rtnetlink.h, if_addr.h).
const ROUTE: isize = 0;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const GET_ADDRESS: u16 = 22;
const LINK: [u8; 16] = [0; 16];
const ADDRESS: usize = 8;
/// `IFLA_IFNAME`, `IFA_ADDRESS`.
const LINK_NAME: u16 = 3;
const ADDRESS_VALUE: u16 = 1;

/// `NETLINK_GENERIC`; `GENL_ID_CTRL`, `CTRL_CMD_GETFAMILY`, `CTRL_ATTR_FAMILY_NAME`, `CTRL_ATTR_FAMILY_ID`.
const GENERIC: isize = 16;
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_NAME: u16 = 2;
const FAMILY_ID: u16 = 1;
/// `struct genlmsghdr`.
const GENERAL: usize = 4;
/// `IPVS_CMD_DEL_SERVICE`, `IPVS_CMD_GET_SERVICE`, `IPVS_CMD_ATTR_SERVICE`, and attributes of a service.
const DELETE_SERVICE: u8 = 3;
const GET_SERVICE: u8 = 4;
const SERVICE: u16 = 1;
const SERVICE_FAMILY: u16 = 1;
const SERVICE_PROTOCOL: u16 = 2;
const SERVICE_ADDRESS: u16 = 3;
const SERVICE_PORT: u16 = 4;
/// `AF_INET`, `AF_INET6`.
const INET: u16 = 2;
const INET6: u16 = 10;

/// A virtual service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Virtual {
    address: IpAddr,
    protocol: u16,
    port: u16,
}

/// The device is there; only kube-proxy makes one of that name.
pub(super) fn is_left() -> bool {
    Connection::open(ROUTE).and_then(|connection| device(&connection)).is_ok_and(|index| index.is_some())
}

/// Removes kube-proxy's virtual services and the device; tells how many services there were. Those of others stay.
pub(super) fn remove() -> io::Result<usize> {
    let route = Connection::open(ROUTE)?;
    let addresses = match device(&route)? {
        Some(index) => addresses(&route, index)?,
        None => BTreeSet::new(),
    };
    let count = if fs::exists(LOADED)? { remove_services(&addresses)? } else { 0 };
    match route.ask(&raw::message(DELETE_LINK, ACK, &LINK, &raw::text(LINK_NAME, DEVICE)), |_| {}) {
        Err(error) if is_no_device(&error) => Ok(count),
        result => result.map(|()| count),
    }
}

fn remove_services(addresses: &BTreeSet<IpAddr>) -> io::Result<usize> {
    let connection = Connection::open(GENERIC)?;
    let family = family(&connection)?;
    let mut services = Vec::new();
    let list = raw::message(family, DUMP, &[GET_SERVICE, 1, 0, 0], &[]);
    connection.ask(&list, |body| services.extend(read(body)))?;
    services.retain(|service| service.is_own(addresses));
    for service in &services {
        connection.ask(&raw::message(family, ACK, &[DELETE_SERVICE, 1, 0, 0], &service.written()), |_| {})?;
    }
    Ok(services.len())
}

/// Index of the device, if it is there.
fn device(route: &Connection) -> io::Result<Option<u32>> {
    let mut index = None;
    let found = route.ask(&raw::message(GET_LINK, ACK, &LINK, &raw::text(LINK_NAME, DEVICE)), |body| {
        index = body.get(4..).and_then(|rest| rest.first_chunk()).map(|bytes| u32::from_ne_bytes(*bytes));
    });
    match found {
        Err(error) if is_no_device(&error) => Ok(None),
        result => result.map(|()| index),
    }
}

fn is_no_device(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}

fn addresses(route: &Connection, device: u32) -> io::Result<BTreeSet<IpAddr>> {
    let mut addresses = BTreeSet::new();
    route.ask(&raw::message(GET_ADDRESS, DUMP, &[0; ADDRESS], &[]), |body| {
        let of_device = body.get(4..ADDRESS) == Some(&device.to_ne_bytes()[..]);
        let value = body.get(ADDRESS..).and_then(|rest| Attributes(rest).value(ADDRESS_VALUE));
        addresses.extend(value.filter(|_| of_device).and_then(address));
    })?;
    Ok(addresses)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// The number of the kernel's family `IPVS`.
fn family(connection: &Connection) -> io::Result<u16> {
    let mut number = None;
    let ask = raw::message(CONTROL, ACK, &[GET_FAMILY, 1, 0, 0], &raw::text(FAMILY_NAME, "IPVS"));
    connection.ask(&ask, |body| number = body.get(GENERAL..).and_then(|rest| Attributes(rest).short(FAMILY_ID)))?;
    number.map(u16::from_ne_bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A virtual service of an answer; `None` for one by mark, which kube-proxy does not make.
fn read(body: &[u8]) -> Option<Virtual> {
    let service = Attributes(Attributes(body.get(GENERAL..)?).value(SERVICE)?);
    let bytes = service.value(SERVICE_ADDRESS)?;
    let address = match u16::from_ne_bytes(service.short(SERVICE_FAMILY)?) {
        INET => address(bytes.get(..4)?)?,
        INET6 => address(bytes.get(..16)?)?,
        _ => return None,
    };
    let protocol = u16::from_ne_bytes(service.short(SERVICE_PROTOCOL)?);
    Some(Virtual { address, protocol, port: u16::from_be_bytes(service.short(SERVICE_PORT)?) })
}

impl Virtual {
    /// At an address that the device holds, or a node port.
    fn is_own(&self, addresses: &BTreeSet<IpAddr>) -> bool {
        addresses.contains(&self.address) || NODE_PORTS.contains(&self.port)
    }

    /// What names it to the kernel: an address takes 16 bytes in either family.
    fn written(&self) -> Vec<u8> {
        let (family, mut address) = match self.address {
            IpAddr::V4(address) => (INET, address.octets().to_vec()),
            IpAddr::V6(address) => (INET6, address.octets().to_vec()),
        };
        address.resize(16, 0);
        raw::nested(
            SERVICE,
            &[
                raw::attribute(SERVICE_FAMILY, &family.to_ne_bytes()),
                raw::attribute(SERVICE_PROTOCOL, &self.protocol.to_ne_bytes()),
                raw::attribute(SERVICE_ADDRESS, &address),
                raw::attribute(SERVICE_PORT, &self.port.to_be_bytes()),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(address: &str, port: u16) -> Virtual {
        Virtual { address: address.parse().expect("an address"), protocol: 6, port }
    }

    #[test]
    fn services_are_read_as_they_are_written() {
        for service in [service("10.96.0.1", 443), service("fd00:96::1", 53)] {
            let body = [&[GET_SERVICE, 1, 0, 0], service.written().as_slice()].concat();
            assert_eq!(read(&body), Some(service));
            for end in 0..body.len() {
                assert_eq!(read(&body[..end]), None, "cut short at {end}");
            }
        }
        // by mark (`IPVS_SVC_ATTR_FWMARK`)
        let marked =
            raw::nested(SERVICE, &[raw::attribute(SERVICE_FAMILY, &INET.to_ne_bytes()), raw::attribute(5, &[1; 4])]);
        assert_eq!(read(&[&[GET_SERVICE, 1, 0, 0], marked.as_slice()].concat()), None);
    }

    #[test]
    fn those_of_others_are_not_kube_proxys() {
        let held = ["10.96.0.1", "fd00:96::1"].map(|text| text.parse().expect("an address")).into();
        assert!(service("10.96.0.1", 443).is_own(&held) && service("fd00:96::1", 53).is_own(&held));
        assert!(service("192.168.77.11", 30_080).is_own(&held), "a node port");
        assert!(!service("192.168.77.11", 80).is_own(&held) && !service("10.96.0.2", 443).is_own(&held));
    }
}
