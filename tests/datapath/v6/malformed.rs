//! Packets that contradict themselves, or come from where none can, are dropped by reason: by XDP and by the companion alike.

use super::*;
use crate::packet::{FIN, RST};

/// Offsets in a frame without tags.
const IP: usize = 14;
const TCP: usize = 54;

/// Both hooks drop the packet for this reason.
fn dropped(bench: &mut Bench6, packet: &[u8], reason: DropReason) {
    for hook in [Hook::Ingress, Hook::Companion] {
        let before = bench.host.drops.borrow()[reason as usize].packets;
        assert_eq!(bench.run(hook, packet).0, Verdict::Drop(reason), "{hook:?}");
        assert_eq!(bench.host.drops.borrow()[reason as usize].packets, before + 1, "drops are counted");
    }
}

fn good() -> Builder6 {
    packet6(Carries::Tcp(SYN), (CLIENT, 40_000), (VIP, 80))
}

/// A good packet with some bytes replaced.
fn spoiled(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut packet = good().bytes();
    packet[at..at + bytes.len()].copy_from_slice(bytes);
    packet
}

#[test]
fn cut_short() {
    let mut bench = Bench6::new();
    // the kernel test-runs no program of tc on less than the IP header
    bench.dropped(&good().bytes()[..IP + 39], DropReason::TruncatedIp);
    for length in [TCP, TCP + 19] {
        dropped(&mut bench, &good().bytes()[..length], DropReason::TruncatedIp);
    }
    dropped(&mut bench, &spoiled(IP + 4, &[0xff, 0xff]), DropReason::TruncatedIp);
}

#[test]
fn impossible_headers() {
    let mut bench = Bench6::new();
    dropped(&mut bench, &spoiled(IP, &[0x40]), DropReason::BadIpHeader);
    // the payload ends within the TCP header, which says it is shorter or longer than it can be
    dropped(&mut bench, &spoiled(IP + 4, &[0, 19]), DropReason::BadTransportHeader);
    dropped(&mut bench, &spoiled(TCP + 12, &[0x40]), DropReason::BadTransportHeader);
    dropped(&mut bench, &spoiled(TCP + 12, &[0xf0]), DropReason::BadTransportHeader);
    for length in [7_u16, 200] {
        let mut packet = packet6(Carries::Udp, (CLIENT, 5_000), (VIP, 53)).bytes();
        packet[TCP + 4..TCP + 6].copy_from_slice(&length.to_be_bytes());
        dropped(&mut bench, &packet, DropReason::BadTransportHeader);
    }
    let mut foreign = good().to("2001:db8:1::1", 80).bytes();
    foreign[TCP + 12] = 0x40;
    assert_eq!(bench.run(Hook::Ingress, &foreign).0, Verdict::Pass, "not ours to judge");
}

/// From nowhere, from several, from oneself; the last with equal ports is what is called a land attack.
#[test]
fn impossible_sources_and_flags() {
    let mut bench = Bench6::new();
    for source in ["::", "::1", "ff02::1"] {
        dropped(&mut bench, &good().from(source, 40_000).bytes(), DropReason::BadSource);
    }
    for port in [40_000, 80] {
        dropped(&mut bench, &good().from(VIP, port).bytes(), DropReason::BadSource);
    }
    let of_another_vip = packet6(Carries::Udp, (crate::world6::FRONT, 53), (VIP, 53));
    dropped(&mut bench, &of_another_vip.bytes(), DropReason::BadSource);
    for flags in [0, SYN | FIN, SYN | RST, 0x20] {
        let packet = packet6(Carries::Tcp(flags), (CLIENT, 40_000), (VIP, 80));
        dropped(&mut bench, &packet.bytes(), DropReason::BadTcpFlags);
    }
    assert!(bench.replies(Table::HalfOpen).is_empty(), "none of them began a flow");
}
