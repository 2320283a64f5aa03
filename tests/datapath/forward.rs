//! From clients to backends.

use lb_common::abi::{Task, flow_flag};
use lb_common::drop_reason::DropReason;
use lb_common::lookup::Table;
use lb_common::verdict::Verdict;

use crate::fixture::{Bench, Hook};
use crate::packet::{ACK, FIN, ROUTER, RST, SYN, SYN_ACK, UPLINK, tcp, udp};
use crate::world::{
    CLIENT, FAR_POD, FRONT, LOCAL_POD, NEXT_NODE, NODE, REMOTE_POD, ROUTER2, SNAT_FIRST, SNAT_LAST, UPLINK2, VIP, VIP2,
};

/// The SNAT port that the only flow has.
fn snat_port(bench: &Bench) -> u16 {
    let flows = bench.flows(Table::HalfOpen);
    assert_eq!(flows.len(), 1);
    flows.values().next().unwrap().snat_port.host()
}

#[test]
fn local_backend_gets_the_packet_with_the_clients_address() {
    let mut bench = Bench::new();
    let packet = tcp((CLIENT, 40_000), (VIP, 7070), SYN);
    bench.ingress(&packet, Verdict::Deliver, &packet.clone().to(LOCAL_POD, 8080));
    bench.assert_equal_state();
}

#[test]
fn node_port_on_the_nodes_address_only() {
    let mut bench = Bench::new();
    let packet = tcp((CLIENT, 40_000), (NODE, 30_088), SYN);
    bench.ingress(&packet, Verdict::Deliver, &packet.clone().to(LOCAL_POD, 8080));
    let other = packet.clone().to("10.10.0.77", 30_088);
    bench.ingress(&other, Verdict::Pass, &other);
}

#[test]
fn udp_with_and_without_checksum() {
    let mut bench = Bench::new();
    let packet = udp((CLIENT, 5000), (VIP, 53));
    bench.ingress(&packet, Verdict::Deliver, &packet.clone().to("10.244.1.11", 53));
    let bare = packet.no_checksum();
    bench.ingress(&bare, Verdict::Deliver, &bare.clone().to("10.244.1.11", 53));
    bench.assert_equal_state();
}

#[test]
fn odd_payloads_keep_their_checksums() {
    let mut bench = Bench::new();
    for length in [0, 1, 2, 3, 1400] {
        let packet = udp((CLIENT, 5000), (VIP, 53)).payload(&vec![0xa5; length]);
        bench.ingress(&packet, Verdict::Deliver, &packet.clone().to("10.244.1.11", 53));
    }
}

#[test]
fn vlan_tags_and_options_stay() {
    let mut bench = Bench::new();
    let packets = [
        tcp((CLIENT, 1), (VIP, 7070), SYN).tag(0x8100, 10),
        tcp((CLIENT, 2), (VIP, 7070), SYN).tag(0x88a8, 20).tag(0x8100, 10),
        tcp((CLIENT, 3), (VIP, 7070), SYN).options(&[0x94, 4, 0, 0]),
        tcp((CLIENT, 4), (VIP, 7070), SYN).options(&[1; 40]),
    ];
    for packet in packets {
        bench.ingress(&packet, Verdict::Deliver, &packet.clone().to(LOCAL_POD, 8080));
    }
}

/// To the backend behind each of the uplinks, with one tag and with two.
const TAGGED: [&[(u16, u16)]; 2] = [&[(0x8100, 10)], &[(0x88a8, 20), (0x8100, 10)]];

fn tagged(packet: &crate::packet::Builder, tags: &[(u16, u16)]) -> crate::packet::Builder {
    tags.iter().fold(packet.clone(), |packet, &(kind, id)| packet.tag(kind, id))
}

#[test]
fn tags_stay_on_the_way_back_out_of_the_same_device() {
    for tags in TAGGED {
        let mut bench = Bench::new();
        let packet = tagged(&tcp((CLIENT, 40_000), (VIP, 80), SYN), tags);
        let (verdict, bytes) = bench.run(Hook::Ingress, &packet.bytes());
        assert_eq!(verdict, Verdict::Transmit(bench.devices.first));
        let expected = packet.from(NODE, snat_port(&bench)).to(REMOTE_POD, 8080).ttl(63).macs(NEXT_NODE, UPLINK);
        assert_eq!(crate::fixture::hex(&bytes), crate::fixture::hex(&expected.bytes()));
        bench.assert_equal_state();
    }
}

