//! Tunnels between nodes for IPv6.

use lb_common::abi::FlowKey6;
use lb_common::be::Be16;
use lb_common::csum::fold;

use super::errors::{tunnel, tunnel_of};
use super::*;
use crate::dsr::{as_option, change, option, port_in};
use crate::fixture::hex;
use crate::world6::{NODE_3, address, host};

/// The frame must go on in a tunnel around `expected`, which has its hop counted. `again`: for the second time.
fn goes_on(bench: &mut Bench6, hook: Hook, frame: &[u8], expected: &[u8], again: bool) {
    let (verdict, bytes) = bench.run(hook, frame);
    assert_eq!(verdict, Verdict::Transmit(bench.devices.first), "{}", hex(frame));
    let label = u32::from_be_bytes([0, bytes[15] & 0xf, bytes[16], bytes[17]]);
    assert_eq!(label & 1 != 0, again, "may it be sent on?");
    assert_eq!(hex(&bytes), hex(&tunnel_of(expected, (NODE, NODE_3), label, 64)));
}

/// The packet a hop later.
fn onward(hook: Hook, packet: &Builder6) -> Builder6 {
    let onward = packet.clone().hops(packet.hop_limit - 1);
    // on tc the kernel addresses the frame
    if hook == Hook::Companion { onward } else { onward.macs(ROUTER, UPLINK) }
}

