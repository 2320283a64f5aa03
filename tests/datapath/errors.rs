//! ICMP errors across nodes: about flows that another node knows, out of tunnels, and about tunnels.

use lb_common::abi::{Stat, Task};
use lb_common::drop_reason::DropReason;
use lb_common::lookup::Table;
use lb_common::verdict::Verdict;

use crate::dsr::tunnel;
use crate::fixture::{Bench, Hook, hex};
use crate::packet::{ACK, Builder, SYN, icmp, tcp, udp};
use crate::world::{CLIENT, FRONT, LOCAL_POD, NODE, NODE_2, NODE_3, REMOTE_POD, VIP};

/// A router on the way.
const HOP: &str = "203.0.113.1";
/// Destination unreachable: fragmentation needed; the builder says 1,400 bytes.
const TOO_BIG: (u8, u8) = (3, 4);

fn count(bench: &Bench, stat: Stat) -> u64 {
    bench.host.stats.borrow()[stat as usize]
}

/// An error about what left from the VIP's port to the client's.
fn about(port: u16, client: u16) -> Builder {
    icmp(HOP, VIP, TOO_BIG, &tcp((VIP, port), (CLIENT, client), ACK).quoted(48))
}

/// The error as another node sends it to all.
fn shared(error: &Builder) -> Vec<u8> {
    tunnel(error, NODE_2, NODE, 1, 0, 64)
}

/// XDP leaves it to the companion, untouched, and that does this.
fn expect(bench: &mut Bench, frame: &[u8], verdict: Verdict, expected: &[u8]) {
    let (got, bytes) = bench.run(Hook::Ingress, frame);
    assert_eq!((got, hex(&bytes)), (Verdict::HandOver(Task::Forward), hex(frame)));
    let (got, bytes) = bench.run(Hook::Companion, frame);
    assert_eq!(got, verdict, "{}", hex(frame));
    if !matches!(verdict, Verdict::Drop(_)) {
        assert_eq!(hex(&bytes), hex(expected));
    }
}

#[test]
fn an_error_that_another_node_shares_finds_the_flow() {
    let mut bench = Bench::new();
    let first = bench.devices.first;
    for port in [7070, 80] {
        let (verdict, _) = bench.run(Hook::Ingress, &tcp((CLIENT, 40_000), (VIP, port), SYN).bytes());
        assert!(matches!(verdict, Verdict::Deliver | Verdict::Transmit(_)), "{verdict:?}");
    }
    let lease =
        bench.replies(Table::HalfOpen).keys().find(|key| key.destination_port.host() < 30_000).copied().unwrap();
    // about a reply of the pod here, and about one of the pod there, which knows our lease
    let seen = tcp((LOCAL_POD, 8080), (CLIENT, 40_000), ACK).quoted(48);
    expect(&mut bench, &shared(&about(7070, 40_000)), Verdict::Deliver, &icmp(HOP, LOCAL_POD, TOO_BIG, &seen).bytes());
    let seen = tcp((REMOTE_POD, 8080), (NODE, lease.destination_port.host()), ACK).quoted(48);
    let sent = icmp(NODE, REMOTE_POD, TOO_BIG, &seen).ttl(63).bytes();
    expect(&mut bench, &shared(&about(80, 40_000)), Verdict::Transmit(first), &sent);
    assert_eq!(count(&bench, Stat::Untunnelled), 2);
    bench.assert_equal_state();
}

#[test]
fn an_error_that_another_node_shares_goes_no_further() {
    let mut bench = Bench::new();
    for error in [about(7070, 1), about(80, 1), about(90, 1), about(91, 1)] {
        expect(&mut bench, &shared(&error), Verdict::Drop(DropReason::ErrorUnknown), &[]);
    }
    assert_eq!(bench.host.drops.borrow()[DropReason::ErrorUnknown as usize].packets, 4);
    let own = icmp(HOP, FRONT, TOO_BIG, &tcp((FRONT, 80), (CLIENT, 1), ACK).quoted(28));
    expect(&mut bench, &shared(&own), Verdict::Front, &own.bytes());
    assert_eq!((count(&bench, Stat::ErrorsShared), count(&bench, Stat::ErrorsByRing)), (0, 0));
    // the next one that comes directly is shared again: what was noted of the last one says nothing of it
    expect(&mut bench, &own.bytes(), Verdict::Front, &own.bytes());
    assert_eq!(count(&bench, Stat::ErrorsShared), 1);
    bench.dropped(&tunnel(&about(80, 1), HOP, NODE, 1, 0, 64), DropReason::TunnelSource);
    bench.assert_equal_state();
}

#[test]
fn an_error_about_an_unknown_flow_is_shared_and_one_for_a_neighbour_is_not() {
    let mut bench = Bench::new();
    let (verdict, _) = bench.run(Hook::Companion, &about(80, 1).bytes());
    assert_eq!(verdict, Verdict::Transmit(bench.devices.first), "to the backend of the ring as well");
    assert_eq!(count(&bench, Stat::ErrorsShared), 1);
    let (verdict, _) = bench.run(Hook::Companion, &about(80, 1).macs([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 8]).bytes());
    assert_eq!((verdict, count(&bench, Stat::ErrorsShared)), (Verdict::Pass, 1));
    bench.assert_equal_state();
}

