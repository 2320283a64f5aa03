//! ICMP: errors that follow a flow, and echo to a VIP.

use lb_common::drop_reason::DropReason;
use lb_common::lookup::Table;
use lb_common::verdict::Verdict;

use crate::fixture::{Bench, Hook};
use crate::packet::{ACK, Builder, ROUTER, SYN, UPLINK, icmp, tcp, udp};
use crate::world::{CLIENT, FRONT, LOCAL_POD, NEXT_NODE, NODE, REMOTE_POD, VIP};

/// A router on the way to the client.
const HOP: &str = "203.0.113.1";
/// Destination unreachable: port; fragmentation needed. Time exceeded.
const PORT: (u8, u8) = (3, 3);
const TOO_BIG: (u8, u8) = (3, 4);
const TIME: (u8, u8) = (11, 0);
/// The shortest quote of RFC 792, one that ends before the checksum of TCP, one that ends with it, one with a part of the
/// data, all of it.
const LENGTHS: [usize; 5] = [28, 36, 38, 45, 999];

fn begin(bench: &mut Bench, packet: &Builder) -> u16 {
    let (verdict, _) = bench.run(Hook::Ingress, &packet.bytes());
    assert!(matches!(verdict, Verdict::Deliver | Verdict::Transmit(_)), "{verdict:?}");
    bench.flows(Table::HalfOpen).values().next().unwrap().snat_port.host()
}

#[test]
fn an_error_about_the_reply_of_a_local_pod_reaches_the_pod() {
    let mut bench = Bench::new();
    begin(&mut bench, &tcp((CLIENT, 40_000), (VIP, 7070), SYN));
    for length in LENGTHS {
        let seen = tcp((VIP, 7070), (CLIENT, 40_000), ACK).ttl(3);
        let sent = seen.clone().from(LOCAL_POD, 8080);
        let error = icmp(HOP, VIP, TOO_BIG, &seen.quoted(length));
        let expected = icmp(HOP, LOCAL_POD, TOO_BIG, &sent.quoted(length));
        bench.ingress(&error, Verdict::Deliver, &expected);
    }
    bench.assert_equal_state();
}

#[test]
fn an_error_about_the_reply_of_a_remote_pod_reaches_the_pod() {
    let mut bench = Bench::new();
    let port = begin(&mut bench, &tcp((CLIENT, 40_000), (VIP, 80), SYN));
    for length in LENGTHS {
        let seen = tcp((VIP, 80), (CLIENT, 40_000), ACK);
        let sent = seen.clone().from(REMOTE_POD, 8080).to(NODE, port);
        let error = icmp(HOP, VIP, TOO_BIG, &seen.quoted(length)).options(&[1; 8]);
        let expected = icmp(NODE, REMOTE_POD, TOO_BIG, &sent.quoted(length)).options(&[1; 8]);
        let expected = expected.ttl(63).macs(NEXT_NODE, UPLINK);
        bench.ingress(&error, Verdict::Transmit(bench.devices.first), &expected);
        // a tag stays on the way back out of the same device
        let tagged = error.tag(0x8100, 5);
        let (verdict, bytes) = bench.run(Hook::Ingress, &tagged.bytes());
        assert_eq!(verdict, Verdict::Transmit(bench.devices.first));
        assert_eq!(bytes[12..16], tagged.bytes()[12..16]);
    }
}

#[test]
fn an_error_from_the_way_to_a_remote_pod_reaches_the_client_from_the_vip() {
    let mut bench = Bench::new();
    let port = begin(&mut bench, &tcp((CLIENT, 40_000), (VIP, 80), SYN));
    for (from, kind) in [(REMOTE_POD, PORT), (HOP, TIME), (HOP, TOO_BIG)] {
        for length in LENGTHS {
            let seen = tcp((NODE, port), (REMOTE_POD, 8080), ACK).ttl(1);
            let sent = seen.clone().from(CLIENT, 40_000).to(VIP, 80);
            let error = icmp(from, NODE, kind, &seen.quoted(length)).macs(UPLINK, NEXT_NODE);
            let expected = icmp(VIP, CLIENT, kind, &sent.quoted(length)).ttl(63).macs(ROUTER, UPLINK);
            bench.ingress(&error, Verdict::Transmit(bench.devices.first), &expected);
        }
    }
}

