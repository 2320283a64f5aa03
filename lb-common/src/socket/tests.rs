use std::vec::Vec;

use super::*;
use crate::abi::{BackendEntry, FrontendEntry};
use crate::addr::{Addr4, Family, V4, V6};
use crate::be::Be32;
use crate::host::Maps;
use crate::host::sockets::SocketMaps;

const HOST: u64 = 4_026_531_840;
const POD: u64 = 7;

fn ip(a: u8, b: u8, c: u8, d: u8) -> Addr4 {
    Be32::from_bytes([a, b, c, d])
}

fn at<A>(address: A, port: u16) -> Place<A> {
    Place { address, port: Be16::new(port) }
}

fn vip() -> Place<Addr4> {
    at(ip(10, 96, 0, 1), 80)
}

fn backends() -> [Place<Addr4>; 2] {
    [at(ip(10, 244, 1, 10), 8080), at(ip(10, 244, 2, 10), 8080)]
}

fn tcp() -> Caller {
    Caller { cookie: 0x1_0000_0002, protocol: protocol::TCP, namespace: POD, bound_to_loopback: false }
}

fn udp() -> Caller {
    Caller { protocol: protocol::UDP, ..tcp() }
}

fn entry<A: Address>(place: Place<A>, ip_protocol: u8) -> BackendEntry<A> {
    BackendEntry {
        address: place.address,
        port: place.port,
        generation: 1,
        protocol: u32::from(ip_protocol),
        ..BackendEntry::default()
    }
}

/// A cluster IP and a NodePort 30080 for TCP and UDP, with two backends in a ring of two slots.
fn world() -> (Maps<V4>, SocketMaps<V4>) {
    let mut maps = Maps::<V4>::default();
    for (service, ip_protocol) in [(1, protocol::TCP), (2, protocol::UDP)] {
        let frontend = |flags| FrontendEntry { service, flags };
        let key = |place: Place<Addr4>| FrontendKey {
            address: place.address,
            port: place.port,
            protocol: u16::from(ip_protocol),
            fill: [],
        };
        maps.frontends.insert(key(vip()), frontend(frontend_flag::CLUSTER));
        maps.frontends.insert(key(at(Addr4::ANY, 30_080)), frontend(0));
        let ids = [service * 10, service * 10 + 1];
        let ring = maps.add_ring(&ids);
        maps.services.insert(service, ring);
        for (id, place) in ids.into_iter().zip(backends()) {
            maps.backends.insert(id, entry(place, ip_protocol));
        }
    }
    maps.settings[setting::NODE_PORTS as usize] = 30_080 << 16 | 30_080;
    maps.node_addresses = std::vec![ip(192, 168, 77, 11)];
    let mut sockets = SocketMaps::<V4>::default();
    sockets.settings[socket_setting::NAMESPACE as usize] = HOST;
    sockets.settings[socket_setting::LOOPBACK as usize] = 1;
    (maps, sockets)
}

#[test]
fn a_connection_goes_to_the_backend_that_chance_names_and_keeps_the_name() {
    let (maps, sockets) = world();
    *sockets.random.borrow_mut() = std::vec![0, u32::MAX];
    for (turn, backend) in backends().into_iter().enumerate() {
        let caller = Caller { cookie: turn as u64, ..tcp() };
        assert_eq!(connect::<V4, _, _>(&maps, &sockets, &caller, &vip()), Outcome::Replace(backend));
        assert_eq!(peer_name::<V4, _>(&sockets, &caller, &backend), Some(vip()));
        assert_eq!(peer_name::<V4, _>(&sockets, &Caller { cookie: 99, ..caller }, &backend), None, "another socket's");
    }
    assert_eq!(maps.service_stats.borrow()[&1].new_flows, 2);
    assert_eq!(maps.backend_stats.borrow()[&11].new_flows, 1);
}

