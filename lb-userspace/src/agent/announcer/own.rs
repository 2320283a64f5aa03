//! The addresses that this node announces.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::contests::Contests;
use super::groups::Groups;
use crate::announce::wanted::Wanted;
use crate::announce::{Listing, frame};
use crate::dataplane::DataplaneError;
use crate::dataplane::announced::{self, Announced, FrameSocket, Segment, Told};

/// When everybody is told that an address has come, in milliseconds after it has: frames get lost, and some stations are not up yet.
const BURST: [u64; 6] = [0, 100, 500, 1_000, 2_000, 5_000];

/// The addresses that this node announces.
pub(super) struct Own {
    announced: Announced,
    groups: Groups,
    /// Since when each is announced.
    addresses: BTreeMap<IpAddr, Instant>,
    owners: BTreeMap<IpAddr, Arc<str>>,
    bursts: Vec<Burst>,
    contests: Contests,
    taken: u64,
}

/// Addresses that everybody is told of.
struct Burst {
    began: Instant,
    /// How often it was done.
    step: usize,
    addresses: Vec<IpAddr>,
}

impl Own {
    pub(super) fn new(announced: Announced) -> Self {
        Self {
            announced,
            groups: Groups::default(),
            addresses: BTreeMap::new(),
            owners: BTreeMap::new(),
            bursts: Vec::new(),
            contests: Contests::default(),
            taken: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// All of them.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.keys().copied()
    }

    pub(super) fn set_owners(&mut self, owners: BTreeMap<IpAddr, Arc<str>>) {
        self.owners = owners;
    }

    /// These are ours now: of those that have come everybody will be told.
    pub(super) fn set(&mut self, mine: BTreeSet<IpAddr>, now: Instant) {
        self.addresses.retain(|address, _| mine.contains(address));
        self.contests.retain(|address| mine.contains(address));
        let new: Vec<_> = mine.into_iter().filter(|address| !self.addresses.contains_key(address)).collect();
        self.addresses.extend(new.iter().map(|address| (*address, now)));
        self.taken += new.len() as u64;
        self.tell_again(new, now);
    }

    /// As if all of them had come now: who is heard to have one may be about to leave it.
    pub(super) fn begin_again(&mut self, now: Instant) {
        self.addresses.values_mut().for_each(|since| *since = now);
    }

    /// Tells everybody again of all: there is somebody who may not know.
    pub(super) fn tell_all_again(&mut self, now: Instant) {
        self.bursts.clear();
        self.tell_again(self.addresses().collect(), now);
    }

    fn tell_again(&mut self, addresses: Vec<IpAddr>, now: Instant) {
        if !addresses.is_empty() {
            self.bursts.push(Burst { began: now, step: 0, addresses });
        }
    }

    /// Makes the maps say so, and listens to the groups in which IPv6 addresses are asked for.
    pub(super) fn write(&mut self, wanted: &Wanted, segments: &[Segment]) -> Result<(), DataplaneError> {
        let (mut told, mut groups) = (announced::Wanted::new(), BTreeSet::new());
        for (address, segment) in places(self.addresses.keys(), wanted, segments) {
            let silent = self.contests.is_left(address);
            told.extend(segment.doors.iter().map(|door| ((*door, address), Told { mac: segment.mac, silent })));
            if let IpAddr::V6(address) = address {
                groups.insert((segment.index, frame::solicited(address)));
            }
        }
        self.groups.join(&groups);
        self.announced.write(&told)
    }

    /// An agent of this node has said a moment ago that neighbours may be told.
    pub(super) fn holds(&self) -> Result<bool, DataplaneError> {
        self.announced.holds()
    }

    /// Lets neighbours be told for so long from now.
    pub(super) fn hold(&mut self, time: Option<Duration>) -> Result<(), DataplaneError> {
        self.announced.hold(time)
    }

    /// Hears who else says that he has an address of ours; true if one is left to him, or is ours again.
    pub(super) fn contend(&mut self, now: Instant, segments: &[Segment], socket: &FrameSocket) -> bool {
        if self.addresses.is_empty() {
            return false;
        }
        let rivals = match self.announced.rivals() {
            Ok(rivals) => rivals,
            Err(error) => {
                tracing::debug!(%error, "it is not known who else has addresses of ours");
                return false;
            }
        };
        let verdict = self.contests.judge(&rivals, &self.addresses, segments, now);
        for address in &verdict.ask {
            for segment in segments {
                let _ = socket.send(segment.index, &frame::asked(*address, segment.mac)); // it is asked again
            }
        }
        self.tell_again(verdict.tell, now);
        verdict.changed
    }

    /// Tells everybody what is due.
    pub(super) fn tell(&mut self, wanted: &Wanted, segments: &[Segment], socket: &FrameSocket, now: Instant) {
        for burst in &mut self.bursts {
            let due = BURST.iter().filter(|after| now - burst.began >= Duration::from_millis(**after)).count();
            if due <= burst.step {
                continue;
            }
            burst.step = due;
            burst.addresses.retain(|address| self.addresses.contains_key(address) && !self.contests.is_left(*address));
            for (address, segment) in places(burst.addresses.iter(), wanted, segments) {
                for frame in frame::told(address, segment.mac) {
                    if let Err(error) = socket.send(segment.index, &frame) {
                        tracing::debug!(%error, %address, interface = segment.name, "an address was not announced");
                    }
                }
            }
        }
        self.bursts.retain(|burst| burst.step < BURST.len());
    }

    /// Who announces what, as this node sees it.
    pub(super) fn listing(&self, wanted: &Wanted) -> Listing {
        let owner = |address: &IpAddr| self.owners.get(address).map(ToString::to_string);
        let owners: BTreeMap<_, _> = wanted.addresses.keys().map(|address| (*address, owner(address))).collect();
        let own = self.addresses.keys().filter(|address| !self.contests.is_left(**address)).count() as u64;
        let contested = self.contests.open();
        Listing { owners, own, contested, taken: self.taken, rivals: self.contests.heard() }
    }
}

/// Where each address is announced.
fn places<'a>(
    addresses: impl Iterator<Item = &'a IpAddr>,
    wanted: &'a Wanted,
    segments: &'a [Segment],
) -> impl Iterator<Item = (IpAddr, &'a Segment)> {
    let candidates = |address: &'a IpAddr| Some((address, wanted.addresses.get(address)?));
    addresses.filter_map(candidates).flat_map(move |(address, candidates)| {
        let by = move |segment: &&Segment| candidates.interfaces.include(&segment.name);
        segments.iter().filter(by).map(move |segment| (*address, segment))
    })
}
