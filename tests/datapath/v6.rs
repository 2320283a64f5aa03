//! IPv6 through host and kernel.

use lb_common::abi::Stat;
use lb_common::drop_reason::DropReason;
use lb_common::lookup::Table;
use lb_common::verdict::Verdict;

use crate::fixture::Hook;
use crate::packet::{ACK, ROUTER, SYN, SYN_ACK, UPLINK};
use crate::packet6::{Builder6, Carries, packet6};
use crate::world::{NEXT_NODE, ROUTER2, UPLINK2};
use crate::world6::{Bench6, CLIENT, FAR_POD, LOCAL_POD, NODE, NODE2, REMOTE_POD, VIP};

mod dsr;
mod errors;
mod headers;
mod icmp;
mod inside;
mod malformed;
mod policy;
pub(crate) mod random;
mod refused;
mod sctp;
mod tunnel;

/// A flow to the backend on the next node, begun; gives the port of its lease.
fn begin(bench: &mut Bench6) -> u16 {
    let sent = Verdict::Transmit(bench.devices.first);
    let (verdict, _) = bench.run(Hook::Ingress, &packet6(Carries::Tcp(SYN), (CLIENT, 40_000), (VIP, 81)).bytes());
    assert_eq!(verdict, sent);
    bench.replies(Table::HalfOpen).keys().map(|replies| replies.destination_port.host()).next().unwrap()
}

#[test]
fn local_backend_and_its_reply() {
    let mut bench = Bench6::new();
    for (at, port) in [(VIP, 80), (NODE, 30_088)] {
        let packet = packet6(Carries::Tcp(SYN), (CLIENT, 10_000 + port), (at, port));
        let expected = packet.clone().to(LOCAL_POD, 8080);
        bench.becomes(Hook::Ingress, &packet, Verdict::Deliver, &expected);
        bench.becomes(Hook::Companion, &packet, Verdict::Deliver, &expected);
        let reply = packet6(Carries::Tcp(SYN_ACK), (LOCAL_POD, 8080), (CLIENT, 10_000 + port)).hops(63);
        bench.becomes(Hook::Egress, &reply, Verdict::Deliver, &reply.clone().from(at, port));
    }
    bench.assert_equal_state();
}

#[test]
fn remote_backend_and_its_reply() {
    let mut bench = Bench6::new();
    let sent = Verdict::Transmit(bench.devices.first);
    let port = begin(&mut bench);
    let packet = packet6(Carries::Tcp(ACK), (CLIENT, 40_000), (VIP, 81));
    let expected = packet.clone().from(NODE, port).to(REMOTE_POD, 8080).hops(63);
    bench.becomes(Hook::Ingress, &packet, sent, &expected.clone().macs(NEXT_NODE, UPLINK));
    bench.becomes(Hook::Companion, &packet, sent, &expected);
    let reply = packet6(Carries::Tcp(SYN_ACK), (REMOTE_POD, 8080), (NODE, port)).macs(UPLINK, NEXT_NODE);
    let expected = reply.clone().from(VIP, 81).to(CLIENT, 40_000).hops(63).macs(ROUTER, UPLINK);
    bench.becomes(Hook::Ingress, &reply, sent, &expected);
    bench.assert_equal_state();
}

#[test]
fn out_of_another_uplink() {
    let mut bench = Bench6::new();
    let packet = packet6(Carries::Tcp(SYN), (CLIENT, 40_000), (VIP, 82));
    let (verdict, bytes) = bench.run(Hook::Ingress, &packet.bytes());
    let port = bench.replies(Table::HalfOpen).keys().next().unwrap().destination_port.host();
    let expected = packet.from(NODE2, port).to(FAR_POD, 8080).hops(63).macs(ROUTER2, UPLINK2);
    assert_eq!((verdict, bytes), (Verdict::Transmit(bench.devices.second), expected.bytes()));
}

#[test]
fn malformed_and_foreign() {
    let mut bench = Bench6::new();
    let packet = |source, destination| packet6(Carries::Tcp(SYN), source, destination);
    let good = packet((CLIENT, 40_000), (VIP, 80));
    let mut wrong_version = good.bytes();
    wrong_version[14] = 0x40;
    bench.dropped(&wrong_version, DropReason::BadIpHeader);
    bench.dropped(&good.bytes()[..60], DropReason::TruncatedIp);
    bench.dropped(&good.bytes()[..54], DropReason::TruncatedIp);
    bench.dropped(&packet(("ff02::1", 1), (VIP, 80)).bytes(), DropReason::BadSource);
    bench.dropped(&packet(("::1", 1), (VIP, 80)).bytes(), DropReason::BadSource);
    let told = bench.run(Hook::Ingress, &packet((CLIENT, 1), (VIP, 81)).hops(1).bytes());
    assert_eq!(told.0, Verdict::Answer, "the sender is told");
    assert_eq!(bench.host.drops.borrow()[DropReason::TtlExceeded as usize].packets, 1);
    bench.dropped(&packet((CLIENT, 1), (VIP, 83)).bytes(), DropReason::NoRoute);
    let other = packet((CLIENT, 1), (VIP, 9));
    bench.becomes(Hook::Ingress, &other, Verdict::Pass, &other);
}

