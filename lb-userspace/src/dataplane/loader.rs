//! Loads the kernel object, pins what it holds, and clears away what other versions left.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use aya::programs::{SchedClassifier, SkLookup, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader};
use lb_common::abi::{ABI_VERSION, CALLED, program};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::config::{MapSizes, Pins};
use super::error::{DataplaneError, pin_io};
use super::object::{self, OBJECT};
use super::report::Note;
use super::spec::{self, MapSpec};
use super::transfer::{NEXT, Transfers};
use super::verify::{self, ATTACHED};
use super::{probe, transfer};

/// Loads all programs over the pinned maps and pins them. Attaches nothing. Maps that get another size are moved as far as that
/// can be done now.
pub(crate) fn load(pins: &Pins, sizes: &MapSizes, notes: &mut Vec<Note>) -> Result<(Ebpf, Transfers), DataplaneError> {
    if OBJECT.is_empty() {
        return Err(DataplaneError::NoObject);
    }
    raise_memlock();
    for dir in [pins.programs(), pins.links(), pins.maps()] {
        fs::create_dir_all(&dir).map_err(DataplaneError::file("create", dir))?;
    }
    let specs = spec::specs(sizes);
    let mut transfers = remove_unfit_maps(pins, &specs, notes)?;
    let mut object = load_object(pins, &specs, &transfers)?;
    verify::load_programs(&mut object)?;
    transfers.swap(pins, &specs)?;
    pin_programs(&mut object, pins)?;
    Ok((object, transfers))
}

/// Removes the maps of other versions of the ABI. Called when nothing uses them any more.
pub(crate) fn remove_other_versions(pins: &Pins, notes: &mut Vec<Note>) -> Result<(), DataplaneError> {
    let current = format!("v{ABI_VERSION}");
    let dir = pins.all_maps();
    for entry in fs::read_dir(&dir).map_err(DataplaneError::file("read", &dir))? {
        let entry = entry.map_err(DataplaneError::file("read", &dir))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != current {
            fs::remove_dir_all(entry.path()).map_err(DataplaneError::file("remove", entry.path()))?;
            notes.push(Note::info(
                "map-version-removed",
                format!(
                    "maps of another version ({name}) were removed; their flows are lost; this version is {current}"
                ),
            ));
        }
    }
    Ok(())
}

/// The XDP program.
pub(crate) fn xdp(object: &mut Ebpf) -> Result<&mut Xdp, DataplaneError> {
    typed(object, program::XDP)
}

/// One of the tc programs.
pub(crate) fn classifier<'a>(
    object: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut SchedClassifier, DataplaneError> {
    typed(object, name)
}

/// The sk_lookup program.
pub(crate) fn sk_lookup(object: &mut Ebpf) -> Result<&mut SkLookup, DataplaneError> {
    typed(object, program::SK_LOOKUP)
}

pub(crate) fn typed<'a, P>(object: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, DataplaneError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program>,
{
    let program = object.program_mut(name).and_then(|program| program.try_into().ok());
    program.ok_or(DataplaneError::MissingProgram { program: name })
}

/// Before 5.11 maps count against RLIMIT_MEMLOCK instead of a memory cgroup. A refusal shows when the maps are made.
fn raise_memlock() {
    if !probe::is_at_least(5, 11) {
        let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    }
}

/// Removes the maps that cannot be used again, and gives those whose entries can be moved.
fn remove_unfit_maps(pins: &Pins, specs: &[MapSpec], notes: &mut Vec<Note>) -> Result<Transfers, DataplaneError> {
    let mut pinned = BTreeMap::new();
    for spec in specs {
        let found = transfer::pinned(&pins.map(spec.name), spec.name)?;
        pinned.extend(found.map(|(_, shape)| (spec.name, shape)));
    }
    let mut transfers = Transfers::plan(pins, specs, &mut pinned)?;
    for unfit in spec::unfit(specs, &pinned) {
        let pin = pins.map(unfit.name());
        fs::remove_file(&pin).map_err(DataplaneError::file("remove", pin))?;
        transfers.forget(pins, unfit.name())?;
        notes.push(Note::warning("map-recreated", unfit.to_string()));
    }
    Ok(transfers)
}

fn load_object(pins: &Pins, specs: &[MapSpec], transfers: &Transfers) -> Result<Ebpf, DataplaneError> {
    let mut loader = EbpfLoader::new();
    object::tell(&mut loader);
    for spec in specs {
        loader.map_max_entries(spec.name, spec.shape.entries);
        let next = pins.map_in(spec.name, NEXT);
        remove_pin(&next)?; // of an agent that did not come to its end
        loader.map_pin_path(spec.name, if transfers.has(spec.name) { next } else { pins.map(spec.name) });
    }
    loader.load(&object::for_this_kernel()).map_err(|error| match &error {
        EbpfError::MapError(inner) if is_refused(inner) => {
            DataplaneError::Permission { operation: "make BPF maps".to_owned() }
        }
        _ => DataplaneError::Load(Box::new(error)),
    })
}

fn is_refused(error: &aya::maps::MapError) -> bool {
    use aya::maps::MapError;
    let source = match error {
        MapError::CreateError { io_error, .. } => io_error,
        MapError::SyscallError(error) => &error.io_error,
        MapError::PinError { error: aya::pin::PinError::SyscallError(error), .. } => &error.io_error,
        _ => return false,
    };
    source.kind() == io::ErrorKind::PermissionDenied
}

/// Pins the new programs over the old. Links keep the old ones alive until they are updated.
fn pin_programs(object: &mut Ebpf, pins: &Pins) -> Result<(), DataplaneError> {
    for name in ATTACHED.into_iter().chain(CALLED.map(|called| called.program)) {
        pin_program(object, pins, name)?;
    }
    Ok(())
}

/// Pins one program.
pub(crate) fn pin_program(object: &mut Ebpf, pins: &Pins, name: &'static str) -> Result<(), DataplaneError> {
    let pin = pins.program(name);
    remove_pin(&pin)?;
    let program = object.program_mut(name).ok_or(DataplaneError::MissingProgram { program: name })?;
    program.pin(&pin).map_err(|error| DataplaneError::file("pin a program at", &pin)(pin_io(error)))
}

/// Removes a pin; a missing one is success. Returns whether there was one.
pub(crate) fn remove_pin(pin: &Path) -> Result<bool, DataplaneError> {
    match fs::remove_file(pin) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(DataplaneError::file("remove", pin)(error)),
    }
}
