//! Neighbours who ask for an announced address: the same answers from the host and from the kernel.

use std::net::{Ipv4Addr, Ipv6Addr};

use lb_common::abi::{AnnouncedEntry, AnnouncedKey, Stat, announced_flag, device_flag, map, setting};
use lb_common::addr::{Addr4, Addr6, V4, V6};
use lb_common::csum::fold;
use lb_common::neighbour::mac_of;
use lb_common::verdict::Verdict;

use crate::fixture::{Bench, Hook};
use crate::packet::{ROUTER, UPLINK};
use crate::world6::Bench6;

const OURS: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 200);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 201);
const ASKER: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 1);
const BROADCAST: [u8; 6] = [0xff; 6];
const NOBODY: [u8; 6] = [0; 6];
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 0x99];
const HOOKS: [Hook; 2] = [Hook::Ingress, Hook::Companion];

/// ARP as it stands on the wire, filled up to the shortest frame.
struct Arp {
    macs: [[u8; 6]; 2],
    tag: Option<u16>,
    operation: u8,
    sender: ([u8; 6], Ipv4Addr),
    target: ([u8; 6], Ipv4Addr),
}

fn asks(target: Ipv4Addr) -> Arp {
    Arp { macs: [BROADCAST, ROUTER], tag: None, operation: 1, sender: (ROUTER, ASKER), target: (NOBODY, target) }
}

impl Arp {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.macs.concat();
        if let Some(tag) = self.tag {
            bytes.extend([&[0x81, 0][..], &tag.to_be_bytes()].concat());
        }
        bytes.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, self.operation]);
        for (mac, address) in [self.sender, self.target] {
            bytes.extend([&mac[..], &address.octets()].concat());
        }
        bytes.resize(60, 0);
        bytes
    }

    /// What the owner of the target says.
    fn answered(&self) -> Arp {
        let sender = (UPLINK, self.target.1);
        Arp { macs: [self.sender.0, UPLINK], tag: self.tag, operation: 2, sender, target: self.sender }
    }
}

fn told() -> AnnouncedEntry {
    AnnouncedEntry { mac: mac_of(UPLINK), ..AnnouncedEntry::default() }
}

fn bench() -> Bench {
    let mut bench = Bench::new();
    let ours = Addr4::from_bytes(OURS.octets());
    bench.host.announced.borrow_mut().insert(ours, told());
    bench.host.settings[setting::ANNOUNCED_UNTIL as usize] = u64::MAX;
    if let Some(kernel) = &mut bench.kernel {
        kernel.announce::<V4>(map::ANNOUNCED4, ours, told());
        kernel.set(setting::ANNOUNCED_UNTIL, u64::MAX);
    }
    bench
}

/// A node whose agent is gone, and one that leaves the address to another, are silent.
#[test]
fn nobody_is_told_by_a_node_that_has_left_it() {
    let mut bench = bench();
    let ours = Addr4::from_bytes(OURS.octets());
    let silent = AnnouncedEntry { flags: announced_flag::SILENT, ..told() };
    bench.host.announced.borrow_mut().insert(ours, silent);
    if let Some(kernel) = bench.kernel.as_mut() {
        kernel.announce::<V4>(map::ANNOUNCED4, ours, silent);
    }
    passes(&mut bench, &asks(OURS));
    bench.host.announced.borrow_mut().insert(ours, told());
    if let Some(kernel) = bench.kernel.as_mut() {
        kernel.announce::<V4>(map::ANNOUNCED4, ours, told());
    }
    assert_eq!(bench.run(Hook::Ingress, &asks(OURS).bytes()).0, Verdict::Answer);
    bench.host.settings[setting::ANNOUNCED_UNTIL as usize] = 1;
    if let Some(kernel) = bench.kernel.as_mut() {
        kernel.set(setting::ANNOUNCED_UNTIL, 1);
    }
    passes(&mut bench, &asks(OURS));
}

fn passes(bench: &mut Bench, packet: &Arp) {
    for hook in HOOKS {
        assert_eq!(bench.run(hook, &packet.bytes()), (Verdict::Pass, packet.bytes()));
    }
}