/// In the bytes of the packet, as the inner of two tags is on tc.
#[test]
fn the_companion_keeps_tags_where_the_neighbour_is_resolved() {
    for tags in TAGGED {
        let mut bench = Bench::new();
        let Some(kernel) = &mut bench.kernel else { return };
        let packet = tagged(&tcp((CLIENT, 40_000), (VIP, 80), SYN), tags);
        let (outcome, out) = kernel.tc(lb_common::abi::program::TC_INGRESS, &packet.bytes());
        let network = 14 + 4 * tags.len();
        let port = u16::from_be_bytes([out[network + 20], out[network + 21]]);
        let expected = packet.from(NODE, port).to(REMOTE_POD, 8080).ttl(63).macs(NEXT_NODE, UPLINK);
        assert_eq!(
            (outcome, crate::fixture::hex(&out)),
            (crate::fixture::Outcome::Redirect, crate::fixture::hex(&expected.bytes()))
        );
    }
}

#[test]
fn a_tag_does_not_follow_the_packet_into_another_network() {
    for (tags, port) in TAGGED.into_iter().flat_map(|tags| [(tags, 80), (tags, 81)]) {
        // Out of another device; or out of the same, where VLAN devices tell its networks apart.
        let vlans = port == 80;
        let mut bench = Bench::with(|devices| lb_common::host::Maps { vlans, ..crate::world::host(devices) });
        if let Some(kernel) = bench.kernel.as_mut().filter(|_| vlans) {
            kernel.add_flags(bench.devices.first, lb_common::abi::device_flag::VLANS);
        }
        let bare = tcp((CLIENT, 40_000), (VIP, port), SYN);
        let packet = tagged(&bare, tags);
        bench.ingress(&packet, Verdict::HandOver(Task::Forward), &packet);
        bench.assert_equal_state();
        if let Some(kernel) = &mut bench.kernel {
            let (outcome, bytes) = kernel.tc(lb_common::abi::program::TC_INGRESS, &packet.bytes());
            assert_eq!(outcome, crate::fixture::Outcome::Redirect);
            let flow = kernel.flows(lb_common::abi::map::HALF_FLOWS4).into_values().next().unwrap();
            let (pod, node) = if vlans { (REMOTE_POD, NODE) } else { (FAR_POD, "10.20.0.11") };
            let expected = bare.from(node, flow.snat_port.host()).to(pod, 8080).ttl(63);
            assert_eq!(crate::fixture::hex(&bytes), crate::fixture::hex(&expected.bytes()));
        }
    }
}

/// 9,000 bytes stand in three buffers.
#[test]
fn a_packet_of_several_buffers_is_rewritten_in_the_first() {
    let packet = tcp((CLIENT, 40_000), (VIP, 7070), SYN).payload(&[7; 8_946]);
    let expected = packet.clone().to(LOCAL_POD, 8080);
    Bench::new().ingress(&packet, Verdict::Deliver, &expected);
    Bench::new().ingress(&packet.tag(0x8100, 10), Verdict::Deliver, &expected.tag(0x8100, 10));
}

#[test]
fn a_packet_whose_headers_are_in_several_buffers_is_left_to_the_companion() {
    let mut bench = Bench::new();
    let Some(kernel) = &mut bench.kernel else { return };
    let packet = tcp((CLIENT, 40_000), (VIP, 7070), SYN).payload(&[7; 8_946]).bytes();
    for first in [14, 33, 48, 255] {
        let Some((outcome, bytes)) = kernel.xdp_split(&packet, first) else { return };
        assert!(outcome == crate::fixture::Outcome::Pass && bytes == packet, "{first} bytes in the first buffer");
    }
    let (outcome, _) = kernel.xdp_split(&packet, 256).unwrap();
    assert_eq!(outcome, crate::fixture::Outcome::Deliver);
}

