//! What a large cluster takes on a node: memory of the agent and of the maps, time of the processor to begin, and the time
//! until one endpoint more or less is in force on top of it. Called by `cargo xtask bench state`; needs root.

#[path = "state/maps.rs"]
mod maps;
#[path = "change/memory.rs"]
mod memory;
#[path = "state/objects.rs"]
mod objects;
#[path = "state/site.rs"]
mod site;

use std::process::ExitCode;

use anyhow::Result;

use site::{Figures, Site};

/// Endpoints of each Service.
const ENDPOINTS: usize = 10;

fn main() -> ExitCode {
    if !weir_lab::is_root() {
        eprintln!("bench state starts an agent, which loads programs into the kernel: run it as root");
        return ExitCode::from(77);
    }
    let sizes = std::env::var("WEIR_BENCH_SERVICES").unwrap_or_else(|_| "10000,100000".to_owned());
    let sizes = sizes.split(',').filter_map(|size| size.trim().parse().ok());
    println!(
        "| Services × endpoints | ready after, s | agent CPU, s | agent memory, MB | maps, MB | one endpoint, ms: median, 90 %, longest |"
    );
    println!("|---|---|---|---|---|---|");
    match sizes.into_iter().try_for_each(rows) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

/// A node with nothing, with maps of the same sizes, and one with so many Services.
fn rows(services: usize) -> Result<()> {
    let idle = Site::start(0, services)?.figures()?;
    row(0, &idle, &[]);
    let mut site = Site::start(services, services)?;
    let full = site.figures()?;
    row(services, &full, &site.changes()?);
    let more = full.agent.saturating_sub(idle.agent) as f64;
    println!(
        "\nFor each of {services} Services with {ENDPOINTS} endpoints the agent takes {:.0} bytes, and {:.2} ms of the processor.\n",
        more / services as f64,
        (full.cpu.saturating_sub(idle.cpu)).as_secs_f64() * 1000.0 / services as f64
    );
    Ok(())
}

fn row(services: usize, figures: &Figures, changes: &[f64]) {
    let last = changes.len().saturating_sub(1);
    let times: Vec<_> =
        [last / 2, last * 9 / 10, last].iter().filter_map(|&at| changes.get(at)).map(|ms| format!("{ms:.1}")).collect();
    println!(
        "| {services} × {ENDPOINTS} | {:.1} | {:.2} | {:.1} | {:.1} | {} |",
        figures.ready.as_secs_f64(),
        figures.cpu.as_secs_f64(),
        figures.agent as f64 / 1e6,
        figures.maps as f64 / 1e6,
        times.join(", ")
    );
}
