use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::abi::{BackendEntry, backend_flag, protocol};
use crate::addr::V4;
use crate::be::{Be16, Be32};
use crate::csum::fold;
use crate::ethernet::Addresses;
use crate::host::{Bytes, Maps};
use crate::lookup::Route;
use crate::transport::tcp_flag;

mod leases;
mod limits;

const VIP: Be32 = Be32::new(0x0a64_6464);
const NODE: Be32 = Be32::new(0x0a0a_000b);
const PORTS: [(u16, u8, bool); 4] =
    [(80, protocol::TCP, true), (81, protocol::TCP, false), (53, protocol::UDP, true), (54, protocol::UDP, false)];

/// One frontend for each protocol and place of the backend.
fn world() -> Maps<V4> {
    let mut maps = Maps::<V4>::default();
    for (id, (port, ip_protocol, local)) in (1..).zip(PORTS) {
        let key = FrontendKey { address: VIP, port: Be16::new(port), protocol: u16::from(ip_protocol), fill: [] };
        maps.frontends.insert(key, FrontendEntry { service: id, flags: 0 });
        let flags = if local { backend_flag::LOCAL } else { 0 };
        let backend = BackendEntry {
            address: Be32::new(0x0af4_0100 + id),
            port: Be16::new(8080),
            flags,
            generation: 1,
            protocol: u32::from(ip_protocol),
            ..Default::default()
        };
        maps.backends.insert(id, backend);
        let ring = maps.add_ring(&[id; 3]);
        maps.services.insert(id, ring);
    }
    maps.settings[setting::SNAT_PORTS as usize] = setting::snat_ports((15_000, 29_999), (15_000, 29_999));
    maps.routing =
        std::boxed::Box::new(|_| Route::Direct { device: 7, addresses: Addresses::new([1; 3], [2; 3]), mtu: 1_500 });
    maps.uplink_addresses.insert(7, NODE);
    maps
}

/// A packet with right checksums.
fn packet(ip_protocol: u8, source: (Be32, u16), destination: (Be32, u16), payload: &[u8]) -> Vec<u8> {
    let mut transport = [source.1.to_be_bytes(), destination.1.to_be_bytes()].concat();
    let checksum_at = match ip_protocol {
        protocol::TCP => {
            transport.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, tcp_flag::ACK, 1, 1, 0, 0, 0, 0]);
            16
        }
        _ => {
            transport.extend((8 + payload.len() as u16).to_be_bytes());
            transport.extend([0, 0]);
            6
        }
    };
    transport.extend(payload);
    let sum = !fold(pseudo_sum(ip_protocol, source.0, destination.0, &transport));
    let sum = if sum == 0 && ip_protocol == protocol::UDP { 0xffff } else { sum };
    transport[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
    let mut frame = std::vec![0; 12];
    frame.extend([8, 0, 0x45, 0]);
    frame.extend((20 + transport.len() as u16).to_be_bytes());
    frame.extend([0, 7, 0x40, 0, 64, ip_protocol, 0, 0]);
    frame.extend(source.0.bytes());
    frame.extend(destination.0.bytes());
    let sum = !fold(words(&frame[14..34]));
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame.extend(transport);
    frame
}

fn words(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|pair| u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))).sum()
}

fn pseudo_sum(ip_protocol: u8, source: Be32, destination: Be32, transport: &[u8]) -> u64 {
    words(&source.bytes())
        + words(&destination.bytes())
        + u64::from(ip_protocol)
        + transport.len() as u64
        + words(transport)
}

/// Both checksums verified from nothing, as a receiver does (RFC 1071: the sum with the field in place is all ones).
fn assert_checksums(frame: &[u8]) {
    assert_eq!(fold(words(&frame[14..34])), 0xffff, "IPv4 header checksum");
    let (source, destination) = addresses(frame);
    assert_eq!(fold(pseudo_sum(frame[23], source, destination, &frame[34..])), 0xffff, "transport checksum");
}

fn addresses(frame: &[u8]) -> (Be32, Be32) {
    let at = |from: usize| Be32::from_bytes([frame[from], frame[from + 1], frame[from + 2], frame[from + 3]]);
    (at(26), at(30))
}

fn ports_of(frame: &[u8]) -> (u16, u16) {
    (u16::from_be_bytes([frame[34], frame[35]]), u16::from_be_bytes([frame[36], frame[37]]))
}

fn client() -> impl Strategy<Value = (Be32, u16)> {
    (0x0b00_0000u32..0x7e00_0000, 1u16..).prop_map(|(address, port)| (Be32::new(address), port))
}

/// Generic receive offload joins segments to more than the length field can say, and leaves it 0.
#[test]
fn a_super_packet_without_a_length_is_read_to_its_end() {
    let maps = world();
    for (length, expected) in [(70_000, Verdict::Deliver), (1_000, Verdict::Drop(DropReason::BadIpHeader))] {
        let mut frame = packet(protocol::TCP, (Be32::new(0x0b00_0001), 40_000), (VIP, 80), &std::vec![b'x'; length]);
        frame[16..18].fill(0);
        frame[24..26].fill(0);
        let sum = !fold(words(&frame[14..34]));
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        let mut frame = Bytes(frame);
        assert_eq!(ingress(&mut frame, &maps), expected, "{length} bytes");
        assert_eq!(fold(words(&frame.0[14..34])), 0xffff, "IPv4 header checksum");
    }
}

