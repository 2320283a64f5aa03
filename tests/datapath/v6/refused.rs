//! ICMPv6 errors of our own.

use lb_common::addr::V6;
use lb_common::csum::fold;
use lb_common::host::{Bytes, Maps};
use lb_common::pipeline;
use lb_common::verdict::{TTL_EXCEEDED, too_big};

use super::*;
use crate::world::Devices;
use crate::world6;

#[test]
fn the_sender_is_told_why_its_packet_goes_nowhere() {
    let devices = Devices { first: 7, second: 8 };
    let maps = Maps { ingress: 7, mac: None, ..world6::host(devices) };
    for (why, kind, word) in [(TTL_EXCEEDED, [3, 0], 0), (too_big(1_400), [2, 0], 1_400), (too_big(0), [2, 0], 1_280)] {
        for extra in [0, 1_300] {
            let mut packet = packet6(Carries::Tcp(SYN), (CLIENT, 1), (VIP, 81)).hops(1).bytes();
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

fn sum_of(source: &[u8], destination: &[u8], protocol: u8, payload: &[u8]) -> u16 {
    let mut pseudo = [source, destination].concat();
    pseudo.extend((payload.len() as u32).to_be_bytes());
    pseudo.extend([0, 0, 0, protocol]);
    pseudo.extend(payload);
    fold(pseudo.chunks(2).map(|p| u64::from(u16::from_be_bytes([p[0], *p.get(1).unwrap_or(&0)]))).sum())
}

/// The frame is a reset from the VIP of the packet; `expected` is what stands behind the ports, up to the flags.
pub(super) fn is_reset(frame: &[u8], packet: &Builder6, expected: [u8; 10]) {
    assert_eq!(frame[..12], [packet.macs[1], packet.macs[0]].concat(), "back to where it came from");
    let ((vip, at), (client, port)) = (packet.destination, packet.source);
    let (ip, segment) = frame[14..].split_at(40);
    assert_eq!(ip[..8], [0x60, 0, 0, 0, 0, 20, 6, 64]);
    assert_eq!((&ip[8..24], &ip[24..40]), (&vip.octets()[..], &client.octets()[..]));
    assert_eq!(segment[..14], [&at.to_be_bytes()[..], &port.to_be_bytes(), &expected].concat());
    assert_eq!(sum_of(&vip.octets(), &client.octets(), 6, segment), 0xffff, "the checksum");
}

/// The frame is "port unreachable" from the VIP of the datagram.
pub(super) fn is_unreachable(frame: &[u8], packet: &Builder6) {
    let (vip, client) = (packet.destination.0.octets(), packet.source.0.octets());
    let (ip, message) = frame[14..].split_at(40);
    assert_eq!((&ip[8..24], &ip[24..40]), (&vip[..], &client[..]));
    assert_eq!((&message[..2], &message[8..]), (&[1, 4][..], &packet.quoted(usize::MAX)[..]));
    assert_eq!(sum_of(&vip, &client, 58, message), 0xffff, "the checksum");
}

#[test]
fn clients_that_find_nobody_are_told_so() {
    let mut bench = Bench6::new();
    let hook = Hook::Companion; // XDP leaves that to it
    for (flags, expected) in [(SYN, [0, 0, 0, 0, 0, 0, 0, 13, 0x50, 0x14]), (ACK, [0, 0, 0, 9, 0, 0, 0, 0, 0x50, 4])] {
        let packet = packet6(Carries::Tcp(flags), (CLIENT, 40_000), (VIP, 9)).payload(b"hello").options(60, 1);
        let (verdict, bytes) = bench.run(hook, &packet.bytes());
        assert_eq!(verdict, Verdict::Answer, "{hook:?}");
        is_reset(&bytes, &packet, expected);
    }
    let packet = packet6(Carries::Udp, (CLIENT, 40_000), (VIP, 9)).payload(b"four");
    let (verdict, bytes) = bench.run(hook, &packet.bytes());
    assert_eq!(verdict, Verdict::Answer, "{hook:?}");
    is_unreachable(&bytes, &packet);
    assert_eq!(bench.host.drops.borrow()[DropReason::NoPort as usize].packets, 3);
    assert_eq!(bench.host.stats.borrow()[Stat::Refused as usize], 3);
    bench.assert_equal_state();
}
