//! Ports of source NAT: kept where they are free, never one that the node itself uses, given back by what ends a flow, good while
//! the range changes, and counted where there is none.

use std::collections::BTreeSet;

use lb_common::abi::flow_flag;
use lb_common::abi::setting::{self, snat_ports};
use lb_common::conntrack;
use lb_common::drop_reason::DropReason;
use lb_common::lookup::Table;
use lb_common::verdict::Verdict;

use crate::fixture::{Bench, Hook};
use crate::packet::{ACK, FIN, RST, SYN, SYN_ACK, tcp};
use crate::packet6::{Carries, packet6};
use crate::world::{CLIENT, NODE, REMOTE_POD, VIP, host};
use crate::world6::{self, Bench6};

/// In the range.
const PORT: u16 = 20_000;

fn leased(bench: &Bench) -> BTreeSet<u16> {
    bench.flows(Table::HalfOpen).values().map(|flow| flow.snat_port.host()).collect()
}

/// With one port for SNAT.
fn one_port() -> Bench {
    Bench::with(|devices| {
        let mut maps = host(devices);
        maps.settings[setting::SNAT_PORTS as usize] = snat_ports((PORT, PORT), (PORT, PORT));
        maps
    })
}

/// A segment of a client to the service on another node.
fn segment(client: u16, flags: u8) -> Vec<u8> {
    tcp((CLIENT, client), (VIP, 80), flags).bytes()
}

/// A segment of the backend to the only port.
fn reply(flags: u8) -> Vec<u8> {
    tcp((REMOTE_POD, 8080), (NODE, PORT), flags).bytes()
}

#[test]
fn a_client_keeps_its_port_where_that_is_free() {
    let mut bench = Bench::new();
    let sent = Verdict::Transmit(bench.devices.first);
    for (count, client) in [CLIENT, "192.0.2.8", "192.0.2.9"].into_iter().enumerate() {
        let (verdict, _) = bench.run(Hook::Ingress, &tcp((client, PORT), (VIP, 80), SYN).bytes());
        assert_eq!(verdict, sent);
        assert!(leased(&bench).contains(&PORT), "{:?}", leased(&bench));
        assert_eq!(leased(&bench).len(), count + 1, "the others got one of their own");
    }
    let (verdict, _) = bench.run(Hook::Ingress, &segment(PORT + 7, SYN));
    assert_eq!((verdict, leased(&bench).contains(&(PORT + 7))), (sent, true));
    bench.assert_equal_state();
}

#[test]
fn a_port_that_the_node_uses_itself_is_leased_to_nobody() {
    let mut bench = Bench::new();
    // the node itself, or what it masquerades
    for flags in [SYN, ACK] {
        let own = tcp((NODE, PORT), (REMOTE_POD, 8080), flags);
        bench.egress(&own, Verdict::Pass, &own);
    }
    let (verdict, _) = bench.run(Hook::Ingress, &segment(PORT, SYN));
    assert_eq!(verdict, Verdict::Transmit(bench.devices.first));
    assert!(leased(&bench).len() == 1 && !leased(&bench).contains(&PORT), "{:?}", leased(&bench));
    for hook in [Hook::Ingress, Hook::Companion] {
        assert_eq!(bench.run(hook, &reply(SYN_ACK)), (Verdict::Pass, reply(SYN_ACK)), "{hook:?}: the node's own");
    }
    // neither other sources nor other ports are of interest
    for own in [tcp(("10.244.1.77", 21_000), (REMOTE_POD, 8080), SYN), tcp((NODE, 40_000), (REMOTE_POD, 8080), SYN)] {
        bench.egress(&own, Verdict::Pass, &own);
    }
    assert_eq!(bench.replies(Table::HalfOpen).len(), 2);
    bench.assert_equal_state();
}

#[test]
fn the_node_takes_a_port_only_where_it_begins_something_and_until_it_closes_it() {
    let mut bench = Bench::new();
    // a stray segment is answered with a reset; a server of the node answers whoever asks
    for flags in [RST, RST | ACK, SYN_ACK, ACK, FIN | ACK] {
        let own = tcp((NODE, PORT), (REMOTE_POD, 8080), flags);
        bench.egress(&own, Verdict::Pass, &own);
    }
    assert!(bench.replies(Table::HalfOpen).is_empty());
    for end in [RST, FIN | ACK] {
        for flags in [SYN, ACK, end] {
            let own = tcp((NODE, PORT), (REMOTE_POD, 8080), flags);
            bench.egress(&own, Verdict::Pass, &own);
            assert_eq!(bench.replies(Table::HalfOpen).is_empty(), flags == end);
        }
    }
    bench.assert_equal_state();
}