#[test]
fn backend_on_the_next_node_sees_this_nodes_address() {
    let mut bench = Bench::new();
    let packet = tcp((CLIENT, 40_000), (VIP, 80), SYN);
    let (verdict, bytes) = bench.run(Hook::Ingress, &packet.bytes());
    assert_eq!(verdict, Verdict::Transmit(bench.devices.first));
    let port = snat_port(&bench);
    assert!((SNAT_FIRST..=SNAT_LAST).contains(&port), "{port}");
    let expected = packet.clone().from(NODE, port).to(REMOTE_POD, 8080).ttl(63).macs(NEXT_NODE, UPLINK);
    assert_eq!(bytes, expected.bytes());
    // the same flow keeps its port
    let next = tcp((CLIENT, 40_000), (VIP, 80), ACK);
    let expected = next.clone().from(NODE, port).to(REMOTE_POD, 8080).ttl(63).macs(NEXT_NODE, UPLINK);
    bench.ingress(&next, Verdict::Transmit(bench.devices.first), &expected);
    bench.assert_equal_state();
}

#[test]
fn udp_backend_on_the_next_node() {
    let mut bench = Bench::new();
    let packet = udp((CLIENT, 5000), (VIP, 5353)).no_checksum();
    let (verdict, bytes) = bench.run(Hook::Ingress, &packet.bytes());
    assert_eq!(verdict, Verdict::Transmit(bench.devices.first));
    let expected = packet.from(NODE, snat_port(&bench)).to("10.244.2.21", 53).ttl(63).macs(NEXT_NODE, UPLINK);
    assert_eq!(bytes, expected.bytes(), "no checksum stays no checksum");
}

#[test]
fn backend_behind_another_uplink() {
    let mut bench = Bench::new();
    let packet = tcp((CLIENT, 40_000), (VIP, 81), SYN);
    let (verdict, bytes) = bench.run(Hook::Ingress, &packet.bytes());
    assert_eq!(verdict, Verdict::Transmit(bench.devices.second));
    let expected = packet.from("10.20.0.11", snat_port(&bench)).to(FAR_POD, 8080).ttl(63).macs(ROUTER2, UPLINK2);
    assert_eq!(bytes, expected.bytes());
}

#[test]
fn unresolved_neighbour_is_handed_over_untouched() {
    let mut bench = Bench::new();
    let packet = tcp((CLIENT, 40_000), (VIP, 83), SYN);
    bench.ingress(&packet, Verdict::HandOver(Task::Forward), &packet);
    bench.assert_equal_state();
    let counters = bench.host.service_stats.borrow().get(&6).copied().unwrap_or_default();
    assert_eq!((counters.packets, counters.new_flows), (0, 1), "the companion counts the packet");
    if let Some(kernel) = &mut bench.kernel {
        let (outcome, bytes) = kernel.tc(lb_common::abi::program::TC_INGRESS, &packet.bytes());
        assert_eq!(outcome, crate::fixture::Outcome::Redirect);
        let port = kernel.flows(lb_common::abi::map::HALF_FLOWS4).values().next().unwrap().snat_port.host();
        let expected = packet.from(NODE, port).to("10.10.0.99", 8080).ttl(63);
        assert_eq!(bytes, expected.bytes(), "rewritten by the companion, hardware addresses left to the kernel");
        assert_eq!(kernel.service_counters(6).packets, 1);
    }
}

#[test]
fn no_way_to_the_backend() {
    let mut bench = Bench::new();
    bench.dropped(&tcp((CLIENT, 40_000), (VIP, 84), SYN).bytes(), DropReason::NoRoute);
    assert!(bench.flows(Table::HalfOpen).is_empty());
}

#[test]
fn time_to_live_runs_out_only_when_forwarding() {
    let mut bench = Bench::new();
    let (verdict, _) = bench.run(Hook::Ingress, &tcp((CLIENT, 40_000), (VIP, 80), SYN).ttl(1).bytes());
    assert_eq!(verdict, Verdict::Answer, "its sender is told");
    let local = tcp((CLIENT, 40_000), (VIP, 7070), SYN).ttl(1);
    bench.ingress(&local, Verdict::Deliver, &local.clone().to(LOCAL_POD, 8080));
}