/// RFC 8200, section 8.1. What is not for a frontend is not ours to judge.
#[test]
fn udp_without_a_checksum() {
    let mut bench = Bench6::new();
    let checked = packet6(Carries::Udp, (CLIENT, 5_000), (VIP, 53));
    let unchecked = Builder6 { carries: Carries::UdpUnchecked, ..checked.clone() };
    bench.becomes(Hook::Ingress, &checked, Verdict::Deliver, &checked.clone().to(LOCAL_POD, 53));
    bench.dropped(&unchecked.bytes(), DropReason::UdpZeroChecksum);
    let elsewhere = unchecked.to(VIP, 54);
    bench.becomes(Hook::Ingress, &elsewhere, Verdict::Pass, &elsewhere);
}

/// The parts of `packet` must come out as those of `expected`.
fn parts_become(bench: &mut Bench6, hook: Hook, packet: &Builder6, verdict: Verdict, expected: &Builder6) {
    for (part, expected) in packet.fragments(1_232, 7).iter().zip(expected.fragments(1_232, 7)) {
        assert_eq!(bench.run(hook, part), (verdict, expected));
    }
}

#[test]
fn later_fragments_follow_the_first() {
    let mut bench = Bench6::new();
    let large: Vec<u8> = (0..3_000u32).map(|n| n as u8).collect();
    let packet = packet6(Carries::Udp, (CLIENT, 5_000), (VIP, 53)).payload(&large);
    parts_become(&mut bench, Hook::Ingress, &packet, Verdict::Deliver, &packet.clone().to(LOCAL_POD, 53));
    let reply = packet6(Carries::Udp, (LOCAL_POD, 53), (CLIENT, 5_000)).payload(&large);
    parts_become(&mut bench, Hook::Egress, &reply, Verdict::Deliver, &reply.clone().from(VIP, 53));
    let packet = packet6(Carries::Udp, (CLIENT, 5_000), (VIP, 5353)).payload(&large);
    let sent = Verdict::Transmit(bench.devices.first);
    assert_eq!(bench.run(Hook::Ingress, &packet.fragments(1_232, 7)[0]).0, sent);
    let port = bench
        .replies(Table::HalfOpen)
        .keys()
        .find(|replies| replies.source_port.host() == 53 && replies.destination_port.host() >= 15_000)
        .unwrap()
        .destination_port
        .host();
    let expected = packet.clone().from(NODE, port).to(REMOTE_POD, 53).hops(63).macs(NEXT_NODE, UPLINK);
    parts_become(&mut bench, Hook::Ingress, &packet, sent, &expected);
    assert_eq!(bench.host.stats.borrow()[Stat::FragmentsFollowed as usize], 6);
    bench.assert_equal_state();
}

#[test]
fn a_fragment_before_its_first() {
    let mut bench = Bench6::new();
    let packet = packet6(Carries::Udp, (CLIENT, 5_000), (VIP, 53)).payload(&[1; 3_000]);
    bench.dropped(&packet.fragments(1_232, 7)[1], DropReason::FragmentEarly);
    let elsewhere = packet.clone().to(NODE, 53).fragments(1_232, 7);
    assert_eq!(bench.run(Hook::Ingress, &elsewhere[1]), (Verdict::Pass, elsewhere[1].clone()));
    // another datagram's first is not its first
    assert_eq!(bench.run(Hook::Ingress, &packet.fragments(1_232, 8)[0]).0, Verdict::Deliver);
    bench.dropped(&packet.fragments(1_232, 7)[1], DropReason::FragmentEarly);
}

/// RFC 6946: a packet that is its own only fragment needs no other, and is none to wait for.
#[test]
fn atomic_fragments_are_whole_packets() {
    let mut bench = Bench6::new();
    let packet = packet6(Carries::Tcp(SYN), (CLIENT, 40_000), (VIP, 80)).header(44, &[0, 0, 0, 0, 0, 0, 9]);
    bench.becomes(Hook::Ingress, &packet, Verdict::Deliver, &packet.clone().to(LOCAL_POD, 8080));
    assert!(bench.host.fragments.borrow().is_empty());
    bench.assert_equal_state();
}
