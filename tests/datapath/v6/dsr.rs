//! Tunnels between nodes for IPv6.

use super::errors::tunnel;
use super::*;
use crate::fixture::hex;
use crate::world6::NODE_3;

#[test]
fn the_first_node_sends_it_on_in_a_tunnel_and_keeps_nothing() {
    let mut bench = Bench6::new();
    let first = bench.devices.first;
    for packet in [
        packet6(Carries::Tcp(SYN), (CLIENT, 40_000), (VIP, 90)),
        packet6(Carries::Tcp(ACK), (CLIENT, 40_000), (VIP, 90)).payload(&[1; 1_000]),
        packet6(Carries::Udp, (CLIENT, 40_000), (VIP, 5300)),
    ] {
        let (verdict, bytes) = bench.run(Hook::Ingress, &packet.bytes());
        assert_eq!(verdict, Verdict::Transmit(first));
        let label = u32::from_be_bytes([0, bytes[15] & 0xf, bytes[16], bytes[17]]);
        assert_eq!(label & 1, 0, "it may be sent on");
        let sent = packet.clone().hops(63).macs(ROUTER, UPLINK);
        assert_eq!(hex(&bytes), hex(&tunnel(&sent, NODE, NODE_3, label, 64)));
    }
    assert!(bench.replies(Table::HalfOpen).is_empty());
    bench.assert_equal_state();
}

#[test]
fn the_second_node_takes_the_header_off_and_goes_on() {
    let mut bench = Bench6::new();
    let packet = packet6(Carries::Tcp(SYN), (CLIENT, 40_000), (VIP, 91)).hops(63);
    let inside = packet.clone().to(LOCAL_POD, 8080).bytes();
    for hook in [Hook::Ingress, Hook::Companion] {
        let (verdict, bytes) = bench.run(hook, &tunnel(&packet, NODE_3, NODE, 0x12344, 9));
        assert_eq!((verdict, hex(&bytes)), (Verdict::Deliver, hex(&inside)));
    }
    assert_eq!(bench.host.stats.borrow()[Stat::Untunnelled as usize], 2);
    bench.assert_equal_state();
}

#[test]
fn a_tunnel_to_another_station_is_left_as_it_is() {
    let mut bench = Bench6::new();
    let mut frame = tunnel(&packet6(Carries::Tcp(SYN), (CLIENT, 40_000), (VIP, 91)), NODE_3, NODE, 0, 64);
    frame[..6].copy_from_slice(&ROUTER);
    for hook in [Hook::Ingress, Hook::Companion] {
        assert_eq!(bench.run(hook, &frame), (Verdict::Pass, frame.clone()));
    }
    assert_eq!(bench.host.stats.borrow()[Stat::Untunnelled as usize], 0);
    bench.assert_equal_state();
}

#[test]
fn only_nodes_may_send_in_a_tunnel_and_only_to_frontends() {
    let mut bench = Bench6::new();
    let packet = packet6(Carries::Tcp(SYN), (CLIENT, 40_000), (VIP, 91));
    bench.dropped(&tunnel(&packet, CLIENT, NODE, 0, 64), DropReason::TunnelSource);
    bench.dropped(&tunnel(&packet, NODE, NODE, 0, 64), DropReason::TunnelSource);
    bench.dropped(&tunnel(&packet.clone().to(VIP, 99), NODE_3, NODE, 0, 64), DropReason::TunnelFrontend);
    let cni = packet.to(LOCAL_POD, 8080);
    let frame = tunnel(&cni, NODE_3, NODE, 0, 64);
    assert_eq!(bench.run(Hook::Ingress, &frame), (Verdict::Pass, frame.clone()));
    bench.assert_equal_state();
}
