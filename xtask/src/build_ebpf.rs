//! `cargo xtask build-ebpf`: the kernel object, built as the build script of lb-userspace builds it.

use std::path::PathBuf;

use anyhow::Result;
use ebpf_build::{Choice, Object, Workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Compiler for the kernel object: a rustup toolchain or the path of a rustc [env: WEIR_BPF_TOOLCHAIN]
    #[arg(long, value_name = "NAME|PATH")]
    toolchain: Option<String>,
    /// Build the programs for tests and benchmarks as well
    #[arg(long)]
    lab: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::here();
    let choice = Choice::make(&workspace, args.toolchain.as_deref())?;
    eprintln!("building with {choice}");
    println!("{}", ebpf_build::build(&workspace, &choice, Object::Weir, &[])?.display());
    if args.lab {
        println!("{}", ebpf_build::build(&workspace, &choice, Object::Lab, &[])?.display());
    }
    Ok(())
}

/// The programs for tests and benchmarks.
pub(crate) fn lab_object() -> Result<PathBuf> {
    let workspace = Workspace::here();
    let choice = Choice::make(&workspace, None)?;
    Ok(ebpf_build::build(&workspace, &choice, Object::Lab, &[])?)
}
