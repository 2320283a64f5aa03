//! Packets that contradict themselves are never forwarded, and counted by reason.

use lb_common::drop_reason::DropReason;
use lb_common::verdict::Verdict;

use crate::fixture::{Bench, Hook};
use crate::packet::{SYN, tcp, udp};
use crate::world::{CLIENT, FRONT, VIP, VIP2};

/// Offsets in a frame without tags.
const IP: usize = 14;
const TCP: usize = 34;

/// A good packet with some bytes replaced and the IPv4 checksum made right again, so that only the defect counts.
fn spoiled(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut packet = tcp((CLIENT, 40_000), (VIP, 7070), SYN).bytes();
    packet[at..at + bytes.len()].copy_from_slice(bytes);
    packet
}

#[test]
fn truncated_headers() {
    let mut bench = Bench::new();
    let whole = tcp((CLIENT, 40_000), (VIP, 7070), SYN).bytes();
    bench.dropped(&whole[..IP + 19], DropReason::TruncatedIp);
    bench.dropped(&whole[..TCP + 19], DropReason::TruncatedIp);
    let mut tag_only = whole[..14].to_vec();
    tag_only[12..14].copy_from_slice(&[0x81, 0x00]);
    tag_only.extend([0, 1]);
    bench.dropped(&tag_only, DropReason::TruncatedEthernet);
}

#[test]
fn impossible_ip_headers() {
    let mut bench = Bench::new();
    bench.dropped(&spoiled(IP, &[0x55]), DropReason::BadIpHeader);
    bench.dropped(&spoiled(IP, &[0x44]), DropReason::BadIpHeader);
    bench.dropped(&spoiled(IP + 2, &[0, 10]), DropReason::BadIpHeader);
    bench.dropped(&spoiled(IP + 2, &[0xff, 0xff]), DropReason::TruncatedIp);
    bench.dropped(&spoiled(IP + 10, &[0xde, 0xad]), DropReason::BadIpChecksum);
    // options beyond the total length
    bench.dropped(&spoiled(IP, &[0x4f]), DropReason::BadIpHeader);
}

#[test]
fn a_bad_checksum_in_the_options_counts() {
    let mut bench = Bench::new();
    let mut packet = tcp((CLIENT, 40_000), (VIP, 7070), SYN).options(&[1; 8]).bytes();
    packet[IP + 27] ^= 1;
    bench.dropped(&packet, DropReason::BadIpChecksum);
}

#[test]
fn impossible_transport_headers() {
    let mut bench = Bench::new();
    bench.dropped(&spoiled(TCP + 12, &[0x40]), DropReason::BadTransportHeader);
    bench.dropped(&spoiled(TCP + 12, &[0xf0]), DropReason::BadTransportHeader);
    let mut packet = udp((CLIENT, 5000), (VIP, 53)).bytes();
    packet[TCP + 4..TCP + 6].copy_from_slice(&[0, 7]);
    bench.dropped(&packet, DropReason::BadTransportHeader);
    packet[TCP + 4..TCP + 6].copy_from_slice(&[0, 200]);
    bench.dropped(&packet, DropReason::BadTransportHeader);
}

#[test]
fn foreign_packets_are_not_judged_by_their_transport_header() {
    let mut bench = Bench::new();
    let mut packet = tcp((CLIENT, 40_000), ("198.51.100.1", 7070), SYN).bytes();
    packet[TCP + 12] = 0x40;
    assert_eq!(bench.run(Hook::Ingress, &packet).0, Verdict::Pass);
}

#[test]
fn impossible_sources_and_flags() {
    let mut bench = Bench::new();
    for source in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", VIP] {
        bench.dropped(&tcp((source, 40_000), (VIP, 7070), SYN).bytes(), DropReason::BadSource);
    }
    // what is called a land attack
    bench.dropped(&tcp((VIP, 7070), (VIP, 7070), SYN).bytes(), DropReason::BadSource);
    for flags in [0x00, 0x03, 0x06, 0x20] {
        bench.dropped(&tcp((CLIENT, 40_000), (VIP, 7070), flags).bytes(), DropReason::BadTcpFlags);
    }
}

/// One such datagram, and two services that answer whatever they get would do so for ever.
#[test]
fn no_client_has_the_address_of_another_vip() {
    let mut bench = Bench::new();
    for source in [VIP2, FRONT] {
        for packet in [udp((source, 53), (VIP, 53)), udp((source, 53), (VIP, 5300)), tcp((source, 80), (VIP, 80), SYN)]
        {
            bench.dropped(&packet.bytes(), DropReason::BadSource);
        }
    }
    assert!(bench.flows(lb_common::lookup::Table::HalfOpen).is_empty(), "none of them began a flow");
}

/// Where there is no XDP, the companion sees them first.
#[test]
fn on_tc_alike() {
    let mut bench = Bench::new();
    let good = tcp((CLIENT, 40_000), (VIP, 7070), SYN);
    let mut short_udp = udp((CLIENT, 5000), (VIP, 53)).bytes();
    short_udp[TCP + 4..TCP + 6].copy_from_slice(&[0, 7]);
    for (packet, reason) in [
        (good.bytes()[..TCP + 19].to_vec(), DropReason::TruncatedIp),
        (spoiled(IP, &[0x44]), DropReason::BadIpHeader),
        (spoiled(IP + 10, &[0xde, 0xad]), DropReason::BadIpChecksum),
        (spoiled(TCP + 12, &[0x40]), DropReason::BadTransportHeader),
        (short_udp, DropReason::BadTransportHeader),
        (good.clone().from(VIP, 7070).bytes(), DropReason::BadSource),
        (good.clone().from("127.0.0.1", 1).bytes(), DropReason::BadSource),
        (tcp((CLIENT, 40_000), (VIP, 7070), 0x03).bytes(), DropReason::BadTcpFlags),
    ] {
        let before = bench.host.drops.borrow()[reason as usize].packets;
        assert_eq!(bench.run(Hook::Companion, &packet).0, Verdict::Drop(reason), "{reason:?}");
        assert_eq!(bench.host.drops.borrow()[reason as usize].packets, before + 1, "{reason:?} is counted");
    }
    assert!(bench.flows(lb_common::lookup::Table::HalfOpen).is_empty(), "none of them began a flow");
}