#[test]
fn an_error_of_a_local_pod_leaves_from_the_vip() {
    let mut bench = Bench::new();
    begin(&mut bench, &udp((CLIENT, 5000), (VIP, 53)));
    for from in ["10.244.1.11", "10.244.1.1"] {
        for bare in [false, true] {
            let mut seen = udp((CLIENT, 5000), ("10.244.1.11", 53)).options(&[1; 4]);
            if bare {
                seen = seen.no_checksum();
            }
            let sent = seen.clone().to(VIP, 53);
            let error = icmp(from, CLIENT, PORT, &seen.quoted(999)).ttl(63);
            let expected = icmp(VIP, CLIENT, PORT, &sent.quoted(999)).ttl(63);
            bench.egress(&error, Verdict::Deliver, &expected);
        }
    }
}

#[test]
fn what_the_node_says_as_a_router_leaves_under_its_own_name() {
    let mut bench = Bench::new();
    begin(&mut bench, &udp((CLIENT, 5000), (VIP, 53)));
    let seen = udp((CLIENT, 5000), ("10.244.1.11", 53)).ttl(1);
    let sent = seen.clone().to(VIP, 53);
    let error = icmp(NODE, CLIENT, TIME, &seen.quoted(999));
    bench.egress(&error, Verdict::Deliver, &icmp(NODE, CLIENT, TIME, &sent.quoted(999)));
}

#[test]
fn an_error_about_an_unknown_flow_goes_to_the_backend_in_the_ring() {
    let mut bench = Bench::new();
    let local = tcp((VIP, 7070), (CLIENT, 40_001), ACK);
    let remote = tcp((VIP, 80), (CLIENT, 40_001), ACK);
    for length in LENGTHS {
        let error = icmp(HOP, VIP, TOO_BIG, &local.quoted(length));
        bench.ingress(&error, Verdict::HandOver(lb_common::abi::Task::Forward), &error);
        let (verdict, bytes) = bench.run(Hook::Companion, &error.bytes());
        let expected = icmp(HOP, LOCAL_POD, TOO_BIG, &local.clone().from(LOCAL_POD, 8080).quoted(length));
        assert_eq!((verdict, bytes), (Verdict::Deliver, expected.bytes()));
        let error = icmp(HOP, VIP, TOO_BIG, &remote.quoted(length));
        let (verdict, bytes) = bench.run(Hook::Companion, &error.bytes());
        let expected = icmp(HOP, REMOTE_POD, TOO_BIG, &remote.clone().from(REMOTE_POD, 8080).quoted(length)).ttl(63);
        assert_eq!((verdict, bytes), (Verdict::Transmit(bench.devices.first), expected.bytes()), "from whom it came");
    }
    let flooded = icmp(HOP, VIP, TOO_BIG, &local.quoted(28)).macs(NEXT_NODE, ROUTER);
    let (verdict, _) = bench.run(Hook::Companion, &flooded.bytes());
    assert_eq!(verdict, Verdict::Pass, "a frame for another station");
    assert!(bench.flows(Table::HalfOpen).is_empty(), "an error begins no flow");
    bench.assert_equal_state();
}

#[test]
fn half_a_quoted_checksum_stays() {
    let mut bench = Bench::new();
    begin(&mut bench, &tcp((CLIENT, 40_000), (VIP, 7070), SYN));
    let seen = tcp((VIP, 7070), (CLIENT, 40_000), ACK).quoted(37);
    let mut sent = tcp((LOCAL_POD, 8080), (CLIENT, 40_000), ACK).quoted(37);
    sent[36] = seen[36];
    bench.ingress(&icmp(HOP, VIP, TOO_BIG, &seen), Verdict::Deliver, &icmp(HOP, LOCAL_POD, TOO_BIG, &sent));
}

#[test]
fn an_error_about_what_the_front_sent_goes_to_the_front() {
    let mut bench = Bench::new();
    let error = icmp(HOP, FRONT, TOO_BIG, &tcp((FRONT, 80), (CLIENT, 40_000), ACK).quoted(28));
    bench.ingress(&error, Verdict::HandOver(lb_common::abi::Task::Forward), &error);
    let (verdict, bytes) = bench.run(Hook::Companion, &error.bytes());
    assert_eq!((verdict, bytes), (Verdict::Front, error.bytes()), "and another node's front is asked, too");
}

