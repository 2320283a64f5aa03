//! Our own ICMP errors: time exceeded and packet too big.

use lb_common::abi::{Stat, Task};
use lb_common::csum::fold;
use lb_common::drop_reason::DropReason;
use lb_common::verdict::Verdict;

use crate::fixture::{Bench, Hook};
use crate::packet::{ACK, Builder, ROUTER, SYN, UPLINK, icmp, tcp, udp};
use crate::world::{CLIENT, NEXT_NODE, NODE, VIP};

/// The error about `packet` that goes back to its sender: type and code, the word behind the checksum, the bytes quoted.
fn error(packet: &Builder, kind: [u8; 2], word: u32, quoted: usize) -> Vec<u8> {
    let mut frame = [packet.from_mac, packet.to_mac].concat();
    for (protocol, id) in &packet.tags {
        frame.extend([protocol.to_be_bytes(), id.to_be_bytes()].concat());
    }
    frame.extend([8, 0]);
    let mut message = vec![kind[0], kind[1], 0, 0];
    message.extend(word.to_be_bytes());
    message.extend(packet.quoted(quoted));
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum);
    let mut ip = vec![0x45, 0xc0];
    ip.extend(((20 + message.len()) as u16).to_be_bytes());
    ip.extend([0, 0, 0, 0, 64, 1, 0, 0]);
    ip.extend(NODE.parse::<std::net::Ipv4Addr>().unwrap().octets());
    ip.extend(packet.source.0.octets());
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);
    [frame, ip, message].concat()
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let sum = bytes.chunks(2).map(|pair| u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))).sum();
    (!fold(sum)).to_be_bytes()
}

const TIME: [u8; 2] = [11, 0];
const TOO_BIG: [u8; 2] = [3, 4];

#[test]
fn the_sender_is_told_that_the_time_to_live_ran_out() {
    let mut bench = Bench::new();
    let plain = tcp((CLIENT, 40_000), (VIP, 80), SYN).ttl(1).payload(b"four");
    let packets = [
        plain.clone(),
        plain.clone().ttl(0),
        udp((CLIENT, 5000), (VIP, 5353)).ttl(1).payload(b""),
        plain.clone().options(&[1; 8]),
        plain.clone().tag(0x8100, 5),
        plain.clone().tag(0x88a8, 5).tag(0x8100, 6),
        plain.clone().payload(&[7; 500]),
        plain.clone().payload(&[7; 1_400]),
    ];
    for packet in packets {
        for hook in [Hook::Ingress, Hook::Companion] {
            let (verdict, bytes) = bench.run(hook, &packet.bytes());
            assert_eq!((verdict, bytes), (Verdict::Answer, error(&packet, TIME, 0, 548)), "{hook:?} {packet:?}");
        }
    }
    // up to three bytes at the end are not quoted
    let odd = plain.clone().payload(b"sixsix");
    let (_, bytes) = bench.run(Hook::Ingress, &odd.bytes());
    assert_eq!(bytes, error(&odd, TIME, 0, 44));
    bench.assert_equal_state();
    assert_eq!(bench.host.stats.borrow()[Stat::ErrorsSent as usize], 17);
    assert_eq!(bench.host.drops.borrow()[DropReason::TtlExceeded as usize].packets, 17, "and they count as drops");
}

#[test]
fn a_flow_begins_with_no_packet_that_goes_nowhere() {
    let mut bench = Bench::new();
    let (verdict, _) = bench.run(Hook::Ingress, &tcp((CLIENT, 40_000), (VIP, 80), SYN).ttl(1).bytes());
    assert_eq!(verdict, Verdict::Answer);
    assert!(bench.flows(lb_common::lookup::Table::HalfOpen).is_empty(), "a port would be leased for nothing");
    bench.assert_equal_state();
}

#[test]
fn the_sender_is_told_how_much_goes() {
    let mut bench = Bench::new();
    for packet in [
        tcp((CLIENT, 40_000), (VIP, 80), SYN).payload(&[7; 1_461]),
        tcp((CLIENT, 40_000), (VIP, 80), ACK).payload(&[7; 2_000]),
        udp((CLIENT, 40_000), (VIP, 5353)).payload(&[7; 1_473]).fragment(0x4000),
    ] {
        let (verdict, bytes) = bench.run(Hook::Ingress, &packet.bytes());
        assert_eq!((verdict, bytes), (Verdict::Answer, error(&packet, TOO_BIG, 1_500, 548)), "{packet:?}");
    }
    let fits = tcp((CLIENT, 40_000), (VIP, 80), SYN).payload(&[7; 1_460]);
    assert!(matches!(bench.run(Hook::Ingress, &fits.bytes()).0, Verdict::Transmit(_)));
    // into a tunnel, where the frame has tags: they stand in the answer as well
    let large = udp((CLIENT, 40_000), (VIP, 5300)).payload(&[7; 1_453]);
    for packet in [large.clone().tag(0x8100, 5), large.tag(0x88a8, 5).tag(0x8100, 6)] {
        assert_eq!(bench.run(Hook::Ingress, &packet.bytes()).0, Verdict::HandOver(Task::Forward));
        let (verdict, bytes) = bench.run(Hook::Companion, &packet.bytes());
        assert_eq!((verdict, bytes), (Verdict::Answer, error(&packet, TOO_BIG, 1_480, 548)), "{packet:?}");
    }
    assert_eq!(bench.host.drops.borrow()[DropReason::TooBig as usize].packets, 5);
    bench.assert_equal_state();
}

