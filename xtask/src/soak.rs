//! `cargo xtask soak`: two scenarios that `./run test` runs for half a minute, with the product as it is delivered, for long.

use std::path::Path;

use anyhow::{Context, Result};
use ebpf_build::Workspace;

use crate::build_ebpf;
use crate::exit::Exit;
use crate::host::{self, Root};
use crate::setup::{self, Use};
use crate::test::executables;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// So long traffic goes on while everything changes and clients misbehave; 0 leaves that out
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Until so many requests and connections were answered, one agent after the other takes over; 0 leaves that out
    #[arg(long, default_value_t = 100_000)]
    answers: u64,
}

const HAND_OVER: &str = "hand_over::crowded::nobody_in_a_crowd_notices_hand_overs";
const SOAK: &str = "soak::nothing_grows_while_everything_changes_and_clients_misbehave";

pub(crate) fn run(args: &Args) -> Result<()> {
    if host::root() == Root::No {
        let reason =
            "it makes network namespaces and loads programs into the kernel, and there is neither root nor sudo";
        return Err(Exit::NoPermission(format!("nothing was run: {reason}")).into());
    }
    setup::ensure(Use::Tests)?;
    host::run(host::cargo().args(["build", "--release", "--package", "lb-userspace", "--bin", "weir"]))?;
    let weir = Workspace::here().target().join("release/weir");
    let lab = build_ebpf::lab_object()?;
    let built = executables::build(&["--package", "weir-lab", "--test", "scenarios"])?;
    let scenarios = built.first().context("cargo built no scenarios")?;
    let runs = [(HAND_OVER, "WEIR_HAND_OVER_ANSWERS", args.answers), (SOAK, "WEIR_SOAK_SECONDS", args.minutes * 60)];
    for (test, variable, length) in runs.into_iter().filter(|(_, _, length)| *length > 0) {
        let (length, weir, lab) = (length.to_string(), text(&weir), text(&lab));
        let variables = [(variable, length.as_str()), ("WEIR_BINARY", &weir), ("WEIR_LAB_OBJECT", &lab)];
        let mut command = host::as_root(&scenarios.path, &variables);
        host::run(command.args(["--ignored", "--exact", "--nocapture", test]).current_dir(&scenarios.package))?;
    }
    Ok(())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
