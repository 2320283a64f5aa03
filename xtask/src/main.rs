//! Set-up, builds, demo, tests and benchmarks of weir: one file per task.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod apt;
mod bench;
mod build_ebpf;
mod ci;
mod demo;
mod exit;
mod fuzz;
mod helm;
mod host;
mod kernels;
mod kube;
mod lint;
mod peers;
mod pypi;
mod setup;
mod soak;
mod test;
mod tidy;

/// Tasks of the weir workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make sure of the tools: Debian packages where apt is, and bpf-linker under target/
    Setup(setup::Args),
    /// Build a Kubernetes control plane for the tests, unless the user's cache has it
    SetupKube,
    /// Put Helm into the user's cache, for the test of the chart
    SetupHelm,
    /// Put nginx and a client of HTTP/3 into the user's cache, for the tests of the front
    SetupPeers,
    /// Build the kernel object
    BuildEbpf(build_ebpf::Args),
    /// Show a small cluster of network namespaces at work
    Demo(demo::Args),
    /// Host tests, then scenario tests in network namespaces
    Test(test::Args),
    /// Throw inputs at the parsers and the packet pipeline, guided by what they cover
    Fuzz(fuzz::Args),
    /// Boot other kernels under qemu, try the programs there, and write docs/kernels.md
    Kernels(kernels::Args),
    /// Measure
    Bench(bench::Args),
    /// Hand-overs under load, and an hour of traffic while everything changes and clients misbehave (needs root)
    Soak(soak::Args),
    /// Everything that CI runs, in its order
    Ci,
    /// rustfmt and clippy for the host, clippy for the kernel programs, and tidy
    Lint,
    /// The project's own rules
    Tidy,
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Setup(args) => setup::run(&args),
        Task::SetupKube => kube::run(),
        Task::SetupHelm => helm::run(),
        Task::SetupPeers => peers::run(),
        Task::BuildEbpf(args) => build_ebpf::run(&args),
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Kernels(args) => kernels::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Soak(args) => soak::run(&args),
        Task::Ci => ci::run(),
        Task::Lint => lint::run(),
        Task::Tidy => tidy::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}
