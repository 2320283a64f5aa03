//! Benchmarks, each in its own program under tests/bench; figures go to stdout as Markdown.

use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use ebpf_build::{Choice, Object, Workspace};

use crate::host;
use crate::setup::{self, Use};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// ns of CPU time per packet of the XDP program, beside one bpf_fib_lookup in the same run (needs root)
    L4,
    /// Time to ready, memory, processor time and bytes read with 10,000 Services, 100,000 endpoints, 5,000 Ingresses and
    /// 1,000 changes a second, with a real API server (needs root, and what setup-kube builds)
    Kube,
    /// What control costs: all of a large cluster from nothing, one endpoint more or less, one ring; in time of the processor
    Control,
    /// Memory, processor time and ms to a change with 10,000 and with 100,000 Services of ten endpoints each (needs root)
    State,
    /// CPU time per request of the front beside nginx and HAProxy, and what an idle connection costs
    L7,
    /// ms from a changed manifest to the first request that meets the change, with 10,000 Ingresses, and memory (needs root)
    Change,
    /// Who is served, and how fast, at twice and ten times as many requests as an endpoint may have at once (needs root)
    Overload,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match args.what {
        What::L4 => l4(),
        What::Kube => kube(),
        What::Control => control(),
        What::State => of_the_product("state"),
        What::L7 => l7(),
        What::Change => change(),
        What::Overload => of_the_product("overload"),
    }
}

fn l4() -> Result<()> {
    let workspace = Workspace::here();
    let choice = Choice::make(&workspace, None)?;
    let lab = ebpf_build::build(&workspace, &choice, Object::Lab, &[])?;
    let mut cargo = host::cargo();
    // What is measured runs in the kernel: an optimised build of the frame around it would only take longer.
    cargo.args(["bench", "--quiet", "--profile", "dev", "--package", "weir-lab", "--bench", "l4"]);
    succeed(cargo.env("WEIR_LAB_OBJECT", lab), "bench l4")
}

fn kube() -> Result<()> {
    crate::kube::run()?;
    of_the_product("kube")
}

fn control() -> Result<()> {
    succeed(
        host::cargo().args(["bench", "--quiet", "--package", "lb-userspace", "--bench", "control"]),
        "bench control",
    )
}

fn change() -> Result<()> {
    of_the_product("change")
}

/// What is measured is the product as it is delivered, and not the frame around it.
fn of_the_product(bench: &str) -> Result<()> {
    let workspace = Workspace::here();
    let choice = Choice::make(&workspace, None)?;
    let lab = ebpf_build::build(&workspace, &choice, Object::Lab, &[])?;
    succeed(host::cargo().args(["build", "--quiet", "--release", "--package", "lb-userspace"]), "the build of weir")?;
    let mut cargo = host::cargo();
    cargo.args(["bench", "--quiet", "--profile", "dev", "--package", "weir-lab", "--bench", bench]);
    succeed(cargo.env("WEIR_LAB_OBJECT", lab), &format!("bench {bench}"))
}

fn l7() -> Result<()> {
    setup::ensure(Use::Benchmarks)?;
    succeed(host::cargo().args(["bench", "--quiet", "--package", "lb-userspace", "--bench", "l7"]), "bench l7")
}

fn succeed(command: &mut Command, what: &str) -> Result<()> {
    let status = command.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("{what} ended with {status}");
    }
    Ok(())
}
