//! The IPv6 instance of the pipeline, on the host.

use lb_common::abi::{BackendEntry6, FrontendEntry, FrontendKey6, backend_flag, setting};
use lb_common::addr::{Addr6, V6};
use lb_common::be::Be16;
use lb_common::csum::fold;
use lb_common::drop_reason::DropReason;
use lb_common::ethernet::Addresses;
use lb_common::host::{Bytes, Maps};
use lb_common::lookup::{Route, Table};
use lb_common::pipeline;
use lb_common::verdict::{TTL_EXCEEDED, Verdict, too_big};

const CLIENT: &str = "2001:db8::7";
const VIP: &str = "fd00:100::100";
const LOCAL_POD: &str = "fd00:244:1::10";
const REMOTE_POD: &str = "fd00:244:2::20";
const NODE: &str = "fd00:10::11";

fn address(text: &str) -> Addr6 {
    let octets = text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    Addr6::from_bytes(octets)
}

fn world() -> Maps<V6> {
    let mut maps = Maps::<V6>::default();
    for (port, service) in [(80, 1), (81, 2)] {
        let key = FrontendKey6 { address: address(VIP), port: Be16::new(port), protocol: 6, fill: [0] };
        maps.frontends.insert(key, FrontendEntry { service, flags: 0 });
    }
    for (id, at, flags) in [(1, LOCAL_POD, backend_flag::LOCAL), (2, REMOTE_POD, 0)] {
        let (address, port) = (address(at), Be16::new(8080));
        let entry = BackendEntry6 { address, port, flags, generation: 1, protocol: 6, ..Default::default() };
        maps.backends.insert(id, entry);
        let ring = maps.add_ring(&[id]);
        maps.services.insert(id, ring);
    }
    maps.settings[setting::SNAT_PORTS as usize] = (15_000 << 16) | 29_999;
    maps.routing = Box::new(|to| {
        let hop = if to == address(REMOTE_POD) { 0x12 } else { 0x01 };
        Route::Direct { device: 7, addresses: Addresses::new([hop, 0, 0], [0x11, 0, 0]), mtu: 1_500 }
    });
    maps.uplink_addresses.insert(7, address(NODE));
    maps
}

