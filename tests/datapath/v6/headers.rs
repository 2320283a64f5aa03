//! Extension headers: walked, left as they are, refused where they must not be forwarded.

use super::*;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// A header of authentication with a check value of twelve bytes (RFC 4302, section 2).
const AUTHENTICATED: [u8; 23] = [4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9];
/// A routing header of type 2 (RFC 6275) that has been followed to its end.
const FOLLOWED: [u8; 7] = [0, 2, 0, 0, 0, 0, 0];

#[test]
fn are_forwarded_as_they_are() {
    let mut bench = Bench6::new();
    let sent = Verdict::Transmit(bench.devices.first);
    let port = begin(&mut bench);
    let plain = packet6(Carries::Tcp(ACK), (CLIENT, 40_000), (VIP, 81));
    let several = plain.clone().options(HOP_BY_HOP, 1).options(DESTINATION, 4).header(ROUTING, &FOLLOWED);
    let several = several.header(AUTHENTICATION, &AUTHENTICATED).options(DESTINATION, 2);
    for packet in [plain.clone().options(DESTINATION, 1), plain.header(AUTHENTICATION, &AUTHENTICATED), several] {
        let expected = packet.clone().from(NODE, port).to(REMOTE_POD, 8080).hops(63);
        bench.becomes(Hook::Ingress, &packet, sent, &expected.clone().macs(NEXT_NODE, UPLINK));
        bench.becomes(Hook::Companion, &packet, sent, &expected);
    }
    let reply = packet6(Carries::Tcp(SYN_ACK), (REMOTE_POD, 8080), (NODE, port)).options(DESTINATION, 3);
    let expected = reply.clone().from(VIP, 81).to(CLIENT, 40_000).hops(63).macs(ROUTER, UPLINK);
    bench.becomes(Hook::Ingress, &reply.macs(UPLINK, NEXT_NODE), sent, &expected);
    bench.assert_equal_state();
}

#[test]
fn of_a_local_pod_are_left_too() {
    let mut bench = Bench6::new();
    let packet = packet6(Carries::Tcp(SYN), (CLIENT, 40_000), (VIP, 80)).options(DESTINATION, 2);
    bench.becomes(Hook::Ingress, &packet, Verdict::Deliver, &packet.clone().to(LOCAL_POD, 8080));
    let reply = packet6(Carries::Tcp(SYN_ACK), (LOCAL_POD, 8080), (CLIENT, 40_000)).options(HOP_BY_HOP, 1);
    bench.becomes(Hook::Egress, &reply, Verdict::Deliver, &reply.clone().from(VIP, 80));
}

/// RFC 5095, and what is not at its end.
#[test]
fn that_route_are_refused() {
    let mut bench = Bench6::new();
    let plain = packet6(Carries::Tcp(SYN), (CLIENT, 40_000), (VIP, 80));
    for rest in [[0, 0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0, 0], [0, 2, 1, 0, 0, 0, 0]] {
        let packet = plain.clone().header(ROUTING, &rest);
        bench.dropped(&packet.bytes(), DropReason::RoutingHeader);
        let elsewhere = packet.to(CLIENT, 80);
        bench.becomes(Hook::Ingress, &elsewhere, Verdict::Pass, &elsewhere);
    }
    bench.assert_equal_state();
}

#[test]
fn without_a_bound_are_refused() {
    let mut bench = Bench6::new();
    let plain = packet6(Carries::Tcp(SYN), (CLIENT, 40_000), (VIP, 80));
    let many = |count| (0..count).fold(plain.clone(), |packet, _| packet.options(DESTINATION, 1));
    bench.becomes(Hook::Ingress, &many(6), Verdict::Deliver, &many(6).to(LOCAL_POD, 8080));
    let long = |units| plain.clone().options(DESTINATION, units);
    bench.becomes(Hook::Ingress, &long(64 - 33), Verdict::Deliver, &long(64 - 33).to(LOCAL_POD, 8080));
    let late = plain.clone().options(DESTINATION, 1).options(HOP_BY_HOP, 1);
    let twice = plain.clone().header(44, &[0, 0, 1, 0, 0, 0, 9]).header(44, &[0, 0, 0, 0, 0, 0, 9]);
    let long = plain.clone().options(DESTINATION, 31).options(DESTINATION, 31).options(DESTINATION, 31);
    for packet in [many(7), late, twice, long] {
        bench.dropped(&packet.bytes(), DropReason::ExtensionHeaders);
        let elsewhere = packet.to(CLIENT, 80);
        bench.becomes(Hook::Ingress, &elsewhere, Verdict::Pass, &elsewhere);
    }
    // a header that says it is longer than the packet
    let mut cut = plain.options(DESTINATION, 1).bytes();
    cut[14 + 41] = 20;
    bench.dropped(&cut, DropReason::ExtensionHeaders);
}