#[test]
fn what_the_node_uses_stays_its_own_when_ports_run_out() {
    for (answered, wait) in [(false, conntrack::TCP_HALF_OPEN), (true, conntrack::TCP_ESTABLISHED)] {
        let mut bench = one_port();
        let own = tcp((NODE, PORT), (REMOTE_POD, 8080), SYN);
        bench.egress(&own, Verdict::Pass, &own);
        if answered {
            assert_eq!(bench.run(Hook::Ingress, &reply(SYN_ACK)), (Verdict::Pass, reply(SYN_ACK)));
        }
        bench.wait(wait / 2);
        bench.dropped(&segment(1, SYN), DropReason::SnatExhausted);
        bench.wait(wait - wait / 2 + 1);
        assert_eq!(bench.run(Hook::Ingress, &segment(1, SYN)).0, Verdict::Transmit(bench.devices.first), "{answered}");
        bench.assert_equal_state();
    }
}

#[test]
fn a_frontend_at_the_nodes_own_address_goes_before_what_the_node_uses() {
    let mut bench = Bench::new();
    // the frontend's port is in the range; a pod of another node has begun something from there to the client, masqueraded
    let own = tcp((NODE, 30_088), (CLIENT, 40_000), SYN);
    bench.set(setting::SNAT_PORTS, snat_ports((15_000, 31_000), (15_000, 31_000)));
    bench.egress(&own, Verdict::Pass, &own);
    assert_eq!(bench.replies(Table::HalfOpen).len(), 1);
    let request = tcp((CLIENT, 40_000), (NODE, 30_088), SYN);
    assert_ne!(bench.run(Hook::Ingress, &request.bytes()).0, Verdict::Pass);
    bench.assert_equal_state();
}

#[test]
fn where_source_nat_has_an_address_of_its_own_the_nodes_ports_take_none() {
    let mut bench = one_port();
    let other = u32::from_ne_bytes([10, 10, 0, 99]);
    bench.set(setting::SNAT_ADDRESS4, u64::from(other));
    let own = tcp((NODE, PORT), (REMOTE_POD, 8080), SYN);
    bench.egress(&own, Verdict::Pass, &own);
    assert!(bench.replies(Table::HalfOpen).is_empty(), "a mark that keeps nobody off");
    assert_eq!(bench.run(Hook::Ingress, &segment(1, SYN)).0, Verdict::Transmit(bench.devices.first));
    bench.assert_equal_state();
}

#[test]
fn what_has_a_lease_keeps_it_when_the_node_uses_the_port() {
    let mut bench = Bench::new();
    let sent = Verdict::Transmit(bench.devices.first);
    assert_eq!(bench.run(Hook::Ingress, &segment(PORT, SYN)).0, sent);
    let own = tcp((NODE, PORT), (REMOTE_POD, 8080), SYN);
    bench.egress(&own, Verdict::Pass, &own);
    let replies = bench.replies(Table::HalfOpen);
    assert!(replies.len() == 1 && replies.values().all(|reply| reply.flags & flow_flag::HOST == 0), "{replies:?}");
    assert_eq!(bench.run(Hook::Ingress, &reply(SYN_ACK)).0, sent);
    bench.assert_equal_state();
}

/// Begins a flow from this port, which its backend answers and which its client goes on with.
fn establish(bench: &mut Bench, client: u16) {
    for packet in [segment(client, SYN), reply(SYN_ACK), segment(client, ACK)] {
        assert_eq!(bench.run(Hook::Ingress, &packet).0, Verdict::Transmit(bench.devices.first));
    }
    assert_eq!(bench.flows(Table::Proven).len(), 1);
}

