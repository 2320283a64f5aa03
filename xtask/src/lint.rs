//! `cargo xtask lint`: style and clippy for the host's crates and for the kernel programs, and what is known of the
//! dependencies.

use std::process::Stdio;

use anyhow::Result;
use ebpf_build::{Choice, Workspace};

use crate::{host, tidy};

pub(crate) fn run() -> Result<()> {
    host::run(host::cargo().args(["fmt", "--all", "--check"]))?;
    host::run(host::cargo().args(["clippy", "--all-targets", "--", "-D", "warnings"]))?;
    let features = ["--package", "lb-userspace", "--features", "http3,otlp"];
    host::run(host::cargo().arg("clippy").args(features).args(["--all-targets", "--", "-D", "warnings"]))?;
    let workspace = Workspace::here();
    // The compiler has the lints for the kernel programs; a build of every object shows them.
    ebpf_build::build(&workspace, &Choice::make(&workspace, None)?, ebpf_build::Object::Weir, &[])?;
    tidy::run()?;
    deny()
}

/// Holds the dependencies against `deny.toml`. cargo-deny is no part of the set-up: it takes longer to build than weir.
fn deny() -> Result<()> {
    let installed = host::cargo().args(["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if installed.is_ok_and(|status| status.success()) {
        return host::run(host::cargo().args(["deny", "check"]));
    }
    println!("skipped: `cargo deny check`, which needs cargo-deny (`cargo install --locked cargo-deny`)");
    Ok(())
}
