//! The limit on connections that nobody has proven.

use super::*;

const FORGED: u32 = 0x0b00_0000;
const CLIENT: (Be32, u16) = (Be32::new(0x0c00_0001), 40_000);
/// A quarter of a connection in a tick, for a service an eighth, and two at once.
const WORD: u64 = ((4 << 30) - 1) | (2 << 32);

fn limited() -> Maps<V4> {
    let mut maps = world();
    maps.settings[setting::SYN_LIMIT as usize] = WORD;
    maps
}

/// A first packet to the service with the local backend.
fn send(maps: &Maps<V4>, from: (Be32, u16)) -> Verdict {
    ingress(&mut Bytes(packet(protocol::TCP, from, (VIP, 80), b"")), maps)
}

/// Of so many forged packets, each from a source of its own, those that pass.
fn forge(maps: &Maps<V4>, round: u32, count: u32) -> usize {
    let source = |n| (Be32::new(FORGED + 1_000 * round + n), 1);
    (0..count).filter(|n| send(maps, source(*n)) == Verdict::Deliver).count()
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
fn without_a_limit_all_may_come() {
    assert_eq!(forge(&world(), 0, 1_000), 1_000);
}
