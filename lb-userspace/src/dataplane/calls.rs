//! The programs that those attached go on in, called by way of arrays of programs.

use aya::Ebpf;
use aya::maps::{MapData, ProgramArray};
use aya::programs::ProgramFd;
use lb_common::abi::{CALLED, Called};

use super::error::{DataplaneError, map_io, program_io};

/// Puts the loaded programs into the arrays. Those that are attached already, an earlier agent's, call them from then on,
/// so the other maps must be written. The arrays keep their contents as long as they are pinned: the kernel clears one whose
/// last descriptor and pin are gone, even if programs still use it (kernel/bpf/arraymap.c, `prog_array_map_clear`).
pub(crate) fn fill(object: &mut Ebpf) -> Result<(), DataplaneError> {
    for Called { program, map, slot } in CALLED {
        let failed = || DataplaneError::map(map);
        let unknown = || DataplaneError::MissingProgram { program };
        let called = object.program(program).ok_or_else(unknown)?.fd().map_err(program_io);
        let called = called.and_then(ProgramFd::try_clone).map_err(failed())?;
        let array = object.map_mut(map).ok_or_else(unknown)?;
        let mut array: ProgramArray<&mut MapData> = array.try_into().map_err(map_io).map_err(failed())?;
        array.set(slot, &called, 0).map_err(map_io).map_err(failed())?;
    }
    Ok(())
}
