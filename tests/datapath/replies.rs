//! Replies of backends on other nodes, on their way back.

use lb_common::drop_reason::DropReason;
use lb_common::lookup::Table;
use lb_common::verdict::Verdict;

use crate::fixture::{Bench, Hook};
use crate::packet::{ACK, ROUTER, SYN, SYN_ACK, UPLINK, tcp, udp};
use crate::world::{CLIENT, NEXT_NODE, NODE, REMOTE_POD, VIP};

/// Begins a flow to the backend on the next node and gives its SNAT port.
fn begin(bench: &mut Bench) -> u16 {
    let (verdict, _) = bench.run(Hook::Ingress, &tcp((CLIENT, 40_000), (VIP, 80), SYN).bytes());
    assert_eq!(verdict, Verdict::Transmit(bench.devices.first));
    bench.flows(Table::HalfOpen).values().next().unwrap().snat_port.host()
}

#[test]
fn a_reply_gets_the_vip_back_and_goes_to_the_client() {
    let mut bench = Bench::new();
    let port = begin(&mut bench);
    let reply = tcp((REMOTE_POD, 8080), (NODE, port), SYN_ACK).macs(UPLINK, NEXT_NODE).ttl(63);
    let expected = reply.clone().from(VIP, 80).to(CLIENT, 40_000).ttl(62).macs(ROUTER, UPLINK);
    bench.ingress(&reply, Verdict::Transmit(bench.devices.first), &expected);
    // the client goes on: the flow is proven and replies still find their way
    let (verdict, _) = bench.run(Hook::Ingress, &tcp((CLIENT, 40_000), (VIP, 80), ACK).bytes());
    assert_eq!(verdict, Verdict::Transmit(bench.devices.first));
    assert_eq!(bench.flows(Table::Proven).len(), 1);
    bench.ingress(&reply, Verdict::Transmit(bench.devices.first), &expected);
    bench.assert_equal_state();
}

#[test]
fn only_the_whole_tuple_is_a_reply() {
    let mut bench = Bench::new();
    let port = begin(&mut bench);
    let near_misses = [
        tcp((REMOTE_POD, 8081), (NODE, port), SYN_ACK),
        tcp(("10.244.2.99", 8080), (NODE, port), SYN_ACK),
        tcp((REMOTE_POD, 8080), (NODE, port ^ 1), SYN_ACK),
        udp((REMOTE_POD, 8080), (NODE, port)),
    ];
    for packet in near_misses {
        bench.ingress(&packet, Verdict::Pass, &packet);
    }
}

#[test]
fn a_frontend_in_the_snat_range_still_works() {
    let mut bench = Bench::new();
    let (verdict, _) = bench.run(Hook::Ingress, &tcp((CLIENT, 40_000), (VIP, 15_001), SYN).bytes());
    assert_eq!(verdict, Verdict::Transmit(bench.devices.first));
}

#[test]
fn a_reply_with_a_bad_header_is_dropped() {
    let mut bench = Bench::new();
    let port = begin(&mut bench);
    let mut bytes = tcp((REMOTE_POD, 8080), (NODE, port), SYN_ACK).bytes();
    bytes[24] ^= 0xff; // header checksum
    bench.dropped(&bytes, DropReason::BadIpChecksum);
}

#[test]
fn udp_replies_keep_their_missing_checksum() {
    let mut bench = Bench::new();
    let (verdict, _) = bench.run(Hook::Ingress, &udp((CLIENT, 5000), (VIP, 5353)).bytes());
    assert_eq!(verdict, Verdict::Transmit(bench.devices.first));
    let port = bench.flows(Table::HalfOpen).values().next().unwrap().snat_port.host();
    let reply = udp(("10.244.2.21", 53), (NODE, port)).no_checksum();
    let expected = reply.clone().from(VIP, 5353).to(CLIENT, 5000).ttl(63).macs(ROUTER, UPLINK);
    bench.ingress(&reply, Verdict::Transmit(bench.devices.first), &expected);
}
