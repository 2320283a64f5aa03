//! `cargo xtask setup`: every tool that builds, tests and the demo need, checked by what it can do.
//!
//! On Debian what is missing is installed by apt. Elsewhere, or without root, one table says what is needed, and nothing
//! is half-installed.

mod needs;

use std::fmt::Write as _;

use anyhow::{Context, Result};
use ebpf_build::{Choice, Linker, Plan, Workspace};

use crate::exit::Exit;
use crate::host::{self, Root};
use needs::Need;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Compiler for the kernel object: a rustup toolchain or the path of a rustc [env: WEIR_BPF_TOOLCHAIN]
    #[arg(long, value_name = "NAME|PATH")]
    toolchain: Option<String>,
    /// Only what building needs, not the tools of the demo and the tests
    #[arg(long)]
    build_only: bool,
}

/// What tools are wanted for; what comes later wants those of what comes before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Use {
    /// Building, and tests without root.
    Build,
    /// The demo.
    Demo,
    /// All tests.
    Tests,
    /// Benchmarks beside others.
    Benchmarks,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    install(args, if args.build_only { Use::Build } else { Use::Tests })
}

fn install(args: &Args, wanted: Use) -> Result<()> {
    // In rounds: which LLVM is needed is known only when the compiler is there.
    let mut asked = Vec::new();
    loop {
        let needs = needs::all(&Plan::make(args.toolchain.as_deref()), wanted);
        let packages: Vec<String> = needs.iter().filter(|n| n.found.is_none()).flat_map(|n| n.debian.clone()).collect();
        if packages.is_empty() {
            break;
        }
        if !host::is_debian() || packages == asked {
            return Err(Exit::Unavailable(table(&needs)).into());
        }
        apt(&packages, &needs)?;
        asked = packages;
    }
    linker(args)
}

/// What tests and demo call first.
pub(crate) fn ensure(wanted: Use) -> Result<()> {
    install(&Args { toolchain: None, build_only: false }, wanted)
}

fn apt(packages: &[String], needs: &[Need]) -> Result<()> {
    let line = format!("apt-get install --no-remove {}", packages.join(" "));
    if host::root() == Root::No {
        return Err(Exit::NoPermission(format!("{}\nas root: {line}", table(needs))).into());
    }
    eprintln!("installing: {}", packages.join(" "));
    let apt_get = |args: &[&str]| {
        let mut command = host::as_root("apt-get", &[("DEBIAN_FRONTEND", "noninteractive")]);
        command.args(args).stdout(std::io::stderr());
        command
    };
    // A mirror that cannot be reached is told by the installation, with the name of the package.
    let _ = host::run(&mut apt_get(&["update", "-q"]));
    // --no-remove: a package that conflicts (rustc-web conflicts with rustc and rustup) is the user's to remove.
    let mut install = host::as_root("sh", &[("DEBIAN_FRONTEND", "noninteractive")]);
    install.args(["-c", WITHOUT_SERVICES, "sh", "-qy", "--no-install-recommends", "--no-remove"]);
    host::run(install.args(packages).stdout(std::io::stderr()))
        .map_err(|error| Exit::Unavailable(format!("{error:#}\n{}", table(needs))).into())
}

/// Installs programs that Debian would start as services of the machine, and at each boot: routers, and proxies. What was there
/// before stays as it was.
const WITHOUT_SERVICES: &str = r#"
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' > $policy && chmod 755 $policy
fi
before=$(ls /etc/systemd/system/multi-user.target.wants 2> /dev/null)
apt-get install "$@" || exit
for service in bird frr nginx haproxy; do
    case "$before" in *$service.service*) continue ;; esac
    rm -f /etc/systemd/system/multi-user.target.wants/$service.service
done
"#;

fn linker(args: &Args) -> Result<()> {
    let workspace = Workspace::here();
    if Choice::make(&workspace, args.toolchain.as_deref()).is_err() {
        let llvm = Plan::make(args.toolchain.as_deref()).llvm.context("no LLVM to link bpf-linker with")?;
        eprintln!("building bpf-linker {} with LLVM {}", ebpf_build::LINKER_VERSION, llvm.major);
        Linker::install(&workspace, &llvm)?;
    }
    let choice = Choice::make(&workspace, args.toolchain.as_deref())?;
    eprintln!("kernel object: {choice}");
    Ok(())
}

fn table(needs: &[Need]) -> String {
    let mut rows = vec![["NEED", "FOUND", "WANTED", "DEBIAN NAME"].map(str::to_owned)];
    rows.extend(needs.iter().map(|need| {
        let found = need.found.clone().unwrap_or_else(|| "-".to_owned());
        [need.need.to_owned(), found, need.wanted.clone(), need.debian.join(" ")]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let [need_width, found_width, wanted_width] = [0, 1, 2].map(width);
    let mut text = String::from("tools are missing:");
    for [need, found, wanted, debian] in &rows {
        let _ = write!(text, "\n  {need:<need_width$}  {found:<found_width$}  {wanted:<wanted_width$}  {debian}");
    }
    text
}
