//! One agent per pin path: whoever holds the lock file may write.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use procfs::LockType;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// A lock that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("{} is held by process {pid} ({command}); stop that agent first, or use another --pin-path", path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who.
        pid: String,
        /// Its command line.
        command: String,
    },
    /// The file system.
    #[error("cannot lock {}", path.display())]
    File {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The lock, held as long as this lives; the kernel lets go of it however the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock of a run directory, which is made if it is not there.
    pub(crate) fn acquire(run_dir: &Path) -> Result<Self, LockError> {
        let path = run_dir.join("lock");
        let failed = |source| LockError::File { path: path.clone(), source };
        loop {
            fs::create_dir_all(run_dir).map_err(failed)?;
            let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let mut file = options.map_err(failed)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(held(&path, &mut file)),
                Err(error) => return Err(failed(error.into())),
            }
            // `unload` may have removed the file between our open and our lock: then it is no lock for the next one.
            if is_same_file(&path, &file) {
                write_pid(&mut file).map_err(failed)?;
                return Ok(Self { file, path });
            }
        }
    }

    /// Removes the lock file, and its directory if nothing else is in it.
    pub(crate) fn remove(self) {
        self.remove_files();
    }

    fn remove_files(&self) {
        // Whatever stays behind is an empty file without a lock.
        let _ = fs::remove_file(&self.path);
        let _ = self.path.parent().map(fs::remove_dir);
    }

    /// The run directory holds the lock file, and nothing else: the agent was refused before it changed anything.
    fn is_alone(&self) -> bool {
        let entries = self.path.parent().map(fs::read_dir);
        is_same_file(&self.path, &self.file)
            && entries.is_some_and(|entries| entries.is_ok_and(|entries| entries.count() == 1))
    }
}

impl Drop for Lock {
    /// Leaves no files where there is nothing for a later agent or `unload` to find. Lets go of the lock at once: closing
    /// alone would not while a child that another thread has just forked, and that has not reached its exec, holds a copy
    /// of the descriptor.
    fn drop(&mut self) {
        if self.is_alone() {
            self.remove_files();
        }
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// The process that holds the lock of a run directory, as the kernel lists it: looking takes nothing from whoever is about
/// to take the lock. `None` as well where it runs in another pid namespace.
///
/// The list names the device of the file system, where stat(2) names that of a subvolume or a layer on some of them (btrfs,
/// overlayfs): there the process that the file names counts.
pub fn holder(run_dir: &Path) -> Option<i32> {
    let path = run_dir.join("lock");
    let file = fs::metadata(&path).ok()?;
    let device = (rustix::fs::major(file.dev()), rustix::fs::minor(file.dev()));
    let named: Option<i32> = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
    let locks = procfs::locks().ok()?;
    let mut candidates = locks.iter().filter(|lock| lock.inode == file.ino() && lock.lock_type == LockType::FLock);
    let is_it =
        |lock: &&procfs::Lock| (lock.devmaj, lock.devmin) == device || (lock.pid.is_some() && lock.pid == named);
    candidates.find(is_it)?.pid
}

fn is_same_file(path: &Path, file: &File) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    fs::metadata(path).map(identity).ok() == file.metadata().map(identity).ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn held(path: &Path, file: &mut File) -> LockError {
    let mut text = String::new();
    let pid = match file.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "unknown".to_owned(),
    };
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    LockError::Held { path: path.to_owned(), pid, command: command.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::acquire(dir.path()).unwrap();
        let LockError::Held { pid, command, .. } = Lock::acquire(dir.path()).unwrap_err() else { panic!("not held") };
        assert_eq!(pid, std::process::id().to_string());
        let own = std::env::args().next().unwrap();
        assert!(command.starts_with(&own), "{command} does not start with {own}");
        assert_eq!(holder(dir.path()), i32::try_from(std::process::id()).ok());
        drop(first);
        assert_eq!(holder(dir.path()), None);
        Lock::acquire(&dir.path().join("run")).unwrap().remove();
        assert!(!dir.path().join("run").exists());
        Lock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn a_run_directory_stays_only_if_something_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = dir.path().join("run");
        let lock = Lock::acquire(&run_dir).unwrap();
        assert!(run_dir.join("lock").exists());
        drop(lock);
        assert!(!run_dir.exists());

        let lock = Lock::acquire(&run_dir).unwrap();
        fs::write(run_dir.join("record.json"), "{}").unwrap();
        drop(lock);
        assert!(run_dir.join("record.json").exists() && run_dir.join("lock").exists());
    }
}
