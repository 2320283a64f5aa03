//! Another station says that it has an address of ours. Two agents that cannot hear each other are to come to the same end: the
//! lower hardware address keeps it, the other one falls silent and asks from time to time whether it is still there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::announce::Contest;
use crate::dataplane::announced::{Rival, Segment};

/// While an address moves, its last owner may still be heard.
const MOVING: Duration = Duration::from_millis(1_500);
/// A rival that was not heard for so long is gone.
const GONE: Duration = Duration::from_secs(10);
/// How often it is asked whether it is still there.
const ASK: Duration = Duration::from_secs(3);
/// An address is defended no more often (RFC 5227, section 2.4, asks for a limit).
const DEFEND: Duration = Duration::from_secs(1);

/// Addresses that others have as well.
#[derive(Debug, Default)]
pub(super) struct Contests {
    /// When a rival was last heard by each device, on the kernel's clock.
    seen: BTreeMap<(IpAddr, u32), u64>,
    open: BTreeMap<IpAddr, Open>,
    heard: u64,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    contest: Contest,
    heard: Instant,
    acted: Instant,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Everybody is to be told again that we have these.
    pub(super) tell: Vec<IpAddr>,
    /// The rival is to be asked whether it still has these.
    pub(super) ask: Vec<IpAddr>,
    /// One is left, or ours again.
    pub(super) changed: bool,
}

impl Contests {
    /// Takes who was heard, of the addresses that are ours since these times.
    pub(super) fn judge(
        &mut self,
        rivals: &[Rival],
        ours: &BTreeMap<IpAddr, Instant>,
        segments: &[Segment],
        now: Instant,
    ) -> Judgement {
        let mut judgement = Judgement::default();
        let theirs = |mac| segments.iter().any(|segment| segment.mac == mac);
        let rivals: Vec<_> = rivals.iter().filter(|rival| !theirs(rival.mac)).collect();
        let opposed = opposed(&rivals, segments);
        for rival in rivals {
            let place = (rival.address, rival.device);
            let is_news = self.seen.insert(place, rival.heard).is_none_or(|before| before < rival.heard);
            let Some(since) = ours.get(&rival.address).filter(|_| is_news) else { continue };
            self.heard += 1;
            if now.saturating_duration_since(*since) >= MOVING {
                let own = opposed.get(&(rival.address, rival.mac));
                self.take(rival, own.is_some_and(|own| rival.mac < *own), now, &mut judgement);
            }
        }
        self.follow(now, &mut judgement);
        judgement
    }

    fn take(&mut self, rival: &Rival, wins: bool, now: Instant, judgement: &mut Judgement) {
        let before = self.open.get(&rival.address).copied();
        // a station may be heard by two hardware addresses: what was left stays so until nobody is heard any more
        let left = wins || before.is_some_and(|open| open.contest.left);
        let contest = Contest { rival: rival.mac, left };
        judgement.changed |= before.is_some_and(|open| open.contest.left) != left;
        let may_act = before.is_none_or(|open| now.saturating_duration_since(open.acted) >= DEFEND);
        if !left && may_act {
            judgement.tell.push(rival.address);
        }
        let acted = before.filter(|_| left || !may_act).map_or(now, |open| open.acted);
        self.open.insert(rival.address, Open { contest, heard: now, acted });
        if before.is_none() {
            let [a, b, c, d, e, f] = rival.mac;
            let rival_mac = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
            tracing::warn!(address = %rival.address, rival = rival_mac, left, "another station has an address of ours");
        }
    }

    /// Asks those to whom something was left, and forgets who is gone.
    fn follow(&mut self, now: Instant, judgement: &mut Judgement) {
        let since = |then: Instant| now.saturating_duration_since(then);
        self.open.retain(|address, open| {
            let gone = since(open.heard) >= GONE;
            if gone && open.contest.left {
                judgement.changed = true;
                judgement.tell.push(*address);
            }
            !gone
        });
        for (address, open) in self.open.iter_mut().filter(|(_, open)| open.contest.left && since(open.acted) >= ASK) {
            open.acted = now;
            judgement.ask.push(*address);
        }
    }

    /// Forgets those that are not ours any more.
    pub(super) fn retain(&mut self, is_ours: impl Fn(&IpAddr) -> bool) {
        self.open.retain(|address, _| is_ours(address));
        self.seen.retain(|(address, _), _| is_ours(address));
    }

    /// This node is silent about the address.
    pub(super) fn is_left(&self, address: IpAddr) -> bool {
        self.open.get(&address).is_some_and(|open| open.contest.left)
    }

    /// How often somebody else was heard.
    pub(super) fn heard(&self) -> u64 {
        self.heard
    }

    /// What there is.
    pub(super) fn open(&self) -> BTreeMap<IpAddr, Contest> {
        self.open.iter().map(|(address, open)| (*address, open.contest)).collect()
    }
}

