//! Maps that get another size: their entries move to new ones, while the programs of the agent before go on with the old.
//!
//! A map cannot grow. The new one is made and filled beside the old one; only once the new programs are loaded does it take over
//! the pin. What the old programs write until the new ones have taken their place is fetched again and again while they are
//! attached, and a last time after that. The old map stays pinned until then (`NAME-former`), so that an agent that dies in between
//! loses nothing either.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use aya::maps::{MapData, MapType};

use super::config::Pins;
use super::error::{DataplaneError, map_io};
use super::loader::remove_pin;
use super::report::Note;
use super::spec::{Group, MapSpec, Shape};
use super::sys::{self, RawBatch};

/// Entries per system call.
const BATCH: u32 = 4_096;
/// Between two looks for what the old programs have written meanwhile.
const PAUSE: Duration = Duration::from_millis(2);

/// A map in the new size, which has not taken over its pin yet.
pub(crate) const NEXT: &str = "next";
/// A map that gave up its pin, while programs may still use it.
const FORMER: &str = "former";

/// The maps that get another size, and those that an agent which died had left in between.
#[derive(Default)]
pub(crate) struct Transfers {
    maps: Vec<Transfer>,
}

struct Transfer {
    spec: MapSpec,
    old: OwnedFd,
    /// What the old map looks like.
    shape: Shape,
    taken: u64,
    lost: u64,
}

impl Transfers {
    /// What can be moved into maps of the sizes that are wanted; gives the shape that such a map will have.
    pub(crate) fn plan(&mut self, pins: &Pins, spec: &MapSpec, shape: Shape) -> Result<Option<Shape>, DataplaneError> {
        if shape == spec.shape || !is_alike(spec, shape) {
            return Ok(None);
        }
        let failed = DataplaneError::map(spec.name);
        let Some(old) = sys::open_pin(&pins.map(spec.name)).map_err(&failed)? else { return Ok(None) };
        let transfer = Transfer { spec: *spec, old, shape, taken: 0, lost: 0 };
        if !transfer.fits().unwrap_or(false) {
            return Ok(None); // nor where the kernel has no batches (5.6; of counters by CPU 5.13)
        }
        self.maps.push(transfer);
        Ok(Some(spec.shape))
    }

    /// The map gets a new one, which is to be pinned beside it.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.maps.iter().any(|transfer| transfer.spec.name == name)
    }

    /// Leaves a map alone after all: what its entries refer to is lost.
    pub(crate) fn forget(&mut self, name: &str) {
        self.maps.retain(|transfer| transfer.spec.name != name);
    }

    /// The new maps take over the pins. All but flows are copied now: nobody else writes them, and whoever opens them finds them
    /// complete.
    pub(crate) fn swap(&mut self, pins: &Pins, specs: &[MapSpec]) -> Result<(), DataplaneError> {
        let mut left = left(pins, specs)?;
        for transfer in &mut left {
            transfer.copy_to_pin(pins)?; // whose own pin may be taken now
        }
        for transfer in &mut self.maps {
            let (name, pin) = (transfer.spec.name, pins.map(transfer.spec.name));
            let next = pins.map_in(name, NEXT);
            if transfer.spec.group != Group::Flows {
                let new = MapData::from_pin(&next).map_err(map_io).map_err(DataplaneError::map(name))?;
                transfer.copy(new.fd().as_fd()).map_err(DataplaneError::map(name))?;
            }
            fs::rename(&pin, pins.map_in(name, FORMER)).map_err(DataplaneError::file("rename", &pin))?;
            fs::rename(&next, &pin).map_err(DataplaneError::file("rename", &next))?;
        }
        self.maps.extend(left);
        Ok(())
    }

    /// Runs what replaces the programs, and meanwhile fetches the flows that the old ones begin.
    pub(crate) fn during<T>(
        &mut self,
        pins: &Pins,
        notes: &mut Vec<Note>,
        replace: impl FnOnce(&mut Vec<Note>) -> Result<T, DataplaneError>,
    ) -> Result<T, DataplaneError> {
        if self.maps.is_empty() {
            return replace(notes);
        }
        self.fetch(pins)?;
        let over = AtomicBool::new(false);
        let replaced = thread::scope(|scope| {
            let fetching = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    self.fetch(pins)?;
                    thread::sleep(PAUSE);
                }
                self.fetch(pins)
            });
            let replaced = replace(notes);
            over.store(true, Ordering::Relaxed);
            let fetched = fetching.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            replaced.and_then(|value| fetched.map(|()| value))
        })?;
        for transfer in self.maps.drain(..) {
            remove_pin(&pins.map_in(transfer.spec.name, FORMER))?;
            notes.push(transfer.note());
        }
        Ok(replaced)
    }

    /// Copies flows that the new maps do not have.
    fn fetch(&mut self, pins: &Pins) -> Result<(), DataplaneError> {
        // the way back first: a flow must not stand without it
        for transfer in self.maps.iter_mut().rev().filter(|transfer| transfer.spec.group == Group::Flows) {
            transfer.copy_to_pin(pins)?;
        }
        Ok(())
    }
}

