//! How much the verifier has to walk through.

use lb_common::abi::{CALLED, program};

use crate::kernel::{self, Kernel};
use crate::world;

/// A quarter of what the verifier allows (BPF_COMPLEXITY_LIMIT_INSNS, one million), since other versions of it walk further:
/// who comes nearer has to simplify.
const BUDGET: u32 = 250_000;
/// IPv6 under XDP takes about 485,000: behind extension headers its offsets are not known, and keys are larger.
const BUDGET_OF_IPV6: u32 = 550_000;
/// Resets and ICMP errors under XDP, for both families in one program: about 268,000.
const BUDGET_OF_RESETS: u32 = 300_000;

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
            program::XDP_RESET => BUDGET_OF_RESETS,
            _ => BUDGET,
        };
        assert!((1..budget).contains(&count), "{name}: {count} instructions of {budget}");
    }
}
