//! Packages of PyPI that tests use: unpacked into the user's cache, and not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::host;

/// A package, and the version that was tried.
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

impl Package {
    /// The folder of the package, filled if it is not there; or why it is not to be had.
    pub(crate) fn ensure(&self) -> Result<PathBuf, String> {
        let folder =
            host::cache().ok_or("there is no home for a cache")?.join(format!("{}-{}", self.name, self.version));
        if folder.is_dir() {
            return Ok(folder);
        }
        let part = folder.with_extension(std::process::id().to_string());
        let filled = self.fill(&part, &folder);
        let _ = fs::remove_dir_all(&part);
        filled.map_err(|error| format!("{error:#}")).map(|()| folder)
    }

    /// In one step: another checkout may do the same now.
    fn fill(&self, part: &Path, folder: &Path) -> Result<()> {
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "--quiet",
            "install",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--root-user-action=ignore",
        ]);
        pip.arg("--target").arg(part).arg(format!("{}=={}", self.name, self.version));
        host::run(pip.stdout(std::io::stderr()))?;
        match fs::rename(part, folder) {
            Err(_) if folder.is_dir() => Ok(()),
            renamed => Ok(renamed?),
        }
    }
}
