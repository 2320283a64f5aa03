//! How much the verifier has to walk through.

use lb_common::abi::program;

use crate::kernel::{self, Kernel};
use crate::world;

/// A third of what the verifier allows (BPF_COMPLEXITY_LIMIT_INSNS, one million), since other versions of it walk further:
/// who comes nearer has to simplify.
const BUDGET: u32 = 333_000;

#[test]
fn every_program_stays_well_below_the_limit() {
    if !kernel::available() {
        return;
    }
    let kernel = Kernel::new(world::host);
    let ipv4 = [program::XDP, program::TC_INGRESS, program::TC_EGRESS, program::TUNNEL];
    let ipv6 = [program::XDP6, program::TC_INGRESS6, program::TC_EGRESS6, program::TUNNEL6];
    let inside = [program::INSIDE4, program::INSIDE6];
    let counts = [&ipv4[..], &ipv6, &inside].concat();
    let counts: Vec<_> = counts.into_iter().map(|name| (name, kernel.instructions(name))).collect();
    eprintln!("instructions verified: {counts:?}");
    assert!(counts.iter().all(|(_, count)| (1..BUDGET).contains(count)), "{counts:?}");
}