/// The hardware address that each rival has to be lower than: ours in the network in which it was heard. Where several of our
/// devices are in one network, each hears it, and the rival hears all of them: then it is the lowest, for both sides.
fn opposed(rivals: &[&Rival], segments: &[Segment]) -> BTreeMap<(IpAddr, [u8; 6]), [u8; 6]> {
    let mut opposed = BTreeMap::new();
    for rival in rivals {
        let Some(own) = segments.iter().find(|segment| segment.doors.contains(&rival.device)) else { continue };
        let lowest = opposed.entry((rival.address, rival.mac)).or_insert(own.mac);
        *lowest = own.mac.min(*lowest);
    }
    opposed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const MS: Duration = Duration::from_millis(1);
    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    struct Bench {
        contests: Contests,
        start: Instant,
    }

    fn bench() -> Bench {
        Bench { contests: Contests::default(), start: clock::now() }
    }

    const fn mac(last: u8) -> [u8; 6] {
        [2, 0, 0, 0, 0, last]
    }

    fn segment(index: u32, last: u8) -> Segment {
        Segment { name: format!("eth{index}"), index, mac: mac(last), doors: vec![index] }
    }

    impl Bench {
        /// Our hardware address ends in 5. A rival is heard at that time of the kernel.
        fn judge(&mut self, at: Duration, rival: Option<(u8, u64)>) -> Judgement {
            let rivals: Vec<_> = rival.into_iter().map(|(last, heard)| (1, last, heard)).collect();
            self.judge_at(at, &[segment(1, 5)], &rivals)
        }

        /// Rivals by device, hardware address and time.
        fn judge_at(&mut self, at: Duration, segments: &[Segment], rivals: &[(u32, u8, u64)]) -> Judgement {
            let rival =
                |&(device, last, heard): &(u32, u8, u64)| Rival { address: ADDRESS, device, mac: mac(last), heard };
            let rivals: Vec<_> = rivals.iter().map(rival).collect();
            self.contests.judge(&rivals, &[(ADDRESS, self.start)].into(), segments, self.start + at)
        }
    }

    #[test]
    fn who_was_heard_by_two_devices_is_gone_when_neither_hears_him() {
        let (mut bench, segments) = (bench(), [segment(1, 5), segment(2, 7)]);
        let heard = [(1, 1, 10), (2, 1, 4)];
        assert!(bench.judge_at(2_000 * MS, &segments, &heard).changed);
        assert_eq!(bench.contests.heard(), 2);
        assert_eq!(bench.judge_at(2_100 * MS, &segments, &heard), Judgement::default());
        assert_eq!(bench.contests.heard(), 2, "that is no news");
        assert!(bench.judge_at(12_000 * MS, &segments, &heard).changed && !bench.contests.is_left(ADDRESS));
    }

    #[test]
    fn the_hardware_address_of_the_network_counts_in_which_a_rival_is_heard() {
        // in the second network 3 is lower than our 7, whatever we have in the first
        let mut apart = bench();
        apart.judge_at(2_000 * MS, &[segment(1, 1), segment(2, 7)], &[(2, 3, 1)]);
        assert!(apart.contests.is_left(ADDRESS));
        // two nodes with two devices each in one network: 1 and 7 against 2 and 6
        let (mut first, mut second) = (bench(), bench());
        for step in 0..4 {
            let at = (2_000 + 100 * step) * MS;
            let (heard, last) = (u64::from(step) + 1, [2, 6][step as usize % 2]);
            first.judge_at(at, &[segment(1, 1), segment(2, 7)], &[(1, last, heard), (2, last, heard)]);
            let last = [1, 7][step as usize % 2];
            second.judge_at(at, &[segment(1, 2), segment(2, 6)], &[(1, last, heard), (2, last, heard)]);
        }
        assert!(!first.contests.is_left(ADDRESS) && second.contests.is_left(ADDRESS));
    }

    #[test]
    fn the_lower_hardware_address_keeps_it() {
        let mut keeps = bench();
        assert_eq!(keeps.judge(2_000 * MS, Some((9, 1))).tell, [ADDRESS]);
        assert!(!keeps.contests.is_left(ADDRESS));
        assert_eq!(keeps.judge(2_100 * MS, Some((9, 1))), Judgement::default(), "that is no news");
        assert_eq!(keeps.judge(2_200 * MS, Some((9, 2))), Judgement::default(), "defended a moment ago");
        assert_eq!(keeps.judge(3_300 * MS, Some((9, 3))).tell, [ADDRESS]);
        assert_eq!(keeps.contests.heard(), 3);
        let mut leaves = bench();
        assert!(leaves.judge(2_000 * MS, Some((1, 1))).changed && leaves.contests.is_left(ADDRESS));
    }

    #[test]
    fn what_was_left_is_asked_for_and_comes_back() {
        let mut bench = bench();
        bench.judge(2_000 * MS, Some((1, 1)));
        assert_eq!(bench.judge(4_900 * MS, None), Judgement::default());
        assert_eq!(bench.judge(5_000 * MS, None).ask, [ADDRESS]);
        assert_eq!(bench.judge(5_100 * MS, Some((1, 2))), Judgement::default(), "it is still there");
        assert!(bench.contests.is_left(ADDRESS));
        let back = bench.judge(15_100 * MS, None);
        assert_eq!((back.changed, back.tell), (true, vec![ADDRESS]));
        assert!(!bench.contests.is_left(ADDRESS) && bench.contests.open().is_empty());
    }

    #[test]
    fn who_is_heard_while_an_address_moves_is_no_rival_and_neither_are_we() {
        let mut bench = bench();
        assert_eq!(bench.judge(1_000 * MS, Some((1, 1))), Judgement::default());
        assert_eq!(bench.judge(2_000 * MS, Some((5, 2))), Judgement::default());
        assert_eq!(bench.contests.heard(), 1);
    }
}