#[test]
fn not_ours_is_left_alone() {
    let mut bench = Bench::new();
    let foreign = [
        tcp((CLIENT, 40_000), ("198.51.100.1", 7070), SYN),
        udp((CLIENT, 40_000), (NODE, 7070)),
        tcp((CLIENT, 40_000), (NODE, 22), SYN),
        tcp((CLIENT, 40_000), (NODE, 20_000), ACK),
        tcp((CLIENT, 40_000), (NODE, 22), SYN).fragment(0x2000),
        tcp((CLIENT, 40_000), (NODE, 22), SYN).fragment(0x0010),
    ];
    for packet in foreign {
        bench.ingress(&packet, Verdict::Pass, &packet);
    }
    let mut arp = vec![0xff; 12];
    arp.extend([8, 6]);
    arp.extend([0; 28]);
    assert_eq!(bench.run(Hook::Ingress, &arp).0, Verdict::Pass);
    let mut icmp = tcp((CLIENT, 1), (VIP, 7070), SYN).bytes();
    icmp[23] = 1;
    assert_eq!(bench.run(Hook::Ingress, &icmp).0, Verdict::Pass);
}

#[test]
fn the_key_of_node_ports_is_no_address() {
    let mut bench = Bench::new();
    let packet = tcp((CLIENT, 40_000), ("0.0.0.0", 30_088), SYN);
    bench.ingress(&packet, Verdict::Pass, &packet);
    bench.assert_equal_state();
}

#[test]
fn what_is_left_to_the_kernel_is_counted_once_on_its_way() {
    use lb_common::abi::Stat;
    let mut bench = Bench::new();
    let foreign = tcp((CLIENT, 40_000), (NODE, 22), SYN).bytes();
    let fragment = tcp((CLIENT, 40_000), (NODE, 7070), SYN).fragment(0x0010).bytes();
    for hook in [Hook::Ingress, Hook::Companion] {
        for packet in [&foreign, &fragment] {
            assert_eq!(bench.run(hook, packet).0, Verdict::Pass);
        }
    }
    for stat in [Stat::NotOurs, Stat::FragmentsPassed] {
        assert_eq!(bench.host.stats.borrow()[stat as usize], 1, "{stat:?}");
    }
    bench.assert_equal_state();
}

#[test]
fn frames_for_neighbours_begin_no_flow() {
    let mut bench = Bench::new();
    let flooded = tcp((CLIENT, 40_000), (VIP, 80), SYN).macs(NEXT_NODE, ROUTER);
    bench.ingress(&flooded, Verdict::Pass, &flooded);
    assert!(bench.flows(Table::HalfOpen).is_empty());
}

#[test]
fn front_gets_what_is_its_own() {
    let mut bench = Bench::new();
    for packet in
        [tcp((CLIENT, 1), (FRONT, 80), SYN), tcp((CLIENT, 1), (FRONT, 80), ACK), tcp((CLIENT, 1), (NODE, 31_188), SYN)]
    {
        bench.ingress(&packet, Verdict::Front, &packet);
    }
    // nobody listens there: the client tries again, instead of being refused
    bench.dropped(&tcp((CLIENT, 1), (FRONT, 443), SYN).bytes(), DropReason::FrontNotListening);
    bench.assert_equal_state();
}

#[test]
fn two_vips_to_one_pod_from_one_source_port() {
    let mut bench = Bench::new();
    let first = tcp((CLIENT, 40_000), (VIP, 7070), SYN);
    bench.ingress(&first, Verdict::Deliver, &first.clone().to(LOCAL_POD, 8080));
    let second = tcp((CLIENT, 40_000), (VIP2, 7070), SYN);
    let (verdict, bytes) = bench.run(Hook::Ingress, &second.bytes());
    assert_eq!(verdict, Verdict::Deliver);
    let flows = bench.flows(Table::HalfOpen);
    let leased =
        flows.values().find(|flow| flow.flags & flow_flag::SNAT != 0).expect("the second flow has a port of its own");
    let port = leased.snat_port.host();
    assert!((SNAT_FIRST..=SNAT_LAST).contains(&port));
    assert_eq!(bytes, second.clone().from(CLIENT, port).to(LOCAL_POD, 8080).bytes(), "address kept, port replaced");
    // each reply finds its own VIP
    let reply = |to: u16| tcp((LOCAL_POD, 8080), (CLIENT, to), SYN_ACK);
    bench.egress(&reply(40_000), Verdict::Deliver, &reply(40_000).from(VIP, 7070));
    bench.egress(&reply(port), Verdict::Deliver, &reply(port).from(VIP2, 7070).to(CLIENT, 40_000));
    bench.assert_equal_state();
}

