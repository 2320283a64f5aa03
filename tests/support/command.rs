//! Short-lived programs: `ip`, `ethtool`, `iptables`.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// Runs a command line to its end and gives its output; a failure carries what it wrote on stderr.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        bail!("`{program} {}`: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `ip` with a command line of plain words.
pub(crate) fn ip(line: &str) -> Result<String> {
    run(Command::new("ip").args(line.split_whitespace()))
}
