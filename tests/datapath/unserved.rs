//! What clients are told that find nobody: no backend, or no such port of a VIP.

use lb_common::abi::{Stat, frontend_flag};
use lb_common::csum::fold;
use lb_common::drop_reason::DropReason;
use lb_common::verdict::Verdict;

use crate::fixture::{Bench, Hook};
use crate::packet::{ACK, Builder, FIN, ROUTER, RST, SYN, UPLINK, icmp, tcp, udp};
use crate::world::{self, CLIENT, NEXT_NODE, NODE, VIP};

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let sum = bytes.chunks(2).map(|pair| u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))).sum();
    (!fold(sum)).to_be_bytes()
}

/// The frame that goes back from the VIP: this protocol, these bytes behind the IP header.
fn back(packet: &Builder, protocol: u8, behind: &[u8]) -> Vec<u8> {
    let mut frame = [packet.from_mac, packet.to_mac].concat();
    for (protocol, id) in &packet.tags {
        frame.extend([protocol.to_be_bytes(), id.to_be_bytes()].concat());
    }
    frame.extend([8, 0]);
    let mut ip = vec![0x45, 0xc0];
    ip.extend(((20 + behind.len()) as u16).to_be_bytes());
    ip.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
    ip.extend(packet.destination.0.octets());
    ip.extend(packet.source.0.octets());
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);
    [&frame[..], &ip, behind].concat()
}

/// The reset that answers a segment.
pub(crate) fn reset(packet: &Builder, flags: u8, sequence: u32, acknowledged: u32) -> Vec<u8> {
    let mut header = [packet.destination.1.to_be_bytes(), packet.source.1.to_be_bytes()].concat();
    header.extend([sequence.to_be_bytes(), acknowledged.to_be_bytes()].concat());
    header.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
    let mut covered = [packet.destination.0.octets(), packet.source.0.octets()].concat();
    covered.extend([0, 6, 0, 20]);
    covered.extend(&header);
    let sum = checksum(&covered);
    header[16..18].copy_from_slice(&sum);
    back(packet, 6, &header)
}

/// "Port unreachable" about a datagram.
pub(crate) fn unreachable(packet: &Builder, quoted: usize) -> Vec<u8> {
    let mut message = vec![3, 3, 0, 0, 0, 0, 0, 0];
    message.extend(packet.quoted(quoted));
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum);
    back(packet, 1, &message)
}

pub(crate) const RST_ACK: u8 = 0x14;
/// Of a service without a backend, and of no service.
const PORTS: [(u16, DropReason); 2] = [(82, DropReason::NoBackend), (9, DropReason::NoPort)];

#[test]
fn connections_are_reset_at_once() {
    let mut bench = Bench::new();
    for (port, reason) in PORTS {
        let packet = |flags| tcp((CLIENT, 40_000), (VIP, port), flags);
        let answers = [
            // the builder's sequence number is 7, what it acknowledges 9, its payload 5 bytes
            (packet(SYN), RST_ACK, 0, 13),
            (packet(SYN).payload(b""), RST_ACK, 0, 8),
            (packet(ACK), RST, 9, 0),
            (packet(FIN), RST, 9, 0),
            (packet(SYN).options(&[1; 8]), RST_ACK, 0, 13),
            (packet(SYN).tag(0x8100, 5), RST_ACK, 0, 13),
            (packet(SYN).tag(0x88a8, 5).tag(0x8100, 6).payload(&[7; 1_000]), RST_ACK, 0, 1_008),
        ];
        let count = answers.len() as u64;
        for hook in [Hook::Ingress, Hook::Companion] {
            for (packet, flags, sequence, acknowledged) in &answers {
                let (verdict, bytes) = bench.run(hook, &packet.bytes());
                if reason == DropReason::NoPort && hook == Hook::Ingress {
                    assert_eq!((verdict, bytes), (Verdict::Pass, packet.bytes()), "XDP leaves that to the companion");
                    continue;
                }
                let expected = reset(packet, *flags, *sequence, *acknowledged);
                assert_eq!((verdict, bytes), (Verdict::Answer, expected), "{hook:?} {packet:?}");
            }
        }
        let hooks = if reason == DropReason::NoPort { 1 } else { 2 };
        assert_eq!(bench.host.drops.borrow()[reason as usize].packets, hooks * count, "they count as drops");
    }
    bench.assert_equal_state();
    assert_eq!(bench.host.stats.borrow()[Stat::Refused as usize], 21);
}

