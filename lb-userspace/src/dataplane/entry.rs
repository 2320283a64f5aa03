//! Entries of the maps from and to those of [`crate::tables`].

use std::net::{IpAddr, Ipv4Addr};

use lb_common::abi::{self, BackendEntry4, FrontendEntry, FrontendKey4, backend_flag, frontend_flag};
use lb_common::addr::Addr4;
use lb_common::be::{Be16, Be32};

use crate::model::{FrontListener, Protocol};
use crate::tables::{BackendKey, Frontend, FrontendKey, ServiceId};

/// The words of a [`abi::ServiceEntry`].
pub(super) mod service_word {
    /// Where the ring is.
    pub(in super::super) const RING: usize = 0;
    /// Flags and `used`.
    pub(in super::super) const USED: usize = 1;
}

/// The words of a [`BackendEntry4`].
pub(super) mod backend_word {
    /// Generation and protocol.
    pub(in super::super) const STATE: usize = 1;
}

/// Two fields that share a word, in the order in which they stand in memory.
pub(super) const fn pair(first: u32, second: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// A range of ports, as SETTINGS holds it.
pub(super) const fn pack((first, last): (u16, u16)) -> u64 {
    ((first as u64) << 16) | last as u64
}

pub(super) const fn unpack(word: u64) -> (u16, u16) {
    ((word >> 16) as u16, word as u16)
}

pub(super) fn addr4(address: Ipv4Addr) -> Addr4 {
    Be32::from_bytes(address.octets())
}

pub(super) fn ip(address: Addr4) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(address.bytes()))
}

/// The key in the IPv4 map; the unspecified address, under which NodePorts stand, is `Address::ANY`. `None` for IPv6.
pub(super) fn frontend_key4(key: &FrontendKey) -> Option<FrontendKey4> {
    let IpAddr::V4(address) = key.address else { return None };
    Some(abi::FrontendKey {
        address: addr4(address),
        port: Be16::new(key.port),
        protocol: u16::from(key.protocol.number()),
        fill: [],
    })
}

pub(super) fn frontend_key(key: &FrontendKey4) -> Option<FrontendKey> {
    let protocol = Protocol::from_number(u8::try_from(key.protocol).ok()?)?;
    Some(FrontendKey { address: ip(key.address), port: key.port.host(), protocol })
}

pub(super) fn frontend_entry(frontend: &Frontend) -> FrontendEntry {
    let flags = match frontend.front {
        None => 0,
        Some(FrontListener::Http) => frontend_flag::FRONT_HTTP,
        Some(FrontListener::Https) => frontend_flag::FRONT_HTTPS,
    };
    let scope = if frontend.cluster { frontend_flag::CLUSTER } else { 0 };
    FrontendEntry { service: frontend.service.0, flags: flags | scope }
}

pub(super) fn frontend(entry: &FrontendEntry) -> Frontend {
    let front = match entry.flags & frontend_flag::FRONT {
        frontend_flag::FRONT_HTTP => Some(FrontListener::Http),
        frontend_flag::FRONT_HTTPS => Some(FrontListener::Https),
        _ => None,
    };
    Frontend { service: ServiceId(entry.service), front, cluster: entry.flags & frontend_flag::CLUSTER != 0 }
}

/// `None` for IPv6.
pub(super) fn backend_entry(key: &BackendKey, generation: u32) -> Option<BackendEntry4> {
    let IpAddr::V4(address) = key.address else { return None };
    Some(BackendEntry4 {
        address: addr4(address),
        port: Be16::new(key.port),
        flags: if key.local { backend_flag::LOCAL } else { 0 },
        generation,
        protocol: u32::from(key.protocol.number()),
        ..Default::default()
    })
}

/// `None` if the entry is not in use.
pub(super) fn backend_key(entry: &BackendEntry4) -> Option<BackendKey> {
    let protocol = Protocol::from_number(u8::try_from(entry.protocol).ok()?)?;
    let local = entry.flags & backend_flag::LOCAL != 0;
    Some(BackendKey { address: ip(entry.address), port: entry.port.host(), protocol, local })
}

#[cfg(test)]
mod tests {
    use lb_common::abi::ServiceEntry;
    use lb_common::addr::Address;

    use super::*;

    #[test]
    fn the_unspecified_address_stands_for_any() {
        assert_eq!(addr4(Ipv4Addr::UNSPECIFIED), Addr4::ANY);
    }

    #[test]
    fn words_are_where_the_constants_say() {
        let service = std::mem::offset_of!(ServiceEntry, ring) / 8;
        assert_eq!((service, std::mem::offset_of!(ServiceEntry, flags)), (service_word::RING, service_word::USED * 8));
        assert_eq!(std::mem::offset_of!(BackendEntry4, generation), backend_word::STATE * 8);
        assert_eq!(pair(1, 2).to_ne_bytes()[..4], 1_u32.to_ne_bytes());
    }
}
