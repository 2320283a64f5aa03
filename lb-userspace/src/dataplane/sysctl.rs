//! The few sysctls that the data plane needs; all others are left alone.

use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::{StatVfsMountFlags, statvfs};

use super::ports::{PortSet, PortSetError};

const RESERVED_PORTS: &str = "net/ipv4/ip_local_reserved_ports";

/// A sysctl that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// The file.
    #[error("cannot {operation} sysctl {name}")]
    File {
        /// "read" or "write".
        operation: &'static str,
        /// Its path below /proc/sys.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Its contents.
    #[error("sysctl {name}: {message}")]
    Contents {
        /// Its path below /proc/sys.
        name: &'static str,
        /// Found and expected.
        message: String,
    },
}

/// Where those of the host are mounted in a container, whose own are read-only unless it is privileged.
const OF_HOST: &str = "/run/host/proc/sys";

/// The sysctls of the network namespace that the calling thread is in.
#[derive(Clone, Debug)]
pub(crate) struct Sysctls {
    root: PathBuf,
    /// Where they are written. Which network namespace is meant depends on who writes, and not on the mount.
    written_at: PathBuf,
}

impl Default for Sysctls {
    fn default() -> Self {
        let root = Path::new("/proc/sys");
        let written_at = writable(&[root, Path::new(OF_HOST)]).unwrap_or(root);
        Self { root: root.to_owned(), written_at: written_at.to_owned() }
    }
}

/// The first of these places below which the network's can be written.
fn writable<'a>(places: &[&'a Path]) -> Option<&'a Path> {
    let is_writable =
        |place: &Path| statvfs(place.join("net")).is_ok_and(|found| !found.f_flag.contains(StatVfsMountFlags::RDONLY));
    places.iter().copied().find(|place| is_writable(place))
}

impl Sysctls {
    /// Sets what forwarding needs (datapath: forwarding on, no redirects that would send clients around us, and
    /// half-open connections of a closed listener moved to its siblings, 5.14). Returns what changed, for the log.
    pub(crate) fn prepare(&self, uplinks: &[String]) -> Result<Vec<String>, SysctlError> {
        let mut changed = Vec::new();
        changed.extend(self.set("net/ipv4/ip_forward", "1")?);
        changed.extend(self.set("net/ipv4/conf/all/send_redirects", "0")?);
        for uplink in uplinks {
            changed.extend(self.set(&format!("net/ipv4/conf/{uplink}/send_redirects"), "0")?);
        }
        if self.path("net/ipv4/tcp_migrate_req").exists() {
            changed.extend(self.set("net/ipv4/tcp_migrate_req", "1")?);
        }
        Ok(changed)
    }

    /// Adds ports to `ip_local_reserved_ports`; returns those that were not there.
    pub(crate) fn reserve_ports(&self, ports: (u16, u16)) -> Result<PortSet, SysctlError> {
        let before = self.reserved_ports()?;
        let added = PortSet::range(ports).without(&before);
        if !added.is_empty() {
            self.write(RESERVED_PORTS, &before.union(&added).to_string())?;
        }
        Ok(added)
    }

    /// Takes ports out of `ip_local_reserved_ports`.
    pub(crate) fn release_ports(&self, ports: &PortSet) -> Result<(), SysctlError> {
        let before = self.reserved_ports()?;
        self.write(RESERVED_PORTS, &before.without(ports).to_string())
    }

    /// With several uplinks a reply may leave by another interface than the request came in, which strict reverse path
    /// filtering drops. The larger of `all` and the interface's own value counts (ip-sysctl.rst). Only a warning: the
    /// sysctl is the administrator's.
    pub(crate) fn strict_reverse_path(&self, uplinks: &[String]) -> Vec<String> {
        if uplinks.len() < 2 {
            return Vec::new();
        }
        let value = |name: &str| self.number(&format!("net/ipv4/conf/{name}/rp_filter")).unwrap_or(0);
        let all = value("all");
        uplinks.iter().filter(|uplink| value(uplink).max(all) == 1).cloned().collect()
    }