#[test]
fn whoever_asks_for_an_announced_address_is_told_it() {
    let mut bench = bench();
    let question = asks(OURS);
    let again = Arp { macs: [UPLINK, ROUTER], target: (UPLINK, OURS), ..asks(OURS) };
    let probe = Arp { sender: (ROUTER, Ipv4Addr::UNSPECIFIED), ..asks(OURS) };
    let tagged = Arp { tag: Some(5), ..asks(OURS) };
    for packet in [question, again, probe, tagged] {
        for hook in HOOKS {
            assert_eq!(bench.run(hook, &packet.bytes()), (Verdict::Answer, packet.answered().bytes()));
        }
    }
    assert_eq!(bench.host.stats.borrow()[Stat::NeighboursTold as usize], 8);
    bench.assert_equal_state();
}

#[test]
fn all_other_arp_is_the_kernels() {
    let mut bench = bench();
    passes(&mut bench, &asks(OTHER));
    passes(&mut bench, &Arp { operation: 2, ..asks(OURS) });
    passes(&mut bench, &Arp { macs: [STRANGER, ROUTER], ..asks(OURS) });
    passes(&mut bench, &Arp { sender: (BROADCAST, ASKER), ..asks(OURS) });
    let mut other_medium = asks(OURS).bytes();
    other_medium[15] = 6;
    let short = &asks(OURS).bytes()[..41];
    for bytes in [&other_medium[..], short] {
        assert_eq!(bench.run(Hook::Ingress, bytes), (Verdict::Pass, bytes.to_vec()));
    }
    bench.assert_equal_state();
}

/// A tag is of another network where VLAN devices stand on the device.
#[test]
fn the_address_is_not_announced_in_a_network_behind_a_tag() {
    let mut bench = bench();
    bench.host.vlans = true;
    let first = bench.devices.first;
    if let Some(kernel) = &mut bench.kernel {
        kernel.add_flags(first, device_flag::VLANS);
    }
    passes(&mut bench, &Arp { tag: Some(5), ..asks(OURS) });
    let untagged = asks(OURS);
    assert_eq!(bench.run(Hook::Ingress, &untagged.bytes()).0, Verdict::Answer);
}

#[test]
fn another_station_that_has_the_address_is_noted() {
    let mut bench = bench();
    let ours = |sender| Arp { macs: [BROADCAST, sender], sender: (sender, OURS), ..asks(OURS) };
    passes(&mut bench, &ours(UPLINK));
    let rival = |bench: &Bench| bench.host.announced.borrow().values().next().unwrap().rival;
    passes(&mut bench, &ours([0; 6]));
    assert_eq!(rival(&bench), 0, "that was us, and nobody");
    passes(&mut bench, &ours(STRANGER));
    passes(&mut bench, &Arp { operation: 2, ..ours(STRANGER) });
    assert_eq!(rival(&bench), 0x0200_0000_0099);
    assert_eq!(bench.host.stats.borrow()[Stat::Rivals as usize], 4);
    bench.assert_equal_state();
    if let Some(kernel) = &bench.kernel {
        let entries = kernel.entries::<AnnouncedKey<Addr4>, AnnouncedEntry>(map::ANNOUNCED4);
        let entry = entries.values().next().unwrap();
        assert_eq!((entry.rival, entry.heard != 0), (0x0200_0000_0099, true));
    }
}

const OURS6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0x12, 0x3456);
const OTHER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0x34, 0x3456);
const ASKER6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff12, 0x3456);
const GROUP_MAC: [u8; 6] = [0x33, 0x33, 0xff, 0x12, 0x34, 0x56];
const ALL: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Neighbour discovery as it stands on the wire.
#[derive(Clone)]
struct Nd {
    macs: [[u8; 6]; 2],
    hops: u8,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    kind: u8,
    flags: u8,
    target: Ipv6Addr,
    options: Vec<u8>,
}

fn option(kind: u8, mac: [u8; 6]) -> Vec<u8> {
    [&[kind, 1][..], &mac].concat()
}

fn asks6(target: Ipv6Addr) -> Nd {
    let macs = [GROUP_MAC, ROUTER];
    let options = option(1, ROUTER);
    Nd { macs, hops: 255, source: ASKER6, destination: GROUP, kind: 135, flags: 0, target, options }
}

impl Nd {
    fn bytes(&self) -> Vec<u8> {
        let length = 24 + self.options.len() as u16;
        let mut bytes = self.macs.concat();
        bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        bytes.extend(length.to_be_bytes());
        bytes.extend([58, self.hops]);
        bytes.extend([self.source.octets(), self.destination.octets()].concat());
        let mut message = vec![self.kind, 0, 0, 0, self.flags, 0, 0, 0];
        message.extend(self.target.octets());
        message.extend(&self.options);
        let pseudo = [&bytes[22..54], &[0, 58], &length.to_be_bytes(), &message[..]].concat();
        let sum = pseudo.chunks(2).map(|half| u64::from(u16::from_be_bytes([half[0], half[1]]))).sum();
        message[2..4].copy_from_slice(&(!fold(sum)).to_be_bytes());
        bytes.extend(message);
        bytes
    }