#[test]
fn some_are_told_nothing() {
    let mut bench = Bench::new();
    let packet = tcp((CLIENT, 40_000), (VIP, 80), ACK);
    // a flow that is known: frames for others begin none
    assert!(matches!(bench.run(Hook::Ingress, &packet.bytes()).0, Verdict::Transmit(_)));
    let packet = packet.ttl(1);
    for hook in [Hook::Ingress, Hook::Companion] {
        for other in [packet.clone().macs([0xff; 6], ROUTER), packet.clone().macs(NEXT_NODE, ROUTER)] {
            let (verdict, bytes) = bench.run(hook, &other.bytes());
            // XDP asks for whom a frame is when it knows the way that it would take
            let ends = if hook == Hook::Ingress { Verdict::Drop(DropReason::TtlExceeded) } else { Verdict::Pass };
            assert_eq!((verdict, bytes), (ends, other.bytes()), "{hook:?} {other:?}");
        }
        // an error about an error
        let about = tcp((VIP, 80), (CLIENT, 40_000), ACK).quoted(40);
        let error = icmp("203.0.113.1", VIP, (3, 4), &about).ttl(1);
        assert_eq!(bench.run(hook, &error.bytes()).0, Verdict::Drop(DropReason::TtlExceeded));
        // a later fragment
        let parts = crate::packet::fragments(&udp((CLIENT, 5000), (VIP, 5353)).payload(&[7; 64]).bytes(), 32);
        assert!(matches!(bench.run(Hook::Ingress, &parts[0]).0, Verdict::Transmit(_)));
        let mut later = parts[1].clone();
        later[22] = 1;
        later[24..26].fill(0);
        let sum = checksum(&later[14..34]);
        later[24..26].copy_from_slice(&sum);
        assert_eq!(bench.run(hook, &later).0, Verdict::Drop(DropReason::TtlExceeded));
    }
    assert_eq!(bench.host.stats.borrow()[Stat::ErrorsSent as usize], 0);
    bench.assert_equal_state();
}

#[test]
fn their_rate_is_limited() {
    let packet = tcp((CLIENT, 40_000), (VIP, 80), SYN).ttl(1).macs(UPLINK, ROUTER).bytes();
    let host = crate::world::host(crate::world::Devices { first: 7, second: 8 });
    let host = lb_common::host::Maps { ingress: 7, ..host };
    let tell = || {
        let mut bytes = lb_common::host::Bytes(packet.clone());
        let frame = lb_common::ethernet::Ethernet::parse(&bytes).unwrap();
        let why = lb_common::verdict::TTL_EXCEEDED;
        lb_common::pipeline::refuse::<lb_common::addr::V4, _, _>(&mut bytes, &frame, &host, why) == Verdict::Answer
    };
    assert_eq!((0..200).filter(|_| tell()).count(), 50, "so many at once");
    host.into_tick.set(10_000_000);
    assert_eq!((0..200).filter(|_| tell()).count(), 10, "and one in a millisecond");
    host.into_tick.set(1_000_000_000);
    assert_eq!((0..200).filter(|_| tell()).count(), 50, "what was not used does not add up beyond that");
    assert_eq!(host.stats.borrow()[Stat::ErrorsLimited as usize], 490);
}

/// A checksum that is left to the device: the field holds the sum of the pseudo header, and is completed when the error
/// that quotes the packet has been sent. That of ICMP must be right then.
#[test]
fn a_partial_checksum_in_the_quote_is_foreseen() {
    for (packet, field) in [
        (tcp((CLIENT, 40_000), (VIP, 80), SYN).ttl(1).payload(&[7; 80]), 50),
        (udp((CLIENT, 5_000), (VIP, 5353)).ttl(1).payload(&[7; 1_001]), 40),
        (udp((CLIENT, 5_000), (VIP, 5300)).payload(&[7; 1_461]), 40),
    ] {
        let mut bench = Bench::new();
        let mut bytes = packet.bytes();
        let length = (bytes.len() - 34) as u64;
        let words =
            |bytes: &[u8]| bytes.chunks(2).map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]]))).sum::<u64>();
        let partial = fold(words(&bytes[26..34]) + u64::from(bytes[23]) + length);
        bytes[field..field + 2].copy_from_slice(&partial.to_be_bytes());
        let (verdict, mut sent) = bench.run(Hook::Companion, &bytes);
        assert_eq!(verdict, Verdict::Answer);
        // as `skb_checksum_help` does it, from the quoted transport header to the end
        let sum = checksum(&sent[28 + 34..]);
        sent[28 + field..28 + field + 2].copy_from_slice(&sum);
        assert_eq!(checksum(&sent[34..]), [0, 0], "{packet:?}");
    }
}
