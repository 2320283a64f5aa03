//! Benchmarks, each in its own program under tests/bench; figures go to stdout as Markdown.

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use ebpf_build::{Choice, Object, Workspace};

use crate::host;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// ns of CPU time per packet of the XDP program, beside one bpf_fib_lookup in the same run (needs root)
    L4,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match args.what {
        What::L4 => l4(),
    }
}

fn l4() -> Result<()> {
    let workspace = Workspace::here();
    let choice = Choice::make(&workspace, None)?;
    let lab = ebpf_build::build(&workspace, &choice, Object::Lab, &[])?;
    let mut cargo = host::cargo();
    // What is measured runs in the kernel: an optimised build of the frame around it would only take longer.
    cargo
        .args(["bench", "--quiet", "--profile", "dev", "--package", "weir-lab", "--bench", "l4"])
        .env("WEIR_LAB_OBJECT", lab);
    let status = cargo.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("bench l4 ended with {status}");
    }
    Ok(())
}
