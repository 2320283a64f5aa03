//! SCTP: addresses change, ports and checksum never do.

use lb_common::abi::{BackendEntry4, FrontendEntry, FrontendKey4, backend_flag, flow_flag};
use lb_common::addr::V4;
use lb_common::be::Be16;
use lb_common::conntrack::FlowState;
use lb_common::drop_reason::DropReason;
use lb_common::host::Maps;
use lb_common::lookup::Table;
use lb_common::verdict::Verdict;
use weir_lab::sctp::{Message, SCTP, chunk};

use crate::fixture::{Bench, Hook, hex};
use crate::packet::{Builder, ROUTER, UPLINK, fragments, icmp, udp};
use crate::world::{self, CLIENT, Devices, LOCAL_POD, NEXT_NODE, NODE, REMOTE_POD, VIP, VIP2, address};

/// The port of client-side peers as well, as it is in use between core network functions.
const PORT: u16 = 3868;

/// The world with two services of SCTP: port 3868 of VIP with a pod on this node, that of VIP2 with one on the next; port
/// 3869 of VIP leads to another port, which no agent would write.
fn tables(devices: Devices) -> Maps<V4> {
    let mut maps = world::host(devices);
    let protocol = u32::from(SCTP);
    for (id, at, flags) in [(21, LOCAL_POD, backend_flag::LOCAL), (22, REMOTE_POD, 0)] {
        let (address, port) = (address(at), Be16::new(PORT));
        maps.backends.insert(id, BackendEntry4 { address, port, flags, generation: 1, protocol, ..Default::default() });
        let ring = maps.add_ring(&[id]);
        maps.services.insert(id, ring);
    }
    for (at, port, service) in [(VIP, PORT, 21), (VIP2, PORT, 22), (VIP, PORT + 1, 21)] {
        let key = FrontendKey4 { address: address(at), port: Be16::new(port), protocol: u16::from(SCTP), fill: [] };
        maps.frontends.insert(key, FrontendEntry { service, flags: 0 });
    }
    maps
}

/// An SCTP packet between the addresses and ports of a datagram.
fn sctp(between: &Builder, kind: u8) -> Vec<u8> {
    let ports = (between.source.1, between.destination.1);
    let message = Message { ports, tag: 7, kind, body: b"twelve bytes".to_vec() }.bytes();
    let mut frame = between.clone().no_checksum().payload(&message[8..]).bytes();
    let transport = frame.len() - message.len();
    frame[transport..].copy_from_slice(&message);
    frame[23] = SCTP;
    with_header_sum(frame)
}

/// The frame, whose IP header has no options, with the checksum of that header made anew.
fn with_header_sum(mut frame: Vec<u8>) -> Vec<u8> {
    frame[24..26].fill(0);
    let sum = frame[14..34].chunks(2).map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    frame[24..26].copy_from_slice(&(!lb_common::csum::fold(sum)).to_be_bytes());
    frame
}

/// A packet that must come out as another one, its checksum right at both ends.
fn becomes(bench: &mut Bench, hook: Hook, packet: &Builder, kind: u8, verdict: Verdict, expected: &Builder) {
    let (got, bytes) = bench.run(hook, &sctp(packet, kind));
    assert_eq!((got, hex(&bytes)), (verdict, hex(&sctp(expected, kind))));
    assert!(Message::read(&bytes[34..]).is_some(), "the CRC32c is wrong");
}

#[test]
fn an_association_with_a_local_pod() {
    let mut bench = Bench::with(tables);
    let packet = udp((CLIENT, PORT), (VIP, PORT));
    let reply = udp((LOCAL_POD, PORT), (CLIENT, PORT));
    let (there, back) = (packet.clone().to(LOCAL_POD, PORT), reply.clone().from(VIP, PORT));
    for (to_pod, from_pod) in
        [(chunk::INIT, chunk::INIT_ACK), (chunk::COOKIE_ECHO, chunk::COOKIE_ACK), (chunk::DATA, chunk::SACK)]
    {
        becomes(&mut bench, Hook::Ingress, &packet, to_pod, Verdict::Deliver, &there);
        becomes(&mut bench, Hook::Egress, &reply, from_pod, Verdict::Deliver, &back);
    }
    assert_eq!((bench.flows(Table::HalfOpen).len(), bench.flows(Table::Proven).len()), (0, 1));
    becomes(&mut bench, Hook::Ingress, &packet, chunk::SHUTDOWN, Verdict::Deliver, &there);
    becomes(&mut bench, Hook::Egress, &reply, chunk::SHUTDOWN_ACK, Verdict::Deliver, &back);
    let flows = bench.flows(Table::Proven);
    assert!(flows.values().all(|flow| FlowState::from_number(flow.state).is_closed()), "{flows:?}");
    bench.assert_equal_state();
}

#[test]
fn an_abort_of_the_backend_proves_nothing() {
    let mut bench = Bench::with(tables);
    let packet = udp((CLIENT, PORT), (VIP, PORT));
    let reply = udp((LOCAL_POD, PORT), (CLIENT, PORT));
    becomes(&mut bench, Hook::Ingress, &packet, chunk::INIT, Verdict::Deliver, &packet.clone().to(LOCAL_POD, PORT));
    becomes(&mut bench, Hook::Egress, &reply, chunk::ABORT, Verdict::Deliver, &reply.clone().from(VIP, PORT));
    becomes(&mut bench, Hook::Ingress, &packet, chunk::INIT, Verdict::Deliver, &packet.clone().to(LOCAL_POD, PORT));
    assert_eq!((bench.flows(Table::HalfOpen).len(), bench.flows(Table::Proven).len()), (1, 0));
    bench.assert_equal_state();
}