proptest! {
    #[test]
    fn the_way_back_undoes_the_way_there(
        from in client(), which in 0usize..4, payload in prop::collection::vec(any::<u8>(), 0..200),
        answer in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let maps = world();
        let (port, ip_protocol, local) = PORTS[which];
        let mut there = Bytes(packet(ip_protocol, from, (VIP, port), &payload));
        let verdict = ingress(&mut there, &maps);
        prop_assert_eq!(verdict, if local { Verdict::Deliver } else { Verdict::Transmit(7) });
        assert_checksums(&there.0);
        prop_assert!(there.0.ends_with(&payload));
        // the backend answers what it saw
        let (seen, backend) = addresses(&there.0);
        let (seen_port, backend_port) = ports_of(&there.0);
        prop_assert_eq!(backend_port, 8080);
        let mut back = Bytes(packet(ip_protocol, (backend, backend_port), (seen, seen_port), &answer));
        let verdict = if local { egress(&mut back, &maps) } else { ingress(&mut back, &maps) };
        prop_assert_eq!(verdict, if local { Verdict::Deliver } else { Verdict::Transmit(7) });
        assert_checksums(&back.0);
        prop_assert_eq!(addresses(&back.0), (VIP, from.0));
        prop_assert_eq!(ports_of(&back.0), (port, from.1));
        prop_assert!(back.0.ends_with(&answer));
    }

    #[test]
    fn a_flow_stays_with_its_backend_while_the_ring_changes(from in client(), slots in 1usize..50) {
        let mut maps = world();
        let bytes = packet(protocol::TCP, from, (VIP, 80), b"x");
        let mut first = Bytes(bytes.clone());
        prop_assert_eq!(ingress(&mut first, &maps), Verdict::Deliver);
        let other = maps.add_ring(&std::vec![2; slots]);
        maps.services.insert(1, other);
        let mut second = Bytes(bytes);
        prop_assert_eq!(ingress(&mut second, &maps), Verdict::Deliver);
        prop_assert_eq!(first, second);
    }

    #[test]
    fn no_bytes_make_it_panic_or_grow(bytes in prop::collection::vec(any::<u8>(), 0..128), ip in any::<bool>()) {
        let maps = world();
        let mut bytes = bytes;
        if ip && bytes.len() > 14 {
            bytes[12..15].copy_from_slice(&[8, 0, 0x45]);
        }
        let length = bytes.len();
        let mut packet = Bytes(bytes.clone());
        let verdict = ingress(&mut packet, &maps);
        prop_assert_eq!(packet.0.len(), length);
        if matches!(verdict, Verdict::Pass | Verdict::Drop(_)) {
            prop_assert_eq!(&packet.0, &bytes, "untouched unless it is sent");
        }
        let _ = egress(&mut packet, &maps);
    }

    #[test]
    fn two_flows_never_share_what_the_backend_sees(clients in prop::collection::hash_set(client(), 2..40)) {
        let maps = world();
        let mut seen = std::collections::HashSet::new();
        for from in clients {
            for which in [0, 1] {
                let (port, ip_protocol, _) = PORTS[which];
                let mut packet = Bytes(packet(ip_protocol, from, (VIP, port), b""));
                let _ = ingress(&mut packet, &maps);
                prop_assert!(seen.insert((addresses(&packet.0), ports_of(&packet.0))), "one reply tuple for two flows");
            }
        }
    }
}

/// What the backend sees of a client's packet to the service on another node, or why it is dropped.
fn forwarded(maps: &Maps<V4>, client: u32) -> Result<(u16, u16), Verdict> {
    let mut packet = Bytes(packet(protocol::TCP, (Be32::new(0x0b00_0000 + client), 4000), (VIP, 81), b""));
    match ingress(&mut packet, maps) {
        Verdict::Transmit(_) => Ok(ports_of(&packet.0)),
        other => Err(other),
    }
}

#[test]
fn leases_of_silent_half_open_flows_are_given_away_when_ports_run_out() {
    let mut maps = world();
    maps.settings[setting::SNAT_PORTS as usize] = setting::snat_ports((15_000, 15_015), (15_000, 15_015));
    for client in 0..16 {
        assert!(forwarded(&maps, client).is_ok(), "there are 16 ports");
    }
    assert_eq!(forwarded(&maps, 16), Err(Verdict::Drop(DropReason::SnatExhausted)));
    maps.now.set(maps.now.get() + 2);
    assert_eq!(forwarded(&maps, 16), Err(Verdict::Drop(DropReason::SnatExhausted)), "they may still go on");
    maps.now.set(maps.now.get() + 1);
    let taken = forwarded(&maps, 16).expect("they have been silent for too long");
    // The flow that lost its port goes on with another one, and never with that one.
    for client in 0..17 {
        if client != 16 {
            assert_ne!(forwarded(&maps, client), Ok(taken), "client {client} shares a port with another");
        }
    }
    assert_eq!(forwarded(&maps, 16), Ok(taken), "the new flow keeps it");
}
