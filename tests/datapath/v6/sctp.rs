//! SCTP over IPv6: addresses change, ports and checksum never do.

use lb_common::abi::{BackendEntry6, FrontendEntry, FrontendKey6, backend_flag};
use lb_common::be::Be16;
use weir_lab::sctp::{Message, SCTP, chunk};

use super::*;
use crate::fixture::hex;
use crate::world6::address;

/// Client, frontend and backend have it.
const PORT: u16 = 3868;
/// A frontend whose backend is on the next node.
const VIP2: &str = "fd00:100::101";

/// The world with a service of SCTP on each node.
fn bench() -> Bench6 {
    let mut bench = Bench6::new();
    let protocol = u32::from(SCTP);
    for (id, vip, pod, flags) in [(21, VIP, LOCAL_POD, backend_flag::LOCAL), (22, VIP2, REMOTE_POD, 0)] {
        let backend = BackendEntry6 {
            address: address(pod),
            port: Be16::new(PORT),
            flags,
            generation: 1,
            protocol,
            ..Default::default()
        };
        bench.host.backends.insert(id, backend);
        let ring = bench.host.add_ring(&[id]);
        bench.host.services.insert(id, ring);
        let key = FrontendKey6 { address: address(vip), port: Be16::new(PORT), protocol: SCTP.into(), fill: [0] };
        bench.host.frontends.insert(key, FrontendEntry { service: id, flags: 0 });
        bench.host.vips.push(address(vip));
    }
    if let Some(kernel) = &mut bench.kernel {
        kernel.fill_ipv6(&bench.host);
    }
    bench
}

/// An SCTP packet between the addresses and ports of a datagram.
fn sctp(between: &Builder6, kind: u8) -> Vec<u8> {
    let ports = (between.source.1, between.destination.1);
    let message = Message { ports, tag: 7, kind, body: b"twelve bytes".to_vec() }.bytes();
    let mut frame = between.clone().payload(&message[8..]).bytes();
    let transport = frame.len() - message.len();
    frame[transport..].copy_from_slice(&message);
    frame[20] = SCTP;
    frame
}

fn packet(from: (&str, u16), to: (&str, u16)) -> Builder6 {
    packet6(Carries::Udp, from, to)
}

/// A packet that must come out as another one, its checksum right at both ends.
fn becomes(bench: &mut Bench6, hook: Hook, sent: &Builder6, kind: u8, verdict: Verdict, expected: &Builder6) {
    let (got, bytes) = bench.run(hook, &sctp(sent, kind));
    assert_eq!((got, hex(&bytes)), (verdict, hex(&sctp(expected, kind))));
}

#[test]
fn to_a_pod_on_this_node_and_back() {
    let mut bench = bench();
    let sent = packet((CLIENT, PORT), (VIP, PORT));
    for kind in [chunk::INIT, chunk::COOKIE_ECHO, chunk::DATA] {
        becomes(&mut bench, Hook::Ingress, &sent, kind, Verdict::Deliver, &sent.clone().to(LOCAL_POD, PORT));
        becomes(&mut bench, Hook::Companion, &sent, kind, Verdict::Deliver, &sent.clone().to(LOCAL_POD, PORT));
    }
    let reply = packet((LOCAL_POD, PORT), (CLIENT, PORT)).hops(63);
    becomes(&mut bench, Hook::Egress, &reply, chunk::INIT_ACK, Verdict::Deliver, &reply.clone().from(VIP, PORT));
    bench.assert_equal_state();
}

#[test]
fn to_a_pod_on_another_node_and_back_with_the_port_kept() {
    let mut bench = bench();
    let there = Verdict::Transmit(bench.devices.first);
    let sent = packet((CLIENT, PORT), (VIP2, PORT));
    let expected = sent.clone().from(NODE, PORT).to(REMOTE_POD, PORT).hops(63).macs(NEXT_NODE, UPLINK);
    becomes(&mut bench, Hook::Ingress, &sent, chunk::INIT, there, &expected);
    let reply = packet((REMOTE_POD, PORT), (NODE, PORT)).macs(UPLINK, NEXT_NODE);
    let back = reply.clone().from(VIP2, PORT).to(CLIENT, PORT).hops(63).macs(ROUTER, UPLINK);
    becomes(&mut bench, Hook::Ingress, &reply, chunk::INIT_ACK, there, &back);
    // a second client with that port would look the same to the pod
    let second = packet(("2001:db8::8", PORT), (VIP2, PORT));
    bench.dropped(&sctp(&second, chunk::INIT), DropReason::SctpPortTaken);
    let other = packet(("2001:db8::8", PORT + 1), (VIP2, PORT));
    assert_eq!(bench.run(Hook::Ingress, &sctp(&other, chunk::INIT)).0, there);
    bench.assert_equal_state();
}
