//! Maps that get another size: their entries move to new ones, while the programs of the agent before go on with the old.
//!
//! A map cannot grow. The new one is made and filled beside the old one; only once the new programs are loaded does it take over
//! the pin. What the old programs write until the new ones have taken their place is fetched again and again while they are
//! attached, and a last time after that. The old map stays pinned until then (`NAME-former`), so that an agent that dies in between
//! loses nothing either.
//!
//! Services, rings and backends point at each other: if one of their maps gets another size, all of them are moved, so that the
//! programs of before go on with a set that nobody changes.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use aya::maps::{MapData, MapType};

use super::config::Pins;
use super::error::{DataplaneError, map_io};
use super::loader::remove_pin;
use super::maps;
use super::report::Note;
use super::spec::{Group, MapSpec, Shape};
use super::sys;

/// Between two looks for what the old programs have written meanwhile.
const PAUSE: Duration = Duration::from_millis(2);

/// A map in the new size, which has not taken over its pin yet.
pub(crate) const NEXT: &str = "next";
/// Maps that gave up their pin, while programs may still use them: one for each agent that died before its programs had taken over.
const FORMER: [&str; 4] = ["former", "former-2", "former-3", "former-4"];

/// The maps that are moved, and those that an agent which died had left in between.
#[derive(Default)]
pub(crate) struct Transfers {
    maps: Vec<Transfer>,
}

struct Transfer {
    spec: MapSpec,
    old: OwnedFd,
    /// What the old map looks like.
    shape: Shape,
    /// Of a map that lets go of what is old: what was copied. It must not come again in the place of what is new.
    known: HashSet<Box<[u8]>>,
    taken: u64,
    lost: u64,
}

impl Transfers {
    /// What is to be moved into maps of the sizes that are wanted. `pinned` then has the shapes that these will have.
    pub(crate) fn plan(
        pins: &Pins,
        specs: &[MapSpec],
        pinned: &mut BTreeMap<&'static str, Shape>,
    ) -> Result<Self, DataplaneError> {
        let mut maps = Vec::new();
        for spec in specs {
            if pinned.get(spec.name).is_some_and(|shape| *shape != spec.shape) {
                maps.extend(Transfer::of(pins, spec)?);
            }
        }
        // or an agent has died in the midst of it, and the programs use some of the maps that are pinned
        let is_cut = |spec: &MapSpec| spec.group == Group::Services && pins.map_in(spec.name, NEXT).exists();
        if maps.iter().any(|transfer: &Transfer| transfer.spec.group == Group::Services) || specs.iter().any(is_cut) {
            for spec in specs.iter().filter(|spec| spec.group == Group::Services) {
                if pinned.get(spec.name) == Some(&spec.shape) {
                    maps.extend(Transfer::of(pins, spec)?);
                }
            }
        }
        pinned.extend(maps.iter().map(|transfer| (transfer.spec.name, transfer.spec.shape)));
        Ok(Self { maps })
    }