#[test]
fn source_nat_keeps_the_clients_port() {
    let mut bench = Bench::with(tables);
    let sent = Verdict::Transmit(bench.devices.first);
    let packet = udp((CLIENT, PORT), (VIP2, PORT));
    let there = packet.clone().from(NODE, PORT).to(REMOTE_POD, PORT).ttl(63).macs(NEXT_NODE, UPLINK);
    becomes(&mut bench, Hook::Ingress, &packet, chunk::INIT, sent, &there);
    let reply = udp((REMOTE_POD, PORT), (NODE, PORT)).macs(UPLINK, NEXT_NODE);
    let back = reply.clone().from(VIP2, PORT).to(CLIENT, PORT).ttl(63).macs(ROUTER, UPLINK);
    becomes(&mut bench, Hook::Ingress, &reply, chunk::INIT_ACK, sent, &back);
    assert!(bench.flows(Table::HalfOpen).values().all(|flow| flow.flags & flow_flag::SNAT != 0));
    bench.assert_equal_state();
}

#[test]
fn the_reply_of_a_backend_behind_a_tunnel() {
    let mut bench = Bench::with(tables);
    let packet = udp((CLIENT, PORT), (VIP2, PORT));
    assert_eq!(bench.run(Hook::Ingress, &sctp(&packet, chunk::INIT)).0, Verdict::Transmit(bench.devices.first));
    let reply = udp((REMOTE_POD, PORT), (NODE, PORT));
    let (verdict, bytes) = bench.run(Hook::Tunnel, &sctp(&reply, chunk::INIT_ACK));
    assert_eq!(verdict, Verdict::Transmit(bench.devices.first));
    let back = reply.from(VIP2, PORT).to(CLIENT, PORT).ttl(63);
    assert_eq!(hex(&bytes), hex(&sctp(&back, chunk::INIT_ACK)));
}

#[test]
fn a_second_client_with_the_same_port_has_to_wait() {
    let mut bench = Bench::with(tables);
    let sent = Verdict::Transmit(bench.devices.first);
    let first = udp((CLIENT, PORT), (VIP2, PORT));
    assert_eq!(bench.run(Hook::Ingress, &sctp(&first, chunk::INIT)).0, sent);
    let second = udp(("192.0.2.8", PORT), (VIP2, PORT));
    bench.dropped(&sctp(&second, chunk::INIT), DropReason::SctpPortTaken);
    let other = udp(("192.0.2.8", PORT + 1), (VIP2, PORT));
    assert_eq!(bench.run(Hook::Ingress, &sctp(&other, chunk::INIT)).0, sent);
    bench.assert_equal_state();
}

#[test]
fn a_mapped_port_is_never_sent_with_a_wrong_checksum() {
    let mut bench = Bench::with(tables);
    let packet = udp((CLIENT, PORT), (VIP, PORT + 1));
    let (verdict, _) = bench.run(Hook::Ingress, &sctp(&packet, chunk::INIT));
    assert_eq!(verdict, Verdict::Answer, "the sender is told that nobody is there");
    assert_eq!(bench.host.drops.borrow()[DropReason::NoBackend as usize].packets, 1);
}

#[test]
fn errors_and_fragments_follow() {
    let mut bench = Bench::with(tables);
    let packet = udp((CLIENT, PORT), (VIP, PORT));
    let there = packet.clone().to(LOCAL_POD, PORT);
    becomes(&mut bench, Hook::Ingress, &packet, chunk::INIT, Verdict::Deliver, &there);
    // about a reply that was too large for a router
    let reply = sctp(&udp((VIP, PORT), (CLIENT, PORT)), chunk::DATA).split_off(14);
    let translated = sctp(&udp((LOCAL_POD, PORT), (CLIENT, PORT)), chunk::DATA).split_off(14);
    let error = icmp("198.51.100.1", VIP, (3, 4), &reply[..28]);
    let expected = icmp("198.51.100.1", LOCAL_POD, (3, 4), &translated[..28]);
    bench.ingress(&error, Verdict::Deliver, &expected);
    for (part, expected) in
        fragments(&sctp(&packet, chunk::DATA), 16).iter().zip(fragments(&sctp(&there, chunk::DATA), 16))
    {
        let (verdict, bytes) = bench.run(Hook::Ingress, part);
        assert_eq!((verdict, hex(&bytes)), (Verdict::Deliver, hex(&expected)));
    }
    bench.assert_equal_state();
}

#[test]
fn chunks_that_do_not_fit_are_malformed() {
    let mut bench = Bench::with(tables);
    let whole = sctp(&udp((CLIENT, PORT), (VIP, PORT)), chunk::INIT);
    let mut long = whole.clone();
    long[34 + 14..34 + 16].copy_from_slice(&200u16.to_be_bytes());
    bench.dropped(&long, DropReason::BadTransportHeader);
    let mut short = whole[..34 + 12].to_vec();
    short[16..18].copy_from_slice(&32u16.to_be_bytes());
    bench.dropped(&with_header_sum(short), DropReason::BadTransportHeader);
}
