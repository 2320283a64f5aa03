//! `cargo xtask fuzz`: the targets of `fuzz/` under libFuzzer, guided by what they cover.
//!
//! Any rustc can instrument: the pass is LLVM's own, no sanitizer runtime is linked. Only our crates are instrumented, by a
//! wrapper around rustc, so everything else is what other builds have made already.

mod engine;
mod report;
mod wrapper;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ebpf_build::Workspace;

use crate::exit::Exit;
use crate::host::{self, Root};
use crate::setup::{self, Use};
pub(crate) use engine::Engine;

/// How long a target runs if nobody says.
const SECONDS: u64 = 60;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this target; without it all of them, one after the other
    target: Option<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = SECONDS)]
    seconds: u64,
    /// Make the same new inputs as another run with this seed; without it every run makes its own
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// Run this one input instead, for example one that failed
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,
    /// Afterwards save, in fuzz/corpus, the fewest inputs that reach all that was reached
    #[arg(long)]
    save: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(if host::root() == Root::No { Use::Build } else { Use::Demo })?;
    let engine = Engine::build()?;
    let targets = engine.chosen(args.target.as_deref())?;
    if let (Some(input), Some(target)) = (&args.input, targets.first()) {
        return engine.replay(target, input);
    }
    let mut failed = Vec::new();
    for target in &targets {
        if !engine.fuzz(target, Duration::from_secs(args.seconds), args.seed)? {
            failed.push(target.name.clone());
        }
        if args.save {
            engine.save(target)?;
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Exit::Failed(format!("failed: {}", failed.join(", "))).into()) }
}

/// Builds the instrumented program.
fn build() -> Result<PathBuf> {
    let workspace = Workspace::here();
    let wrapper = wrapper::write(&workspace.target().join("fuzz"))?;
    let mut cargo = host::cargo();
    cargo
        .args(["build", "--package", "weir-fuzz", "--features", "engine", "--bin", "weir-fuzz"])
        .env("RUSTC_WORKSPACE_WRAPPER", wrapper);
    host::run(&mut cargo)?;
    // Taken out of cargo's way: a build without the wrapper would put another program there.
    let program = workspace.target().join("fuzz/weir-fuzz");
    std::fs::copy(workspace.target().join("debug/weir-fuzz"), &program).context("cargo built no weir-fuzz")?;
    Ok(program)
}

/// What a program prints, if it ends well.
fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