#[test]
fn a_flow_is_proven_by_going_on_after_a_reply() {
    let mut bench = Bench::new();
    let client = |flags| tcp((CLIENT, 40_000), (VIP, 7070), flags);
    let pod = |flags| tcp((LOCAL_POD, 8080), (CLIENT, 40_000), flags);
    bench.ingress(&client(SYN), Verdict::Deliver, &client(SYN).to(LOCAL_POD, 8080));
    bench.ingress(&client(SYN), Verdict::Deliver, &client(SYN).to(LOCAL_POD, 8080));
    assert!(bench.flows(Table::Proven).is_empty(), "the client alone proves nothing");
    bench.egress(&pod(SYN_ACK), Verdict::Deliver, &pod(SYN_ACK).from(VIP, 7070));
    assert!(bench.flows(Table::Proven).is_empty());
    bench.ingress(&client(ACK), Verdict::Deliver, &client(ACK).to(LOCAL_POD, 8080));
    assert_eq!((bench.flows(Table::Proven).len(), bench.flows(Table::HalfOpen).len()), (1, 0));
    assert_eq!((bench.replies(Table::Proven).len(), bench.replies(Table::HalfOpen).len()), (1, 0));
    bench.assert_equal_state();
    // both ends close
    bench.ingress(&client(FIN), Verdict::Deliver, &client(FIN).to(LOCAL_POD, 8080));
    bench.egress(&pod(FIN), Verdict::Deliver, &pod(FIN).from(VIP, 7070));
    let state = bench.flows(Table::Proven).values().next().unwrap().state;
    assert_eq!(lb_common::conntrack::FlowState::from_number(state).label(), "closed");
    // the tuple is used again: a new flow
    bench.ingress(&client(SYN), Verdict::Deliver, &client(SYN).to(LOCAL_POD, 8080));
    assert_eq!((bench.flows(Table::Proven).len(), bench.flows(Table::HalfOpen).len()), (0, 1));
    bench.assert_equal_state();
}

#[test]
fn a_refused_flow_is_never_proven() {
    let mut bench = Bench::new();
    let client = |flags| tcp((CLIENT, 40_000), (VIP, 7070), flags);
    let pod = |flags| tcp((LOCAL_POD, 8080), (CLIENT, 40_000), flags);
    bench.ingress(&client(SYN), Verdict::Deliver, &client(SYN).to(LOCAL_POD, 8080));
    bench.egress(&pod(RST), Verdict::Deliver, &pod(RST).from(VIP, 7070));
    bench.ingress(&client(ACK), Verdict::Deliver, &client(ACK).to(LOCAL_POD, 8080));
    assert!(bench.flows(Table::Proven).is_empty());
    bench.assert_equal_state();
}

#[test]
fn a_full_table_keeps_the_flow_half_open() {
    let mut host_only = crate::world::host(crate::world::Devices { first: 7, second: 8 });
    host_only.proven_capacity = 0;
    let mut bench = Bench { host: host_only, devices: crate::world::Devices { first: 7, second: 8 }, kernel: None };
    let client = |flags| tcp((CLIENT, 40_000), (VIP, 7070), flags);
    let pod = |flags| tcp((LOCAL_POD, 8080), (CLIENT, 40_000), flags);
    bench.ingress(&client(SYN), Verdict::Deliver, &client(SYN).to(LOCAL_POD, 8080));
    bench.egress(&pod(SYN_ACK), Verdict::Deliver, &pod(SYN_ACK).from(VIP, 7070));
    for _ in 0..2 {
        bench.ingress(&client(ACK), Verdict::Deliver, &client(ACK).to(LOCAL_POD, 8080));
        bench.egress(&pod(ACK), Verdict::Deliver, &pod(ACK).from(VIP, 7070));
    }
    assert_eq!((bench.flows(Table::HalfOpen).len(), bench.replies(Table::Proven).len()), (1, 0));
    assert_eq!(bench.host.stats.borrow()[lb_common::abi::Stat::FlowTableFull as usize], 2);
}

