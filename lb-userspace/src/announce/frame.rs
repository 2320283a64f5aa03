//! Frames that tell all neighbours where an address is now, and those that ask who has one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::csum::fold;
use lb_common::neighbour::ARP;

const BROADCAST: [u8; 6] = [0xff; 6];
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const IPV6: [u8; 2] = [0x86, 0xdd];
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// It replaces what is known (RFC 4861, section 4.4).
const OVERRIDE: u8 = 0x20;
/// The shortest frame without its checksum.
const SHORTEST: usize = 60;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Tells everybody that the address is at `mac`: ARP as a request and as a reply, since there are devices that heed only one of
/// them (RFC 5227, section 3), or an advertisement that nobody asked for (RFC 4861, section 7.2.6).
pub fn told(address: IpAddr, mac: [u8; 6]) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(address) => {
            vec![arp(REQUEST, mac, address, [0; 6], address), arp(REPLY, mac, address, mac, address)]
        }
        IpAddr::V6(address) => {
            let option = [&[2, 1][..], &mac].concat();
            vec![discovery(mac, address, ALL_NODES, [ADVERTISEMENT, OVERRIDE], address, &option)]
        }
    }
}

/// Asks who has the address, without saying that we do: a probe (RFC 5227, section 2.1.1; RFC 4862, section 5.4.2).
pub fn asked(address: IpAddr, mac: [u8; 6]) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(REQUEST, mac, Ipv4Addr::UNSPECIFIED, [0; 6], address),
        IpAddr::V6(address) => {
            discovery(mac, Ipv6Addr::UNSPECIFIED, solicited(address), [SOLICITATION, 0], address, &[])
        }
    }
}

/// The group in which an address is asked for (RFC 4291, section 2.7.1).
pub fn solicited(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

fn arp(operation: u8, mac: [u8; 6], sender: Ipv4Addr, target_mac: [u8; 6], target: Ipv4Addr) -> Vec<u8> {
    let mut frame = [&BROADCAST[..], &mac, &ARP.to_be_bytes()].concat();
    frame.extend([0, 1, 8, 0, 6, 4, 0, operation]);
    frame.extend([&mac[..], &sender.octets(), &target_mac, &target.octets()].concat());
    frame.resize(SHORTEST, 0);
    frame
}

fn discovery(
    mac: [u8; 6],
    source: Ipv6Addr,
    group: Ipv6Addr,
    [kind, flags]: [u8; 2],
    target: Ipv6Addr,
    option: &[u8],
) -> Vec<u8> {
    let [.., a, b, c, d] = group.octets();
    let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    message.extend(target.octets());
    message.extend(option);
    let length = (message.len() as u16).to_be_bytes();
    let addresses = [source.octets(), group.octets()].concat();
    let covered = [&addresses[..], &[0, ICMPV6], &length, &message].concat();
    let sum = covered.chunks(2).map(|half| u64::from(u16::from_be_bytes([half[0], half[1]]))).sum();
    message[2..4].copy_from_slice(&(!fold(sum)).to_be_bytes());
    // RFC 2464, section 7
    let mut frame = [&[0x33, 0x33, a, b, c, d][..], &mac, &IPV6, &[0x60, 0, 0, 0], &length].concat();
    frame.extend([ICMPV6, 255]);
    frame.extend(addresses);
    frame.extend(message);
    frame
}

#[cfg(test)]
mod tests {
    use lb_common::abi::{AnnouncedEntry, setting};
    use lb_common::addr::{Addr4, Addr6, V4, V6};
    use lb_common::host::{Bytes, Maps};
    use lb_common::neighbour::mac_of;
    use lb_common::pipeline;
    use lb_common::verdict::Verdict;

    use super::*;

    const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn entry() -> AnnouncedEntry {
        AnnouncedEntry { mac: mac_of(OURS), ..AnnouncedEntry::default() }
    }

    /// What the packet path of another owner makes of them: it answers who asks, and notes who says that he has the address.
    #[test]
    fn another_owner_understands_them() {
        let (four, six) = (Ipv4Addr::new(192, 0, 2, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
        let mut maps4 = Maps::<V4>::default();
        maps4.settings[setting::ANNOUNCED_UNTIL as usize] = u64::MAX;
        maps4.announced.borrow_mut().insert(Addr4::from_bytes(four.octets()), entry());
        let mut maps6 = Maps::<V6>::default();
        maps6.settings[setting::ANNOUNCED_UNTIL as usize] = u64::MAX;
        maps6.announced.borrow_mut().insert(Addr6::from_bytes(six.octets()), entry());
        assert_eq!(pipeline::ingress(&mut Bytes(asked(four.into(), THEIRS)), &maps4), Verdict::Answer);
        assert_eq!(pipeline::ingress(&mut Bytes(asked(six.into(), THEIRS)), &maps6), Verdict::Answer);
        for frame in told(four.into(), THEIRS) {
            maps4.announced.borrow_mut().values_mut().for_each(|own| *own = entry());
            assert_eq!(pipeline::ingress(&mut Bytes(frame), &maps4), Verdict::Pass);
            assert_eq!(maps4.announced.borrow().values().next().map(|own| own.rival), Some(0x0200_0000_0002));
        }
        for frame in told(six.into(), THEIRS) {
            assert_eq!(pipeline::ingress(&mut Bytes(frame), &maps6), Verdict::Pass);
            assert_eq!(maps6.announced.borrow().values().next().map(|own| own.rival), Some(0x0200_0000_0002));
        }
    }
}