#[test]
fn a_node_port_without_backends_is_refused_by_the_node() {
    let mut bench = Bench::with(|devices| {
        let mut maps = world::host(devices);
        for entry in maps.frontends.values_mut().filter(|entry| entry.service == 1) {
            entry.service = 5;
        }
        maps
    });
    let packet = tcp((CLIENT, 40_000), (NODE, 30_088), SYN);
    let (verdict, bytes) = bench.run(Hook::Ingress, &packet.bytes());
    assert_eq!((verdict, bytes), (Verdict::Answer, reset(&packet, RST_ACK, 0, 13)));
    let host = tcp((CLIENT, 40_000), (NODE, 30_089), SYN);
    bench.ingress(&host, Verdict::Pass, &host);
}

#[test]
fn senders_of_datagrams_are_told_that_nobody_is_there() {
    let mut bench = Bench::new();
    for packet in [udp((CLIENT, 40_000), (VIP, 9)), udp((CLIENT, 40_000), (VIP, 7070)).payload(&[7; 1_200])] {
        let (verdict, bytes) = bench.run(Hook::Companion, &packet.bytes());
        let quoted = packet.quoted(usize::MAX).len().min(548) & !3;
        assert_eq!((verdict, bytes), (Verdict::Answer, unreachable(&packet, quoted)), "{packet:?}");
    }
    bench.assert_equal_state();
}

#[test]
fn some_are_told_nothing() {
    let mut bench = Bench::new();
    for (port, reason) in PORTS {
        let reset = tcp((CLIENT, 40_000), (VIP, port), RST).bytes();
        assert_eq!(bench.run(Hook::Companion, &reset).0, Verdict::Drop(reason), "no reset answers a reset");
        // frames for other stations are theirs
        for to in [NEXT_NODE, [0xff; 6]] {
            let others = tcp((CLIENT, 40_000), (VIP, port), SYN).macs(to, ROUTER).bytes();
            assert_eq!(bench.run(Hook::Companion, &others), (Verdict::Pass, others.clone()));
        }
        // nobody could be told
        let lost = tcp(("224.0.0.1", 1), (VIP, port), SYN).bytes();
        let reason = if port == 9 { reason } else { DropReason::BadSource };
        assert_eq!(bench.run(Hook::Companion, &lost).0, Verdict::Drop(reason));
    }
    let other = icmp(CLIENT, VIP, (13, 0), &[0; 12]).macs(UPLINK, ROUTER);
    bench.ingress(&other, Verdict::Pass, &other);
    assert_eq!(bench.host.stats.borrow()[Stat::Refused as usize], 0);
    bench.assert_equal_state();
}

/// As kube-proxy does it for `externalTrafficPolicy: Local`.
#[test]
fn who_is_to_come_to_another_node_is_not_refused() {
    let mut bench = Bench::with(|devices| {
        let mut maps = world::host(devices);
        for entry in maps.frontends.values_mut().filter(|entry| entry.service == 5) {
            entry.flags |= frontend_flag::ELSEWHERE;
        }
        maps
    });
    for hook in [Hook::Ingress, Hook::Companion] {
        let packet = tcp((CLIENT, 40_000), (VIP, 82), SYN).bytes();
        assert_eq!(bench.run(hook, &packet), (Verdict::Drop(DropReason::NoLocalBackend), packet.clone()), "{hook:?}");
    }
    bench.assert_equal_state();
}