#[test]
fn errors_about_nothing_of_ours_are_left_alone() {
    let mut bench = Bench::new();
    let port = begin(&mut bench, &tcp((CLIENT, 40_000), (VIP, 80), SYN));
    let reply = tcp((VIP, 80), (CLIENT, 40_000), ACK);
    let others = [
        // another port of the node, another receiver than the quoted sender
        icmp(REMOTE_POD, NODE, PORT, &tcp((NODE, port ^ 1), (REMOTE_POD, 8080), ACK).quoted(28)),
        icmp(HOP, NODE, TOO_BIG, &reply.quoted(28)),
        // too short for ports, a later fragment, another protocol, not an error, no room for a header
        icmp(HOP, VIP, TOO_BIG, &reply.quoted(27)),
        icmp(HOP, VIP, TOO_BIG, &reply.clone().fragment(1).quoted(40)),
        icmp(HOP, VIP, TOO_BIG, &icmp(VIP, CLIENT, (8, 0), b"").quoted(28)),
        icmp(HOP, VIP, (5, 1), &reply.quoted(28)),
        icmp(HOP, VIP, TOO_BIG, b""),
    ];
    for error in others {
        bench.ingress(&error, Verdict::Pass, &error);
        bench.egress(&error, Verdict::Pass, &error);
    }
}

#[test]
fn errors_obey_time_to_live_and_neighbours() {
    let mut bench = Bench::new();
    begin(&mut bench, &tcp((CLIENT, 40_000), (VIP, 80), SYN));
    let quote = tcp((VIP, 80), (CLIENT, 40_000), ACK).quoted(28);
    bench.dropped(&icmp(HOP, VIP, TOO_BIG, &quote).ttl(1).bytes(), DropReason::TtlExceeded);
    let mut bytes = icmp(HOP, VIP, TOO_BIG, &quote).bytes();
    bytes[24] ^= 0xff; // header checksum
    bench.dropped(&bytes, DropReason::BadIpChecksum);
    // on tc the kernel finds the neighbour
    let (verdict, _) = bench.run(Hook::Companion, &icmp(HOP, VIP, TOO_BIG, &quote).bytes());
    assert_eq!(verdict, Verdict::Transmit(bench.devices.first));
}

#[test]
fn an_error_to_an_unresolved_backend_is_handed_over_untouched() {
    let mut bench = Bench::new();
    let (verdict, _) = bench.run(Hook::Companion, &tcp((CLIENT, 40_000), (VIP, 83), SYN).bytes());
    assert_eq!(verdict, Verdict::Transmit(bench.devices.first));
    let error = icmp(HOP, VIP, TOO_BIG, &tcp((VIP, 83), (CLIENT, 40_000), ACK).quoted(28));
    bench.ingress(&error, Verdict::HandOver(lb_common::abi::Task::Forward), &error);
}

#[test]
fn echo_to_a_vip_is_answered() {
    let mut bench = Bench::new();
    for (request, ttl) in [(icmp(CLIENT, VIP, (8, 0), b"odd"), 1), (icmp(CLIENT, FRONT, (8, 0), b""), 64)] {
        let request = request.ttl(ttl);
        let answer = Builder { icmp: Some((0, 0)), ..request.clone() };
        let answer = answer.from(&request.destination.0.to_string(), 0).to(CLIENT, 0).ttl(64).macs(ROUTER, UPLINK);
        bench.ingress(&request, Verdict::Answer, &answer);
        let (verdict, bytes) = bench.run(Hook::Companion, &request.bytes());
        assert_eq!((verdict, bytes), (Verdict::Answer, answer.bytes()));
    }
}

#[test]
fn echo_to_others_is_left_alone() {
    let mut bench = Bench::new();
    let others = [
        icmp(CLIENT, NODE, (8, 0), b"x"),
        icmp(CLIENT, "10.100.100.99", (8, 0), b"x"),
        icmp(CLIENT, VIP, (0, 0), b"x"),
        // a frame for a neighbour, seen because the switch flooded it; and for everybody
        icmp(CLIENT, VIP, (8, 0), b"x").macs(NEXT_NODE, ROUTER),
        icmp(CLIENT, VIP, (8, 0), b"x").macs([0xff; 6], ROUTER),
        icmp(CLIENT, VIP, (8, 0), b"x").fragment(0x2000),
    ];
    for request in others {
        bench.ingress(&request, Verdict::Pass, &request);
        bench.egress(&request, Verdict::Pass, &request);
    }
    bench.dropped(&icmp("224.0.0.1", VIP, (8, 0), b"x").bytes(), DropReason::BadSource);
    bench.dropped(&icmp(VIP, VIP, (8, 0), b"x").bytes(), DropReason::BadSource);
}
