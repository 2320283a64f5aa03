//! `cargo xtask setup-kube`: a real Kubernetes control plane for the tests.
//!
//! No registry that we use has a kube-apiserver to run, but Debian 12 has its source: the package `kubernetes` holds the
//! whole tree of v1.20.2. It is built with Debian's Go, at low priority, which takes about six minutes on two cores, once:
//! the programs are kept in the user's cache. etcd, kubectl, and the authority and the client
//! of ACME are Debian's own; they are unpacked and not installed, so that no service starts.

mod build;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::exit::Exit;
use crate::host::{self, Root};

/// The version that Debian 12 has.
const VERSION: &str = "1.20.2";
/// What has to be there.
const PROGRAMS: [&str; 7] =
    ["dehydrated", "etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kubectl", "pebble"];

pub(crate) fn run() -> Result<()> {
    let programs = ensure().map_err(|why| Exit::Unavailable(format!("no Kubernetes for the tests: {why}")))?;
    println!("Kubernetes {VERSION}: {}", programs.display());
    Ok(())
}

/// The folder of the programs, built if they are not there; or why they are not to be had.
pub(crate) fn ensure() -> Result<PathBuf, String> {
    let folder = folder().ok_or("there is no home for a cache")?;
    if is_complete(&folder) {
        return Ok(folder);
    }
    possible()?;
    build::all(&folder).map_err(|error| format!("{error:#}"))?;
    if is_complete(&folder) { Ok(folder) } else { Err(format!("the build left no {}", PROGRAMS.join(", "))) }
}

fn folder() -> Option<PathBuf> {
    Some(host::cache()?.join(format!("kubernetes-{VERSION}")))
}

fn is_complete(folder: &Path) -> bool {
    PROGRAMS.iter().all(|program| folder.join(program).is_file())
}

/// Whether they can be built here.
fn possible() -> Result<(), String> {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !host::is_debian() || !release.lines().any(|line| line == "VERSION_ID=\"12\"") {
        return Err(format!(
            "its source comes from Debian 12, and this is something else; put {} there",
            PROGRAMS.join(", ")
        ));
    }
    match host::root() {
        Root::No => Err("Debian's Go has to be installed, and there is neither root nor sudo".to_owned()),
        Root::Ourselves | Root::Sudo => Ok(()),
    }
}
