//! Tunnels between nodes: what goes in, what comes out, and what is not let in.

use lb_common::abi::{FlowKey, FlowKey4, FormerRing, ServiceEntry, Stat, Task, flow_flag};
use lb_common::addr::Address;
use lb_common::be::Be16;
use lb_common::csum::Delta;
use lb_common::drop_reason::DropReason;
use lb_common::hash::{flow_hash, scale};
use lb_common::host::Maps;
use lb_common::ip::Ip;
use lb_common::lookup::Table;
use lb_common::verdict::Verdict;

use crate::fixture::{Bench, Hook, hex};
use crate::packet::{ACK, Builder, ROUTER, SYN, SYN_ACK, UPLINK, tcp, udp};
use crate::world::{CLIENT, FAR_POD, LOCAL_POD, NEXT_NODE, NODE, NODE_2, NODE_3, SNAT_FIRST, SNAT_LAST, VIP, host};

/// The frame with an outer header: addresses, identification, class, time to live.
pub(crate) fn tunnel(inner: &Builder, from: &str, to: &str, id: u8, class: u8, ttl: u8) -> Vec<u8> {
    let frame = inner.bytes();
    let total = (frame.len() - 14 + 20) as u16;
    let mut outer = vec![0x45, class, 0, 0, 0, id, 0x40, 0, ttl, 4, 0, 0];
    outer[2..4].copy_from_slice(&total.to_be_bytes());
    outer.extend(from.parse::<std::net::Ipv4Addr>().unwrap().octets());
    outer.extend(to.parse::<std::net::Ipv4Addr>().unwrap().octets());
    let sum: u32 = outer.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    outer[10..12].copy_from_slice(&checksum.to_be_bytes());
    [&frame[..14], &outer, &frame[14..]].concat()
}

/// What the first node makes of a packet for the next one.
fn sent(hook: Hook, packet: &Builder) -> Vec<u8> {
    if hook == Hook::Companion {
        // the kernel addresses the frame
        return tunnel(&packet.clone().ttl(packet.ttl - 1), NODE, NODE_2, 0, 0, 64);
    }
    tunnel(&packet.clone().macs(NEXT_NODE, UPLINK).ttl(packet.ttl - 1), NODE, NODE_2, 0, 0, 64)
}

/// The same packet as it comes from another node.
fn came(packet: &Builder) -> Vec<u8> {
    tunnel(packet, NODE_2, NODE, 0, 0, 63)
}

fn expect(bench: &mut Bench, hook: Hook, packet: &[u8], verdict: Verdict, expected: &[u8]) {
    let (got, bytes) = bench.run(hook, packet);
    assert_eq!(got, verdict, "{}", hex(packet));
    assert_eq!(hex(&bytes), hex(expected), "{}", hex(packet));
}

fn count(bench: &Bench, stat: Stat) -> u64 {
    bench.host.stats.borrow()[stat as usize]
}

#[test]
fn the_first_node_sends_it_on_in_a_tunnel_and_keeps_nothing() {
    for hook in [Hook::Ingress, Hook::Companion] {
        let mut bench = Bench::new();
        let packets = [
            tcp((CLIENT, 40_000), (VIP, 90), SYN),
            tcp((CLIENT, 40_000), (VIP, 90), ACK).payload(&[1; 1000]),
            udp((CLIENT, 40_000), (VIP, 5300)),
            udp((CLIENT, 40_001), (VIP, 5300)).no_checksum().ttl(2),
            tcp((CLIENT, 40_002), (VIP, 90), SYN).options(&[0x94, 4, 0, 0]),
        ];
        for packet in &packets {
            let device = bench.devices.first;
            expect(&mut bench, hook, &packet.bytes(), Verdict::Transmit(device), &sent(hook, packet));
        }
        assert!(bench.flows(Table::HalfOpen).is_empty() && bench.replies(Table::HalfOpen).is_empty());
        assert!(bench.host.tracked.borrow().is_empty());
        assert_eq!(count(&bench, Stat::Tunnelled), 5);
        bench.assert_equal_state();
    }
}

#[test]
fn the_time_to_live_ends_at_the_first_node() {
    let mut bench = Bench::new();
    let (verdict, _) = bench.run(Hook::Ingress, &tcp((CLIENT, 40_000), (VIP, 90), SYN).ttl(1).bytes());
    assert_eq!(verdict, Verdict::Answer, "its sender is told");
    assert_eq!(bench.host.drops.borrow()[DropReason::TtlExceeded as usize].packets, 1);
    bench.assert_equal_state();
}

