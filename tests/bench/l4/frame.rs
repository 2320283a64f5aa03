//! The packets: headers as the wrapper puts them back each time.

use lb_common::csum::fold;

use crate::case::{Carries, Case, Kind};

/// Words of a template; of IPv4 the first fourteen count.
pub(crate) type Template = [u32; 19];

pub(crate) const VIP: [u8; 4] = [10, 100, 100, 100];
pub(crate) const VIP_PORT: u16 = 80;
/// The client of flow 0; the wrapper adds to its low half.
pub(crate) const CLIENT: [u8; 4] = [172, 16, 0, 0];
/// The source port of the first 65,536 flows.
pub(crate) const CLIENT_PORT: u16 = 1024;
/// The hardware address of the uplink.
pub(crate) const UPLINK: [u8; 6] = [2, 0, 0, 0, 0, 0x11];

/// An IPv6 address that ends in one of IPv4: the fixtures of one family are those of the other.
pub(crate) const fn mapped([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]
}

/// Bytes of the packets.
pub(crate) fn length(case: &Case) -> usize {
    if case.is_ipv6() { 80 } else { 64 }
}

/// The protocol of the packets.
pub(crate) fn protocol(case: &Case) -> u8 {
    if case.carries == Carries::Udp { 17 } else { 6 }
}

/// The headers of flow 0 with a right IPv4 checksum; IP identification 0xffff, from which the wrapper takes.
pub(crate) fn template(case: &Case) -> Template {
    let mut frame = [0u8; 76];
    frame[..6].copy_from_slice(&UPLINK);
    let destination = if case.kind == Kind::NotOurs { [198, 51, 100, 1] } else { VIP };
    let transport = if case.is_ipv6() {
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        let payload = (length(case) - 54) as u8;
        frame[14..22].copy_from_slice(&[0x60, 0, 0, 0, 0, payload, protocol(case), 64]);
        frame[22..38].copy_from_slice(&mapped(CLIENT));
        frame[38..54].copy_from_slice(&mapped(destination));
        54
    } else {
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14..18].copy_from_slice(&[0x45, 0, 0, (length(case) - 14) as u8]);
        frame[18..24].copy_from_slice(&[0xff, 0xff, 0, 0, 64, protocol(case)]);
        frame[26..30].copy_from_slice(&CLIENT);
        frame[30..34].copy_from_slice(&destination);
        let sum = frame[14..34].chunks(2).map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        frame[24..26].copy_from_slice(&(!fold(sum)).to_be_bytes());
        34
    };
    frame[transport..transport + 2].copy_from_slice(&CLIENT_PORT.to_be_bytes());
    frame[transport + 2..transport + 4].copy_from_slice(&VIP_PORT.to_be_bytes());
    if case.carries == Carries::Udp {
        frame[38..42].copy_from_slice(&[0, (length(case) - 34) as u8, 0x12, 0x34]);
    } else {
        let flags = if case.is_new() { 0x02 } else { 0x10 };
        frame[transport + 12..transport + 14].copy_from_slice(&[0x50, flags]);
        frame[transport + 16..transport + 18].copy_from_slice(&[0x12, 0x34]);
    }
    std::array::from_fn(|at| {
        u32::from_ne_bytes([frame[4 * at], frame[4 * at + 1], frame[4 * at + 2], frame[4 * at + 3]])
    })
}
