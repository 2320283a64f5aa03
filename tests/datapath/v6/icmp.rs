//! ICMPv6: errors follow the flow they quote, echo is answered, and what the network itself needs passes.

use lb_common::abi::Task;

use super::*;

/// Packet too big (RFC 4443, section 3.2).
const TOO_BIG: Carries = Carries::Icmp(2, 0);
const HOP: &str = "2001:db8:1::1";

fn icmp(carries: Carries, source: &str, destination: &str, behind: &[u8]) -> Builder6 {
    packet6(carries, (source, 0), (destination, 0)).payload(behind)
}

#[test]
fn errors_follow_the_flow() {
    let mut bench = Bench6::new();
    let sent = Verdict::Transmit(bench.devices.first);
    let port = begin(&mut bench);
    let syn = packet6(Carries::Tcp(SYN), (CLIENT, 40_000), (VIP, 80));
    bench.becomes(Hook::Ingress, &syn, Verdict::Deliver, &syn.clone().to(LOCAL_POD, 8080));
    for length in [48, 60, 65] {
        let quote = |from, to| packet6(Carries::Tcp(ACK), from, to).hops(60).quoted(length);
        // about the reply of the pod here, of the pod there, about the request to the pod there
        let error = icmp(TOO_BIG, HOP, VIP, &quote((VIP, 80), (CLIENT, 40_000)));
        let expected = icmp(TOO_BIG, HOP, LOCAL_POD, &quote((LOCAL_POD, 8080), (CLIENT, 40_000)));
        handed_over(&mut bench, &error);
        bench.becomes(Hook::Companion, &error, Verdict::Deliver, &expected);
        let error = icmp(TOO_BIG, HOP, VIP, &quote((VIP, 81), (CLIENT, 40_000)));
        let expected = icmp(TOO_BIG, NODE, REMOTE_POD, &quote((REMOTE_POD, 8080), (NODE, port))).hops(63);
        handed_over(&mut bench, &error);
        bench.becomes(Hook::Companion, &error, sent, &expected);
        let error = icmp(TOO_BIG, HOP, NODE, &quote((NODE, port), (REMOTE_POD, 8080)));
        let expected = icmp(TOO_BIG, VIP, CLIENT, &quote((CLIENT, 40_000), (VIP, 81))).hops(63);
        handed_over(&mut bench, &error);
        bench.becomes(Hook::Companion, &error, sent, &expected);
        // of the pod here about the request of the client
        let error = icmp(Carries::Icmp(1, 4), LOCAL_POD, CLIENT, &quote((CLIENT, 40_000), (LOCAL_POD, 8080)));
        let expected = icmp(Carries::Icmp(1, 4), VIP, CLIENT, &quote((CLIENT, 40_000), (VIP, 80)));
        bench.becomes(Hook::Egress, &error, Verdict::Deliver, &expected);
    }
    let elsewhere = icmp(TOO_BIG, HOP, VIP, &syn.clone().from(VIP, 9).to(CLIENT, 9).quoted(60));
    bench.becomes(Hook::Companion, &elsewhere, Verdict::Pass, &elsewhere);
    bench.assert_equal_state();
}

/// A flow that only another node knows: the backend of the ring, which knows the client by its own address.
#[test]
fn errors_about_flows_of_other_nodes() {
    let mut bench = Bench6::new();
    let sent = Verdict::Transmit(bench.devices.first);
    for (port, pod, verdict, hops) in [(80, LOCAL_POD, Verdict::Deliver, 64), (81, REMOTE_POD, sent, 63)] {
        let quote = |from| packet6(Carries::Tcp(ACK), from, (CLIENT, 9)).quoted(60);
        let error = icmp(TOO_BIG, HOP, VIP, &quote((VIP, port)));
        handed_over(&mut bench, &error);
        let expected = icmp(TOO_BIG, HOP, pod, &quote((pod, 8080))).hops(hops);
        bench.becomes(Hook::Companion, &error, verdict, &expected);
    }
    assert_eq!(bench.host.stats.borrow()[Stat::ErrorsByRing as usize], 2);
    bench.assert_equal_state();
}

/// XDP leaves errors to the companion.
fn handed_over(bench: &mut Bench6, error: &Builder6) {
    bench.becomes(Hook::Ingress, error, Verdict::HandOver(Task::Forward), error);
}

#[test]
fn echo_to_a_vip_is_answered() {
    let mut bench = Bench6::new();
    let request = icmp(Carries::Icmp(128, 0), CLIENT, VIP, b"odd").hops(7);
    let answer = icmp(Carries::Icmp(129, 0), VIP, CLIENT, b"odd").macs(ROUTER, UPLINK);
    bench.becomes(Hook::Ingress, &request, Verdict::Answer, &answer);
    bench.becomes(Hook::Companion, &request, Verdict::Answer, &answer);
    let other = request.clone().to(NODE, 0);
    bench.becomes(Hook::Ingress, &other, Verdict::Pass, &other);
    bench.dropped(&request.from("ff02::1", 0).bytes(), DropReason::BadSource);
    bench.assert_equal_state();
}

/// Neighbour discovery (133–137), multicast listeners (130–132, 143), with a router alert as they have it, and multicast:
/// the kernel's, whomever they are for.
#[test]
fn what_the_network_needs_passes() {
    let mut bench = Bench6::new();
    let mut packets = Vec::new();
    for kind in [130, 131, 132, 133, 134, 135, 136, 137, 143] {
        for to in [VIP, NODE, "ff02::1", "ff02::1:ff00:100"] {
            let packet = icmp(Carries::Icmp(kind, 0), "fe80::1", to, &[0; 16]).hops(255);
            packets.push(packet.clone().header(0, &[0, 5, 2, 0, 0, 1, 0]));
            packets.push(packet);
        }
    }
    packets.push(packet6(Carries::Udp, ("fe80::1", 5353), ("ff02::fb", 5353)));
    packets.push(packet6(Carries::Udp, ("fe80::1", 547), ("ff02::1:2", 546)));
    for packet in &packets {
        for hook in [Hook::Ingress, Hook::Companion, Hook::Egress] {
            bench.becomes(hook, packet, Verdict::Pass, packet);
        }
    }
}