#[test]
fn a_backend_here_is_reached_without_a_tunnel() {
    let mut bench = Bench::new();
    let packet = tcp((CLIENT, 40_000), (VIP, 91), SYN);
    bench.ingress(&packet, Verdict::Deliver, &packet.clone().to(LOCAL_POD, 8080));
    let flows = bench.flows(Table::HalfOpen);
    assert!(flows.values().all(|flow| flow.flags == flow_flag::LOCAL | flow_flag::DSR));
    bench.assert_equal_state();
}

#[test]
fn a_backend_whose_node_is_not_known_is_reached_by_source_nat() {
    let mut bench = Bench::new();
    let packet = tcp((CLIENT, 40_000), (VIP, 92), SYN);
    expect(&mut bench, Hook::Ingress, &packet.bytes(), Verdict::HandOver(Task::Forward), &packet.bytes());
    let (verdict, bytes) = bench.run(Hook::Companion, &packet.bytes());
    assert_eq!(verdict, Verdict::Transmit(bench.devices.second));
    assert_eq!(bytes[30..34], FAR_POD.parse::<std::net::Ipv4Addr>().unwrap().octets());
    let port = bench.flows(Table::HalfOpen).values().next().unwrap().snat_port.host();
    assert!((SNAT_FIRST..=SNAT_LAST).contains(&port));
    bench.assert_equal_state();
}

#[test]
fn the_second_node_takes_the_header_off_and_goes_on() {
    for hook in [Hook::Ingress, Hook::Companion] {
        let mut bench = Bench::new();
        let packet = tcp((CLIENT, 40_000), (VIP, 91), SYN).ttl(63);
        let inside = packet.clone().to(LOCAL_POD, 8080).bytes();
        expect(&mut bench, hook, &came(&packet), Verdict::Deliver, &inside);
        // from whichever node, and directly: it is the same flow
        expect(&mut bench, hook, &tunnel(&packet, NODE_3, NODE, 1, 0, 9), Verdict::Deliver, &inside);
        expect(&mut bench, hook, &packet.bytes(), Verdict::Deliver, &inside);
        assert_eq!(bench.flows(Table::HalfOpen).len(), 1);
        assert_eq!(count(&bench, Stat::Untunnelled), 2);
        bench.assert_equal_state();
    }
}

/// A single tag, and one in another.
const TAGS: [&[(u16, u16)]; 2] = [&[(0x8100, 10)], &[(0x88a8, 20), (0x8100, 10)]];

fn tagged(bare: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let tags: Vec<u8> = tags.iter().flat_map(|(kind, id)| [kind.to_be_bytes(), id.to_be_bytes()].concat()).collect();
    [&bare[..12], &tags, &bare[12..]].concat()
}

#[test]
fn a_tag_comes_off_before_the_tunnel() {
    for tags in TAGS {
        let mut bench = Bench::new();
        let packet = tcp((CLIENT, 40_000), (VIP, 90), SYN);
        let bytes = tagged(&packet.bytes(), tags);
        expect(&mut bench, Hook::Ingress, &bytes, Verdict::HandOver(Task::Forward), &bytes);
        let device = bench.devices.first;
        expect(&mut bench, Hook::Companion, &bytes, Verdict::Transmit(device), &sent(Hook::Companion, &packet));
    }
}

#[test]
fn tags_stay_where_the_header_comes_off() {
    let mut bench = Bench::new();
    for tags in TAGS {
        let packet = tcp((CLIENT, 40_000), (VIP, 91), SYN);
        let inside = packet.clone().to(LOCAL_POD, 8080);
        let add = |bare: Vec<u8>| tagged(&bare, tags);
        expect(&mut bench, Hook::Ingress, &add(came(&packet)), Verdict::Deliver, &add(inside.bytes()));
    }
}

#[test]
fn a_congestion_mark_on_the_way_reaches_the_pod() {
    let mut bench = Bench::new();
    // ECT(0) inside, marked outside: the pod sees the mark
    let mut marked = tunnel(&tcp((CLIENT, 40_000), (VIP, 91), SYN), NODE_2, NODE, 0, 3, 64);
    let class = |bytes: &mut Vec<u8>, at: usize, class: u8| {
        let old = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let delta = Delta::NONE.half(old.to_be(), (old & 0xff00 | u16::from(class)).to_be());
        let sum = u16::from_ne_bytes([bytes[at + 10], bytes[at + 11]]);
        bytes[at + 10..at + 12].copy_from_slice(&delta.apply(sum).to_ne_bytes());
        bytes[at + 1] = class;
    };
    class(&mut marked, 34, 2);
    let mut expected = tcp((CLIENT, 40_000), (VIP, 91), SYN).to(LOCAL_POD, 8080).bytes();
    class(&mut expected, 14, 3);
    expect(&mut bench, Hook::Ingress, &marked, Verdict::Deliver, &expected);
}

