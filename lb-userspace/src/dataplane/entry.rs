//! Entries of the maps from and to those of [`crate::tables`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::abi::{self, BackendEntry, FrontendEntry, backend_flag, frontend_flag};
use lb_common::addr::{Addr4, Addr6};
use lb_common::be::{Be16, Be32};

use super::family::MapFamily;
use crate::model::{FrontListener, Protocol};
use crate::tables::{BackendKey, Frontend, FrontendKey, ServiceId};

/// The words of a [`abi::ServiceEntry`].
pub(super) mod service_word {
    /// Where the ring is.
    pub(in super::super) const RING: usize = 0;
    /// Flags and `used`.
    pub(in super::super) const USED: usize = 1;
}

/// The words of a [`BackendEntry`].
pub(super) mod backend_word {
    use lb_common::abi::BackendEntry;

    use crate::dataplane::family::MapFamily;

    /// Generation and protocol: the last one.
    pub(in super::super) const fn state<F: MapFamily>() -> usize {
        size_of::<BackendEntry<F::Addr>>() / 8 - 1
    }
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

pub(super) fn addr6(address: Ipv6Addr) -> Addr6 {
    Addr6::from_bytes(address.octets())
}

pub(super) fn ip6(address: Addr6) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(address.bytes()))
}

pub(super) fn ip(address: Addr4) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(address.bytes()))
}

/// The key in the family's map; NodePorts stand under the unspecified address. `None` for the other family.
pub(super) fn abi_frontend_key<F: MapFamily>(key: &FrontendKey) -> Option<abi::FrontendKey<F::Addr>> {
    Some(abi::FrontendKey {
        address: F::address(key.address)?,
        port: Be16::new(key.port),
        protocol: u16::from(key.protocol.number()) | if key.inside { abi::INSIDE } else { 0 },
        ..Default::default()
    })
}

pub(super) fn frontend_key<F: MapFamily>(key: &abi::FrontendKey<F::Addr>) -> Option<FrontendKey> {
    let protocol = Protocol::from_number(u8::try_from(key.protocol & !abi::INSIDE).ok()?)?;
    let inside = key.protocol & abi::INSIDE != 0;
    Some(FrontendKey { address: F::ip(key.address), port: key.port.host(), protocol, inside })
}

pub(super) fn frontend_entry(frontend: &Frontend) -> FrontendEntry {
    let flags = match frontend.front {
        None if frontend.dsr => frontend_flag::DSR,
        None => 0,
        Some(FrontListener::Http) => frontend_flag::FRONT_HTTP,
        Some(FrontListener::Https) => frontend_flag::FRONT_HTTPS,
    };
    let scope = if frontend.cluster { frontend_flag::CLUSTER } else { 0 };
    let inside = if frontend.inside { frontend_flag::INSIDE } else { 0 };
    let policies = [
        (frontend.ranges, frontend_flag::RANGES),
        (frontend.chooses, frontend_flag::CHOOSES),
        (frontend.cookies, frontend_flag::COOKIES),
        (frontend.elsewhere, frontend_flag::ELSEWHERE),
    ];
    let policies = policies.into_iter().filter(|(is, _)| *is).fold(0, |flags, (_, flag)| flags | flag);
    FrontendEntry { service: frontend.service.0, flags: flags | scope | inside | policies }
}

pub(super) fn frontend(entry: &FrontendEntry) -> Frontend {
    let front = match entry.flags & frontend_flag::FRONT {
        frontend_flag::FRONT_HTTP => Some(FrontListener::Http),
        frontend_flag::FRONT_HTTPS => Some(FrontListener::Https),
        _ => None,
    };
    let has = |flag| entry.flags & flag != 0;
    Frontend {
        service: ServiceId(entry.service),
        front,
        cluster: has(frontend_flag::CLUSTER),
        inside: has(frontend_flag::INSIDE),
        dsr: has(frontend_flag::DSR),
        ranges: has(frontend_flag::RANGES),
        chooses: has(frontend_flag::CHOOSES),
        cookies: has(frontend_flag::COOKIES),
        elsewhere: has(frontend_flag::ELSEWHERE),
    }
}

/// `None` for the other family.
pub(super) fn backend_entry<F: MapFamily>(key: &BackendKey, generation: u32) -> Option<BackendEntry<F::Addr>> {
    Some(BackendEntry {
        address: F::address(key.address)?,
        port: Be16::new(key.port),
        flags: if key.local { backend_flag::LOCAL } else { 0 },
        generation,
        protocol: u32::from(key.protocol.number()),
        ..Default::default()
    })
}

/// `None` if the entry is not in use.
pub(super) fn backend_key<F: MapFamily>(entry: &BackendEntry<F::Addr>) -> Option<BackendKey> {
    let protocol = Protocol::from_number(u8::try_from(entry.protocol).ok()?)?;
    let local = entry.flags & backend_flag::LOCAL != 0;
    Some(BackendKey { address: F::ip(entry.address), port: entry.port.host(), protocol, local })
}

#[cfg(test)]
mod tests {
    use lb_common::abi::{BackendEntry4, BackendEntry6, ServiceEntry};
    use lb_common::addr::{V4, V6};

    use super::*;

    #[test]
    fn words_are_where_the_constants_say() {
        let service = std::mem::offset_of!(ServiceEntry, ring) / 8;
        assert_eq!((service, std::mem::offset_of!(ServiceEntry, flags)), (service_word::RING, service_word::USED * 8));
        assert_eq!(std::mem::offset_of!(BackendEntry4, generation), backend_word::state::<V4>() * 8);
        assert_eq!(std::mem::offset_of!(BackendEntry6, generation), backend_word::state::<V6>() * 8);
        assert_eq!(pair(1, 2).to_ne_bytes()[..4], 1_u32.to_ne_bytes());
    }
}
