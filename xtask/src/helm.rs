//! `cargo xtask setup-helm`: Helm for the test of the chart.
//!
//! Debian has no Helm. The package `helm-python-sdk` of PyPI holds Helm's own library, built; it is unpacked into the
//! user's cache and not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::exit::Exit;
use crate::host;

/// The package, and the version that was tried.
const PACKAGE: &str = "helm-python-sdk";
const VERSION: &str = "0.2.2";

pub(crate) fn run() -> Result<()> {
    let folder = ensure().map_err(|why| Exit::Unavailable(format!("no Helm for the tests: {why}")))?;
    println!("Helm ({PACKAGE} {VERSION}): {}", folder.display());
    Ok(())
}

/// The folder of the package, filled if it is not there; or why it is not to be had.
pub(crate) fn ensure() -> Result<PathBuf, String> {
    let folder = host::cache().ok_or("there is no home for a cache")?.join(format!("{PACKAGE}-{VERSION}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    let part = folder.with_extension(std::process::id().to_string());
    let filled = fill(&part, &folder);
    let _ = fs::remove_dir_all(&part);
    filled.map_err(|error| format!("{error:#}")).map(|()| folder)
}

/// In one step: another checkout may do the same now.
fn fill(part: &Path, folder: &Path) -> Result<()> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "--quiet", "install", "--no-deps", "--only-binary", ":all:", "--root-user-action=ignore"]);
    pip.arg("--target").arg(part).arg(format!("{PACKAGE}=={VERSION}"));
    host::run(pip.stdout(std::io::stderr()))?;
    match fs::rename(part, folder) {
        Err(_) if folder.is_dir() => Ok(()),
        renamed => Ok(renamed?),
    }
}
