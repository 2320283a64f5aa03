//! What the agent changed on the machine, kept beside its lock, so that `weir unload` can take it back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::error::DataplaneError;

/// Changes outside the pin path. They do not outlive a reboot, and neither does this file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Record {
    /// Ports that were added to `ip_local_reserved_ports`, in its own notation.
    pub(crate) reserved_ports: String,
    /// Interfaces that programs were attached to.
    pub(crate) interfaces: BTreeSet<String>,
    /// Other devices that got a program, because backends are behind them.
    pub(crate) tunnels: BTreeSet<String>,
    /// Mark and table of the policy rules and the route, if they were added.
    pub(crate) policy: Option<Policy>,
    /// Sysctls of IPv6 that were changed, with their values before. They stay: what else forwards by now needs them.
    pub(crate) sysctls: BTreeMap<String, u64>,
}

/// Which policy rules and route are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Policy {
    pub(crate) fwmark: u32,
    pub(crate) table: u32,
}

impl Record {
    /// The record of a run directory; an empty one if there is none.
    pub(crate) fn read(run_dir: &Path) -> Result<Self, DataplaneError> {
        let path = path(run_dir);
        match fs::read_to_string(&path) {
            Ok(text) => {
                serde_json::from_str(&text).map_err(io::Error::from).map_err(DataplaneError::file("read", path))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(DataplaneError::file("read", path)(error)),
        }
    }

    /// Writes the record; a crash leaves either the old or the new one.
    pub(crate) fn write(&self, run_dir: &Path) -> Result<(), DataplaneError> {
        let path = path(run_dir);
        let new = path.with_extension("new");
        let written = serde_json::to_vec_pretty(self)
            .map_err(io::Error::from)
            .and_then(|text| fs::write(&new, text))
            .and_then(|()| fs::rename(&new, &path));
        written.map_err(DataplaneError::file("write", path))
    }

    /// Adds tunnels before anything is attached to them: an agent that dies in between leaves nothing unknown behind.
    pub(crate) fn add_tunnels(run_dir: &Path, names: impl IntoIterator<Item = String>) -> Result<(), DataplaneError> {
        let mut record = Self::read(run_dir)?;
        let before = record.tunnels.len();
        record.tunnels.extend(names);
        if record.tunnels.len() == before { Ok(()) } else { record.write(run_dir) }
    }

    /// Removes the record.
    pub(crate) fn remove(run_dir: &Path) -> Result<(), DataplaneError> {
        let path = path(run_dir);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DataplaneError::file("remove", path)(error)),
            _ => Ok(()),
        }
    }
}

fn path(run_dir: &Path) -> PathBuf {
    run_dir.join("record.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(dir.path()).unwrap(), Record::default());
        let record = Record {
            reserved_ports: "15000-29999".into(),
            interfaces: BTreeSet::from(["eth0".into()]),
            tunnels: BTreeSet::from(["flannel.1".into()]),
            policy: Some(Policy { fwmark: 1, table: 2 }),
            sysctls: [("net/ipv6/conf/all/forwarding".to_owned(), 0)].into(),
        };
        record.write(dir.path()).unwrap();
        assert_eq!(Record::read(dir.path()).unwrap(), record);
        Record::add_tunnels(dir.path(), ["flannel.1".into(), "vxlan7".into()]).unwrap();
        let names = ["flannel.1".to_owned(), "vxlan7".to_owned()].into();
        assert_eq!(Record::read(dir.path()).unwrap(), Record { tunnels: names, ..record });
        Record::remove(dir.path()).unwrap();
        Record::remove(dir.path()).unwrap();
        assert_eq!(Record::read(dir.path()).unwrap(), Record::default());
    }
}
