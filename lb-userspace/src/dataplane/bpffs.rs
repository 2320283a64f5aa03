//! The file system of pins.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, statfs};
use rustix::mount::{MountFlags, mount};

use super::error::DataplaneError;

/// Where bpffs stands on every ordinary machine.
const USUAL: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC`, include/uapi/linux/magic.h.
const MAGIC: u64 = 0xcafe_4a11;

/// Makes sure that `pin_path` is a directory on a bpffs, and mounts one if need be: at /sys/fs/bpf for paths below it,
/// else at the path itself. Returns where it mounted.
pub(crate) fn ensure(pin_path: &Path) -> Result<Option<PathBuf>, DataplaneError> {
    let mounted = if is_bpffs(existing(pin_path)) { None } else { mount_for(pin_path)? };
    fs::create_dir_all(pin_path).map_err(DataplaneError::file("create", pin_path))?;
    Ok(mounted)
}

/// Whether a path is on a bpffs.
pub(crate) fn is_bpffs(path: &Path) -> bool {
    // The type of `f_type` differs between architectures; the number is positive and fits.
    statfs(path).is_ok_and(|stat| stat.f_type as u64 & 0xffff_ffff == MAGIC)
}

/// The nearest ancestor that exists.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"))
}

/// Two agents that start at once must not mount one over the other, which would hide the pins of the first: whoever
/// has the lock of the directory below mounts, the other one finds it mounted.
fn mount_for(pin_path: &Path) -> Result<Option<PathBuf>, DataplaneError> {
    let point = if pin_path.starts_with(USUAL) { Path::new(USUAL) } else { pin_path };
    fs::create_dir_all(point).map_err(DataplaneError::file("create", point))?;
    let below = File::open(point).map_err(DataplaneError::file("open", point))?;
    flock(&below, FlockOperation::LockExclusive).map_err(|error| DataplaneError::file("lock", point)(error.into()))?;
    if is_bpffs(point) {
        return Ok(None);
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("bpf", point, "bpf", flags, Some(c"mode=0700"))
        .map_err(|error| DataplaneError::file("mount bpffs at", point)(error.into()))?;
    Ok(Some(point.to_owned()))
}

#[cfg(test)]
mod tests {
    use rustix::mount::{UnmountFlags, unmount};

    use super::*;

    struct Mounted(PathBuf);

    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = unmount(&self.0, UnmountFlags::DETACH);
        }
    }

    #[test]
    fn mounts_once_and_at_the_path_itself_outside_of_the_usual_place() {
        if weir_lab::left_to_root("mounting") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pins");
        let _mounted = Mounted(path.clone());
        let together = || {
            std::thread::scope(|scope| {
                [0; 4].map(|_| scope.spawn(|| ensure(&path).unwrap())).map(|one| one.join().unwrap())
            })
        };
        assert_eq!(together().iter().flatten().collect::<Vec<_>>(), [&path], "one mounts, the others find it");
        assert!(is_bpffs(&path) && !is_bpffs(dir.path()));
        assert_eq!(ensure(&path.join("below")).unwrap(), None);
    }
}