/// Old maps of flows whose agent died before its programs had taken over.
fn left(pins: &Pins, specs: &[MapSpec]) -> Result<Vec<Transfer>, DataplaneError> {
    let mut found = Vec::new();
    for spec in specs {
        let (pin, failed) = (pins.map_in(spec.name, FORMER), DataplaneError::map(spec.name));
        let Some(old) = sys::open_pin(&pin).map_err(&failed)? else { continue };
        let data = old.try_clone().map_err(&failed)?;
        let info = MapData::from_fd(data).and_then(|data| data.info()).map_err(map_io).map_err(failed)?;
        let shape = Shape::of(&info);
        if spec.group == Group::Flows && is_alike(spec, shape) {
            found.push(Transfer { spec: *spec, old, shape, taken: 0, lost: 0 });
        } else {
            remove_pin(&pin)?;
        }
    }
    Ok(found)
}

/// Differs in the number of entries at most, and can be read in batches.
fn is_alike(spec: &MapSpec, found: Shape) -> bool {
    let kinds = [MapType::Hash, MapType::LruHash, MapType::Array, MapType::PerCpuArray];
    Shape { entries: spec.shape.entries, ..found } == spec.shape && kinds.contains(&found.kind)
}

impl Transfer {
    /// Every entry has room: it must have in a table whose entries stand in another one, too.
    fn fits(&self) -> io::Result<bool> {
        let (mut count, mut beyond) = (0_u64, false);
        self.walk(|key, _| {
            count += 1;
            beyond |= self.is_array() && index(key) >= self.spec.shape.entries;
            Ok(())
        })?;
        let evicts = self.shape.kind == MapType::LruHash;
        Ok(!beyond && (evicts || self.is_array() || count <= u64::from(self.spec.shape.entries)))
    }

    /// Writes into the map that has the pin now what it does not have.
    fn copy_to_pin(&mut self, pins: &Pins) -> Result<(), DataplaneError> {
        let failed = DataplaneError::map(self.spec.name);
        let new = MapData::from_pin(pins.map(self.spec.name)).map_err(map_io).map_err(&failed)?;
        self.copy(new.fd().as_fd()).map_err(failed)
    }

    /// Writes into the new map what it does not have.
    fn copy(&mut self, new: BorrowedFd<'_>) -> io::Result<()> {
        let (mut taken, mut lost) = (0, 0);
        let flags = if self.is_array() { sys::ANY } else { sys::NOEXIST };
        self.walk(|key, value| {
            match sys::update(new, key, value, flags) {
                Ok(()) => taken += 1,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // full by what came meanwhile
                Err(error) if error.raw_os_error() == Some(libc::E2BIG) => lost += 1,
                Err(error) => return Err(error),
            }
            Ok(())
        })?;
        self.taken += taken;
        self.lost = lost;
        Ok(())
    }

    /// Gives each key and value to `visit`; of arrays those that are not all zero.
    fn walk(&self, mut visit: impl FnMut(&[u8], &[u8]) -> io::Result<()>) -> io::Result<()> {
        let (key, value) = (self.shape.key as usize, self.value_size()?);
        let mut cursor = None;
        loop {
            let RawBatch { keys, values, next } = sys::lookup_raw(self.old.as_fd(), cursor, BATCH, (key, value))?;
            for (key, value) in keys.chunks_exact(key).zip(values.chunks_exact(value)) {
                if !self.is_array() || value.iter().any(|byte| *byte != 0) {
                    visit(key, value)?;
                }
            }
            cursor = next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    fn is_array(&self) -> bool {
        matches!(self.shape.kind, MapType::Array | MapType::PerCpuArray)
    }

    /// Bytes of a value as system calls see it: of a per-CPU map those of all CPUs, each rounded up to 8.
    fn value_size(&self) -> io::Result<usize> {
        let value = self.shape.value as usize;
        if self.shape.kind != MapType::PerCpuArray {
            return Ok(value);
        }
        let cpus = aya::util::nr_cpus().map_err(|(_, source)| source)?;
        Ok(value.next_multiple_of(8) * cpus)
    }

    fn note(&self) -> Note {
        let Self { spec, shape, taken, lost, .. } = self;
        let (name, from, to) = (spec.name, shape.entries, spec.shape.entries);
        let moved = format!("map {name} has room for {to} entries instead of {from}; {taken} were taken over");
        match lost {
            0 => Note::info("map-resized", moved),
            _ => Note::warning("map-resized", format!("{moved}, {lost} found no room: raise {}", spec.flag)),
        }
    }
}

fn index(key: &[u8]) -> u32 {
    key.try_into().map_or(u32::MAX, u32::from_ne_bytes)
}
