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
