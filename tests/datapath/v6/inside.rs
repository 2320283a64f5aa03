//! Packets of this node's own clients to a VIP, caught at tc egress, as [`crate::inside`] has them for IPv4.

use lb_common::abi::flow_flag;

use super::refused::{is_reset, is_unreachable};
use super::*;
use crate::fixture::hex;
use crate::world6::CLUSTER_IP;

/// A pod that no hook sees.
const MACHINE: &str = "fd00:244:1::77";
/// "No route to destination" of ICMPv6.
const NO_ROUTE: Carries = Carries::Icmp(1, 0);
const TOO_BIG: Carries = Carries::Icmp(2, 0);

/// The port that was leased for the only flow.
fn leased(bench: &Bench6) -> u16 {
    let replies = bench.replies(Table::HalfOpen);
    let (key, entry) = replies.first_key_value().unwrap();
    assert!(entry.flags & flow_flag::INSIDE != 0);
    key.destination_port.host()
}

#[test]
fn to_a_pod_of_this_node_and_back() {
    for vip in [CLUSTER_IP, VIP] {
        let mut bench = Bench6::new();
        let request = packet6(Carries::Tcp(SYN), (MACHINE, 40_000), (vip, 80));
        let (verdict, bytes) = bench.run(Hook::Egress, &request.bytes());
        assert_eq!(verdict, Verdict::Answer);
        let port = leased(&bench);
        let turned = request.clone().from(vip, port).to(LOCAL_POD, 8080).macs(ROUTER, UPLINK);
        assert_eq!(hex(&bytes), hex(&turned.bytes()), "from the VIP to the pod");

        let reply = packet6(Carries::Tcp(SYN_ACK), (LOCAL_POD, 8080), (vip, port)).hops(63);
        let turned = reply.clone().from(vip, 80).to(MACHINE, 40_000).macs(ROUTER, UPLINK);
        bench.becomes(Hook::Egress, &reply, Verdict::Answer, &turned);
        bench.assert_equal_state();
    }
}

#[test]
fn to_a_pod_of_another_node_and_back() {
    let mut bench = Bench6::new();
    // masqueraded, the client is the node itself
    let request = packet6(Carries::Tcp(SYN), (NODE, 40_000), (CLUSTER_IP, 81));
    let (verdict, _) = bench.run(Hook::Egress, &request.bytes());
    assert!(matches!(verdict, Verdict::Transmit(_)), "{verdict:?}");
    let reply = packet6(Carries::Tcp(SYN_ACK), (REMOTE_POD, 8080), (NODE, leased(&bench)));
    let delivered = reply.clone().from(CLUSTER_IP, 81).to(NODE, 40_000);
    bench.becomes(Hook::Ingress, &reply, Verdict::Deliver, &delivered);
    bench.assert_equal_state();
}

#[test]
fn errors_reach_the_client() {
    let mut bench = Bench6::new();
    let request = packet6(Carries::Tcp(SYN), (MACHINE, 40_000), (VIP, 80));
    assert_eq!(bench.run(Hook::Egress, &request.bytes()).0, Verdict::Answer);
    let seen = request.clone().from(VIP, leased(&bench)).to(LOCAL_POD, 8080);
    let error = packet6(NO_ROUTE, (LOCAL_POD, 0), (VIP, 0)).payload(&seen.quoted(60)).hops(63);
    let told = packet6(NO_ROUTE, (VIP, 0), (MACHINE, 0)).payload(&request.quoted(60)).hops(63).macs(ROUTER, UPLINK);
    bench.becomes(Hook::Egress, &error, Verdict::Answer, &told);

    let mut bench = Bench6::new();
    let request = packet6(Carries::Tcp(SYN), (MACHINE, 40_000), (VIP, 81));
    assert!(matches!(bench.run(Hook::Egress, &request.bytes()).0, Verdict::Transmit(_)));
    let sent = request.clone().from(NODE, leased(&bench)).to(REMOTE_POD, 8080).hops(63);
    let error = packet6(TOO_BIG, ("2001:db8:1::1", 0), (NODE, 0)).payload(&sent.quoted(60));
    let told = packet6(TOO_BIG, (VIP, 0), (MACHINE, 0)).payload(&request.clone().hops(63).quoted(60));
    // XDP leaves all errors of IPv6 to the companion
    bench.becomes(Hook::Companion, &error, Verdict::Deliver, &told);
}

#[test]
fn what_comes_from_outside_or_goes_elsewhere_is_left_alone() {
    let mut bench = Bench6::new();
    let outside = packet6(Carries::Tcp(SYN), (CLIENT, 40_000), (CLUSTER_IP, 80));
    bench.becomes(Hook::Ingress, &outside, Verdict::Pass, &outside);
    for to in [(CLUSTER_IP, 7_071), (crate::world6::FRONT, 80), (crate::world6::NODE_3, 30_088)] {
        let packet = packet6(Carries::Tcp(SYN), (MACHINE, 40_000), to);
        bench.becomes(Hook::Egress, &packet, Verdict::Pass, &packet);
    }
    assert!(bench.replies(Table::HalfOpen).is_empty());
}

#[test]
fn clients_that_find_nobody_are_told_so_on_their_side_of_the_device() {
    let mut bench = Bench6::new();
    let segment = packet6(Carries::Tcp(SYN), (MACHINE, 40_000), (VIP, 84));
    let (verdict, bytes) = bench.run(Hook::Egress, &segment.bytes());
    assert_eq!(verdict, Verdict::Answer);
    is_reset(&bytes, &segment, [0, 0, 0, 0, 0, 0, 0, 13, 0x50, 0x14]);
    let datagram = packet6(Carries::Udp, (MACHINE, 40_000), (VIP, 55)).payload(&[7; 40]);
    let (verdict, bytes) = bench.run(Hook::Egress, &datagram.bytes());
    assert_eq!(verdict, Verdict::Answer);
    is_unreachable(&bytes, &datagram);
    assert_eq!(bench.host.drops.borrow()[DropReason::NoBackend as usize].packets, 2, "they count as drops");
    bench.assert_equal_state();
}
