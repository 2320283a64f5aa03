//! Hands programs to the verifier, on all CPUs at once: it takes seconds of one, and nobody is served meanwhile on a node that
//! starts.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

use aya::Ebpf;
use aya::programs::{Program, ProgramError};
use lb_common::abi::{CALLED, program};

use super::error::DataplaneError;

/// The programs beside [`CALLED`] that are pinned, whatever is attached where.
pub(crate) const ATTACHED: [&str; 4] = [program::TC_EGRESS, program::TUNNEL, program::ASK, program::SK_LOOKUP];

/// A program that is still to be loaded.
type Waiting<'a> = (&'static str, &'a mut Program);

/// Loads [`ATTACHED`] and [`CALLED`]. For who has CAP_PERFMON the verifier holds no lock (kernel/bpf/verifier.c, `bpf_check`).
pub(crate) fn load_programs(object: &mut Ebpf) -> Result<(), DataplaneError> {
    let waiting = wanted(object)?;
    let loaders = thread::available_parallelism().map_or(1, NonZero::get).min(waiting.len());
    let waiting = Mutex::new(waiting);
    thread::scope(|scope| {
        let threads: Vec<_> = (1..loaders).map(|_| scope.spawn(|| load_all(&waiting))).collect();
        let own = load_all(&waiting);
        let joined =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.fold(own, Result::and)
    })
}

fn wanted(object: &mut Ebpf) -> Result<Vec<Waiting<'_>>, DataplaneError> {
    let mut missing: Vec<_> = ATTACHED.into_iter().chain(CALLED.map(|called| called.program)).collect();
    let mut found = Vec::with_capacity(missing.len());
    for (name, program) in object.programs_mut() {
        if let Some(at) = missing.iter().position(|wanted| *wanted == name) {
            found.push((missing.swap_remove(at), program));
        }
    }
    match missing.first() {
        Some(program) => Err(DataplaneError::MissingProgram { program }),
        None => Ok(found),
    }
}

/// Loads what no other thread does, until nothing is left or one is refused.
fn load_all(waiting: &Mutex<Vec<Waiting<'_>>>) -> Result<(), DataplaneError> {
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
    while let Some((name, program)) = next() {
        let failed = |source| DataplaneError::Program { program: name, source: Box::new(source) };
        uninterrupted(|| match program {
            Program::Xdp(program) => program.load().map_err(failed),
            Program::SchedClassifier(program) => program.load().map_err(failed),
            Program::SkLookup(program) => program.load().map_err(failed),
            _ => Err(DataplaneError::MissingProgram { program: name }),
        })?;
    }
    Ok(())
}

/// How often the verifier is called again after a signal has interrupted it.
const ATTEMPTS: u32 = 20;

/// The verifier gives up with EAGAIN when its thread has a signal pending (kernel/bpf/verifier.c, `do_check`, since 5.4)
/// and wants to be called again.
pub(crate) fn uninterrupted(mut load: impl FnMut() -> Result<(), DataplaneError>) -> Result<(), DataplaneError> {
    for _ in 1..ATTEMPTS {
        match load() {
            Err(error) if was_interrupted(&error) => {}
            result => return result,
        }
    }
    load()
}

fn was_interrupted(error: &DataplaneError) -> bool {
    let DataplaneError::Program { source, .. } = error else { return false };
    matches!(&**source, ProgramError::LoadError { io_error, .. } if io_error.kind() == std::io::ErrorKind::WouldBlock)
}
