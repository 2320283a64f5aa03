//! The control group at which socket-level balancing attaches: the root of the unified hierarchy, which holds every process
//! of the machine.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use procfs::process::Process;
use rustix::fs::fstatfs;

use super::config::CgroupChoice;

/// What `statfs` says of the unified hierarchy: CGROUP2_SUPER_MAGIC, include/uapi/linux/magic.h.
const CGROUP2: i64 = 0x6367_7270;
/// Inode of the root of the hierarchy; that of a container's own part of it is another one.
const ROOT_INODE: u64 = 1;

/// A directory of the unified hierarchy.
#[derive(Debug)]
pub(crate) struct Cgroup {
    pub(crate) path: PathBuf,
    pub(crate) directory: File,
    pub(crate) inode: u64,
}

/// A directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CgroupError {
    /// It is not there, or cannot be opened.
    #[error("{}: {source}", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Something else.
    #[error("{} is no directory of a cgroup v2 hierarchy", path.display())]
    Other { path: PathBuf },
    /// None is mounted.
    #[error("no cgroup v2 hierarchy is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup")]
    NotMounted,
}

impl Cgroup {
    /// The directory that was asked for; `None` if none was.
    pub(crate) fn choose(choice: &CgroupChoice) -> Result<Option<Self>, CgroupError> {
        match choice {
            CgroupChoice::Off => Ok(None),
            CgroupChoice::Directory(path) => Self::open(path).map(Some),
            CgroupChoice::Root => Self::find().map(Some),
        }
    }

    /// It holds every process of the machine.
    pub(crate) fn is_root(&self) -> bool {
        self.inode == ROOT_INODE
    }

    fn open(path: &Path) -> Result<Self, CgroupError> {
        let failed = |source| CgroupError::Open { path: path.to_owned(), source };
        let directory = File::open(path).map_err(failed)?;
        if fstatfs(&directory).map_err(|error| failed(error.into()))?.f_type != CGROUP2 {
            return Err(CgroupError::Other { path: path.to_owned() });
        }
        let inode = directory.metadata().map_err(failed)?.ino();
        Ok(Self { path: path.to_owned(), directory, inode })
    }

    /// The root, as we or the machine's first process see it; else the part that we see.
    fn find() -> Result<Self, CgroupError> {
        let mut seen = None;
        for path in mounts(Process::myself(), Path::new("/")).chain(mounts(Process::new(1), Path::new("/proc/1/root")))
        {
            match Self::open(&path) {
                Ok(cgroup) if cgroup.is_root() => return Ok(cgroup),
                found => drop(seen.get_or_insert(found)),
            }
        }
        seen.unwrap_or(Err(CgroupError::NotMounted))
    }
}

/// Where a process has the unified hierarchy mounted, seen through its own root directory. In a container with the
/// machine's process numbers (`hostPID`) that leads out of the container's part.
fn mounts(process: procfs::ProcResult<Process>, root: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let root = root.to_owned();
    let mounts = process.and_then(|process| process.mountinfo()).map(|mounts| mounts.0).unwrap_or_default();
    mounts.into_iter().filter(|mount| mount.fs_type == "cgroup2").map(move |mount| {
        let below = mount.mount_point.strip_prefix("/").map(Path::to_owned).unwrap_or(mount.mount_point);
        root.join(below)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_something_else_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let error = Cgroup::choose(&CgroupChoice::Directory(dir.path().to_owned())).unwrap_err();
        assert!(matches!(&error, CgroupError::Other { path } if path == dir.path()), "{error}");
        let missing = dir.path().join("missing");
        let error = Cgroup::choose(&CgroupChoice::Directory(missing.clone())).unwrap_err();
        assert!(error.to_string().starts_with(&missing.display().to_string()), "{error}");
        assert!(Cgroup::choose(&CgroupChoice::Off).unwrap().is_none());
    }

    #[test]
    fn the_root_is_told_from_a_part() {
        let Ok(Some(found)) = Cgroup::choose(&CgroupChoice::Root) else {
            println!("skipped: no unified hierarchy is mounted here");
            return;
        };
        let mut below = std::fs::read_dir(&found.path).unwrap().flatten();
        let Some(child) = below.find(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) else { return };
        let child = Cgroup::choose(&CgroupChoice::Directory(child.path())).unwrap().unwrap();
        assert!(!child.is_root() && child.inode != found.inode);
    }
}