    /// The map gets a new one, which is to be pinned beside it.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.maps.iter().any(|transfer| transfer.spec.name == name)
    }

    /// Leaves a map alone after all, and all that was kept of it: what its entries refer to is lost.
    pub(crate) fn forget(&mut self, pins: &Pins, name: &str) -> Result<(), DataplaneError> {
        self.maps.retain(|transfer| transfer.spec.name != name);
        remove_former(pins, name)
    }

    /// The new maps take over the pins. All but flows are copied now: nobody else writes them, and whoever opens them finds them
    /// complete.
    pub(crate) fn swap(&mut self, pins: &Pins, specs: &[MapSpec]) -> Result<(), DataplaneError> {
        let mut left = left(pins, specs)?;
        for transfer in &mut left {
            transfer.copy_to_pin(pins)?; // whose own pin may be taken now
        }
        for transfer in self.maps.iter_mut().filter(|transfer| transfer.spec.group != Group::Flows) {
            let name = transfer.spec.name;
            let new = MapData::from_pin(pins.map_in(name, NEXT)).map_err(map_io).map_err(DataplaneError::map(name))?;
            transfer.copy(new.fd().as_fd()).map_err(DataplaneError::map(name))?;
        }
        for transfer in &self.maps {
            // at each moment one of both maps has the pin
            let (pin, next) = (pins.map(transfer.spec.name), pins.map_in(transfer.spec.name, NEXT));
            fs::hard_link(&pin, free_former(pins, transfer.spec.name)?).map_err(DataplaneError::file("link", &pin))?;
            fs::rename(&next, &pin).map_err(DataplaneError::file("rename", &next))?;
        }
        self.maps.extend(left);
        Ok(())
    }

    /// Runs what replaces the programs, and meanwhile fetches the flows that the old ones begin. Once they are replaced, what cannot
    /// be fetched is only said: the new ones are in force.
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
        let (replaced, fetched) = thread::scope(|scope| {
            let fetching = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    self.fetch(pins)?;
                    thread::sleep(PAUSE);
                }
                self.fetch(pins)
            });
            let replaced = replace(notes);
            over.store(true, Ordering::Relaxed);
            (replaced, fetching.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let replaced = replaced?;
        if let Err(error) = fetched {
            notes.push(Note::warning("map-resized", format!("flows of the last moments may be lost: {error}")));
        }
        for transfer in self.maps.drain(..) {
            remove_former(pins, transfer.spec.name)?;
            notes.extend(transfer.note());
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

/// What is pinned and what it looks like; `None` if nothing is. Something that is no map is an error: it is not ours.
pub(crate) fn pinned(pin: &Path, name: &'static str) -> Result<Option<(OwnedFd, Shape)>, DataplaneError> {
    let failed = DataplaneError::map(name);
    let Some(map) = sys::open_pin(pin).map_err(&failed)? else { return Ok(None) };
    let data = map.try_clone().map_err(&failed)?;
    let info = MapData::from_fd(data).and_then(|data| data.info()).map_err(map_io).map_err(failed)?;
    Ok(Some((map, Shape::of(&info))))
}

/// Old maps of flows whose agents died before their programs had taken over.
fn left(pins: &Pins, specs: &[MapSpec]) -> Result<Vec<Transfer>, DataplaneError> {
    let mut found = Vec::new();
    for spec in specs {
        for role in FORMER {
            let pin = pins.map_in(spec.name, role);
            let Some((old, shape)) = pinned(&pin, spec.name)? else { continue };
            if spec.group == Group::Flows && is_alike(spec, shape) {
                found.push(Transfer::from(spec, old, shape));
            } else {
                remove_pin(&pin)?;
            }
        }
    }
    Ok(found)
}

/// Where a map goes that gives up its pin. After agents that died one after the other the last place is used again: of what they
/// had in between, the programs that are attached know nothing.
fn free_former(pins: &Pins, name: &str) -> Result<PathBuf, DataplaneError> {
    let [.., last] = FORMER;
    let free = FORMER.into_iter().find(|role| !pins.map_in(name, role).exists());
    let pin = pins.map_in(name, free.unwrap_or(last));
    remove_pin(&pin)?;
    Ok(pin)
}

fn remove_former(pins: &Pins, name: &str) -> Result<(), DataplaneError> {
    FORMER.into_iter().try_for_each(|role| remove_pin(&pins.map_in(name, role)).map(drop))
}

/// Differs in the number of entries at most, and can be read in batches.
fn is_alike(spec: &MapSpec, found: Shape) -> bool {
    let kinds = [MapType::Hash, MapType::LruHash, MapType::Array, MapType::PerCpuArray, MapType::LpmTrie];
    Shape { entries: spec.shape.entries, ..found } == spec.shape && kinds.contains(&found.kind)
}

impl Transfer {
    /// A pinned map whose entries can be moved into one as specified.
    fn of(pins: &Pins, spec: &MapSpec) -> Result<Option<Self>, DataplaneError> {
        let Some((old, shape)) = pinned(&pins.map(spec.name), spec.name)? else { return Ok(None) };
        let transfer = Self::from(spec, old, shape);
        // nor where the kernel has no batches (5.6; of counters by CPU and of networks 5.13)
        Ok((is_alike(spec, transfer.shape) && transfer.fits().unwrap_or(false)).then_some(transfer))
    }

    fn from(spec: &MapSpec, old: OwnedFd, shape: Shape) -> Self {
        Self { spec: *spec, old, shape, known: HashSet::new(), taken: 0, lost: 0 }
    }

    /// Every entry has room: it must have in a table whose entries stand in another one, too.
    fn fits(&self) -> io::Result<bool> {
        let (mut count, mut beyond) = (0_u64, false);
        self.walk(|key, _| {
            count += 1;
            beyond |= self.is_array() && index(key) >= self.spec.shape.entries;
            Ok(())
        })?;
        Ok(!beyond && (self.evicts() || self.is_array() || count <= u64::from(self.spec.shape.entries)))
    }

    /// Writes into the map that has the pin now what it does not have.
    fn copy_to_pin(&mut self, pins: &Pins) -> Result<(), DataplaneError> {
        let failed = DataplaneError::map(self.spec.name);
        let new = MapData::from_pin(pins.map(self.spec.name)).map_err(map_io).map_err(&failed)?;
        self.copy(new.fd().as_fd()).map_err(failed)
    }

    /// Writes into the new map what it does not have.
    fn copy(&mut self, new: BorrowedFd<'_>) -> io::Result<()> {
        let (mut taken, mut lost, mut known) = (0, 0, std::mem::take(&mut self.known));
        let flags = if self.is_array() { sys::ANY } else { sys::NOEXIST };
        let copied = self.walk(|key, value| {
            if self.evicts() && !known.insert(key.into()) {
                return Ok(());
            }
            match sys::update(new, key, value, flags) {
                Ok(()) => taken += 1,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // full by what came meanwhile; where memory is taken as it is needed, that may be short
                Err(error) if matches!(error.raw_os_error(), Some(libc::E2BIG | libc::ENOMEM)) => lost += 1,
                Err(error) => return Err(error),
            }
            Ok(())
        });
        self.known = known;
        self.taken += taken;
        self.lost = lost;
        copied
    }

    /// Gives each key and value to `visit`; of arrays those that are not all zero.
    fn walk(&self, mut visit: impl FnMut(&[u8], &[u8]) -> io::Result<()>) -> io::Result<()> {
        let (key, value) = (self.shape.key as usize, self.value_size()?);
        maps::walk_raw(self.old.as_fd(), (key, value), |keys, values| {
            for (key, value) in keys.chunks_exact(key).zip(values.chunks_exact(value)) {
                if !self.is_array() || value.iter().any(|byte| *byte != 0) {
                    visit(key, value)?;
                }
            }
            Ok(())
        })
    }

    /// Lets go of what was not used for long when it is full.
    fn evicts(&self) -> bool {
        self.shape.kind == MapType::LruHash
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

    /// What there is to say of it; nothing of a map that was moved for the sake of others.
    fn note(&self) -> Option<Note> {
        let Self { spec, shape, taken, lost, .. } = self;
        let (name, from, to) = (spec.name, shape.entries, spec.shape.entries);
        let moved = format!("map {name} has room for {to} entries instead of {from}; {taken} were taken over");
        match lost {
            0 => (from != to).then(|| Note::info("map-resized", moved)),
            _ => Some(Note::warning("map-resized", format!("{moved}, {lost} found no room: raise {}", spec.flag))),
        }
    }
}

fn index(key: &[u8]) -> u32 {
    key.try_into().map_or(u32::MAX, u32::from_ne_bytes)
}
