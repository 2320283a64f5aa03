//! How much the verifier has to walk through.

use aya::programs::{Program, ProgramError};
use aya::{EbpfLoader, VerifierLogLevel};
use lb_common::abi::{CALLED, program};
use lb_userspace::dataplane::object;

use crate::kernel::{self, Kernel};
use crate::loaded::try_load;
use crate::world;

/// A quarter of what the verifier allows (BPF_COMPLEXITY_LIMIT_INSNS, one million), since other versions of it walk further:
/// who comes nearer has to simplify.
const BUDGET: u32 = 250_000;
/// IPv6 under XDP takes about 200,000: behind extension headers its offsets are not known, and keys are larger.
const BUDGET_OF_IPV6: u32 = 300_000;

#[test]
fn every_program_stays_well_below_the_limit() {
    if !kernel::available() {
        return;
    }
    let kernel = Kernel::new(world::host);
    let attached = [program::TC_EGRESS, program::TUNNEL];
    let all = attached.into_iter().chain(CALLED.map(|called| called.program));
    let counts: Vec<_> = all.map(|name| (name, kernel.instructions(name))).collect();
    eprintln!("instructions verified: {counts:?}");
    for (name, count) in counts {
        let budget = match name {
            program::XDP6 => BUDGET_OF_IPV6,
            _ => BUDGET,
        };
        assert!((1..budget).contains(&count), "{name}: {count} instructions of {budget}");
    }
}

/// Each program by itself, also those that no fixture runs, with a line for `cargo xtask kernels`: what kernels other than
/// this one refuse, they tell.
#[test]
fn each_program_is_accepted() {
    if weir_lab::left_to_root("the verifier") {
        return;
    }
    let mut loader = EbpfLoader::new();
    object::tell(&mut loader);
    // the whole log of a large program takes minutes; its end says why
    let mut ebpf =
        loader.verifier_log_level(VerifierLogLevel::STATS).load(&object::for_this_kernel()).expect("an object");
    let mut refused = Vec::new();
    for (name, program) in ebpf.programs_mut() {
        let result = try_load(|| match program {
            Program::Xdp(program) => program.load(),
            Program::SchedClassifier(program) => program.load(),
            Program::SkLookup(program) => program.load(),
            Program::CgroupSockAddr(program) => program.load(),
            _ => Err(ProgramError::UnexpectedProgramType),
        });
        let instructions = program.info().ok().and_then(|info| info.verified_instruction_count());
        match result {
            Ok(()) => println!("\nprogram {name} {}", instructions.map_or("-".to_owned(), |count| count.to_string())),
            Err(error) => {
                println!("\nprogram {name} refused: {}", error.to_string().replace('\n', " "));
                refused.push(name.to_owned());
            }
        }
    }
    assert!(refused.is_empty(), "refused: {refused:?}");
}
