//! How much the verifier has to walk through.

use lb_common::abi::program;

use crate::kernel::{self, Kernel};
use crate::world;

/// A quarter of what the verifier allows (BPF_COMPLEXITY_LIMIT_INSNS, one million), since other versions of it walk further:
/// who comes nearer has to simplify.
const BUDGET: u32 = 250_000;

#[test]
fn every_program_stays_well_below_the_limit() {
    if !kernel::available() {
        return;
    }
    let kernel = Kernel::new(world::host);
    let counts = [program::XDP, program::TC_INGRESS, program::TC_EGRESS].map(|name| (name, kernel.instructions(name)));
    eprintln!("instructions verified: {counts:?}");
    assert!(counts.iter().all(|(_, count)| (1..BUDGET).contains(count)), "{counts:?}");
}