#[test]
fn the_first_node_sends_it_on_in_a_tunnel_and_keeps_nothing() {
    let mut bench = Bench6::new();
    for packet in [
        packet6(Carries::Tcp(SYN), (CLIENT, 40_000), (VIP, 90)),
        packet6(Carries::Tcp(ACK), (CLIENT, 40_000), (VIP, 90)).payload(&[1; 1_000]),
        packet6(Carries::Udp, (CLIENT, 40_000), (VIP, 5300)),
    ] {
        let expected = onward(Hook::Ingress, &packet).bytes();
        goes_on(&mut bench, Hook::Ingress, &packet.bytes(), &expected, false);
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

#[test]
fn what_does_not_fit_is_answered() {
    for hook in [Hook::Ingress, Hook::Companion] {
        let mut bench = Bench6::new();
        // with 40 bytes of IP and 8 of UDP, 1,412 are what fits into 1,500 with another 40
        let datagram = |length| packet6(Carries::Udp, (CLIENT, 40_000), (VIP, 5300)).payload(&vec![7; length]);
        let fits = datagram(1_412);
        goes_on(&mut bench, hook, &fits.bytes(), &onward(hook, &fits).bytes(), false);
        let packet = datagram(1_413);
        let (verdict, bytes) = bench.run(hook, &packet.bytes());
        assert_eq!(verdict, Verdict::Answer);
        let quote = packet.quoted(128);
        // the checksum is looked at below
        let built = packet6(Carries::Icmp(2, 0), (VIP, 0), (CLIENT, 0)).payload(&quote).macs(ROUTER, UPLINK).bytes();
        let (ip, message) = bytes[14..].split_at(40);
        assert_eq!(bytes[..14], built[..14], "back to where it came from");
        assert_eq!(ip[..8], [0x60, 0, 0, 0, 0, 136, 58, 64]);
        assert_eq!(ip[8..], built[22..54], "from the VIP to the client");
        assert_eq!((&message[..2], &message[4..8]), (&[2, 0][..], &1_460_u32.to_be_bytes()[..]), "1,460 bytes fit");
        assert_eq!(message[8..], quote);
        let covered = [&ip[8..], &136_u32.to_be_bytes(), &[0, 0, 0, 58], message].concat();
        let sum = covered.chunks(2).map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        assert_eq!(fold(sum), 0xffff, "the checksum");
        assert_eq!(bench.host.drops.borrow()[DropReason::TooBig as usize].packets, 1);
        bench.assert_equal_state();
    }
}

#[test]
fn fragments_go_the_same_way_in_and_out() {
    let mut bench = Bench6::new();
    let large = |packet: Builder6| packet.payload(&[7; 3_000]);
    let packet = large(packet6(Carries::Udp, (CLIENT, 40_000), (VIP, 5300)));
    let parts = packet.fragments(1_232, 7);
    for (part, expected) in parts.iter().zip(onward(Hook::Ingress, &packet).fragments(1_232, 7)) {
        goes_on(&mut bench, Hook::Ingress, part, &expected, false);
    }
    let packet = large(packet6(Carries::Tcp(ACK), (CLIENT, 40_000), (VIP, 91)));
    let inside = packet.clone().to(LOCAL_POD, 8080).fragments(1_232, 8);
    for (part, expected) in packet.fragments(1_232, 8).iter().zip(inside) {
        let came = tunnel_of(part, (NODE_3, NODE), 0, 64);
        assert_eq!(bench.run(Hook::Ingress, &came), (Verdict::Deliver, expected));
    }
    bench.assert_equal_state();
}

#[test]
fn a_fragment_that_does_not_fit_is_answered_once() {
    let mut bench = Bench6::new();
    let parts = packet6(Carries::Udp, (CLIENT, 40_000), (VIP, 5300)).payload(&[7; 4_000]).fragments(1_440, 7);
    assert_eq!(bench.run(Hook::Ingress, &parts[0]).0, Verdict::Answer);
    bench.dropped(&parts[1], DropReason::TooBig);
}

#[test]
fn the_mss_leaves_room_for_the_outer_header() {
    let mut bench = Bench6::new();
    let with_mss = |from, client, mss| {
        as_option(packet6(Carries::Tcp(SYN_ACK), from, (CLIENT, client)).payload(&option(mss)).bytes(), 54)
    };
    // forwarded by DSR, and another, which has all the room
    for (port, client, cases) in
        [(91, 40_000, &[(1_440, 1_400), (1_400, 1_400), (536, 536)][..]), (80, 40_001, &[(1_440, 1_440)])]
    {
        let request = packet6(Carries::Tcp(SYN), (CLIENT, client), (VIP, port));
        bench.becomes(Hook::Ingress, &request, Verdict::Deliver, &request.clone().to(LOCAL_POD, 8080));
        for &(offered, expected) in cases {
            let (verdict, bytes) = bench.run(Hook::Egress, &with_mss((LOCAL_POD, 8080), client, offered));
            assert_eq!((verdict, hex(&bytes)), (Verdict::Deliver, hex(&with_mss((VIP, port), client, expected))));
        }
    }
    assert_eq!(bench.host.stats.borrow()[Stat::MssLowered as usize], 1);
    bench.assert_equal_state();
}

/// Services 11 (TCP) and 12 (UDP) had other rings before, as services 15 and 16 of IPv4.
fn changed(open: bool) -> Bench6 {
    Bench6::with(move |devices| {
        let mut maps = host(devices);
        change(&mut maps, 11, (1, 2), open);
        change(&mut maps, 12, (5, 6), open);
        maps
    })
}

/// A packet to one of them, in one of the first slots or the last.
fn to_either(carries: Carries, last: bool) -> Builder6 {
    let (to, protocol) = if matches!(carries, Carries::Udp) { (5301, 17) } else { (93, 6) };
    let key = |port| FlowKey6 {
        source: address(CLIENT),
        destination: address(VIP),
        source_port: Be16::new(port),
        destination_port: Be16::new(to),
        protocol,
    };
    packet6(carries, (CLIENT, port_in(key, last)), (VIP, to))
}

/// Slots that were another node's and are this one's, and the other way round.
#[test]
fn flows_keep_to_the_ring_that_they_began_with() {
    let mut bench = changed(true);
    for (number, packet) in [
        (1, to_either(Carries::Tcp(ACK), true)),
        (2, to_either(Carries::Udp, true)),
        (3, to_either(Carries::Udp, false)),
    ] {
        for _ in 0..2 {
            goes_on(&mut bench, Hook::Ingress, &packet.bytes(), &onward(Hook::Ingress, &packet).bytes(), false);
        }
        assert_eq!(bench.host.tracked.borrow().len(), number);
        assert_eq!(bench.host.stats.borrow()[Stat::FlowsKept as usize], number as u64, "the second one is known");
    }
    bench.assert_equal_state();
    // on the same tuple begins a new flow
    let new = to_either(Carries::Tcp(SYN), true);
    bench.becomes(Hook::Ingress, &new, Verdict::Deliver, &new.clone().to(LOCAL_POD, 8080));
    // one that begins after the change takes the new ring, and stays there
    for flags in [SYN, ACK] {
        let packet = to_either(Carries::Tcp(flags), false);
        goes_on(&mut bench, Hook::Ingress, &packet.bytes(), &onward(Hook::Ingress, &packet).bytes(), false);
    }
    assert_eq!(bench.host.tracked.borrow().len(), 3);
    bench.assert_equal_state();
}

#[test]
fn long_after_a_change_the_present_ring_counts() {
    let mut bench = changed(false);
    for (carries, port) in [(Carries::Tcp(ACK), 8080), (Carries::Udp, 53)] {
        let packet = to_either(carries, true);
        bench.becomes(Hook::Ingress, &packet, Verdict::Deliver, &packet.clone().to(LOCAL_POD, port));
    }
    assert!(bench.host.tracked.borrow().is_empty());
    bench.assert_equal_state();
}

#[test]
fn nodes_that_disagree_send_on_once_and_then_keep() {
    let mut bench = Bench6::new();
    for (carries, port) in [(Carries::Tcp(ACK), 8080), (Carries::Udp, 53)] {
        // another node thinks that the backend is here; our ring says that it is on node 3
        let packet = to_either(carries, false);
        let on = onward(Hook::Ingress, &packet).bytes();
        goes_on(&mut bench, Hook::Ingress, &tunnel(&packet, NODE_3, NODE, 0, 64), &on, true);
        // if it was sent on already, a backend here takes it
        let (verdict, bytes) = bench.run(Hook::Ingress, &tunnel(&packet, NODE_3, NODE, 1, 64));
        let inside = packet.clone().to(LOCAL_POD, port);
        assert_eq!((verdict, hex(&bytes)), (Verdict::Deliver, hex(&inside.bytes())));
    }
    // as it does with a first segment: there is nothing yet that could be lost
    let first = to_either(Carries::Tcp(SYN), false).from(CLIENT, 39_999);
    let (verdict, _) = bench.run(Hook::Ingress, &tunnel(&first, NODE_3, NODE, 0, 64));
    assert_eq!(verdict, Verdict::Deliver);
    // and where there is no backend here, it ends
    let elsewhere = packet6(Carries::Tcp(ACK), (CLIENT, 40_000), (VIP, 90));
    bench.dropped(&tunnel(&elsewhere, NODE_3, NODE, 1, 64), DropReason::TunnelledTwice);
    bench.assert_equal_state();
}