#[test]
fn only_nodes_may_send_in_a_tunnel_and_only_to_frontends() {
    let mut bench = Bench::new();
    let packet = tcp((CLIENT, 40_000), (VIP, 91), SYN);
    bench.dropped(&tunnel(&packet, CLIENT, NODE, 0, 0, 64), DropReason::TunnelSource);
    bench.dropped(&tunnel(&packet, NODE, NODE, 0, 0, 64), DropReason::TunnelSource);
    bench.dropped(&came(&packet.clone().to(VIP, 99)), DropReason::TunnelFrontend);
    bench.dropped(&came(&packet.clone().to(crate::world::FRONT, 80)), DropReason::TunnelFrontend);
    let mut broken = came(&packet);
    broken[24] ^= 1;
    bench.dropped(&broken, DropReason::BadIpChecksum);
    bench.assert_equal_state();
}

#[test]
fn tunnels_of_others_pass() {
    for hook in [Hook::Ingress, Hook::Companion] {
        let mut bench = Bench::new();
        let cni = tcp(("10.244.2.9", 40_000), (LOCAL_POD, 8080), SYN);
        let through = tcp((CLIENT, 40_000), (VIP, 91), SYN);
        for packet in [came(&cni), tunnel(&cni, CLIENT, NODE, 0, 0, 64), tunnel(&through, NODE_2, NODE_3, 0, 0, 64)] {
            expect(&mut bench, hook, &packet, Verdict::Pass, &packet);
        }
        assert_eq!(count(&bench, Stat::Untunnelled), 0);
    }
}

#[test]
fn a_tunnel_to_another_station_is_left_as_it_is() {
    for hook in [Hook::Ingress, Hook::Companion] {
        let mut bench = Bench::new();
        let mut packet = came(&tcp((CLIENT, 40_000), (VIP, 91), SYN));
        packet[..6].copy_from_slice(&ROUTER);
        expect(&mut bench, hook, &packet, Verdict::Pass, &packet);
        assert_eq!(count(&bench, Stat::Untunnelled), 0);
    }
}

#[test]
fn what_does_not_fit_is_answered() {
    for hook in [Hook::Ingress, Hook::Companion] {
        let mut bench = Bench::new();
        let device = bench.devices.first;
        // with 20 bytes of IP and 8 of UDP, 1,452 are what fits into 1,500 with another 20
        let fits = udp((CLIENT, 40_000), (VIP, 5300)).payload(&[7; 1452]);
        expect(&mut bench, hook, &fits.bytes(), Verdict::Transmit(device), &sent(hook, &fits));
        let packet = udp((CLIENT, 40_000), (VIP, 5300)).payload(&[7; 1453]);
        let (verdict, bytes) = bench.run(hook, &packet.bytes());
        assert_eq!(verdict, Verdict::Answer);
        let quote = &packet.bytes()[14..14 + 128];
        let message = [&[3, 4, 0, 0, 0, 0, 0x05, 0xc8][..], quote].concat();
        let answer = crate::packet::icmp(VIP, CLIENT, (3, 4), quote).macs(ROUTER, UPLINK).bytes();
        assert_eq!(hex(&bytes[34..38]), hex(&[&message[..2], &bytes[36..38]].concat()));
        assert_eq!(hex(&bytes[38..]), hex(&message[4..]), "1,480 bytes fit");
        assert_eq!(hex(&bytes[..14]), hex(&answer[..14]));
        assert_eq!(bytes[26..34], answer[26..34], "from the VIP to the client");
        for range in [14..34, 34..bytes.len()] {
            let sum: u32 = bytes[range].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "checksums");
        }
        assert_eq!(bench.host.drops.borrow()[DropReason::TooBig as usize].packets, 1);
        bench.assert_equal_state();
    }
}

