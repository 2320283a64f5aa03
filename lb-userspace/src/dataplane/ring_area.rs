//! The area of ring slots: who holds which lines, and which may be used again.

use std::collections::BTreeMap;

use lb_common::abi::{RingLine, ServiceEntry, map};
use lb_common::limits::RING_LINE_SLOTS;

use super::error::DataplaneError;
use super::mapped::{Access, MappedArray};
use super::maps::Maps;
use super::slices::{Slice, Slices};
use crate::tables::{BackendId, Ring, ServiceId};

/// RINGS with its free and held lines. Which are held is found out from SERVICES.
pub(crate) struct RingArea {
    lines: MappedArray<RingLine>,
    free: Slices,
    held: BTreeMap<ServiceId, Slice>,
    /// Lines that packets in flight may still read.
    retired: Vec<Slice>,
}

impl RingArea {
    /// Opens the area and takes the place of every ring out of the free lines. A place that makes no sense (nothing of
    /// ours writes one) is not believed: the service counts as missing and is written anew.
    pub(crate) fn open(
        maps: &Maps,
        access: Access,
        services: &MappedArray<ServiceEntry>,
    ) -> Result<Self, DataplaneError> {
        let lines = maps.mapped::<RingLine>(map::RINGS, access)?;
        let mut area = Self { free: Slices::new(lines.len()), lines, held: BTreeMap::new(), retired: Vec::new() };
        for id in 1..services.len() {
            let entry = services.read(id).filter(|entry| entry.used != 0);
            let slice = entry.and_then(|entry| slice_of(&entry));
            if let Some(slice) = slice.filter(|&slice| area.free.reserve(slice)) {
                area.held.insert(ServiceId(id), slice);
            }
        }
        Ok(area)
    }

    /// How many lines there are.
    pub(crate) fn capacity(&self) -> u32 {
        self.lines.len()
    }

    /// The ring of a service in use; `None` if its place makes no sense.
    pub(crate) fn read(&self, id: ServiceId, entry: &ServiceEntry) -> Option<Ring> {
        let (first, slots) = entry.ring_place();
        if slice_of(entry) != self.held.get(&id).copied() {
            return None;
        }
        Some(self.slots(Slice { first, lines: slots.div_ceil(RING_LINE_SLOTS) }, slots))
    }

    /// The lines and the ring of a service in use, if it has one and its place makes sense.
    pub(crate) fn held(&self, id: ServiceId, entry: &ServiceEntry) -> Option<(Slice, Ring)> {
        let slice = slice_of(entry)?;
        self.read(id, entry).map(|ring| (slice, ring))
    }

    /// What stands in the first `slots` slots of some lines.
    pub(crate) fn slots(&self, slice: Slice, slots: u32) -> Ring {
        let lines = slice.first..slice.first + slice.lines;
        let slots_of = |line| self.lines.read(line).map_or([0; RING_LINE_SLOTS as usize], |line| line.slots);
        lines.flat_map(slots_of).take(slots as usize).map(BackendId).collect()
    }

    /// Takes lines out of the free ones; `false` if somebody has them.
    pub(crate) fn reserve(&mut self, slice: Slice) -> bool {
        self.free.reserve(slice)
    }

    /// Writes a ring into free lines; `None` if there are not enough.
    pub(crate) fn write(&mut self, ring: &Ring) -> Option<Slice> {
        let slice = self.free.allocate((ring.len() as u32).div_ceil(RING_LINE_SLOTS))?;
        self.rewrite(slice, ring);
        Some(slice)
    }

    /// Writes a ring into lines that it has. Of one that packets look at, each pair of slots changes at once.
    pub(crate) fn rewrite(&self, slice: Slice, ring: &Ring) {
        let mut ids = ring.iter();
        for line in slice.first..slice.first + slice.lines {
            // What is behind the last slot is zero.
            let slots = std::array::from_fn(|_| ids.next().map_or(0, |id| id.0));
            self.lines.write(line, &RingLine { slots });
        }
    }

    /// Notes which lines a service holds from now on, and gives those that it held before.
    #[must_use]
    pub(crate) fn hold(&mut self, id: ServiceId, slice: Option<Slice>) -> Option<Slice> {
        match slice {
            Some(slice) => self.held.insert(id, slice),
            None => self.held.remove(&id),
        }
    }

    /// Lines that nobody needs any more but packets in flight, unless the service's present ring lies in them.
    pub(crate) fn retire(&mut self, id: ServiceId, slice: Slice) {
        if self.held.get(&id) != Some(&slice) {
            self.retired.push(slice);
        }
    }

    /// Whether a grace period would give lines back.
    pub(crate) fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Gives retired lines back, after a grace period.
    pub(crate) fn release_retired(&mut self) {
        for slice in self.retired.drain(..) {
            self.free.release(slice);
        }
    }
}

/// The lines of a ring; `None` if it is empty.
fn slice_of(entry: &ServiceEntry) -> Option<Slice> {
    let (first, slots) = entry.ring_place();
    (slots > 0).then(|| Slice { first, lines: slots.div_ceil(RING_LINE_SLOTS) })
}
