//! What a flow keeps while tables lose entries, ids are used again and clocks differ.

use super::*;
use crate::flow::forward_key;

const CLIENT: (Be32, u16) = (Be32::new(0x0b00_0001), 40_000);
const OTHER: (Be32, u16) = (Be32::new(0x0b00_0002), 40_000);
const TCP_LOCAL: u16 = 80;
const UDP_REMOTE: u16 = 54;

/// A packet of a client to the frontend with this port; its verdict and what the backend sees.
fn send(maps: &Maps<V4>, from: (Be32, u16), port: u16) -> (Verdict, (Be32, u16)) {
    let ip_protocol = if port == UDP_REMOTE { protocol::UDP } else { protocol::TCP };
    let mut there = Bytes(packet(ip_protocol, from, (VIP, port), b"x"));
    let verdict = ingress(&mut there, maps);
    (verdict, (addresses(&there.0).0, ports_of(&there.0).0))
}

/// The answer of the backend of a port to whom it saw; its verdict and whom it reaches.
fn answer(maps: &Maps<V4>, port: u16, seen: (Be32, u16)) -> (Verdict, (Be32, u16)) {
    let (id, ip_protocol, local) =
        if port == UDP_REMOTE { (4, protocol::UDP, false) } else { (1, protocol::TCP, true) };
    let mut back = Bytes(packet(ip_protocol, (maps.backends[&id].address, 8080), seen, b"y"));
    let verdict = if local { egress(&mut back, maps) } else { ingress(&mut back, maps) };
    (verdict, (addresses(&back.0).1, ports_of(&back.0).1))
}

fn prove(maps: &Maps<V4>, from: (Be32, u16), port: u16) -> (Be32, u16) {
    let (_, seen) = send(maps, from, port);
    assert_eq!(answer(maps, port, seen).1, from);
    let _ = send(maps, from, port);
    seen
}

fn flows(maps: &Maps<V4>, table: Table) -> usize {
    maps.flows[table as usize].borrow().len()
}

fn one_port(maps: &mut Maps<V4>) {
    maps.settings[setting::SNAT_PORTS as usize] = setting::snat_ports((15_000, 15_000), (15_000, 15_000));
}

#[test]
fn a_clock_that_is_behind_by_a_tick_ends_no_flow() {
    let maps = world();
    prove(&maps, CLIENT, TCP_LOCAL);
    // another CPU has entered the next tick and noted a reply in it
    maps.now.set(1_001);
    let _ = answer(&maps, TCP_LOCAL, CLIENT);
    maps.now.set(1_000);
    assert_eq!(send(&maps, CLIENT, TCP_LOCAL).0, Verdict::Deliver);
    assert_eq!((flows(&maps, Table::Proven), flows(&maps, Table::HalfOpen)), (1, 0));
}

#[test]
fn an_evicted_reply_entry_comes_back_after_the_answer_too() {
    for port in [TCP_LOCAL, UDP_REMOTE] {
        let maps = world();
        let (_, seen) = send(&maps, CLIENT, port);
        assert_eq!(answer(&maps, port, seen).1, CLIENT);
        maps.replies[Table::HalfOpen as usize].borrow_mut().clear();
        assert_eq!(send(&maps, CLIENT, port).1, seen);
        assert_eq!(answer(&maps, port, seen).1, CLIENT, "port {port}");
        assert_eq!((flows(&maps, Table::Proven), flows(&maps, Table::HalfOpen)), (1, 0));
    }
}

#[test]
fn a_flow_whose_evicted_tuple_another_one_took_gets_another_tuple() {
    for answered in [false, true] {
        let mut maps = world();
        one_port(&mut maps);
        let (_, seen) = send(&maps, CLIENT, UDP_REMOTE);
        if answered {
            assert_eq!(answer(&maps, UDP_REMOTE, seen).1, CLIENT);
        }
        maps.replies[Table::HalfOpen as usize].borrow_mut().clear();
        assert_eq!(send(&maps, OTHER, UDP_REMOTE).1, seen, "the only port");
        assert_eq!(send(&maps, CLIENT, UDP_REMOTE).0, Verdict::Drop(DropReason::SnatExhausted));
        maps.settings[setting::SNAT_PORTS as usize] = setting::snat_ports((15_000, 15_001), (15_000, 15_001));
        let (_, new) = send(&maps, CLIENT, UDP_REMOTE);
        assert_ne!(new, seen);
        assert_eq!(answer(&maps, UDP_REMOTE, new).1, CLIENT);
        assert_eq!(answer(&maps, UDP_REMOTE, seen).1, OTHER);
    }
}

#[test]
fn a_client_that_gets_no_answers_keeps_its_lease_while_it_sends() {
    let mut maps = world();
    one_port(&mut maps);
    for tick in 0..100 {
        maps.now.set(1_000 + tick);
        assert_eq!(send(&maps, CLIENT, UDP_REMOTE).0, Verdict::Transmit(7));
        assert_eq!(send(&maps, OTHER, UDP_REMOTE).0, Verdict::Drop(DropReason::SnatExhausted), "tick {tick}");
    }
}

#[test]
fn a_flow_that_moves_takes_no_reply_entry_of_another() {
    let mut maps = world();
    one_port(&mut maps);
    let old = prove(&maps, CLIENT, UDP_REMOTE);
    // the id is used again, and another client gets the same port to the new backend
    let backend = maps.backends.get_mut(&4).unwrap();
    (backend.generation, backend.address) = (2, Be32::new(0x0af4_0199));
    assert_eq!(prove(&maps, OTHER, UDP_REMOTE), old);
    assert_eq!(send(&maps, CLIENT, UDP_REMOTE).0, Verdict::Drop(DropReason::SnatExhausted));
    assert_eq!(answer(&maps, UDP_REMOTE, old).1, OTHER);
}

#[test]
fn a_flow_that_finds_its_old_reply_entry_is_proven_again() {
    let maps = world();
    prove(&maps, CLIENT, TCP_LOCAL);
    maps.flows[Table::Proven as usize].borrow_mut().clear();
    prove(&maps, CLIENT, TCP_LOCAL);
    assert_eq!((flows(&maps, Table::Proven), flows(&maps, Table::HalfOpen)), (1, 0));
    let replies = maps.replies[Table::Proven as usize].borrow();
    let (key, reply) = replies.iter().next().unwrap();
    assert!(maps.flows[Table::Proven as usize].borrow().contains_key(&forward_key(reply, key.protocol)));
}

#[test]
fn a_second_cpu_that_proves_the_same_flow_takes_nothing_away() {
    let maps = world();
    let (_, seen) = send(&maps, CLIENT, TCP_LOCAL);
    let _ = answer(&maps, TCP_LOCAL, seen);
    // the first CPU has written the proven reply entry, and not yet anything else
    let half = maps.replies[Table::HalfOpen as usize].borrow().clone();
    maps.replies[Table::Proven as usize].borrow_mut().extend(half);
    let _ = send(&maps, CLIENT, TCP_LOCAL);
    assert_eq!(answer(&maps, TCP_LOCAL, seen).1, CLIENT);
    assert_eq!((flows(&maps, Table::Proven), maps.replies[Table::Proven as usize].borrow().len()), (1, 1));
}
