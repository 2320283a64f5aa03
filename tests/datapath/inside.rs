//! Packets of this node's own clients to a VIP, caught at tc egress.

use lb_common::abi::flow_flag;
use lb_common::drop_reason::DropReason;
use lb_common::lookup::Table;
use lb_common::verdict::Verdict;

use crate::fixture::{Bench, Hook, hex};
use crate::packet::{ROUTER, SYN, SYN_ACK, UPLINK, icmp, tcp, udp};
use crate::unserved;
use crate::world::{CLUSTER_IP, LOCAL_POD, NODE, REMOTE_POD, VIP};

/// A pod that no hook sees.
const MACHINE: &str = "10.244.1.77";

/// The port that was leased for the only flow.
fn leased(bench: &Bench) -> u16 {
    let replies = bench.replies(Table::HalfOpen);
    let (key, entry) = replies.first_key_value().unwrap();
    assert!(entry.flags & flow_flag::INSIDE != 0);
    key.destination_port.host()
}

#[test]
fn to_a_pod_of_this_node_and_back() {
    for vip in [CLUSTER_IP, VIP] {
        let mut bench = Bench::new();
        let request = tcp((MACHINE, 40_000), (vip, 7070), SYN);
        let (verdict, bytes) = bench.run(Hook::Egress, &request.bytes());
        assert_eq!(verdict, Verdict::Answer);
        let port = leased(&bench);
        let turned = request.clone().from(vip, port).to(LOCAL_POD, 8080).macs(ROUTER, UPLINK);
        assert_eq!(bytes, turned.bytes(), "from the VIP to the pod");

        let reply = tcp((LOCAL_POD, 8080), (vip, port), SYN_ACK).ttl(63);
        let turned = reply.clone().from(vip, 7070).to(MACHINE, 40_000).macs(ROUTER, UPLINK);
        bench.egress(&reply, Verdict::Answer, &turned);
        bench.assert_equal_state();
    }
}

#[test]
fn to_a_pod_of_another_node_and_back() {
    let mut bench = Bench::new();
    // masqueraded, the client is the node itself
    let request = tcp((NODE, 40_000), (CLUSTER_IP, 80), SYN);
    let (verdict, _) = bench.run(Hook::Egress, &request.bytes());
    assert!(matches!(verdict, Verdict::Transmit(_)), "{verdict:?}");
    let port = leased(&bench);
    let reply = tcp((REMOTE_POD, 8080), (NODE, port), SYN_ACK);
    let delivered = reply.clone().from(CLUSTER_IP, 80).to(NODE, 40_000);
    bench.ingress(&reply, Verdict::Deliver, &delivered);
    bench.assert_equal_state();
}

#[test]
fn errors_of_the_pod_reach_its_client() {
    let mut bench = Bench::new();
    let request = tcp((MACHINE, 40_000), (VIP, 7070), SYN);
    assert_eq!(bench.run(Hook::Egress, &request.bytes()).0, Verdict::Answer);
    let seen = request.clone().from(VIP, leased(&bench)).to(LOCAL_POD, 8080);
    let error = icmp(LOCAL_POD, VIP, (3, 10), &seen.quoted(28)).ttl(63);
    let expected = icmp(VIP, MACHINE, (3, 10), &request.quoted(28)).ttl(63).macs(ROUTER, UPLINK);
    let (verdict, bytes) = bench.run(Hook::Egress, &error.bytes());
    assert_eq!((verdict, hex(&bytes)), (Verdict::Answer, hex(&expected.bytes())));
}

#[test]
fn errors_about_packets_to_another_node_reach_the_client() {
    let mut bench = Bench::new();
    let request = tcp((MACHINE, 40_000), (VIP, 80), SYN);
    assert!(matches!(bench.run(Hook::Egress, &request.bytes()).0, Verdict::Transmit(_)));
    let sent = request.clone().from(NODE, leased(&bench)).to(REMOTE_POD, 8080).ttl(63);
    for hook in [Hook::Ingress, Hook::Companion] {
        let error = icmp("10.10.0.12", NODE, (3, 4), &sent.quoted(28)).ttl(64);
        let (verdict, bytes) = bench.run(hook, &error.bytes());
        let expected = icmp(VIP, MACHINE, (3, 4), &request.clone().ttl(63).quoted(28)).ttl(64);
        assert_eq!((verdict, hex(&bytes)), (Verdict::Deliver, hex(&expected.bytes())), "{hook:?}");
    }
}

#[test]
fn from_outside_a_cluster_ip_is_nobody() {
    let mut bench = Bench::new();
    let packet = tcp(("192.0.2.7", 40_000), (CLUSTER_IP, 7070), SYN);
    bench.ingress(&packet, Verdict::Pass, &packet);
    assert!(bench.flows(Table::HalfOpen).is_empty());
}

#[test]
fn what_goes_elsewhere_or_to_the_front_is_left_alone() {
    let mut bench = Bench::new();
    for packet in [
        tcp((MACHINE, 40_000), (CLUSTER_IP, 7071), SYN),
        tcp((MACHINE, 40_000), (crate::world::FRONT, 80), SYN),
        udp((MACHINE, 40_000), ("10.10.0.12", 30_088)),
    ] {
        bench.egress(&packet, Verdict::Pass, &packet);
    }
}

#[test]
fn clients_that_find_nobody_are_told_so_on_their_side_of_the_device() {
    let mut bench = Bench::with(|devices| {
        let mut maps = crate::world::host(devices);
        // without a backend
        for entry in maps.frontends.values_mut().filter(|entry| entry.service == 2) {
            entry.service = 5;
        }
        maps
    });
    let segment = tcp((MACHINE, 40_000), (VIP, 82), SYN);
    let told = bench.run(Hook::Egress, &segment.bytes());
    assert_eq!(told, (Verdict::Answer, unserved::reset(&segment, unserved::RST_ACK, 0, 13)));
    let datagram = udp((MACHINE, 40_000), (VIP, 53)).payload(&[7; 40]);
    let (verdict, bytes) = bench.run(Hook::Egress, &datagram.bytes());
    assert_eq!((verdict, hex(&bytes)), (Verdict::Answer, hex(&unserved::unreachable(&datagram, usize::MAX))));
    assert_eq!(bench.host.drops.borrow()[DropReason::NoBackend as usize].packets, 2, "they count as drops");
    bench.assert_equal_state();
}
