//! `cargo xtask setup-helm`: Helm for the test of the chart.
//!
//! Debian has no Helm. The package `helm-python-sdk` of PyPI holds Helm's own library, built.

use std::path::PathBuf;

use anyhow::Result;

use crate::exit::Exit;
use crate::pypi::Package;

const PACKAGE: Package = Package { name: "helm-python-sdk", version: "0.2.2" };

pub(crate) fn run() -> Result<()> {
    let folder = ensure().map_err(|why| Exit::Unavailable(format!("no Helm for the tests: {why}")))?;
    println!("Helm ({} {}): {}", PACKAGE.name, PACKAGE.version, folder.display());
    Ok(())
}

/// The folder of the package, filled if it is not there; or why it is not to be had.
pub(crate) fn ensure() -> Result<PathBuf, String> {
    PACKAGE.ensure()
}