    /// What the owner of the target says.
    fn answered(&self) -> Nd {
        let free = self.source.is_unspecified();
        Nd {
            macs: [if free { [0x33, 0x33, 0, 0, 0, 1] } else { self.macs[1] }, UPLINK],
            source: self.target,
            destination: if free { ALL } else { self.source },
            kind: 136,
            flags: if free { 0x20 } else { 0x60 },
            options: if self.options.is_empty() { vec![] } else { option(2, UPLINK) },
            ..self.clone()
        }
    }
}

fn bench6() -> Bench6 {
    let mut bench = Bench6::new();
    let ours = Addr6::from_bytes(OURS6.octets());
    bench.host.announced.borrow_mut().insert(ours, told());
    bench.host.settings[setting::ANNOUNCED_UNTIL as usize] = u64::MAX;
    if let Some(kernel) = &mut bench.kernel {
        kernel.announce::<V6>(map::ANNOUNCED6, ours, told());
        kernel.set(setting::ANNOUNCED_UNTIL, u64::MAX);
    }
    bench
}

fn passes6(bench: &mut Bench6, packet: &Nd) {
    for hook in HOOKS {
        assert_eq!(bench.run(hook, &packet.bytes()), (Verdict::Pass, packet.bytes()));
    }
}

#[test]
fn whoever_solicits_an_announced_address_is_told_it() {
    let mut bench = bench6();
    let unicast = Nd { macs: [UPLINK, ROUTER], destination: OURS6, ..asks6(OURS6) };
    let short = Nd { options: vec![], ..unicast.clone() };
    let is_it_free = Nd { source: Ipv6Addr::UNSPECIFIED, options: vec![], ..asks6(OURS6) };
    let with_nonce = Nd { options: vec![14, 1, 9, 8, 7, 6, 5, 4], ..is_it_free.clone() };
    for packet in [asks6(OURS6), unicast, short, is_it_free, with_nonce] {
        for hook in HOOKS {
            assert_eq!(bench.run(hook, &packet.bytes()), (Verdict::Answer, packet.answered().bytes()));
        }
    }
    assert_eq!(bench.host.stats.borrow()[Stat::NeighboursTold as usize], 10);
    bench.assert_equal_state();
}

#[test]
fn all_other_discovery_is_the_kernels() {
    let mut bench = bench6();
    passes6(&mut bench, &asks6(OTHER6));
    passes6(&mut bench, &Nd { hops: 254, ..asks6(OURS6) });
    passes6(&mut bench, &Nd { macs: [STRANGER, ROUTER], ..asks6(OURS6) });
    passes6(&mut bench, &Nd { destination: ALL, ..asks6(OURS6) });
    passes6(&mut bench, &Nd { options: vec![], ..asks6(OURS6) });
    passes6(&mut bench, &Nd { options: [option(1, ROUTER), option(14, ROUTER)].concat(), ..asks6(OURS6) });
    passes6(&mut bench, &Nd { source: Ipv6Addr::UNSPECIFIED, ..asks6(OURS6) });
    passes6(&mut bench, &Nd { source: Ipv6Addr::UNSPECIFIED, destination: OURS6, options: vec![], ..asks6(OURS6) });
    bench.assert_equal_state();
}

#[test]
fn another_station_that_advertises_the_address_is_noted() {
    let mut bench = bench6();
    let says =
        |macs: [[u8; 6]; 2]| Nd { macs, destination: ALL, kind: 136, options: option(2, macs[1]), ..asks6(OURS6) };
    let rival = |bench: &Bench6| bench.host.announced.borrow().values().next().unwrap().rival;
    passes6(&mut bench, &says([GROUP_MAC, UPLINK]));
    assert_eq!(rival(&bench), 0, "that was us");
    passes6(&mut bench, &says([GROUP_MAC, STRANGER]));
    assert_eq!(rival(&bench), 0x0200_0000_0099);
    passes6(&mut bench, &Nd { macs: [GROUP_MAC, ROUTER], source: OURS6, ..asks6(OTHER6) });
    assert_eq!(rival(&bench), 0x0200_0000_0001, "who asks under the address has it");
    assert_eq!(bench.host.stats.borrow()[Stat::Rivals as usize], 4);
    bench.assert_equal_state();
}