/// A TCP packet with a right checksum.
fn tcp(source: (&str, u16), destination: (&str, u16), flags: u8, hop_limit: u8) -> Vec<u8> {
    let mut transport = Vec::new();
    transport.extend(source.1.to_be_bytes());
    transport.extend(destination.1.to_be_bytes());
    transport.extend([0, 0, 0, 7, 0, 0, 0, 9, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    transport.extend(b"hello");
    let octets = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let mut pseudo = [octets(source.0), octets(destination.0)].concat();
    pseudo.extend((transport.len() as u32).to_be_bytes());
    pseudo.extend([0, 0, 0, 6]);
    pseudo.extend(&transport);
    let sum = pseudo.chunks(2).map(|p| u64::from(u16::from_be_bytes([p[0], *p.get(1).unwrap_or(&0)]))).sum();
    transport[16..18].copy_from_slice(&(!fold(sum)).to_be_bytes());
    let mut frame = vec![0; 12];
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend((transport.len() as u16).to_be_bytes());
    frame.extend([6, hop_limit]);
    frame.extend(octets(source.0));
    frame.extend(octets(destination.0));
    frame.extend(transport);
    frame
}

fn ingress(maps: &Maps<V6>, packet: &[u8]) -> (Verdict, Vec<u8>) {
    let mut bytes = Bytes(packet.to_vec());
    let verdict = pipeline::ingress::<V6, _, _>(&mut bytes, maps);
    (verdict, bytes.0)
}

#[test]
fn local_backend_and_its_reply() {
    let maps = world();
    let (verdict, bytes) = ingress(&maps, &tcp((CLIENT, 40_000), (VIP, 80), 2, 64));
    assert_eq!((verdict, bytes), (Verdict::Deliver, tcp((CLIENT, 40_000), (LOCAL_POD, 8080), 2, 64)));
    let mut reply = Bytes(tcp((LOCAL_POD, 8080), (CLIENT, 40_000), 0x12, 63));
    assert_eq!(pipeline::egress::<V6, _, _>(&mut reply, &maps), Verdict::Deliver);
    assert_eq!(reply.0, tcp((VIP, 80), (CLIENT, 40_000), 0x12, 63));
}

#[test]
fn remote_backend_and_its_reply() {
    let maps = world();
    let (verdict, bytes) = ingress(&maps, &tcp((CLIENT, 40_000), (VIP, 81), 2, 64));
    assert_eq!(verdict, Verdict::Transmit(7));
    let port = maps.flows[Table::HalfOpen as usize].borrow().values().next().unwrap().snat_port.host();
    assert_eq!(bytes[12..], tcp((NODE, port), (REMOTE_POD, 8080), 2, 63)[12..]);
    let (verdict, bytes) = ingress(&maps, &tcp((REMOTE_POD, 8080), (NODE, port), 0x12, 63));
    assert_eq!(verdict, Verdict::Transmit(7));
    assert_eq!(bytes[12..], tcp((VIP, 81), (CLIENT, 40_000), 0x12, 62)[12..]);
}

#[test]
fn malformed_and_foreign() {
    let maps = world();
    let good = tcp((CLIENT, 40_000), (VIP, 80), 2, 64);
    let mut wrong_version = good.clone();
    wrong_version[14] = 0x40;
    assert_eq!(ingress(&maps, &wrong_version).0, Verdict::Drop(DropReason::BadIpHeader));
    assert_eq!(ingress(&maps, &good[..60]).0, Verdict::Drop(DropReason::TruncatedIp));
    assert_eq!(ingress(&maps, &good[..40]).0, Verdict::Drop(DropReason::TruncatedIp));
    assert_eq!(ingress(&maps, &tcp(("ff02::1", 1), (VIP, 80), 2, 64)).0, Verdict::Drop(DropReason::BadSource));
    assert_eq!(ingress(&maps, &tcp(("::1", 1), (VIP, 80), 2, 64)).0, Verdict::Drop(DropReason::BadSource));
    assert_eq!(ingress(&maps, &tcp((CLIENT, 1), (VIP, 9), 2, 64)).0, Verdict::Pass);
    assert_eq!(ingress(&maps, &tcp((CLIENT, 1), (VIP, 81), 2, 1)).0, Verdict::Refuse(TTL_EXCEEDED));
}

/// An ICMPv6 message with a right checksum, which covers the addresses.
fn icmp(source: &str, destination: &str, kind: u8, behind: &[u8], hop_limit: u8) -> Vec<u8> {
    let octets = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0x05, 0x14];
    message.extend(behind);
    let mut pseudo = [octets(source), octets(destination)].concat();
    pseudo.extend((message.len() as u32).to_be_bytes());
    pseudo.extend([0, 0, 0, 58]);
    pseudo.extend(&message);
    let sum = pseudo.chunks(2).map(|p| u64::from(u16::from_be_bytes([p[0], *p.get(1).unwrap_or(&0)]))).sum();
    message[2..4].copy_from_slice(&(!fold(sum)).to_be_bytes());
    let mut frame = vec![0; 12];
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend((message.len() as u16).to_be_bytes());
    frame.extend([58, hop_limit]);
    frame.extend(octets(source));
    frame.extend(octets(destination));
    frame.extend(message);
    frame
}

/// Packet too big (RFC 4443, section 3.2).
const TOO_BIG: u8 = 2;
const HOP: &str = "2001:db8:1::1";

#[test]
fn errors_follow_the_flow() {
    let mut maps = world();
    assert_eq!(ingress(&maps, &tcp((CLIENT, 40_000), (VIP, 80), 2, 64)).0, Verdict::Deliver);
    assert_eq!(ingress(&maps, &tcp((CLIENT, 40_000), (VIP, 81), 2, 64)).0, Verdict::Transmit(7));
    let port = maps.flows[Table::HalfOpen as usize].borrow().values().map(|flow| flow.snat_port.host()).min().unwrap();
    maps.resolves = true; // XDP hands them over
    for length in [48, 60, 65] {
        let quote = |source, destination| tcp(source, destination, 0x10, 60)[14..14 + length].to_vec();
        // about the reply of the pod here, of the pod there, about the request to the pod there
        let (verdict, bytes) = ingress(&maps, &icmp(HOP, VIP, TOO_BIG, &quote((VIP, 80), (CLIENT, 40_000)), 64));
        let expected = icmp(HOP, LOCAL_POD, TOO_BIG, &quote((LOCAL_POD, 8080), (CLIENT, 40_000)), 64);
        assert_eq!((verdict, bytes), (Verdict::Deliver, expected));
        let (verdict, bytes) = ingress(&maps, &icmp(HOP, VIP, TOO_BIG, &quote((VIP, 81), (CLIENT, 40_000)), 64));
        let expected = icmp(NODE, REMOTE_POD, TOO_BIG, &quote((REMOTE_POD, 8080), (NODE, port)), 63);
        assert_eq!((verdict, &bytes[12..]), (Verdict::Transmit(7), &expected[12..]));
        let (verdict, bytes) = ingress(&maps, &icmp(HOP, NODE, TOO_BIG, &quote((NODE, port), (REMOTE_POD, 8080)), 64));
        let expected = icmp(VIP, CLIENT, TOO_BIG, &quote((CLIENT, 40_000), (VIP, 81)), 63);
        assert_eq!((verdict, &bytes[12..]), (Verdict::Transmit(7), &expected[12..]));
    }
}

#[test]
fn echo_to_a_vip_is_answered() {
    let maps = Maps::<V6> { vips: vec![address(VIP)], ..world() };
    let (verdict, bytes) = ingress(&maps, &icmp(CLIENT, VIP, 128, b"odd", 7));
    assert_eq!((verdict, bytes), (Verdict::Answer, icmp(VIP, CLIENT, 129, b"odd", 64)));
}

#[test]
fn the_sender_is_told_why_its_packet_goes_nowhere() {
    let maps = Maps { ingress: 7, ..world() };
    for (why, kind, word) in [(TTL_EXCEEDED, [3, 0], 0), (too_big(1_400), [2, 0], 1_400), (too_big(0), [2, 0], 1_280)] {
        for extra in [0, 1_300] {
            let mut packet = tcp((CLIENT, 1), (VIP, 81), 2, 1);
            packet.resize(packet.len() + extra, 7);
            let length = (packet.len() - 54) as u16;
            packet[18..20].copy_from_slice(&length.to_be_bytes());
            let mut bytes = Bytes(packet.clone());
            let frame = lb_common::ethernet::Ethernet::parse(&bytes).unwrap();
            assert_eq!(pipeline::refuse::<V6, _, _>(&mut bytes, &frame, &maps, why), Verdict::Answer);
            let (ip, message) = bytes.0[14..].split_at(40);
            assert_eq!(ip[..8], [0x60, 0, 0, 0, ip[4], ip[5], 58, 64]);
            assert_eq!(usize::from(u16::from_be_bytes([ip[4], ip[5]])), message.len());
            assert!(message.len() + 40 <= 1_280, "RFC 4443, section 2.4 (c)");
            let octets = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
            assert_eq!((&ip[8..24], &ip[24..40]), (&octets(NODE)[..], &octets(CLIENT)[..]));
            assert_eq!((&message[..2], &message[4..8]), (&kind[..], &u32::to_be_bytes(word)[..]));
            let quote = &packet[14..];
            assert_eq!(message[8..], quote[..(quote.len() & !3).min(1_232)], "as it was sent");
            let mut pseudo = ip[8..40].to_vec();
            pseudo.extend((message.len() as u32).to_be_bytes());
            pseudo.extend([0, 0, 0, 58]);
            pseudo.extend(message);
            let sum = pseudo.chunks(2).map(|p| u64::from(u16::from_be_bytes([p[0], p[1]]))).sum();
            assert_eq!(fold(sum), 0xffff, "the checksum");
        }
    }
}