    /// A number below /proc/sys; `None` if it is not there.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.read(name).ok()?.trim().parse().ok()
    }

    fn reserved_ports(&self) -> Result<PortSet, SysctlError> {
        self.read(RESERVED_PORTS)?
            .parse()
            .map_err(|error: PortSetError| SysctlError::Contents { name: RESERVED_PORTS, message: error.to_string() })
    }

    /// Writes a sysctl that has another value; tells what changed.
    pub(crate) fn set(&self, name: &str, value: &str) -> Result<Option<String>, SysctlError> {
        let before = self.read(name)?;
        if before.trim() == value {
            return Ok(None);
        }
        self.write(name, value)?;
        Ok(Some(format!("{} = {value} (was {})", name.replace('/', "."), before.trim())))
    }

    fn read(&self, name: &str) -> Result<String, SysctlError> {
        let failed = |source| SysctlError::File { operation: "read", name: name.to_owned(), source };
        fs::read_to_string(self.path(name)).map_err(failed)
    }

    /// An empty value needs its line end: writing nothing is no write.
    fn write(&self, name: &str, value: &str) -> Result<(), SysctlError> {
        let failed = |source| SysctlError::File { operation: "write", name: name.to_owned(), source };
        fs::write(self.written_at.join(name), format!("{value}\n")).map_err(failed)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(Path::new(name))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Files in a directory of their own.
    pub(crate) fn sysctls(values: &[(&str, &str)]) -> (tempfile::TempDir, Sysctls) {
        let dir = tempfile::tempdir().unwrap();
        for (name, value) in values {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        }
        let root = dir.path().to_owned();
        (dir, Sysctls { root: root.clone(), written_at: root })
    }

    #[test]
    fn the_first_place_that_can_be_written_to_counts() {
        let (dir, _) = sysctls(&[("net/a", "1")]);
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(writable(&[empty.path(), dir.path()]), Some(dir.path()));
        assert_eq!(writable(&[empty.path()]), None);
    }

    #[test]
    fn reserved_ports_are_appended_to_and_taken_out_again() {
        let (_dir, sysctls) = sysctls(&[(RESERVED_PORTS, "8080,15010-15020\n")]);
        let added = sysctls.reserve_ports((15_000, 15_030)).unwrap();
        assert_eq!(sysctls.read(RESERVED_PORTS).unwrap(), "8080,15000-15030\n");
        assert!(sysctls.reserve_ports((15_000, 15_030)).unwrap().is_empty(), "nothing to add the second time");
        sysctls.release_ports(&added).unwrap();
        assert_eq!(sysctls.read(RESERVED_PORTS).unwrap(), "8080,15010-15020\n");
    }

    #[test]
    fn only_what_differs_is_written_and_told() {
        let (_dir, sysctls) = sysctls(&[
            ("net/ipv4/ip_forward", "0\n"),
            ("net/ipv4/conf/all/send_redirects", "0\n"),
            ("net/ipv4/conf/eth0/send_redirects", "1\n"),
        ]);
        let changed = sysctls.prepare(&["eth0".into()]).unwrap();
        assert_eq!(changed, ["net.ipv4.ip_forward = 1 (was 0)", "net.ipv4.conf.eth0.send_redirects = 0 (was 1)"]);
        assert!(sysctls.prepare(&["eth0".into()]).unwrap().is_empty());
    }

    #[test]
    fn the_larger_rp_filter_counts_and_only_with_several_uplinks() {
        let values = [("all", "0"), ("a", "1"), ("b", "2"), ("c", "0")];
        let values = values.map(|(name, value)| (format!("net/ipv4/conf/{name}/rp_filter"), value));
        let values: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let (_dir, sysctls) = sysctls(&values);
        assert_eq!(sysctls.strict_reverse_path(&["a".into(), "b".into(), "c".into()]), ["a"]);
        assert!(sysctls.strict_reverse_path(&["a".into()]).is_empty());
        sysctls.write("net/ipv4/conf/all/rp_filter", "1").unwrap();
        assert_eq!(sysctls.strict_reverse_path(&["a".into(), "b".into(), "c".into()]), ["a", "c"]);
    }
}
