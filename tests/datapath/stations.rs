//! Frames that are addressed to other stations, as a device hears them that listens to everything or whose switch floods:
//! whoever they are for forwards them, and nobody else, also where the flow is known.

use lb_common::lookup::Table;
use lb_common::verdict::Verdict;

use crate::fixture::{Bench, Hook};
use crate::packet::{ACK, ROUTER, SYN, SYN_ACK, UPLINK, icmp, tcp};
use crate::packet6::{Carries, packet6};
use crate::world::{CLIENT, FAR_POD, NEXT_NODE, NODE, REMOTE_POD, UPLINK2, VIP};
use crate::world6::{self, Bench6};

/// Another station, one that is ours on another device, a group, and everybody.
const OTHERS: [[u8; 6]; 4] = [NEXT_NODE, UPLINK2, [1, 0, 0x5e, 0, 0, 1], [0xff; 6]];

#[test]
fn what_others_are_sent_is_not_forwarded() {
    let mut bench = Bench::new();
    // flows with a pod here, with one on the next node, and with one behind the second uplink
    let (here, there, far) = (
        tcp((CLIENT, 1), (VIP, 7070), SYN),
        tcp((CLIENT, 40_000), (VIP, 80), SYN),
        tcp((CLIENT, 40_000), (VIP, 81), SYN),
    );
    for packet in [&here, &there, &far] {
        assert_ne!(bench.run(Hook::Ingress, &packet.bytes()).0, Verdict::Pass);
    }
    let port_to = |bench: &Bench, pod: &str| {
        let replies = bench.replies(Table::HalfOpen);
        replies.keys().find(|key| key.source == crate::world::address(pod)).unwrap().destination_port.host()
    };
    let (port, far_port) = (port_to(&bench, REMOTE_POD), port_to(&bench, FAR_POD));
    let about = |from: (&str, u16), to: (&str, u16)| tcp(from, to, ACK).quoted(40);
    let packets = [
        here,
        there,
        far,
        tcp((REMOTE_POD, 8080), (NODE, port), SYN_ACK),
        tcp((FAR_POD, 8080), ("10.20.0.11", far_port), SYN_ACK),
        icmp("203.0.113.1", VIP, (3, 4), &about((VIP, 80), (CLIENT, 40_000))),
        icmp("203.0.113.1", VIP, (3, 4), &about((VIP, 7070), (CLIENT, 1))),
        icmp("203.0.113.1", NODE, (3, 4), &about((NODE, port), (REMOTE_POD, 8080))),
    ];
    for packet in packets {
        for (hook, other) in [Hook::Ingress, Hook::Companion].into_iter().flat_map(|hook| OTHERS.map(|to| (hook, to))) {
            let overheard = packet.clone().macs(other, ROUTER);
            let (verdict, bytes) = bench.run(hook, &overheard.bytes());
            assert_eq!((verdict, bytes), (Verdict::Pass, overheard.bytes()), "{hook:?} {overheard:?}");
            let (verdict, _) = bench.run(hook, &packet.clone().macs(UPLINK, ROUTER).bytes());
            assert!(matches!(verdict, Verdict::Deliver | Verdict::Transmit(_)), "{hook:?} {verdict:?} {packet:?}");
        }
    }
    bench.assert_equal_state();
}

#[test]
fn nor_is_that_of_ipv6() {
    let mut bench = Bench6::new();
    let there = packet6(Carries::Tcp(SYN), (world6::CLIENT, 40_000), (world6::VIP, 81));
    let here = packet6(Carries::Tcp(SYN), (world6::CLIENT, 1), (world6::VIP, 80));
    for packet in [&here, &there] {
        assert_ne!(bench.run(Hook::Ingress, &packet.bytes()).0, Verdict::Pass);
    }
    let replies = bench.replies(Table::HalfOpen);
    let leased = replies.keys().find(|key| key.source == world6::address(world6::REMOTE_POD));
    let port = leased.unwrap().destination_port.host();
    let reply = packet6(Carries::Tcp(SYN_ACK), (world6::REMOTE_POD, 8080), (world6::NODE, port));
    for packet in [here, there, reply] {
        for (hook, other) in [Hook::Ingress, Hook::Companion].into_iter().flat_map(|hook| OTHERS.map(|to| (hook, to))) {
            let overheard = packet.clone().macs(other, ROUTER);
            bench.becomes(hook, &overheard, Verdict::Pass, &overheard);
            let (verdict, _) = bench.run(hook, &packet.bytes());
            assert!(matches!(verdict, Verdict::Deliver | Verdict::Transmit(_)), "{hook:?} {verdict:?} {packet:?}");
        }
    }
    bench.assert_equal_state();
}
