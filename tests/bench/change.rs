//! How long a change of a manifest takes to be what requests meet, with the real agent and front, 10,000 Ingresses, and
//! clients that must not see any of it; and what memory so many Ingresses take. Called by `cargo xtask bench change`; needs
//! root.

#[path = "change/client.rs"]
mod client;
#[path = "change/manifests.rs"]
mod manifests;
#[path = "change/memory.rs"]
mod memory;
#[path = "change/site.rs"]
mod site;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use site::{Kind, Site};

/// Ingresses beside those that change.
const INGRESSES: usize = 10_000;
/// Ingresses that share a Service.
const SHARED: usize = 10;
/// Changes of each kind.
const CHANGES: usize = 40;

fn main() -> ExitCode {
    if !weir_lab::is_root() {
        eprintln!("bench change starts an agent, which loads programs into the kernel: run it as root");
        return ExitCode::from(77);
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let ingresses = number("WEIR_BENCH_INGRESSES", INGRESSES);
    let changes = number("WEIR_BENCH_CHANGES", CHANGES);
    let mut site = Site::start()?;
    let idle = site.memory()?;
    let loaded = site.load(ingresses, SHARED)?;
    let full = site.memory()?;
    println!(
        "{ingresses} Ingresses, {} Services; all in force {:.1} s after they were written\n",
        ingresses / SHARED,
        loaded.as_secs_f64()
    );
    println!("| change | requests meanwhile | failed | median ms | 90 % ms | 99 % ms | longest ms |");
    println!("|---|---|---|---|---|---|---|");
    for kind in Kind::ALL {
        let row = site.measure(kind, changes)?;
        let (asked, failed) = (row.asked, row.failed);
        let times = quantiles(row.times).map(|time| format!("{:.1}", time.as_secs_f64() * 1000.0));
        println!("| {} | {asked} | {failed} | {} |", kind.name(), times.join(" | "));
    }
    println!("\n| memory, MB | without Ingresses | with {ingresses} | more |");
    println!("|---|---|---|---|");
    for (name, idle, full) in [("front", idle.front, full.front), ("agent", idle.agent, full.agent)] {
        println!("| {name} | {:.1} | {:.1} | {:.1} |", mb(idle), mb(full), mb(full.saturating_sub(idle)));
    }
    Ok(())
}

fn number(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// The median, what nine of ten and ninety-nine of a hundred do not exceed, and the longest.
fn quantiles(mut times: Vec<Duration>) -> [Duration; 4] {
    times.sort();
    let last = times.len().saturating_sub(1);
    [last / 2, last * 9 / 10, last * 99 / 100, last].map(|index| times.get(index).copied().unwrap_or_default())
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