#[test]
fn clients_of_the_node_go_their_own_way_where_there_is_one() {
    let (mut maps, sockets) = world();
    let [near, far] = backends();
    let ring = maps.add_ring(&[10]);
    maps.services.insert(3, ring);
    let key = |address, port, inside| FrontendKey {
        address,
        port: Be16::new(port),
        protocol: u16::from(protocol::TCP) | inside,
        fill: [],
    };
    // the way of others leads to the near backend only, that of this node's clients to both
    let external = at(ip(203, 0, 113, 1), 80);
    for (address, port) in [(external.address, 80), (Addr4::ANY, 30_080)] {
        let others = FrontendEntry { service: 3, flags: frontend_flag::INSIDE };
        maps.frontends.insert(key(address, port, 0), others);
    }
    let own = at(ip(192, 168, 77, 11), 30_080);
    for named in [external, own] {
        *sockets.random.borrow_mut() = std::vec![u32::MAX];
        assert_eq!(connect::<V4, _, _>(&maps, &sockets, &tcp(), &named), Outcome::Replace(near), "not written yet");
    }
    for (address, port) in [(external.address, 80), (Addr4::ANY, 30_080)] {
        maps.frontends.insert(key(address, port, crate::abi::INSIDE), FrontendEntry { service: 1, flags: 0 });
    }
    for named in [external, own] {
        *sockets.random.borrow_mut() = std::vec![u32::MAX];
        assert_eq!(connect::<V4, _, _>(&maps, &sockets, &tcp(), &named), Outcome::Replace(far), "{named:?}");
    }
}

#[test]
fn what_is_no_frontend_stays() {
    let (maps, sockets) = world();
    let others = [
        at(vip().address, 81),
        at(ip(192, 168, 77, 11), 80),
        at(ip(192, 168, 77, 12), 30_080), // another node's, which answers itself
        at(Addr4::ANY, 30_080),
    ];
    for place in others {
        assert_eq!(connect::<V4, _, _>(&maps, &sockets, &tcp(), &place), Outcome::Keep, "{place:?}");
        assert_eq!(send::<V4, _, _>(&maps, &sockets, &udp(), &place), Outcome::Keep, "{place:?}");
    }
    let sctp = Caller { protocol: 132, ..tcp() };
    assert_eq!(connect::<V4, _, _>(&maps, &sockets, &sctp, &vip()), Outcome::Keep);
    assert!(sockets.peers.borrow().is_empty());
}

#[test]
fn node_ports_answer_on_loopback_only_for_the_nodes_own_processes() {
    let (maps, mut sockets) = world();
    let [first, _] = backends();
    let host = Caller { namespace: HOST, ..tcp() };
    let (loopback, node) = (at(ip(127, 0, 0, 1), 30_080), at(ip(192, 168, 77, 11), 30_080));
    for (caller, place, expected) in [
        (host, loopback, Outcome::Replace(first)),
        (host, at(ip(127, 9, 9, 9), 30_080), Outcome::Replace(first)),
        (host, node, Outcome::Replace(first)),
        (tcp(), node, Outcome::Replace(first)),
        (tcp(), loopback, Outcome::Keep),
        // from a loopback address the kernel sends nothing to a pod
        (Caller { bound_to_loopback: true, ..host }, loopback, Outcome::Keep),
        (Caller { bound_to_loopback: true, ..host }, vip(), Outcome::Keep),
    ] {
        assert_eq!(connect::<V4, _, _>(&maps, &sockets, &caller, &place), expected, "{caller:?} {place:?}");
    }
    sockets.settings[socket_setting::LOOPBACK as usize] = 0;
    assert_eq!(connect::<V4, _, _>(&maps, &sockets, &host, &loopback), Outcome::Keep);
}

#[test]
fn without_backends_a_call_is_refused() {
    let (mut maps, sockets) = world();
    for service in [1, 2] {
        let ring = maps.add_ring(&[]);
        maps.services.insert(service, ring);
    }
    assert_eq!(connect::<V4, _, _>(&maps, &sockets, &tcp(), &vip()), Outcome::Refuse);
    assert_eq!(send::<V4, _, _>(&maps, &sockets, &udp(), &vip()), Outcome::Refuse);
}

#[test]
fn datagrams_of_a_socket_stay_with_a_backend_until_it_is_gone() {
    let (mut maps, sockets) = world();
    let [first, second] = backends();
    *sockets.random.borrow_mut() = std::vec![0, u32::MAX];
    for _ in 0..3 {
        assert_eq!(send::<V4, _, _>(&maps, &sockets, &udp(), &vip()), Outcome::Replace(first));
    }
    assert_eq!(maps.service_stats.borrow()[&2].new_flows, 1);
    // the entry is used again for another backend
    maps.backends.get_mut(&20).expect("first").generation += 1;
    assert_eq!(send::<V4, _, _>(&maps, &sockets, &udp(), &vip()), Outcome::Replace(second));
    assert_eq!(received::<V4, _>(&sockets, &udp(), &first), Some(vip()), "a late answer of the one before");
    assert_eq!(received::<V4, _>(&sockets, &udp(), &second), Some(vip()));
}

