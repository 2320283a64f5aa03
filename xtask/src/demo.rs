//! `cargo xtask demo`: a small cluster of network namespaces with one agent per node, and traffic of every kind.

mod interrupt;
mod live;
mod outcome;
mod round;
mod stage;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use weir_lab::Binaries;

use crate::exit::Exit;
use crate::host::{self, Root};
use crate::{build_ebpf, setup, test};
use interrupt::Interrupt;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// End after one round, with 0 if everything was answered as it should be, else 1
    #[arg(long)]
    once: bool,
    /// A finished weir, instead of building one
    #[arg(long, hide = true, requires = "lab_object")]
    weir: Option<PathBuf>,
    /// The finished kernel programs of the lab
    #[arg(long, hide = true, requires = "weir")]
    lab_object: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = host::root();
    if root == Root::No {
        let why = "the demo makes network namespaces and needs root; type: sudo ./run demo";
        return Err(Exit::NoPermission(why.to_owned()).into());
    }
    let binaries = match (&args.weir, &args.lab_object) {
        (Some(weir), Some(lab)) => Binaries { weir: weir.clone(), lab_object: lab.clone() },
        _ => {
            setup::ensure(setup::Use::Demo)?;
            Binaries { weir: test::build_weir()?, lab_object: build_ebpf::lab_object()? }
        }
    };
    if root == Root::Sudo { again_as_root(args, &binaries) } else { show(args, &binaries) }
}

/// Only finished binaries run as root, and this one is finished.
fn again_as_root(args: &Args, binaries: &Binaries) -> Result<()> {
    let mut command: Command = host::as_root(std::env::current_exe().context("our own path")?, &[]);
    command.arg("demo").args(args.once.then_some("--once"));
    command.arg("--weir").arg(&binaries.weir).arg("--lab-object").arg(&binaries.lab_object);
    match command.status().context("cannot start sudo")?.code() {
        Some(0) => Ok(()),
        Some(77) => Err(Exit::NoPermission("sudo did not let the demo run".to_owned()).into()),
        _ => bail!("the demo failed"),
    }
}

fn show(args: &Args, binaries: &Binaries) -> Result<()> {
    let interrupt = Interrupt::watch()?;
    let mut cluster = stage::build(binaries)?;
    stage::start_agents(&mut cluster).map_err(|error| error.context(cluster.logs()))?;
    stage::print_tables(&cluster)?;
    interrupt.check()?;
    let outcome = round::run(&cluster, &interrupt)?;
    println!("{outcome}");
    if !outcome.is_good() {
        eprintln!("{}", cluster.logs());
        return Err(Exit::Failed("not everything was answered as it should be".to_owned()).into());
    }
    if !args.once {
        live::run(&cluster, &interrupt)?;
    }
    Ok(())
}
