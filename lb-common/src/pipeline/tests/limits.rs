//! The limit on connections that nobody has proven.

use super::*;

const FORGED: u32 = 0x0b00_0000;
const CLIENT: (Be32, u16) = (Be32::new(0x0c00_0001), 40_000);
/// Ports of the services with a backend on this node: of [`world`], and a second one.
const ONE: u16 = 80;
const OTHER: u16 = 90;
/// A quarter of a connection in a tick and three at once; for a service an eighth, and two at once.
const WORD: u64 = ((4 << 30) - 1) | (2 << 32);

fn limited() -> Maps<V4> {
    let mut maps = world();
    maps.settings[setting::SYN_LIMIT as usize] = WORD;
    let key = FrontendKey { address: VIP, port: Be16::new(OTHER), protocol: u16::from(protocol::TCP), fill: [] };
    maps.frontends.insert(key, FrontendEntry { service: 5, flags: 0 });
    let ring = maps.add_ring(&[1; 3]);
    maps.services.insert(5, ring);
    maps
}

/// A segment with these flags to a service.
fn segment(maps: &Maps<V4>, from: (Be32, u16), port: u16, flags: u8) -> Verdict {
    let mut bytes = packet(protocol::TCP, from, (VIP, port), b"");
    bytes[47] = flags;
    ingress(&mut Bytes(bytes), maps)
}

/// The first segment of a client.
fn send(maps: &Maps<V4>, from: (Be32, u16)) -> Verdict {
    segment(maps, from, ONE, tcp_flag::SYN)
}

/// The backend's answer to the first segment.
fn answer(maps: &Maps<V4>, to: (Be32, u16)) {
    let mut back = Bytes(packet(protocol::TCP, (maps.backends[&1].address, 8080), to, b""));
    assert_eq!(egress(&mut back, maps), Verdict::Deliver);
}

/// Of so many forged packets to a port, each from a source of its own, those that pass.
fn forge_at(maps: &Maps<V4>, port: u16, round: u32, count: u32) -> usize {
    let source = |n| (Be32::new(FORGED + 1_000 * round + n), 1);
    (0..count).filter(|n| segment(maps, source(*n), port, tcp_flag::SYN) == Verdict::Deliver).count()
}

fn forge(maps: &Maps<V4>, round: u32, count: u32) -> usize {
    forge_at(maps, ONE, round, count)
}

/// So many clients after [`CLIENT`].
fn clients(count: u16) -> impl Iterator<Item = (Be32, u16)> {
    (1..=count).map(|n| (CLIENT.0, CLIENT.1 + n))
}

const LIMITED: Verdict = Verdict::Drop(DropReason::SynLimited);

#[test]
fn a_flood_gets_as_many_as_the_limit_says() {
    let maps = limited();
    assert_eq!(forge(&maps, 0, 1_000), 2, "those at once");
    maps.now.set(maps.now.get() + 80);
    assert_eq!(forge(&maps, 1, 1_000), 2, "what nobody takes is not saved up");
    let mut passed = 0;
    for round in 2..82 {
        maps.now.set(maps.now.get() + 1);
        passed += forge(&maps, round, 1_000);
    }
    assert_eq!(passed, 10);
    assert_eq!(maps.drops.borrow()[DropReason::SynLimited as usize].packets, 82_000 - 14);
}

#[test]
fn a_service_leaves_something_to_the_others_and_all_share_what_the_node_has() {
    let maps = limited();
    assert_eq!((forge_at(&maps, ONE, 0, 1_000), forge_at(&maps, OTHER, 1, 1_000)), (2, 1));
    // what the node refused the other service does not count against it: it gets what the first one gives back
    for n in 0..2 {
        answer(&maps, (Be32::new(FORGED + n), 1));
        assert_eq!(segment(&maps, (Be32::new(FORGED + n), 1), ONE, tcp_flag::ACK), Verdict::Deliver);
    }
    assert_eq!((forge_at(&maps, OTHER, 2, 1_000), forge_at(&maps, ONE, 3, 1_000)), (1, 1));
}

#[test]
fn who_sends_again_gets_through() {
    let maps = limited();
    forge(&maps, 0, 10);
    assert_eq!(send(&maps, CLIENT), LIMITED);
    assert_eq!(send(&maps, CLIENT), LIMITED, "not so fast");
    maps.now.set(maps.now.get() + 1);
    assert_eq!(send(&maps, CLIENT), Verdict::Deliver);
    assert_eq!(send(&maps, CLIENT), Verdict::Deliver, "now there is a flow");
    assert_eq!(send(&maps, (CLIENT.0, 41_000)), LIMITED, "another connection is another one");
}

#[test]
fn those_that_come_again_have_an_allowance_of_their_own_and_give_it_back() {
    let maps = limited();
    forge(&maps, 0, 10);
    assert!(clients(5).all(|client| send(&maps, client) == LIMITED));
    maps.now.set(maps.now.get() + 1);
    let again: Vec<_> = clients(5).map(|client| send(&maps, client)).collect();
    assert_eq!(again, [Verdict::Deliver, Verdict::Deliver, Verdict::Deliver, LIMITED, LIMITED]);
    let proven = clients(1).next().unwrap();
    answer(&maps, proven);
    assert_eq!(segment(&maps, proven, ONE, tcp_flag::ACK), Verdict::Deliver);
    assert_eq!(forge(&maps, 1, 10), 0, "it never counted against service and node");
    let again: Vec<_> = clients(5).skip(3).map(|client| send(&maps, client)).collect();
    assert_eq!(again, [Verdict::Deliver, LIMITED]);
}

#[test]
fn a_connection_counts_no_more_once_its_client_goes_on_though_no_table_has_room() {
    let mut maps = limited();
    maps.proven_capacity = 0;
    assert_eq!(forge(&maps, 0, 10), 2);
    let client = (Be32::new(FORGED), 1);
    answer(&maps, client);
    for _ in 0..5 {
        assert_eq!(segment(&maps, client, ONE, tcp_flag::ACK), Verdict::Deliver);
    }
    assert_eq!(forge(&maps, 1, 10), 1, "once, not with each segment");
}

#[test]
fn a_first_segment_that_comes_again_proves_nothing() {
    let maps = limited();
    let flows = |table| maps.flows[table as usize].borrow().len();
    assert_eq!(send(&maps, CLIENT), Verdict::Deliver);
    answer(&maps, CLIENT);
    assert_eq!(send(&maps, CLIENT), Verdict::Deliver);
    assert_eq!((flows(Table::Proven), flows(Table::HalfOpen)), (0, 1));
    assert_eq!(segment(&maps, CLIENT, ONE, tcp_flag::ACK), Verdict::Deliver);
    assert_eq!((flows(Table::Proven), flows(Table::HalfOpen)), (1, 0));
}

#[test]
fn without_a_limit_all_may_come() {
    assert_eq!(forge(&world(), 0, 1_000), 1_000);
}
