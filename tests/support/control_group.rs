use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{SOON, eventually};

/// A control group of the unified hierarchy that stands for a machine: what is in it counts as a process or pod of a node.
#[derive(Debug)]
pub struct ControlGroup {
    path: PathBuf,
}

impl ControlGroup {
    /// Makes it below the root of the hierarchy. `None` where no unified hierarchy is mounted.
    pub(crate) fn create(name: &str) -> Result<Option<Self>> {
        let Some(root) = root() else { return Ok(None) };
        let path = root.join(name);
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Some(Self { path }))
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves a process into it.
    pub fn take(&self, pid: u32) -> Result<()> {
        let file = self.path.join("cgroup.procs");
        fs::write(&file, pid.to_string()).with_context(|| format!("{pid} into {}", file.display()))
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Where the unified hierarchy is mounted.
pub(crate) fn root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mount = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    mount.into_iter().find(|words| words.get(2) == Some(&"cgroup2")).map(|words| PathBuf::from(words[1]))
}

/// Ends what is left in a control group of ours, and removes it.
pub(crate) fn remove(path: &Path) {
    for pid in fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default().lines() {
        // Gone already is what we want.
        let _ = pid.parse().ok().and_then(Pid::from_raw).map(|pid| kill_process(pid, Signal::KILL));
    }
    // Nothing to be done about a failure; the next run sweeps.
    let _ = eventually("a control group to go", SOON, || fs::remove_dir(path).map_err(anyhow::Error::from));
}