#[test]
fn a_fragment_that_does_not_fit_is_answered_once() {
    let mut bench = Bench::new();
    let first = udp((CLIENT, 40_000), (VIP, 5300)).payload(&[7; 1472]).fragment(0x2000);
    let (verdict, _) = bench.run(Hook::Ingress, &first.bytes());
    assert_eq!(verdict, Verdict::Answer);
    let later = udp((CLIENT, 40_000), (VIP, 5300)).payload(&[7; 1472]).fragment(0x20b9);
    bench.dropped(&later.bytes(), DropReason::TooBig);
}

#[test]
fn fragments_go_the_same_way_in_and_out() {
    let mut bench = Bench::new();
    let device = bench.devices.first;
    for field in [0x2000, 0x2010, 0x0020] {
        let part = udp((CLIENT, 40_000), (VIP, 5300)).payload(&[7; 120]).fragment(field);
        expect(&mut bench, Hook::Ingress, &part.bytes(), Verdict::Transmit(device), &sent(Hook::Ingress, &part));
    }
    let first = tcp((CLIENT, 40_000), (VIP, 91), SYN).payload(&[7; 108]).fragment(0x2000);
    expect(&mut bench, Hook::Ingress, &came(&first), Verdict::Deliver, &first.clone().to(LOCAL_POD, 8080).bytes());
    bench.assert_equal_state();
}

#[test]
fn the_mss_leaves_room_for_the_outer_header() {
    let mut bench = Bench::new();
    let request = tcp((CLIENT, 40_000), (VIP, 91), SYN);
    bench.ingress(&request, Verdict::Deliver, &request.clone().to(LOCAL_POD, 8080));
    // the payload of the builder stands for options: the header says that it is longer
    for (offered, expected) in [(1460_u16, 1440_u16), (1440, 1440), (536, 536)] {
        let reply = |source: (&str, u16), mss: u16| with_mss(&tcp(source, (CLIENT, 40_000), SYN_ACK), mss);
        let (verdict, bytes) = bench.run(Hook::Egress, &reply((LOCAL_POD, 8080), offered));
        assert_eq!(verdict, Verdict::Deliver);
        assert_eq!(hex(&bytes), hex(&reply((VIP, 91), expected)));
    }
    assert_eq!(count(&bench, Stat::MssLowered), 1);
    // a service that does not forward by DSR has all the room
    let request = tcp((CLIENT, 40_001), (VIP, 7070), SYN);
    bench.ingress(&request, Verdict::Deliver, &request.clone().to(LOCAL_POD, 8080));
    let (_, bytes) = bench.run(Hook::Egress, &with_mss(&tcp((LOCAL_POD, 8080), (CLIENT, 40_001), SYN_ACK), 1460));
    assert_eq!(hex(&bytes), hex(&with_mss(&tcp((VIP, 7070), (CLIENT, 40_001), SYN_ACK), 1460)));
    bench.assert_equal_state();
}

/// The segment without payload and with the option.
fn with_mss(segment: &Builder, mss: u16) -> Vec<u8> {
    as_option(segment.clone().payload(&option(mss)).bytes(), 34)
}

/// The option of TCP that says how much a segment may carry.
pub(crate) fn option(mss: u16) -> [u8; 4] {
    let [high, low] = mss.to_be_bytes();
    [2, 4, high, low]
}

/// Makes four bytes of payload an option of the TCP header at `tcp`, whose checksum is made right again.
pub(crate) fn as_option(mut frame: Vec<u8>, tcp: usize) -> Vec<u8> {
    let (place, sum) = (tcp + 12, tcp + 16);
    let old = [frame[place], frame[place + 1]];
    frame[place] = 0x60;
    let delta = Delta::NONE.half(u16::from_ne_bytes(old), u16::from_ne_bytes([0x60, old[1]]));
    let checksum = delta.apply(u16::from_ne_bytes([frame[sum], frame[sum + 1]]));
    frame[sum..sum + 2].copy_from_slice(&checksum.to_ne_bytes());
    frame
}

/// Services 15 (TCP) and 16 (UDP) had other rings before: their first six slots were of a local pod, the last one of a
/// remote one.
fn changed(open: bool) -> Bench {
    Bench::with(move |devices| {
        let mut maps = host(devices);
        change(&mut maps, 15, (1, 3), open);
        change(&mut maps, 16, (2, 7), open);
        maps
    })
}

/// Gives a service a ring that it had before, of seven slots, the last of them of another backend. `open`: it counts still.
pub(crate) fn change<F: Ip>(maps: &mut Maps<F>, service: u32, (first, last): (u32, u32), open: bool) {
    let ServiceEntry { ring, .. } = maps.add_ring(&[first, first, first, first, first, first, last]);
    let until = if open { u32::MAX / 4 } else { 1 };
    maps.former_rings.insert(service, FormerRing { ring, until, changed: 1 });
}

