//! ns of CPU time per packet of the XDP program, behind a wrapper that puts the packet back each time, beside one lookup in
//! the kernel's routing table in the same run. Called by `cargo xtask bench l4`; needs root.

#[path = "l4/case.rs"]
mod case;
#[path = "l4/rig.rs"]
mod rig;

use std::collections::BTreeMap;
use std::process::ExitCode;

use case::Case;
use rig::Rig;

/// Rounds in which every case runs once; the median counts.
const ROUNDS: usize = 9;
/// Packets of one run.
const PACKETS: u32 = 400_000;

fn main() -> ExitCode {
    if !weir_lab::is_root() {
        eprintln!("bench l4 loads programs into the kernel: run it as root");
        return ExitCode::from(77);
    }
    let rounds = std::env::var("WEIR_BENCH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let cases = Case::all();
    let mut rigs: Vec<Rig> = cases.iter().map(Rig::new).collect();
    let mut samples: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    let mut yardsticks = Vec::new();
    for round in 0..rounds {
        eprint!("\rround {} of {rounds}", round + 1);
        let nothing = rigs[0].cost_of_wrapper(PACKETS);
        let yardstick = rigs[0].cost_of_route(PACKETS) - nothing;
        yardsticks.push(yardstick);
        for (index, rig) in rigs.iter_mut().enumerate() {
            let net = rig.cost(PACKETS) - nothing;
            samples.entry(index).or_default().push(net / yardstick);
        }
    }
    eprintln!();
    report(&cases, &samples, &yardsticks);
    ExitCode::SUCCESS
}

/// A table in Markdown: ns from the median ratio times the median yardstick, the ratio, and its spread.
fn report(cases: &[Case], samples: &BTreeMap<usize, Vec<f64>>, yardsticks: &[f64]) {
    let yardstick = median(yardsticks);
    println!("one `bpf_fib_lookup`: {yardstick:.0} ns (the yardstick, 1.0)\n");
    println!("| case | services | flows | ns per packet | to the yardstick | lowest–highest |");
    println!("|---|---|---|---|---|---|");
    for (index, case) in cases.iter().enumerate() {
        let ratios = &samples[&index];
        let middle = median(ratios);
        let (low, high) = ratios.iter().fold((f64::MAX, f64::MIN), |(low, high), &r| (low.min(r), high.max(r)));
        let (name, services, flows) = (case.name, case.services, case.flows);
        println!("| {name} | {services} | {flows} | {:.0} | {middle:.2} | {low:.2}–{high:.2} |", middle * yardstick);
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
