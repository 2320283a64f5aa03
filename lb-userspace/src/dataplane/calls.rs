//! The programs that those attached go on in: one for each family and hook, called by way of an array of programs.

use aya::Ebpf;
use aya::maps::{MapData, ProgramArray};
use aya::programs::ProgramFd;
use lb_common::abi::{map, program, tc_slot, xdp_slot};

use super::error::{DataplaneError, map_io, program_io};

/// A program and where it stands.
pub(crate) struct Called {
    pub(crate) program: &'static str,
    map: &'static str,
    slot: u32,
}

/// All of them, in the order in which they are put in place: what replies need first, what takes packets in last.
pub(crate) const CALLED: [Called; 10] = [
    Called { program: program::SAMPLE_TC, map: map::TC_PROGRAMS, slot: tc_slot::SAMPLE },
    Called { program: program::SAMPLE, map: map::XDP_PROGRAMS, slot: xdp_slot::SAMPLE },
    Called { program: program::TC_REFUSE, map: map::TC_PROGRAMS, slot: tc_slot::REFUSE },
    Called { program: program::XDP_REFUSE, map: map::XDP_PROGRAMS, slot: xdp_slot::REFUSE },
    Called { program: program::INSIDE6, map: map::TC_PROGRAMS, slot: tc_slot::INSIDE6 },
    Called { program: program::INSIDE4, map: map::TC_PROGRAMS, slot: tc_slot::INSIDE4 },
    Called { program: program::TC_EGRESS6, map: map::TC_PROGRAMS, slot: tc_slot::EGRESS6 },
    Called { program: program::TUNNEL6, map: map::TC_PROGRAMS, slot: tc_slot::TUNNEL6 },
    Called { program: program::TC_INGRESS6, map: map::TC_PROGRAMS, slot: tc_slot::INGRESS6 },
    Called { program: program::XDP6, map: map::XDP_PROGRAMS, slot: xdp_slot::IPV6 },
];

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
