//! The rings that services had before their present ones. For a while after a change they say where flows belong that
//! began before it, of services whose packets go to other nodes in a tunnel: the node has no entry of such flows.

use std::collections::BTreeMap;

use lb_common::abi::{FormerRing, ServiceEntry, map};
use lb_common::conntrack::{idle_ticks, ticks};

use super::entry::pair;
use super::error::DataplaneError;
use super::mapped::{Access, MappedArray};
use super::maps::Maps;
use super::ring_area::RingArea;
use super::slices::Slice;
use super::sys;
use crate::tables::{BackendId, Ring, ServiceId};

/// How long a flow may be silent over a change and still be known again, in ticks of about a second. A flow that says
/// something within this time is remembered by itself from then on.
const KEPT: u32 = 300;
/// A program that began before the time was over may still read the ring, in ticks.
const AFTER: u32 = 2;
/// What a backend leaves in a ring that is kept: no backend.
const NOBODY: BackendId = BackendId(0);

/// The words of a [`FormerRing`].
mod word {
    pub(super) const RING: usize = 0;
    pub(super) const UNTIL: usize = 1;
}

/// FORMER_RINGS, and who holds which lines of the area.
pub(crate) struct FormerRings {
    entries: MappedArray<FormerRing>,
    kept: BTreeMap<ServiceId, Kept>,
}

struct Kept {
    slice: Slice,
    ring: Ring,
    until: u32,
}

/// The ring for flows that began under the one before and are not remembered, and for those that began under the present one
/// where the two do not differ.
fn merged(id: ServiceId, before: Kept, present: Kept, area: &mut RingArea) -> Kept {
    let slots = before.ring.iter().zip(present.ring.iter());
    let ring: Ring = slots.map(|(before, now)| if before == NOBODY { now } else { before }).collect();
    if ring == before.ring {
        return Kept { until: present.until, ..before };
    }
    area.retire(id, before.slice);
    match (ring != present.ring).then(|| area.write(&ring)).flatten() {
        Some(slice) => Kept { slice, ring, ..present },
        None => present,
    }
}

impl FormerRings {
    /// Opens the map and takes the places of the rings that are still good out of the free lines.
    pub(crate) fn open(maps: &Maps, access: Access, area: &mut RingArea) -> Result<Self, DataplaneError> {
        let mut rings = Self { entries: maps.mapped(map::FORMER_RINGS, access)?, kept: BTreeMap::new() };
        let now = now();
        for id in 1..rings.entries.len() {
            let Some(entry) = rings.entries.read(id).filter(|entry| entry.is_open(now)) else { continue };
            let Some(slice) = slice_of(&entry) else { continue };
            if area.reserve(slice) {
                let ring = area.slots(slice, entry.place().1);
                rings.kept.insert(ServiceId(id), Kept { slice, ring, until: entry.until });
            } else if access == Access::Write {
                // whoever has the lines now, they are not this ring's
                rings.entries.store(id, word::UNTIL, pair(0, entry.changed));
            }
        }
        Ok(rings)
    }

    /// Keeps the ring that a service has now. Flows that began under the one before it belong to that still: where the two
    /// differ, those that began under the present one are remembered each for itself.
    pub(crate) fn keep(&mut self, id: ServiceId, entry: &ServiceEntry, area: &mut RingArea) {
        let (now, mut until) = (now(), 0);
        self.release_expired(now, area);
        if let Some((slice, ring)) = area.held(id, entry) {
            until = now.wrapping_add(KEPT);
            let kept = match self.kept.remove(&id) {
                Some(before) if before.ring.len() == ring.len() => {
                    merged(id, before, Kept { slice, ring, until }, area)
                }
                before => {
                    before.into_iter().for_each(|before| area.retire(id, before.slice));
                    Kept { slice, ring, until }
                }
            };
            let place = ServiceEntry::pack_ring(kept.slice.first, kept.ring.len() as u32);
            self.entries.store(id.0, word::RING, place);
            self.kept.insert(id, kept);
        }
        self.entries.store(id.0, word::UNTIL, pair(until, 1));
    }

    /// A ring that is kept lies in these lines.
    pub(crate) fn holds(&self, id: ServiceId, slice: Slice) -> bool {
        self.kept.get(&id).is_some_and(|kept| kept.slice == slice)
    }

    /// Forgets the ring of a service that is gone.
    pub(crate) fn forget(&mut self, id: ServiceId, area: &mut RingArea) {
        self.entries.store(id.0, word::UNTIL, 0);
        self.kept.remove(&id).into_iter().for_each(|kept| area.retire(id, kept.slice));
    }

    /// Takes a backend that is gone out of all rings. True if it was in one: its id may then be used again only after a
    /// grace period.
    pub(crate) fn remove_backend(&mut self, id: BackendId, area: &RingArea) -> bool {
        let mut found = false;
        for kept in self.kept.values_mut().filter(|kept| kept.ring.backends().contains(&id)) {
            found = true;
            kept.ring = kept.ring.iter().map(|slot| if slot == id { NOBODY } else { slot }).collect();
            area.rewrite(kept.slice, &kept.ring);
        }
        found
    }

    /// Gives back the lines of rings whose time is over.
    pub(crate) fn release_expired(&mut self, now: u32, area: &mut RingArea) {
        let is_over = |kept: &Kept| idle_ticks(now, kept.until) > AFTER;
        let over: Vec<_> = self.kept.iter().filter(|(_, kept)| is_over(kept)).map(|(id, _)| *id).collect();
        for id in over {
            self.entries.store(id.0, word::UNTIL, pair(0, 1));
            self.kept.remove(&id).into_iter().for_each(|kept| area.retire(id, kept.slice));
        }
    }

    /// Lines of the area that hold a ring which is kept, as the map has it now: whoever only reads it is told of no change.
    pub(crate) fn lines(&self) -> u64 {
        let now = now();
        let entries = (1..self.entries.len()).filter_map(|id| self.entries.read(id));
        entries
            .filter(|entry| entry.is_open(now))
            .filter_map(|entry| slice_of(&entry))
            .map(|slice| u64::from(slice.lines))
            .sum()
    }
}

/// The clock of the programs.
pub(crate) fn now() -> u32 {
    ticks(sys::monotonic_ns())
}

fn slice_of(entry: &FormerRing) -> Option<Slice> {
    let (first, slots) = entry.place();
    (slots > 0).then(|| Slice { first, lines: slots.div_ceil(lb_common::limits::RING_LINE_SLOTS) })
}