#[test]
fn an_error_about_a_flow_of_dsr_goes_to_the_backends_node() {
    let mut bench = Bench::new();
    let first = bench.devices.first;
    for error in [about(90, 1), icmp(HOP, VIP, TOO_BIG, &udp((VIP, 5300), (CLIENT, 9)).quoted(28)).options(&[1; 4])] {
        let on = tunnel(&error.clone().ttl(63), NODE, NODE_2, 1, 0, 64);
        expect(&mut bench, &error.bytes(), Verdict::Transmit(first), &on);
    }
    assert_eq!((count(&bench, Stat::Tunnelled), count(&bench, Stat::ErrorsShared)), (2, 0));
    // the backend is here, which would know the flow
    expect(&mut bench, &about(91, 1).bytes(), Verdict::Drop(DropReason::ErrorUnknown), &[]);
    assert!(bench.host.tracked.borrow().is_empty() && bench.flows(Table::HalfOpen).is_empty());
    assert!(bench.host.service_stats.borrow().is_empty(), "an error is no packet to the service");
    // there it finds the flow
    let (verdict, _) = bench.run(Hook::Ingress, &tunnel(&tcp((CLIENT, 7), (VIP, 91), SYN), NODE_3, NODE, 0, 0, 64));
    assert_eq!(verdict, Verdict::Deliver);
    let seen = icmp(HOP, LOCAL_POD, TOO_BIG, &tcp((LOCAL_POD, 8080), (CLIENT, 7), ACK).quoted(48)).bytes();
    expect(&mut bench, &shared(&about(91, 7)), Verdict::Deliver, &seen);
    bench.assert_equal_state();
}

/// What a router says of our tunnel to the next node.
fn about_tunnel(inner: &Builder, from: &str, to: &str, length: usize) -> Builder {
    let mut quote = tunnel(inner, from, to, 0, 0, 63).split_off(14);
    quote.truncate(length);
    icmp(HOP, NODE, TOO_BIG, &quote)
}

#[test]
fn a_sender_is_told_what_fits_into_the_tunnel() {
    let mut bench = Bench::new();
    let first = bench.devices.first;
    for (inner, length, quoted) in [
        (tcp((CLIENT, 7), (VIP, 90), ACK).payload(&[5; 1_400]), 548, 128),
        (udp((CLIENT, 7), (VIP, 5300)).payload(&[5; 1_400]), 20 + 28, 28),
        (udp((CLIENT, 7), (VIP, 5300)).payload(&[5; 1_400]), 20 + 31, 28),
    ] {
        let (verdict, bytes) = bench.run(Hook::Companion, &about_tunnel(&inner, NODE, NODE_2, length).bytes());
        assert_eq!(verdict, Verdict::Transmit(first));
        assert_eq!(bytes[26..34], tcp((VIP, 1), (CLIENT, 1), 0).bytes()[26..34], "from the VIP to the client");
        assert_eq!((&bytes[34..36], &bytes[40..42]), (&[3, 4][..], &1_380_u16.to_be_bytes()[..]));
        assert_eq!(hex(&bytes[42..]), hex(&inner.quoted(quoted)));
        for range in [14..34, 34..bytes.len()] {
            let sum: u32 = bytes[range].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "checksums");
        }
    }
    assert_eq!(count(&bench, Stat::TunnelErrors), 3);
    bench.assert_equal_state();
}

#[test]
fn errors_about_tunnels_of_others_are_left_alone() {
    let mut bench = Bench::new();
    let inner = tcp((CLIENT, 7), (VIP, 90), ACK);
    let other = |from, to, inner: &Builder, length| about_tunnel(inner, from, to, length);
    for error in [
        other(NODE_3, NODE_2, &inner, 99),
        other(NODE, CLIENT, &inner, 99),
        other(NODE, NODE_2, &inner.clone().to(LOCAL_POD, 80), 99),
        other(NODE, NODE_2, &about(90, 1), 99),
        other(NODE, NODE_2, &inner.clone().fragment(7), 99),
        other(NODE, NODE_2, &inner, 20 + 27),
        other(NODE, NODE_2, &inner.clone().from("224.0.0.1", 7), 99),
    ] {
        for hook in [Hook::Ingress, Hook::Companion] {
            let (verdict, bytes) = bench.run(hook, &error.bytes());
            assert_eq!((verdict, hex(&bytes)), (Verdict::Pass, hex(&error.bytes())));
        }
    }
    let time_exceeded = Builder { icmp: Some((11, 0)), ..about_tunnel(&inner, NODE, NODE_2, 99) };
    assert_eq!(bench.run(Hook::Companion, &time_exceeded.bytes()).0, Verdict::Pass);
    bench.assert_equal_state();
}