/// A client's port whose flow is in one of the first six slots of seven, or in the last.
pub(crate) fn port_in<A: Address>(key: impl Fn(u16) -> FlowKey<A>, last: bool) -> u16 {
    let slot = |port: u16| scale(flow_hash(&key(port)), 7);
    (40_000..).find(|port| (slot(*port) == 6) == last).unwrap()
}

/// Such a port to service 15.
fn port(last: bool) -> u16 {
    port_in(key, last)
}

/// The flow from this port to service 15.
fn key(port: u16) -> FlowKey4 {
    FlowKey4 {
        source: crate::world::address(CLIENT),
        destination: crate::world::address(VIP),
        source_port: Be16::new(port),
        destination_port: Be16::new(93),
        protocol: 6,
    }
}

/// A datagram to service 16.
fn datagram(last: bool) -> Builder {
    let to_16 = |port| FlowKey4 { destination_port: Be16::new(5301), protocol: 17, ..key(port) };
    udp((CLIENT, port_in(to_16, last)), (VIP, 5301))
}

/// A datagram does not say whether it is a flow's first. Flows of a backend on this node are known here, so one of no known
/// flow goes by the ring before only if that named another node.
#[test]
fn datagrams_keep_to_the_ring_that_they_began_with() {
    let mut bench = changed(true);
    let device = bench.devices.first;
    for (number, packet) in [(1, datagram(true)), (2, datagram(false))] {
        for _ in 0..2 {
            let on = sent(Hook::Ingress, &packet);
            expect(&mut bench, Hook::Ingress, &packet.bytes(), Verdict::Transmit(device), &on);
        }
        assert_eq!(bench.host.tracked.borrow().len(), number);
        assert_eq!(count(&bench, Stat::FlowsKept), number as u64, "the second one is known");
    }
    bench.assert_equal_state();
    let mut bench = changed(false);
    let packet = datagram(true);
    bench.ingress(&packet, Verdict::Deliver, &packet.clone().to("10.244.1.11", 53));
    assert!(bench.host.tracked.borrow().is_empty(), "long after");
    bench.assert_equal_state();
}

#[test]
fn datagrams_are_sent_on_once_where_nodes_disagree() {
    let mut bench = Bench::new();
    let device = bench.devices.first;
    let packet = datagram(false);
    let on = tunnel(&packet.clone().macs(NEXT_NODE, UPLINK).ttl(63), NODE, NODE_2, 1, 0, 64);
    expect(&mut bench, Hook::Ingress, &tunnel(&packet, NODE_3, NODE, 0, 0, 64), Verdict::Transmit(device), &on);
    let inside = packet.clone().to("10.244.1.11", 53).bytes();
    expect(&mut bench, Hook::Ingress, &tunnel(&packet, NODE_3, NODE, 1, 0, 64), Verdict::Deliver, &inside);
    bench.assert_equal_state();
}

#[test]
fn a_flow_from_before_a_change_stays_where_it_is_and_is_remembered() {
    // the slot was the remote pod's and is the local one's now
    let mut bench = changed(true);
    let device = bench.devices.first;
    let old = tcp((CLIENT, port(true)), (VIP, 93), ACK);
    expect(&mut bench, Hook::Ingress, &old.bytes(), Verdict::Transmit(device), &sent(Hook::Ingress, &old));
    assert_eq!(bench.host.tracked.borrow().len(), 1);
    expect(&mut bench, Hook::Ingress, &old.bytes(), Verdict::Transmit(device), &sent(Hook::Ingress, &old));
    assert_eq!(count(&bench, Stat::FlowsKept), 1, "the second packet is known");
    bench.assert_equal_state();
    // on the same tuple begins a new flow
    let new = tcp((CLIENT, port(true)), (VIP, 93), SYN);
    bench.ingress(&new, Verdict::Deliver, &new.clone().to(LOCAL_POD, 8080));
    assert!(bench.host.tracked.borrow().is_empty());
    bench.assert_equal_state();
}

#[test]
fn a_flow_that_begins_after_a_change_takes_the_new_ring_and_is_remembered() {
    let mut bench = changed(true);
    let device = bench.devices.first;
    for flags in [SYN, ACK] {
        let new = tcp((CLIENT, port(false)), (VIP, 93), flags);
        expect(&mut bench, Hook::Ingress, &new.bytes(), Verdict::Transmit(device), &sent(Hook::Ingress, &new));
    }
    assert_eq!(bench.host.tracked.borrow().len(), 1);
    bench.assert_equal_state();
}