#[test]
fn snat_ports_run_out_and_say_so() {
    let tables = |devices| {
        let mut maps = crate::world::host(devices);
        maps.settings[lb_common::abi::setting::SNAT_PORTS as usize] =
            lb_common::abi::setting::snat_ports((15_000, 15_002), (15_000, 15_002));
        maps
    };
    let mut bench = Bench::with(tables);
    for port in 1..=3 {
        let (verdict, _) = bench.run(Hook::Ingress, &tcp((CLIENT, port), (VIP, 80), SYN).bytes());
        assert_eq!(verdict, Verdict::Transmit(bench.devices.first), "flow {port}");
    }
    bench.dropped(&tcp((CLIENT, 4), (VIP, 80), SYN).bytes(), DropReason::SnatExhausted);
    let ports: std::collections::BTreeSet<u16> =
        bench.flows(Table::HalfOpen).values().map(|flow| flow.snat_port.host()).collect();
    assert_eq!(ports.into_iter().collect::<Vec<_>>(), [15_000, 15_001, 15_002], "no port is leased twice");
    bench.assert_equal_state();
}

#[test]
fn a_backend_of_another_generation_is_another_backend() {
    let mut bench = Bench::new();
    bench.kernel = None;
    let packet = tcp((CLIENT, 40_000), (VIP, 7070), ACK);
    bench.ingress(&packet, Verdict::Deliver, &packet.clone().to(LOCAL_POD, 8080));
    let backend = bench.host.backends.get_mut(&1).unwrap();
    (backend.generation, backend.address) = (4, crate::world::address("10.244.1.50"));
    bench.ingress(&packet, Verdict::Deliver, &packet.clone().to("10.244.1.50", 8080));
    assert_eq!(bench.host.stats.borrow()[lb_common::abi::Stat::FlowsMoved as usize], 1);
}

#[test]
fn an_idle_lease_is_given_to_the_next_flow_without_an_agent() {
    let mut bench = Bench::new();
    bench.kernel = None;
    let client = |flags| tcp((CLIENT, 40_000), (VIP, 7070), flags);
    let pod = |flags| tcp((LOCAL_POD, 8080), (CLIENT, 40_000), flags);
    let step = |bench: &mut Bench, hook, packet: &crate::packet::Builder, ticks| {
        let mut bytes = lb_common::host::Bytes(packet.bytes());
        bench.host.now.set(ticks);
        match hook {
            Hook::Egress => lb_common::pipeline::egress(&mut bytes, &bench.host),
            _ => lb_common::pipeline::ingress(&mut bytes, &bench.host),
        }
    };
    assert_eq!(step(&mut bench, Hook::Ingress, &client(SYN), 100), Verdict::Deliver);
    assert_eq!(step(&mut bench, Hook::Egress, &pod(SYN_ACK), 100), Verdict::Deliver);
    assert_eq!(step(&mut bench, Hook::Ingress, &client(ACK), 100), Verdict::Deliver);
    assert_eq!(bench.flows(Table::Proven).len(), 1);
    // the same client port to another VIP of the same pod: while the first flow lives, it gets a port of its own
    let other = tcp((CLIENT, 40_000), (VIP2, 7070), SYN);
    assert_eq!(step(&mut bench, Hook::Ingress, &other, 101), Verdict::Deliver);
    assert_eq!(bench.flows(Table::Proven).len(), 1);
    assert!(bench.flows(Table::HalfOpen).values().all(|flow| flow.flags & flow_flag::SNAT != 0));
    // and long after the first one's last packet it takes its place
    let late = 200 + lb_common::conntrack::TCP_ESTABLISHED;
    assert_eq!(step(&mut bench, Hook::Ingress, &other, late), Verdict::Deliver);
    assert!(bench.flows(Table::Proven).is_empty());
    assert!(bench.flows(Table::HalfOpen).values().all(|flow| flow.flags & flow_flag::SNAT == 0));
}

#[test]
fn a_backend_behind_a_device_that_is_no_uplink() {
    let tables = |devices: crate::world::Devices| {
        let mut maps = crate::world::host(devices);
        maps.uplink_addresses.remove(&devices.second);
        maps
    };
    let mut bench = Bench::with(tables);
    if let Some(kernel) = &mut bench.kernel {
        kernel.set_flags(bench.devices.second, 0);
    }
    bench.dropped(&tcp((CLIENT, 40_000), (VIP, 81), SYN).bytes(), DropReason::NotAnUplink);
}
