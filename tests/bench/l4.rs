//! ns of CPU time per packet of the XDP programs, behind a wrapper that puts the packet back each time, beside one lookup in
//! the kernel's routing table in the same run. Called by `cargo xtask bench l4`; needs root.

#[path = "l4/case.rs"]
mod case;
#[path = "l4/frame.rs"]
mod frame;
#[path = "l4/rig.rs"]
mod rig;
#[path = "l4/tables.rs"]
mod tables;

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
    if cases.is_empty() {
        eprintln!("no case has WEIR_BENCH_CASE in its name");
        return ExitCode::FAILURE;
    }
    let mut rigs: Vec<Rig> = cases.iter().map(Rig::new).collect();
    let mut samples: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    let mut yardsticks = Vec::new();
    for round in 0..rounds {
        eprint!("\rround {} of {rounds}", round + 1);
        let yardstick = rigs[0].cost_of_route(PACKETS);
        yardsticks.push(yardstick);
        for (index, rig) in rigs.iter_mut().enumerate() {
            samples.entry(index).or_default().push(rig.cost(PACKETS) / yardstick);
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
        println!("| {} | {:.0} | {middle:.2} | {low:.2}–{high:.2} |", case.label(), middle * yardstick);
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