#[test]
fn long_after_a_change_the_present_ring_counts() {
    let mut bench = changed(false);
    let packet = tcp((CLIENT, port(true)), (VIP, 93), ACK);
    bench.ingress(&packet, Verdict::Deliver, &packet.clone().to(LOCAL_POD, 8080));
    assert!(bench.host.tracked.borrow().is_empty());
    bench.assert_equal_state();
}

#[test]
fn nodes_that_disagree_send_on_once_and_then_keep() {
    let mut bench = Bench::new();
    let device = bench.devices.first;
    // another node thinks that the backend is here; our ring says that it is on node 2
    let packet = tcp((CLIENT, port(false)), (VIP, 93), ACK);
    let on = tunnel(&packet.clone().macs(NEXT_NODE, UPLINK).ttl(63), NODE, NODE_2, 1, 0, 64);
    expect(&mut bench, Hook::Ingress, &tunnel(&packet, NODE_3, NODE, 0, 0, 64), Verdict::Transmit(device), &on);
    assert!(bench.flows(Table::HalfOpen).is_empty());
    // if it was sent on already, a backend here takes it
    let inside = packet.clone().to(LOCAL_POD, 8080).bytes();
    expect(&mut bench, Hook::Ingress, &tunnel(&packet, NODE_3, NODE, 1, 0, 64), Verdict::Deliver, &inside);
    // as it does with a first segment: there is nothing yet that could be lost
    let first = tcp((CLIENT, port(false)), (VIP, 93), SYN).from(CLIENT, port(false) + 1000);
    let inside = first.clone().to(LOCAL_POD, 8080).bytes();
    expect(&mut bench, Hook::Ingress, &tunnel(&first, NODE_3, NODE, 0, 0, 64), Verdict::Deliver, &inside);
    // and where there is no backend here, it ends
    let elsewhere = tcp((CLIENT, 40_000), (VIP, 90), ACK);
    bench.dropped(&tunnel(&elsewhere, NODE_3, NODE, 1, 0, 64), DropReason::TunnelledTwice);
    bench.assert_equal_state();
}

#[test]
fn later_fragments_are_sent_on_once_too() {
    for hook in [Hook::Ingress, Hook::Companion] {
        let mut bench = Bench::new();
        let device = bench.devices.first;
        for field in [0x2000, 0x2010, 0x0020] {
            let part = udp((CLIENT, 40_000), (VIP, 5300)).payload(&[7; 120]).fragment(field);
            let on = match hook {
                Hook::Ingress => part.clone().macs(NEXT_NODE, UPLINK).ttl(63),
                _ => part.clone().ttl(63),
            };
            let on = tunnel(&on, NODE, NODE_2, 1, 0, 64);
            expect(&mut bench, hook, &tunnel(&part, NODE_3, NODE, 0, 0, 64), Verdict::Transmit(device), &on);
            bench.dropped(&tunnel(&part, NODE_3, NODE, 1, 0, 64), DropReason::TunnelledTwice);
        }
        bench.assert_equal_state();
    }
}

#[test]
fn what_xdp_cannot_send_on_is_known_to_have_come_in_a_tunnel() {
    let mut bench = Bench::new();
    let packet = tcp((CLIENT, port(false)), (VIP, 93), ACK);
    let bytes = tagged(&tunnel(&packet, NODE_3, NODE, 0, 0, 64), TAGS[0]);
    let (verdict, inside) = bench.run(Hook::Ingress, &bytes);
    assert_eq!(verdict, Verdict::HandOver(Task::SendOn));
    assert_eq!(hex(&inside), hex(&tagged(&packet.bytes(), TAGS[0])), "out of the tunnel");
    if let Some(kernel) = &bench.kernel {
        assert_eq!(kernel.handed_over.task(), Some(Task::SendOn));
        assert_eq!(kernel.handed_over.flow, flow_hash(&key(port(false))));
    }
    // the same that came directly
    let (verdict, _) = bench.run(Hook::Ingress, &inside);
    assert_eq!(verdict, Verdict::HandOver(Task::Forward));
    if let Some(kernel) = &bench.kernel {
        assert_eq!((kernel.handed_over.task(), kernel.handed_over.flow), (Some(Task::Forward), 0));
    }
}
