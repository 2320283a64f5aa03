//! Fragments: later ones follow the first through the same flow.

use lb_common::abi::{Stat, Task};
use lb_common::drop_reason::DropReason;
use lb_common::lookup::Table;
use lb_common::verdict::Verdict;

use crate::fixture::{Bench, Hook, hex};
use crate::packet::{ACK, Builder, ROUTER, UPLINK, fragments, tcp, udp};
use crate::world::{CLIENT, FRONT, NEXT_NODE, NODE, VIP};

/// A datagram of 4,000 bytes and its parts, of the size that Ethernet carries.
fn large(packet: Builder) -> (Builder, Vec<Vec<u8>>) {
    let packet = packet.payload(&(0..4_000u32).map(|n| n as u8).collect::<Vec<_>>());
    let parts = fragments(&packet.bytes(), 1_480);
    assert_eq!(parts.len(), 3);
    (packet, parts)
}

/// Each part of `packet` must come out as that part of `expected`.
fn all_become(bench: &mut Bench, hook: Hook, packet: Builder, verdict: Verdict, expected: Builder) {
    let (_, parts) = large(packet);
    let (_, expected) = large(expected);
    for (part, expected) in parts.iter().zip(&expected) {
        let (got, bytes) = bench.run(hook, part);
        assert_eq!((got, hex(&bytes)), (verdict, hex(expected)));
    }
}

#[test]
fn to_a_local_pod_and_back() {
    let mut bench = Bench::new();
    let packet = udp((CLIENT, 5000), (VIP, 53));
    let expected = packet.clone().to("10.244.1.11", 53);
    all_become(&mut bench, Hook::Ingress, packet, Verdict::Deliver, expected);
    let reply = udp(("10.244.1.11", 53), (CLIENT, 5000));
    let expected = reply.clone().from(VIP, 53);
    all_become(&mut bench, Hook::Egress, reply, Verdict::Deliver, expected);
    assert_eq!(bench.host.stats.borrow()[Stat::FragmentsFollowed as usize], 4);
    bench.assert_equal_state();
}

#[test]
fn to_a_remote_pod_and_back() {
    let mut bench = Bench::new();
    let sent = Verdict::Transmit(bench.devices.first);
    let packet = udp((CLIENT, 5000), (VIP, 5353));
    // the first part begins the flow
    assert_eq!(bench.run(Hook::Ingress, &large(packet.clone()).1[0]).0, sent);
    let port = bench.flows(Table::HalfOpen).values().next().unwrap().snat_port.host();
    let expected = packet.clone().from(NODE, port).to("10.244.2.21", 53).ttl(63).macs(NEXT_NODE, UPLINK);
    all_become(&mut bench, Hook::Ingress, packet.clone(), sent, expected);
    let reply = udp(("10.244.2.21", 53), (NODE, port)).macs(UPLINK, NEXT_NODE).no_checksum();
    let expected = reply.clone().from(VIP, 5353).to(CLIENT, 5000).ttl(63).macs(ROUTER, UPLINK);
    all_become(&mut bench, Hook::Ingress, reply, sent, expected);
    // on tc too
    let (verdict, _) = bench.run(Hook::Companion, &large(packet).1[2]);
    assert_eq!(verdict, sent);
    bench.assert_equal_state();
}

#[test]
fn to_the_front_and_to_an_unresolved_neighbour() {
    let mut bench = Bench::new();
    for part in fragments(&tcp((CLIENT, 1), (FRONT, 80), ACK).payload(&[1; 200]).bytes(), 64) {
        let (verdict, bytes) = bench.run(Hook::Ingress, &part);
        assert_eq!((verdict, bytes), (Verdict::Front, part));
    }
    for part in fragments(&tcp((CLIENT, 1), (VIP, 83), ACK).payload(&[1; 200]).bytes(), 64) {
        let (verdict, bytes) = bench.run(Hook::Ingress, &part);
        assert_eq!((verdict, bytes), (Verdict::HandOver(Task::Forward), part.clone()));
        assert_eq!(bench.run(Hook::Companion, &part).0, Verdict::Transmit(bench.devices.first));
    }
}

#[test]
fn a_later_fragment_before_its_first() {
    let mut bench = Bench::new();
    let (_, parts) = large(udp((CLIENT, 5000), (VIP, 53)));
    bench.dropped(&parts[1], DropReason::FragmentEarly);
    // at an address of the node it may be the host's
    let (_, others) = large(udp((CLIENT, 5000), (NODE, 53)));
    assert_eq!(bench.run(Hook::Ingress, &others[1]).0, Verdict::Pass);
    assert_eq!(bench.run(Hook::Egress, &parts[1]).0, Verdict::Pass);
    // once the first has come, the order of the others does not matter
    for part in [&parts[0], &parts[2], &parts[1]] {
        assert_eq!(bench.run(Hook::Ingress, part).0, Verdict::Deliver);
    }
    // another datagram of the same client
    let mut other = parts[1].clone();
    other[19] ^= 1;
    let sum = u16::from_be_bytes([other[24], other[25]]);
    let sum = if parts[1][19] & 1 == 0 { sum - 1 } else { sum + 1 };
    other[24..26].copy_from_slice(&sum.to_be_bytes());
    bench.dropped(&other, DropReason::FragmentEarly);
}

#[test]
fn a_first_fragment_that_is_not_ours_is_not_remembered() {
    let mut bench = Bench::new();
    let (_, parts) = large(udp((CLIENT, 5000), (VIP, 99)));
    assert_eq!(bench.run(Hook::Ingress, &parts[0]).0, Verdict::Pass);
    assert!(bench.host.fragments.borrow().is_empty());
    bench.dropped(&parts[1], DropReason::FragmentEarly);
}
