//! This machine: who we are on it, and commands that run as root.

use std::env;
use std::fs;
use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// How something can be run as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    /// We are root.
    Ourselves,
    /// Through sudo, without a question or with somebody there to answer it.
    Sudo,
    /// Not at all.
    No,
}

/// Finds out how something can be run as root.
pub(crate) fn root() -> Root {
    if weir_lab::is_root() {
        return Root::Ourselves;
    }
    let silent = |args: &[&str]| {
        let mut command = Command::new("sudo");
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if silent(&["-n", "true"]) || (find("sudo").is_some() && stdin().is_terminal()) { Root::Sudo } else { Root::No }
}

/// A command that runs as root; only apt and finished binaries may.
pub(crate) fn as_root(program: impl AsRef<Path>, variables: &[(&str, &str)]) -> Command {
    let program = program.as_ref();
    let mut command = match root() {
        Root::Sudo => {
            let mut sudo = Command::new("sudo");
            sudo.arg("env").args(variables.iter().map(|(name, value)| format!("{name}={value}"))).arg(program);
            sudo
        }
        Root::Ourselves | Root::No => Command::new(program),
    };
    command.envs(variables.iter().copied());
    command
}

/// A program in PATH, or where Debian keeps those of root.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Debian, where the packages that we name are to be had.
pub(crate) fn is_debian() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    release.lines().any(|line| line == "ID=debian") && find("apt-get").is_some()
}

/// Runs a command that has to succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot start {program}"))?;
    if !status.success() {
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        bail!("`{program} {}` failed with {status}", args.join(" "));
    }
    Ok(())
}

/// The user's cache of weir: outside of the checkout, so that a fresh clone finds what another one fetched or built.
pub(crate) fn cache() -> Option<PathBuf> {
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()).or_else(home)?;
    Some(base.join("weir"))
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