#[test]
fn a_port_comes_back_when_its_flow_was_closed_or_reset_and_its_time_is_over() {
    let endings: [(&[Vec<u8>], u32); 3] = [
        (&[segment(1, FIN), reply(FIN), segment(1, ACK)], conntrack::TCP_CLOSED),
        (&[reply(RST)], conntrack::TCP_RESET),
        (&[], conntrack::TCP_ESTABLISHED),
    ];
    for (packets, wait) in endings {
        let mut bench = one_port();
        establish(&mut bench, 1);
        for packet in packets {
            assert_eq!(bench.run(Hook::Ingress, packet).0, Verdict::Transmit(bench.devices.first));
        }
        bench.wait(wait / 2);
        bench.dropped(&segment(2, SYN), DropReason::SnatExhausted);
        bench.wait(wait - wait / 2 + 1);
        let (verdict, bytes) = bench.run(Hook::Ingress, &segment(2, SYN));
        assert_eq!(verdict, Verdict::Transmit(bench.devices.first), "after {wait} ticks");
        assert_eq!(bytes[34..36], PORT.to_be_bytes());
        assert_eq!((bench.flows(Table::Proven).len(), bench.replies(Table::Proven).len()), (0, 0));
        bench.assert_equal_state();
    }
}

#[test]
fn a_flow_goes_on_when_the_range_is_another() {
    let mut bench = one_port();
    establish(&mut bench, 1);
    bench.set(setting::SNAT_PORTS, snat_ports((16_000, 16_009), (16_000, PORT)));
    for (packet, expected) in [(segment(1, ACK), PORT), (reply(ACK), 80), (segment(2, SYN), 0)] {
        let (verdict, bytes) = bench.run(Hook::Ingress, &packet);
        assert_eq!(verdict, Verdict::Transmit(bench.devices.first));
        let source = u16::from_be_bytes([bytes[34], bytes[35]]);
        assert!(source == expected || (expected == 0 && (16_000..16_010).contains(&source)), "{source}");
    }
    bench.assert_equal_state();
}

#[test]
fn flows_without_a_port_are_counted_by_service_and_backend() {
    let mut bench = one_port();
    assert_eq!(bench.run(Hook::Ingress, &segment(1, SYN)).0, Verdict::Transmit(bench.devices.first));
    for port in [2, 3] {
        bench.dropped(&segment(port, SYN), DropReason::SnatExhausted);
    }
    let counted: Vec<_> = bench.host.service_stats.borrow().values().map(|counters| counters.snat_exhausted).collect();
    assert_eq!(counted.iter().sum::<u64>(), 2);
    assert_eq!(bench.host.backend_stats.borrow().values().map(|counters| counters.snat_exhausted).max(), Some(2));
    bench.assert_equal_state();
}

#[test]
fn of_ipv6_alike() {
    let mut bench = Bench6::new();
    let own = packet6(Carries::Tcp(SYN), (world6::NODE, PORT), (world6::REMOTE_POD, 8080));
    bench.becomes(Hook::Egress, &own, Verdict::Pass, &own);
    let ports = |bench: &Bench6| -> BTreeSet<u16> {
        bench.replies(Table::HalfOpen).keys().map(|key| key.destination_port.host()).collect()
    };
    for (client, count) in [(PORT, 2), (PORT + 5, 3)] {
        let packet = packet6(Carries::Tcp(SYN), (world6::CLIENT, client), (world6::VIP, 81));
        assert_eq!(bench.run(Hook::Ingress, &packet.bytes()).0, Verdict::Transmit(bench.devices.first));
        assert_eq!(ports(&bench).len(), count, "{:?}", ports(&bench));
    }
    assert!(ports(&bench).contains(&(PORT + 5)), "{:?}", ports(&bench));
    let reply = packet6(Carries::Tcp(SYN_ACK), (world6::REMOTE_POD, 8080), (world6::NODE, PORT));
    bench.becomes(Hook::Ingress, &reply, Verdict::Pass, &reply);
    bench.assert_equal_state();
}

#[test]
fn ports_of_ipv6_run_out_alike() {
    let mut bench = Bench6::with(|devices| {
        let mut maps = world6::host(devices);
        maps.settings[setting::SNAT_PORTS as usize] = snat_ports((15_000, 15_002), (15_000, 15_002));
        maps
    });
    let packet = |port| packet6(Carries::Tcp(SYN), (world6::CLIENT, port), (world6::VIP, 81)).bytes();
    for port in 1..=3 {
        assert_eq!(bench.run(Hook::Ingress, &packet(port)).0, Verdict::Transmit(bench.devices.first), "flow {port}");
    }
    assert_eq!(bench.run(Hook::Ingress, &packet(4)).0, Verdict::Drop(DropReason::SnatExhausted));
    assert_eq!(bench.replies(Table::HalfOpen).len(), 3, "no port is leased twice");
    let counted = bench.host.service_stats.borrow().values().map(|counters| counters.snat_exhausted).sum::<u64>();
    assert_eq!(counted, 1);
    bench.assert_equal_state();
}