#[test]
fn an_evicted_name_comes_back_with_the_next_datagram() {
    let (maps, sockets) = world();
    let [first, _] = backends();
    send::<V4, _, _>(&maps, &sockets, &udp(), &vip());
    sockets.peers.borrow_mut().clear();
    assert_eq!(received::<V4, _>(&sockets, &udp(), &first), None);
    send::<V4, _, _>(&maps, &sockets, &udp(), &vip());
    assert_eq!(received::<V4, _>(&sockets, &udp(), &first), Some(vip()));
}

#[test]
fn datagrams_from_other_ports_cost_no_lookup() {
    let (maps, sockets) = world();
    assert_eq!(received::<V4, _>(&sockets, &udp(), &backends()[0]), None);
    send::<V4, _, _>(&maps, &sockets, &udp(), &vip());
    sockets.looks.set(0);
    assert_eq!(received::<V4, _>(&sockets, &udp(), &at(ip(8, 8, 8, 8), 53)), None);
    assert_eq!(sockets.looks.get(), 0);
    assert_eq!(received::<V4, _>(&sockets, &udp(), &at(ip(8, 8, 8, 8), 8080)), None);
    assert_eq!(sockets.looks.get(), 1);
}

#[test]
fn a_vip_of_the_front_leads_to_its_listener_on_the_node() {
    let (mut maps, mut sockets) = world();
    let (outside, own) = (at(ip(203, 0, 113, 1), 80), at(ip(192, 168, 77, 11), 80));
    for place in [outside, own] {
        let key =
            FrontendKey { address: place.address, port: place.port, protocol: u16::from(protocol::TCP), fill: [] };
        maps.frontends.insert(key, FrontendEntry { service: 9, flags: frontend_flag::FRONT_HTTP });
    }
    assert_eq!(connect::<V4, _, _>(&maps, &sockets, &tcp(), &outside), Outcome::Refuse, "no listener");
    sockets.front_address = Some(own.address);
    sockets.settings[socket_setting::FRONT_PORTS as usize] = 0x9999_0000_0000 | 41_000;
    let listener = at(own.address, 41_000);
    assert_eq!(connect::<V4, _, _>(&maps, &sockets, &tcp(), &outside), Outcome::Replace(listener));
    assert_eq!(peer_name::<V4, _>(&sockets, &tcp(), &listener), Some(outside));
    assert_eq!(connect::<V4, _, _>(&maps, &sockets, &tcp(), &own), Outcome::Keep, "sk_lookup takes it");
}

#[test]
fn ports_of_the_front_are_known_now_and_before_the_last_change() {
    let ports = 4_u64 << 48 | 3 << 32 | 2 << 16 | 1;
    let kinds: Vec<u32> = (0..6).map(|port| front_kind(ports, port)).collect();
    let (http, https) = (frontend_flag::FRONT_HTTP, frontend_flag::FRONT_HTTPS);
    assert_eq!(kinds, [0, http, https, http, https, 0]);
    assert_eq!(front_kind(0, 0), 0);
}

#[test]
fn ipv6_is_balanced_alike() {
    type A = <V6 as Family>::Addr;
    let words = |last: u8| A::from_bytes([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    let (named, backend) = (at(words(1), 53), at(words(2), 5353));
    let mut maps = Maps::<V6>::default();
    let ring = maps.add_ring(&[3]);
    maps.services.insert(1, ring);
    maps.backends.insert(3, entry(backend, protocol::UDP));
    let key = FrontendKey { address: named.address, port: named.port, protocol: u16::from(protocol::UDP), fill: [0] };
    maps.frontends.insert(key, FrontendEntry { service: 1, flags: frontend_flag::CLUSTER });
    let sockets = SocketMaps::<V6>::default();
    assert_eq!(send::<V6, _, _>(&maps, &sockets, &udp(), &named), Outcome::Replace(backend));
    assert_eq!(received::<V6, _>(&sockets, &udp(), &backend), Some(named));
    assert!(is_loopback::<A>(A::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])));
    assert!(!is_loopback::<A>(words(1)) && !is_loopback::<A>(A::ANY));
}
