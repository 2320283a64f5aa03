//! The test programs that cargo builds.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::host;

/// One test program.
pub(crate) struct Executable {
    pub(crate) path: PathBuf,
    /// The folder of its package, in which cargo runs it.
    pub(crate) package: PathBuf,
}

/// Builds test programs without running them: those that cargo's arguments select, or all.
pub(crate) fn build(selection: &[&str]) -> Result<Vec<Executable>> {
    let mut cargo = host::cargo();
    cargo.args(["test", "--no-run", "--message-format=json-render-diagnostics"]).args(selection);
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let stdout = child.stdout.take().context("cargo has no stdout")?;
    let mut executables = Vec::new();
    for line in BufReader::new(stdout).lines() {
        executables.extend(parse(&line?));
    }
    if !child.wait()?.success() {
        bail!("the tests do not build");
    }
    Ok(executables)
}

/// <https://doc.rust-lang.org/cargo/reference/external-tools.html#artifact-messages>
fn parse(line: &str) -> Option<Executable> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let path = PathBuf::from(message["executable"].as_str()?);
    let package = Path::new(message["manifest_path"].as_str()?).parent()?.to_path_buf();
    Some(Executable { path, package })
}
